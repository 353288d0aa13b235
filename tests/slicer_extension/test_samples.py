"""Sample data and the self test that users run inside Slicer."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")

from OtherwiseLib.mrml import explanations, layouts, view_nodes  # noqa: E402
from OtherwiseLib.samples import phantoms, self_test  # noqa: E402
from support.view_layout import LayoutManager  # noqa: E402


def test_samples_are_drawn_alike_each_time_and_look_like_what_they_are() -> None:
    breast, affine = phantoms.mammogram()
    assert breast.shape == (1, 192, 192)
    assert breast.min() >= 0
    assert breast[0, :, -10:].max() < 0.2, "air in front of the breast"
    assert breast[0, 80:100, 70:90].mean() > 0.4, "a mass"
    np.testing.assert_array_equal(breast, phantoms.mammogram()[0])
    lung, affine = phantoms.nodule()
    assert np.median(lung) < -700
    assert lung[12, 24, 24] > -100
    assert np.linalg.det(affine[:3, :3]) > 0


def test_the_self_test_passes(scene) -> None:
    self_test.run(scene)


def test_the_self_test_passes_in_a_scene_whose_views_come_with_the_layout(scene: Any) -> None:
    """As in Slicer, where the test changes the layout and the views of it stay."""
    manager = LayoutManager(scene)
    try:
        for _ in range(2):
            self_test.run(scene)
        assert {node.GetName() for node in view_nodes.slice_nodes(scene, layouts.VIEWS)} == set(layouts.VIEWS)
    finally:
        manager.close()


def test_the_self_test_passes_in_a_scene_with_real_views() -> None:
    """Slicer's own slice and 3-D views, which give displayed nodes display nodes of their own."""
    pytest.importorskip("trame_slicer", exc_type=ImportError, reason="trame-slicer is not installed")
    from support.offscreen_views import OffscreenViews

    room = OffscreenViews(("Red", *layouts.VIEWS))
    room.add_solid(layouts.SOLID)
    try:
        volume = phantoms.add_sample(room.scene, "CT of somebody", *phantoms.nodule())
        view_nodes.composite_of(room.scene, "Red").SetBackgroundVolumeID(volume.GetID())
        for _ in range(2):
            self_test.run(room.scene)
            for name in layouts.VIEWS:
                room.picture(name)
    finally:
        room.close()


def test_the_self_test_can_fail(scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(explanations, "all_shown", lambda scene: [])
    with pytest.raises(AssertionError, match="found again"):
        self_test.run(scene)
