"""Train a prognosis that is confounded, and have the confounders named: COVID-19 radiographs and intensive care.

Each network predicts, for patients that it has not seen, the chance of intensive care in percent. What its values
follow besides that is then compared with what else is known of each image::

    python examples/confounded_prognosis.py COVID_HANNOVER OUT

The folder holds ``patients.csv`` and ``image/`` (Winther et al., doi:10.6084/m9.figshare.12275009). The last command
prints that the values are confounded, by what, and what is left of the prognosis within each projection.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from otherwise.cli import build


def otherwise(*words: object) -> None:
    """Run a command of Otherwise, such as ``otherwise("classify", table, "--classifier", bundle)``."""
    print("otherwise", *words, flush=True)
    build()([str(word) for word in words], standalone_mode=False)


def main(folder: Path, out: Path, folds: int = 5, epochs: int = 20) -> None:
    """Prepare, train a network for each fold, classify the patients left out, and compare."""
    images = out / "images"
    otherwise("prepare", "covid", "--path", folder, "--out", images, "--folds", folds)
    compared = []
    for fold in range(1, folds + 1):
        network, answers = out / f"network-{fold}", out / f"answers-{fold}.csv"
        learned = ("--value", "intensive_care", "--unit", "%", "--range", "0,100", "--higher-is", "worse")
        seen = ("--measures", "chance of intensive care", "--size", "64,64", "--intensity", "0,255", "--modality", "CR")
        data = ("--images", images, "--labels", images / f"train-{fold}.csv")
        otherwise("classifier", "train", *data, *learned, *seen, "--epochs", epochs, "--out", network)
        otherwise("classify", images / f"test-{fold}.csv", "--classifier", network, "--out", answers)
        compared += ["--answers", answers]
    table = ("--labels", images / "labels.csv", "--outcome", "intensive_care")
    otherwise("benchmark", "confounders", *compared, *table, "--out", out / "confounders")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description="Train a confounded prognosis, and have the confounders named.")
    parser.add_argument("folder", type=Path, help="The repository's patients.csv and image/.")
    parser.add_argument("out", type=Path, help="New folder for images, networks and tables.")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=20)
    given = parser.parse_args()
    main(given.folder, given.out, given.folds, given.epochs)
