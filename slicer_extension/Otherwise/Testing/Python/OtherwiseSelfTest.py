"""The tests that Slicer's build runs; none of them needs a server, network or data."""

from __future__ import annotations

import unittest

import slicer


class OtherwiseSelfTest(unittest.TestCase):
    """Brings explanations into Slicer's scene and out again, and opens the panel."""

    def setUp(self) -> None:
        """Begin with an empty scene."""
        slicer.mrmlScene.Clear()

    def test_an_explanation_is_shown_and_removed(self) -> None:
        """Draw a phantom, show a made-up explanation of it, walk through it and remove it."""
        from OtherwiseLib.samples.self_test import run
        from OtherwiseLib.ui.application import update_proxies

        run(slicer.mrmlScene, update_proxies)

    def test_the_samples_are_drawn(self) -> None:
        """Draw both phantoms."""
        from OtherwiseLib.samples import phantoms

        for name, draw in ((phantoms.MAMMOGRAM, phantoms.mammogram), (phantoms.NODULE, phantoms.nodule)):
            volume = phantoms.add_sample(slicer.mrmlScene, name, *draw())
            assert volume.GetImageData().GetNumberOfPoints() > 0

    def test_the_panel_opens(self) -> None:
        """Open the module, and look whether its selectors know the scene."""
        slicer.util.selectModule("Otherwise")
        panel = slicer.modules.otherwise.widgetRepresentation().self().panel
        assert panel.ui.volumeSelector.mrmlScene() is slicer.mrmlScene
