"""Draw the pictures of the README and of ``test_layouts.py``: ``python tests/slicer_extension/draw_pictures.py``.

A phantom mammogram with a burned-in letter is explained for the shipped classifier that goes by the letter, since that
change is easy to see. The extension shows it in slice views of Slicer's core. The explanation is stored, so that the
tests draw the same pictures again without the models. The picture of the panel is of the same explanation, and of the
real panel on stand-ins for Slicer's widgets (``--panel``: only that one). The picture of the Teach section is taken by
``test_teaching_panel.py`` (``OTHERWISE_PICTURES=DIR``).
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "slicer_extension" / "Otherwise")]

from OtherwiseLib.files import explanation_files  # noqa: E402
from OtherwiseLib.mrml import explanations, layouts  # noqa: E402
from support.panel_session import ABOUT  # noqa: E402

EXPLANATION, STORED, PICTURES = HERE / "letter", HERE / "pictures", ROOT / "docs" / "pictures"
METHODS = {"occlusion": "Occlusion", "integrated-gradients": "Integrated gradients", "grad-cam": "Grad-CAM"}
SEED, NUMBER = 51, 151
"""The phantom of the README's first picture."""
CLASSIFIER, AGENT = "confounded_classifier", "confounded_agent"
TITLES = {
    layouts.ORIGINAL: "Original",
    layouts.COUNTERFACTUAL: "Counterfactual",
    layouts.CHANGE: "Change",
    layouts.EFFECT: "Measured effect",
}


def main() -> None:
    """Explain, show and draw."""
    if "--panel" in sys.argv:
        panel()
        return
    from support.offscreen_views import OffscreenViews

    explain()
    room = OffscreenViews(layouts.VIEWS)
    shown = explanations.show(room.scene, EXPLANATION, None, room.sequences.UpdateProxyNodesFromSequences)
    for method, title in METHODS.items():
        about = {"method": method, "title": title, "label": shown.content["prediction"]["label"]}
        explanations.add_overlay(
            room.scene, shown, explanation_files.read_grid(EXPLANATION / f"attribution-{method}.nrrd"), about
        )
    layouts.fill(room.scene, shown)
    room.fit()
    layouts.highlight(shown, None)
    STORED.mkdir(exist_ok=True)
    four = {name: room.picture(name) for name in layouts.VIEWS}
    for name, picture in four.items():
        save(picture, STORED / f"{name}.png")
    says = {
        layouts.ORIGINAL: probabilities_text(shown.content["prediction"]["probabilities"]),
        layouts.COUNTERFACTUAL: probabilities_text(shown.content["counterfactual"]["probabilities"]),
        layouts.CHANGE: "in the image's own units",
        layouts.EFFECT: f"towards {shown.content['target']}",
    }
    strip([(TITLES[name], says[name], four[name]) for name in layouts.VIEWS], PICTURES / "views.png")
    strip(list(path(room, shown)), PICTURES / "path.png")
    strip(list(compared(room, shown)), PICTURES / "compare.png")
    room.close()


def panel() -> None:
    """The panel after the explanation: what is needed is open, the rest is folded."""
    import tempfile

    import slicer

    from support.panel_session import open_panel

    scene = slicer.vtkMRMLScene()
    logics = [slicer.vtkSlicerSegmentationsModuleLogic(), slicer.vtkSlicerSequencesLogic()]
    for logic in logics:
        logic.SetMRMLScene(scene)
    with tempfile.TemporaryDirectory() as folder:
        for app in open_panel(scene, Path(folder)):
            read = explanation_files.read(EXPLANATION)
            classes = list(read.content["prediction"]["probabilities"])
            inputs = {"spatial_dims": 2, "size": [96, 96], "modality": "MG"}
            classifier = {**read.content["classifier"], "classes": classes, "inputs": inputs}
            app.answers["about"] = {
                **ABOUT,
                "classifiers": [classifier],
                "agents": [read.content["agent"]],
            }
            app.connect()
            shown = app.logic.show(read)
            shown.node.SetAttribute(explanations.IMAGE, "Mammogram")
            shown.get("original").SetName("Mammogram")
            app.panel.explained(shown)
            app.widget.resize(380, 1)
            app.widget.resize(380, app.widget.sizeHint().height())
            app.application.processEvents()
            app.widget.grab().save(str(PICTURES / "panel.png"))


