"""An explanation by shape alone: what the image shows becomes larger or smaller, and nothing is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import jsonschema
import numpy as np
import pytest
import SimpleITK

from otherwise.agent.bundle import Agent
from otherwise.agent.calibration import Calibration
from otherwise.agent.editing.search_settings import SearchSettings
from otherwise.agent.training.calibration import shape_validity
from otherwise.blackbox.protocol import InputSpec
from otherwise.explain import view as view_module
from otherwise.explain.explainer import Explainer
from otherwise.explain.request import ExplainRequest, explain_request
from otherwise.images.image import Geometry, Image
from otherwise.report import headline
from otherwise.report.explanation_json import explanation_json, schema
from otherwise.report.folder import read_explanation, write_explanation
from otherwise.report.panels import Panels
from support.discs import BRIGHT, DiscClassifier, disc
from support.square_models import SquareClassifier, eager_agent

SIZE = (24, 20)
AREA = float(disc(SIZE, 5).sum()) / BRIGHT


def box_of(factor: float) -> DiscClassifier:
    """Return a black box that calls discs large from ``factor`` times the area of the image's."""
    return DiscClassifier(InputSpec(SIZE, intensity=(0, 1)), factor * AREA)


def agent_of(box: DiscClassifier, follows_shape: float | None = None) -> Agent:
    agent = eager_agent(SquareClassifier(box.inputs, version=box.version))
    return replace(agent, calibration=Calibration(follows_shape=follows_shape, evidence_validity=0.0))


def image(scale: int = 3) -> Image:
    """Return a disc on a grid that is finer than the classifier's."""
    size = (SIZE[0] * scale, SIZE[1] * scale)
    return Image(disc(size, 5 * scale)[..., None], Geometry((*size, 1), np.diag([0.4, 0.4, 2, 1])), "disc", 2)


def radius(found: np.ndarray) -> float:
    """Return the radius in millimetres of what is bright."""
    return float(np.sqrt((found > BRIGHT / 2).sum() / np.pi) * 0.4)


@pytest.mark.parametrize(("factor", "target"), [(1.4, "large"), (0.7, "small")])
def test_a_disc_becomes_another_size_with_an_edge_as_sharp_as_before(factor: float, target: str) -> None:
    box, picture = box_of(factor), image()
    found = Explainer(box, agent_of(box), SearchSettings(edit="shape")).explain(picture)
    assert found.target == target
    assert found.counterfactual.valid, found.notes
    made = found.volumes.counterfactual.array
    grown = radius(made) / radius(picture.array)
    assert grown == pytest.approx(factor**0.5, rel=0.1)
    blurred = ((made > 0.1 * BRIGHT) & (made < 0.9 * BRIGHT)).sum() / grown
    before = ((picture.array > 0.1 * BRIGHT) & (picture.array < 0.9 * BRIGHT)).sum()
    assert blurred < 2.5 * before  # one edge of its own, and no ghost of the former one
    assert found.deformation is not None
    assert 0.5 < found.deformation.furthest < 3
    growth = found.deformation.greatest_growth if target == "large" else 1 / found.deformation.least_growth
    assert growth > max(factor, 1 / factor)
    np.testing.assert_array_equal(found.volumes.minimal.array, made)
    assert found.volumes.alternatives
    for answer, other in zip(found.alternatives, found.volumes.alternatives, strict=True):
        assert answer.valid
        assert radius(other.array) == pytest.approx(radius(made), rel=0.05)
        assert np.abs(other.array - made).max() > 0.05
    along = [radius(each.array) for each in found.volumes.path]
    assert along == sorted(along, reverse=target == "small")


@pytest.mark.parametrize(("follows", "deformed"), [(1.0, True), (0.5, False), (None, False)])
def test_deformations_come_first_where_they_were_measured_to_convince(follows: float | None, deformed: bool) -> None:
    box = box_of(1.4)
    found = Explainer(box, agent_of(box, follows)).explain(image())
    assert found.counterfactual.valid
    assert (found.deformation is not None) is deformed
    drawn = explain_request(Explainer(box, agent_of(box, follows)), image(), ExplainRequest(edit="draw"))
    assert drawn.deformation is None
    shaped = explain_request(Explainer(box, agent_of(box, follows)), image(), ExplainRequest(edit="shape"))
    assert shaped.deformation is not None


def test_what_no_deformation_reaches_is_drawn_unless_only_shapes_may_change() -> None:
    box = box_of(30)
    auto = Explainer(box, agent_of(box, 1.0)).explain(image())
    assert auto.deformation is None
    only = Explainer(box, agent_of(box, 1.0), SearchSettings(edit="shape")).explain(image())
    assert not only.counterfactual.valid
    assert any("Nothing was found" in note for note in only.notes)
    assert not any(warning.code == "decoder-cannot-draw" for warning in only.warnings)
    short = Explainer(box, agent_of(box, 1.0), SearchSettings(edit="shape", budget=10)).explain(image())
    assert not short.counterfactual.valid
    assert any("within the budget" in note for note in short.notes)


def test_a_deformation_that_does_not_hold_on_the_full_image_is_followed_by_a_drawn_edit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    box = box_of(1.4)

    def nothing_moves(picture: Image, grid: Geometry, displacement: np.ndarray) -> np.ndarray:
        return picture.array.astype(np.float32)

    monkeypatch.setattr(view_module, "deformed_native", nothing_moves)
    found = Explainer(box, agent_of(box, 1.0)).explain(image())
    assert found.counterfactual.valid
    assert found.deformation is None


