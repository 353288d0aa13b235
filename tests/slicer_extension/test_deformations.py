"""A deformation is a transform node in Slicer, and slice views show its grid on request."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("trame_slicer", exc_type=ImportError, reason="trame-slicer is not installed")

from otherwise.agent.editing.deformation import displacement_in_space  # noqa: E402
from otherwise.explain.explanation import Deformation, Explanation  # noqa: E402
from otherwise.images.image import Geometry  # noqa: E402
from otherwise.images.writing import write_image  # noqa: E402
from otherwise.report.folder import write_explanation  # noqa: E402
from OtherwiseLib.files.explanation_files import SceneError  # noqa: E402
from OtherwiseLib.mrml import display, explanations, layouts  # noqa: E402
from support.offscreen_views import OffscreenViews  # noqa: E402
from support.square_models import toy_explanation  # noqa: E402

AXIAL = np.diag([-0.7, -0.7, 2.0, 1.0])
TILTED = np.array([[0, 0, 1.5, 3], [0.48, 0.64, 0, 4], [0.64, -0.48, 0, 5], [0, 0, 0, 1.0]])


def deformed(affine: np.ndarray, shape: tuple[int, int, int] = (12, 10, 5)) -> Explanation:
    """Return an explanation whose image is pulled to one side, most in its middle."""
    found = toy_explanation(Geometry(shape, affine))
    places = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"))
    middle = (np.array(shape).reshape(3, 1, 1, 1) - 1) / 2
    width = np.array(shape).reshape(3, 1, 1, 1) / 8
    bump = shape[0] / 10 * np.exp(-np.square((places - middle) / width).sum(axis=0) / 2)
    displacement = np.stack([bump, -0.5 * bump, np.zeros_like(bump)]).astype(np.float32)
    return replace(
        found,
        deformation=Deformation(2.2, 0.5, 2.0),
        displacement=displacement_in_space(displacement, found.volumes.original.geometry),
    )


@pytest.mark.parametrize("affine", [AXIAL, TILTED], ids=["axial", "tilted"])
def test_the_transform_moves_places_as_the_field_says(scene: object, affine: np.ndarray, tmp_path: Path) -> None:
    explanation = deformed(affine)
    assert explanation.displacement is not None
    shown = explanations.show(scene, write_explanation(explanation, tmp_path / explanation.id))
    node = shown.get("displacement")
    field, grid = explanation.displacement.array, explanation.displacement.geometry
    looked_up = node.GetTransformFromParent()
    for index in ((6, 5, 2), (12, 9, 4), (14, 10, 5), (0, 0, 0)):
        place = grid.to_ras(np.array(index, float))
        found = np.zeros(3)
        looked_up.TransformPoint(place, found)
        np.testing.assert_allclose(found - place, field[(slice(None), *index)], atol=1e-3)
    assert np.linalg.norm(field, axis=0).max() > 0.8


def test_it_goes_with_the_explanation(scene: object, tmp_path: Path) -> None:
    plain = explanations.show(scene, write_explanation(toy_explanation(Geometry((12, 10, 5), AXIAL)), tmp_path / "toy"))
    assert plain.get("displacement") is None
    explanations.remove(scene, plain)
    before = scene.GetNumberOfNodes()  # type: ignore[attr-defined]
    shown = explanations.show(scene, write_explanation(deformed(AXIAL), tmp_path / "deformed"))
    assert shown.get("displacement") in shown.nodes
    explanations.remove(scene, shown)
    assert scene.GetNumberOfNodes() == before  # type: ignore[attr-defined]


def test_a_file_that_holds_no_displacements_is_refused(scene: object, tmp_path: Path) -> None:
    explanation = deformed(AXIAL)
    folder = write_explanation(explanation, tmp_path / "x")
    before = scene.GetNumberOfNodes()  # type: ignore[attr-defined]
    whole = (folder / "displacement.nrrd").read_bytes()
    (folder / "displacement.nrrd").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SceneError):
        explanations.show(scene, folder)
    write_image(explanation.volumes.floor, folder / "displacement.nrrd")
    with pytest.raises(SceneError, match="no displacements"):
        explanations.show(scene, folder)
    (folder / "displacement.nrrd").unlink()
    with pytest.raises(SceneError):
        explanations.show(scene, folder)
    assert scene.GetNumberOfNodes() == before  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def room() -> Iterator[OffscreenViews]:
    made = OffscreenViews(layouts.VIEWS)
    yield made
    made.close()


def test_its_grid_is_seen_where_a_person_wants_it(room: OffscreenViews, tmp_path: Path) -> None:
    explanation = deformed(AXIAL, (48, 40, 1))
    assert explanation.displacement is not None
    still = explanation.displacement.with_array(np.float32(1e-3) * explanation.displacement.array)
    lines = []
    for name, each in (("straight", replace(explanation, displacement=still)), ("bent", explanation)):
        folder = write_explanation(each, tmp_path / name)
        shown = explanations.show(room.scene, folder, None, room.sequences.UpdateProxyNodesFromSequences)
        layouts.fill(room.scene, shown)
        room.fit()
        pictures = [room.picture(layouts.COUNTERFACTUAL).astype(int)]
        for visible in (True, False):
            display.show_grid(shown.get("displacement"), visible)
            pictures.append(room.picture(layouts.COUNTERFACTUAL).astype(int))
        hidden, seen, again = pictures
        np.testing.assert_array_equal(hidden, again)
        lines.append(np.abs(seen - hidden).max(axis=2) > 20)
        assert 0.02 < lines[-1].mean() < 0.3
        red, green, blue = np.median(seen[lines[-1]], axis=0)
        assert min(green, blue) > red
        explanations.remove(room.scene, shown)
    moved = lines[0] != lines[1]
    assert moved[110:190, 110:190].mean() > 0.1
    assert moved[:, :15].mean() < 0.02