def explain() -> None:
    """Explain the phantom and ask the other methods, into the stored folder."""
    from otherwise.agent.bundle import load_agent
    from otherwise.blackbox.loading import load_classifier
    from otherwise.explain.explainer import Explainer
    from otherwise.images.writing import write_image
    from otherwise.phantoms.mammogram import MammogramSettings, mammograms
    from otherwise.report.folder import write_explanation

    (phantom,) = mammograms(SEED, 1, MammogramSettings(confound=0.0), NUMBER)
    image = phantom.image
    explainer = Explainer(load_classifier(CLASSIFIER), load_agent(AGENT))
    write_explanation(explainer.explain(image), EXPLANATION, replace=True)
    for method in METHODS:
        write_image(explainer.attribute(image, method), EXPLANATION / f"attribution-{method}.nrrd")
    # The extension does not show them, and the tests need not carry them.
    for other in (*EXPLANATION.glob("alternative-*.nrrd"), *EXPLANATION.glob("seen.nrrd")):
        other.unlink()
    (EXPLANATION / "report.html").write_text("<p>The report is left out of the tests' copy.</p>\n", encoding="utf-8")


def path(room: Any, shown: explanations.ShownExplanation) -> Any:
    """What the second view shows at some steps of the path."""
    layouts.fill(room.scene, shown, on_path=True)
    steps = np.unique(np.linspace(0, len(shown.path) - 1, 4).round().astype(int))
    for step in steps:
        shown.get("browser").SetSelectedItemNumber(int(step))
        room.sequences.UpdateProxyNodesFromSequences(shown.get("browser"))
        point = shown.path[step]
        yield (
            f"strength {point['strength']:.2g}",
            probabilities_text(point["probabilities"]),
            room.picture(layouts.COUNTERFACTUAL),
        )
    layouts.fill(room.scene, shown)


def compared(room: Any, shown: explanations.ShownExplanation) -> Any:
    """What the last view shows: our measured effect, and other methods."""
    target, label = shown.content["target"], shown.content["prediction"]["label"]
    yield "Measured effect", f"what moves it to {target}", room.picture(layouts.EFFECT)
    for method, title in METHODS.items():
        layouts.fill(room.scene, shown, method=method)
        yield title, f"what speaks for {label}", room.picture(layouts.EFFECT)
    layouts.fill(room.scene, shown)


def probabilities_text(probabilities: dict[str, float]) -> str:
    """The most probable class with its probability."""
    label = max(probabilities, key=lambda name: probabilities[name])
    return f"{label} {probabilities[label]:.0%}"


def strip(pictures: list[tuple[str, str, np.ndarray]], target: Path) -> None:
    """Pictures side by side, each with a title and its caption."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3 * len(pictures), 3.6), dpi=110, layout="constrained", facecolor="white")
    for axis, (title, caption, picture) in zip(figure.subplots(1, len(pictures)), pictures, strict=True):
        axis.imshow(picture)
        axis.set_title(title, fontsize=12, fontweight="bold")
        axis.set_xlabel(caption, fontsize=10)
        axis.set_xticks([])
        axis.set_yticks([])
    figure.savefig(target, pil_kwargs={"optimize": True})


def save(picture: np.ndarray, target: Path) -> None:
    """Write a picture as PNG."""
    from PIL import Image as Picture

    Picture.fromarray(picture).save(target, optimize=True)


if __name__ == "__main__":
    main()