@pytest.mark.parametrize(("factors", "share"), [((1.3, 1.3), 1.0), ((1.3, 30.0), 0.5), ((30.0, 30.0), 0.0)])
def test_how_often_shapes_convince_is_measured(factors: Sequence[float], share: float) -> None:
    """One half of the black box's limits is out of reach: so is one half of the images."""
    pictures = np.concatenate([disc(SIZE, 5)[None] * 1.0 for _ in factors]).astype(np.float32)
    measured = [
        shape_validity(agent_of(box_of(factor)), box_of(factor), picture[None])
        for factor, picture in zip(factors, pictures, strict=True)
    ]
    assert float(np.mean(measured)) == share


def test_a_report_says_that_nothing_was_drawn_and_shows_one_change(tmp_path: Path) -> None:
    box = box_of(1.4)
    found = Explainer(box, agent_of(box), SearchSettings(edit="shape")).explain(image())
    sentence = headline.answer(found)
    assert "if what the image shows were deformed as shown, by up to" in sentence
    assert "mm" in sentence
    content = explanation_json(found)
    jsonschema.validate(content, schema())
    again = read_explanation(write_explanation(found, tmp_path / "found"))
    assert again.deformation == found.deformation
    assert headline.answer(again) == sentence
    page = (tmp_path / "found" / "report.html").read_text(encoding="utf-8")
    assert "Deformed image" in page
    assert "Minimal change" not in page
    assert "times their area" in page
    assert "Deformed more evenly." in page


OBLIQUE = np.array([[0.32, 0, -1.2, 5], [0.24, 0, 1.6, -7], [0, 0.4, 0, 3], [0, 0, 0, 1]])


@pytest.mark.parametrize("affine", [np.diag([0.4, 0.4, 2, 1]), OBLIQUE], ids=["straight", "oblique"])
@pytest.mark.parametrize("beyond", [0, 12])
def test_the_field_of_a_deformation_makes_the_counterfactual_of_the_original(
    affine: np.ndarray, beyond: int, tmp_path: Path
) -> None:
    """Resample the original with the written field by ITK, which shares no code with ours."""
    size = (3 * SIZE[0] + 2 * beyond, 3 * SIZE[1] + 2 * beyond)
    picture = Image(disc(size, 15)[..., None], Geometry((*size, 1), affine), "disc", 2)
    box = box_of(1.4)
    if beyond:  # the classifier looks at the middle of a larger image
        box = replace(box, inputs=InputSpec(SIZE, spacing=(1.2, 1.2), intensity=(0, 1)))
    found = Explainer(box, agent_of(box), SearchSettings(edit="shape")).explain(picture)
    assert found.displacement is not None
    folder = write_explanation(found, tmp_path / "found")
    jsonschema.validate(explanation_json(found), schema())
    field = SimpleITK.ReadImage(str(folder / "displacement.nrrd"), SimpleITK.sitkVectorFloat64)
    original, made = (SimpleITK.ReadImage(str(folder / f"{name}.nrrd")) for name in ("original", "counterfactual"))
    transform = SimpleITK.DisplacementFieldTransform(field)
    moved = SimpleITK.GetArrayFromImage(SimpleITK.Resample(original, original, transform, SimpleITK.sitkLinear))
    made, still = SimpleITK.GetArrayFromImage(made), SimpleITK.GetArrayFromImage(original)
    inside = (slice(None), slice(1, -1), slice(1, -1))  # ITK takes what lies beyond the image for 0
    assert np.abs(moved - made)[inside].mean() < 0.05 * np.abs(still - made)[inside].mean()
    again = read_explanation(folder)
    assert again.displacement is not None
    assert again.displacement.geometry.same_as(found.displacement.geometry)
    np.testing.assert_allclose(again.displacement.array, found.displacement.array, atol=1e-3)
    furthest = np.linalg.norm(again.displacement.array, axis=0).max()
    assert furthest == pytest.approx(found.deformation.furthest if found.deformation else 0, rel=1e-2)


def test_a_report_shows_how_a_grid_is_deformed() -> None:
    box = box_of(1.4)
    found = Explainer(box, agent_of(box), SearchSettings(edit="shape")).explain(image())
    assert found.displacement is not None
    (panel,) = Panels(found).deformed(found.volumes.counterfactual, found.displacement, "grid")
    lines = [np.array([pair.split() for pair in piece.split("L")], float) for piece in panel.grid.split("M")[1:]]
    assert len(lines) == 16 + round(16 * SIZE[0] / SIZE[1] if SIZE[0] < SIZE[1] else 16 * SIZE[1] / SIZE[0])
    upright = [line for line in lines if np.ptp(line[:, 0]) < np.ptp(line[:, 1])]
    middle = np.array([line[np.abs(line[:, 1] - panel.height / 2).argmin(), 0] for line in upright])
    gaps = np.diff(np.sort(middle))
    assert gaps[len(gaps) // 2] > 1.1 * panel.width / len(upright)  # the disc in the middle has grown
    still = replace(found, displacement=found.displacement.with_array(0 * found.displacement.array))
    assert still.displacement is not None
    (even,) = Panels(still).deformed(still.volumes.counterfactual, still.displacement, "grid")
    for piece in even.grid.split("M")[1:]:
        line = np.array([pair.split() for pair in piece.split("L")], float)
        assert np.ptp(line, axis=0).min() < 0.02
