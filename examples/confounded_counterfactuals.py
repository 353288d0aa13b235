"""Explain a confounded prognosis, and ask a judge of the confounder what its counterfactuals look like.

After ``examples/confounded_prognosis.py``::

    python examples/confounded_counterfactuals.py OUT

An agent is taught by the network of the first fold. It explains the radiographs of the patients left out: what would
make the chance of intensive care 30 percentage points more or less? Another network, which has learned the projection
from the same patients as the prognosis, says how antero-posterior each radiograph and its counterfactual look.
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import pandas
from confounded_prognosis import otherwise
from matplotlib.figure import Figure

from otherwise import read_image

FOLD = 1
SHOWN = 4
"""Radiographs a picture, drawn by lot."""


def main(out: Path, epochs: int = 500) -> None:
    """Train the judge and the agent, explain, let the judge answer, and print what it says by direction."""
    images, network, agent, judge = out / "images", out / f"network-{FOLD}", out / "agent", out / "judge"
    train, test = images / f"train-{FOLD}.csv", images / f"test-{FOLD}.csv"
    seen = ("--size", "64,64", "--intensity", "0,255", "--modality", "CR", "--epochs", 20)
    if not judge.exists():
        otherwise("classifier", "train", "--images", images, "--labels", train, *seen, "--out", judge)
    if not agent.exists():
        otherwise("train", "agent", "--classifier", network, "--images", train, "--epochs", epochs, "--out", agent)
    for target in ("30 less", "30 more"):
        explained = out / f"explained-{target.replace(' ', '-')}"
        models = ("--classifier", network, "--agent", agent)
        otherwise("explain", "--all", test, *models, "--target", target, "--out", explained)
        said = judged(explained, judge)
        print(target, said.describe(percentiles=[0.5]).to_string(), sep="\n")
        draw(explained, said.sample(SHOWN, random_state=0), explained / "pictures.png")


def draw(explained: Path, said: pandas.DataFrame, path: Path) -> None:
    """Draw radiographs beside their counterfactuals, with what the prognosis and the judge say of each."""
    figure = Figure(figsize=(2.1 * len(said), 4.3), layout="constrained")
    for row, name in enumerate(("original", "counterfactual")):
        for place, (key, values) in enumerate(zip(said.index, said.to_numpy(), strict=True)):
            axes = figure.add_subplot(2, len(said), row * len(said) + place + 1)
            axes.imshow(read_image(explained / f"{name}s" / f"{key}.nrrd").array[0, :, :, 0].T, cmap="gray")
            axes.set_title(f"intensive care {values[row]:.0f} %\nantero-posterior {values[2 + row]:.0f} %", size=8)
            axes.axis("off")
    figure.savefig(path, dpi=110)


def judged(explained: Path, judge: Path) -> pandas.DataFrame:
    """Return a table of the explanations: their values, and the judge's chance of antero-posterior, in percent."""
    table = pandas.read_parquet(explained / "results.parquet")
    table = table[table["valid"].fillna(False).astype(bool)]
    answers = {}
    for name in ("original", "counterfactual"):
        folder = explained / f"{name}s"
        folder.mkdir(exist_ok=True)
        for key in table["folder"]:
            shutil.copy(explained / key / f"{name}.nrrd", folder / f"{Path(key).name}.nrrd")
        otherwise("classify", folder, "--classifier", judge, "--out", explained / f"{name}s.csv", "--replace")
        said = pandas.read_csv(explained / f"{name}s.csv")
        answers[name] = said.set_index(said["path"].map(lambda path: Path(path).stem))["ap"]
    keys = [Path(key).name for key in table["folder"]]
    return pandas.DataFrame(
        {
            "chance of intensive care": table["value"].to_numpy(),
            "of the counterfactual": table["value_after"].to_numpy(),
            "antero-posterior, %": 100 * answers["original"].loc[keys].to_numpy(),
            "antero-posterior, counterfactual, %": 100 * answers["counterfactual"].loc[keys].to_numpy(),
        },
        index=keys,
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Ask a judge of the projection about counterfactuals of a prognosis.")
    parser.add_argument("out", type=Path, help="The folder that confounded_prognosis.py has written.")
    parser.add_argument("--epochs", type=int, default=500)
    given = parser.parse_args()
    main(given.out, given.epochs)
