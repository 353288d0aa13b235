"""What people see: Slicer's own slice views, rendered without a window and looked at pixel by pixel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as Picture

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("trame_slicer", exc_type=ImportError, reason="trame-slicer is not installed")

from OtherwiseLib.mrml import colours, display, explanations, layouts  # noqa: E402
from OtherwiseLib.mrml.explanations import ShownExplanation  # noqa: E402
from OtherwiseLib.samples import phantoms, self_test  # noqa: E402
from support.offscreen_views import OffscreenViews  # noqa: E402

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def room() -> Iterator[OffscreenViews]:
    made = OffscreenViews(layouts.VIEWS)
    yield made
    made.close()


@pytest.fixture(scope="module")
def shown(room: OffscreenViews, tmp_path_factory: pytest.TempPathFactory) -> ShownExplanation:
    """A made-up explanation of the phantom nodule."""
    folder = self_test.write_synthetic_explanation(tmp_path_factory.mktemp("made-up"), *phantoms.nodule())
    found = explanations.show(room.scene, folder, None, room.sequences.UpdateProxyNodesFromSequences)
    layouts.fill(room.scene, found)
    room.fit()
    layouts.jump_to(room.scene, tuple(found.regions[0]["centroid_ras"]))
    layouts.highlight(found, None)
    return found


def coloured(picture: np.ndarray) -> np.ndarray:
    """Where a picture is not grey."""
    spread = picture.astype(int).max(axis=2) - picture.min(axis=2)
    return spread > 30


@pytest.fixture(scope="module")
def real(room: OffscreenViews) -> Iterator[ShownExplanation]:
    """What the shipped models said of a phantom mammogram; see ``draw_pictures.py``."""
    found = explanations.show(room.scene, HERE / "letter", None, room.sequences.UpdateProxyNodesFromSequences)
    yield found
    explanations.remove(room.scene, found)


@pytest.fixture(scope="module")
def real_pictures(room: OffscreenViews, shown: ShownExplanation, real: ShownExplanation) -> dict[str, np.ndarray]:
    """All views of the real explanation; the views show the made-up one again afterwards."""
    layouts.fill(room.scene, real)
    layouts.highlight(real, None)
    shown.get("regions").GetDisplayNode().SetVisibility(False)
    try:
        room.fit()
        layouts.jump_to(room.scene, tuple(real.regions[0]["centroid_ras"]))
        return {name: room.picture(name) for name in layouts.VIEWS}
    finally:
        shown.get("regions").GetDisplayNode().SetVisibility(True)
        layouts.fill(room.scene, shown)
        room.fit()
        layouts.jump_to(room.scene, tuple(shown.regions[0]["centroid_ras"]))


@pytest.mark.parametrize("name", layouts.VIEWS)
def test_a_real_explanation_looks_as_in_the_tutorial(real_pictures: dict[str, np.ndarray], name: str) -> None:
    picture = real_pictures[name]
    stored = np.asarray(Picture.open(HERE / "pictures" / f"{name}.png").convert("RGB"))
    assert picture.shape == stored.shape
    # Renderers differ in the last bits of a colour and in the pixels of a line.
    assert np.abs(picture.astype(int) - stored).mean() < 3


def test_images_are_grey_and_maps_are_coloured_where_something_changes(
    room: OffscreenViews, shown: ShownExplanation
) -> None:
    layouts.fill(room.scene, shown)
    shares = {name: float(coloured(room.picture(name)).mean()) for name in layouts.VIEWS}
    assert shares[layouts.ORIGINAL] < 0.02, "an outline at most"
    assert shares[layouts.COUNTERFACTUAL] < 0.02
    for name in (layouts.CHANGE, layouts.EFFECT):
        assert 0.05 < shares[name] < 0.25, "the middle ninth of the image"


def test_nothing_is_coloured_below_the_floor(room: OffscreenViews, shown: ShownExplanation) -> None:
    layouts.fill(room.scene, shown)
    node = shown.get("difference")
    before = coloured(room.picture(layouts.CHANGE)).mean()
    display.set_floor(node, 1e9)
    after = coloured(room.picture(layouts.CHANGE)).mean()
    display.set_floor(node, display.typical_floor(shown.get("floor")))
    assert after < 0.02 < before


def test_blending_goes_from_one_image_to_the_other(room: OffscreenViews, shown: ShownExplanation) -> None:
    layouts.fill(room.scene, shown)
    original, other = (room.picture(name).astype(float) for name in (layouts.ORIGINAL, layouts.COUNTERFACTUAL))
    for share, wanted in ((0.0, original), (1.0, other), (0.5, (original + other) / 2)):
        layouts.blend(room.scene, shown, share)
        assert np.abs(room.picture(layouts.ORIGINAL) - wanted).mean() < 3
    assert np.abs(original - other).mean() > 5
    layouts.blend(room.scene, shown, 0.0)


def test_the_second_view_follows_the_path(room: OffscreenViews, shown: ShownExplanation) -> None:
    layouts.fill(room.scene, shown, on_path=True)
    pictures = []
    for step in range(3):
        shown.get("browser").SetSelectedItemNumber(step)
        room.sequences.UpdateProxyNodesFromSequences(shown.get("browser"))
        pictures.append(room.picture(layouts.COUNTERFACTUAL).astype(float))
    assert np.abs(pictures[0] - room.picture(layouts.ORIGINAL)).mean() < 3
    assert np.abs(pictures[1] - pictures[0]).mean() > 2
    assert np.abs(pictures[2] - pictures[1]).mean() > 2


def test_a_highlighted_region_stands_out(room: OffscreenViews, shown: ShownExplanation) -> None:
    layouts.fill(room.scene, shown)
    layouts.highlight(shown, 99)
    faint = room.picture(layouts.ORIGINAL).astype(int)
    layouts.highlight(shown, 1)
    strong = room.picture(layouts.ORIGINAL).astype(int)
    assert np.abs(strong - faint).max() > 60
    layouts.highlight(shown, None)


def test_all_views_go_together(room: OffscreenViews, shown: ShownExplanation) -> None:
    """As when somebody scrolls and zooms in one of them."""
    layouts.fill(room.scene, shown)
    nodes = [room.scene.GetSingletonNode(name, "vtkMRMLSliceNode") for name in layouts.VIEWS]
    before = nodes[0].GetSliceOffset()
    flags = slicer.vtkMRMLSliceNode
    nodes[2].SetInteracting(1)
    nodes[2].SetInteractionFlags(flags.SliceToRASFlag)
    nodes[2].SetSliceOffset(before + 2)
    nodes[2].SetInteractionFlags(flags.FieldOfViewFlag)
    nodes[2].SetFieldOfView(10, 10, 1)
    nodes[2].SetInteracting(0)
    assert [node.GetSliceOffset() for node in nodes] == pytest.approx([before + 2] * 4)
    assert [node.GetFieldOfView()[0] for node in nodes] == pytest.approx([10] * 4)
    room.fit()
    layouts.jump_to(room.scene, tuple(shown.regions[0]["centroid_ras"]))


def test_a_made_up_region_has_the_colour_that_its_file_says(shown: ShownExplanation) -> None:
    segment = shown.get("regions").GetSegmentation().GetNthSegment(0)
    assert segment.GetColor() == pytest.approx(colours.SERIES[0], abs=0.01)


def test_regions_are_seen_in_3d(room: OffscreenViews, shown: ShownExplanation) -> None:
    solid = room.add_solid(layouts.SOLID)
    empty = coloured(room.picture(layouts.SOLID)).mean()
    display.show_surfaces(shown.get("regions"))
    solid.reset_view()
    seen = coloured(room.picture(layouts.SOLID)).mean()
    assert empty < 0.02
    assert seen > 0.2
