"""What would make the model decide otherwise? The 3D Slicer module: everything of interest is in OtherwiseLib."""

from __future__ import annotations

import slicer
from slicer.i18n import tr as _
from slicer.i18n import translate
from slicer.ScriptedLoadableModule import (
    ScriptedLoadableModule,
    ScriptedLoadableModuleLogic,
    ScriptedLoadableModuleTest,
    ScriptedLoadableModuleWidget,
)
from slicer.util import VTKObservationMixin


class Otherwise(ScriptedLoadableModule):
    """What Slicer shows of the module before it is opened."""

    def __init__(self, parent: object) -> None:
        ScriptedLoadableModule.__init__(self, parent)
        self.parent.title = _("Otherwise")
        self.parent.categories = [translate("qSlicerAbstractCoreModule", "Active Learning")]
        self.parent.dependencies = ["Sequences", "Segmentations"]
        self.parent.contributors = ["The Otherwise developers"]
        self.parent.helpText = _(
            "What would make a classifier of medical images decide otherwise? An Otherwise server gets the image and "
            "searches the smallest plausible change for which the classifier changes its mind. For research only."
        )
        self.parent.acknowledgementText = _(
            "After DiffExplainer (arXiv 2406.15182) and Lu and Perer (arXiv 2210.08979)."
        )
        slicer.app.connect("startupCompleted()", register_sample_data)


def register_sample_data() -> None:
    """Offer the phantoms in the Sample Data module."""
    from OtherwiseLib.samples.phantoms import register

    register()


class OtherwiseWidget(ScriptedLoadableModuleWidget, VTKObservationMixin):
    """Brings widget, logic and scene together."""

    def __init__(self, parent: object = None) -> None:
        ScriptedLoadableModuleWidget.__init__(self, parent)
        VTKObservationMixin.__init__(self)
        self.panel = None

    def setup(self) -> None:
        """Make the panel."""
        from OtherwiseLib.ui.assembly import make_panel

        ScriptedLoadableModuleWidget.setup(self)
        widget = slicer.util.loadUI(self.resourcePath("UI/Otherwise.ui"))
        self.layout.addWidget(widget)
        widget.setMRMLScene(slicer.mrmlScene)
        logic = OtherwiseLogic()
        self.logic = logic.make()
        ui = slicer.util.childWidgetVariables(widget)
        self.panel = make_panel(ui, self.logic, logic.parameters)
        scene = slicer.mrmlScene
        self.addObserver(scene, scene.StartCloseEvent, lambda *_unused: self.logic.close())
        for event in (scene.EndCloseEvent, scene.EndImportEvent):
            self.addObserver(scene, event, lambda *_unused: self.panel.scene_changed())

    def cleanup(self) -> None:
        """End what the panel has begun."""
        self.removeObservers()
        if self.panel is not None:
            self.panel.close()


class OtherwiseLogic(ScriptedLoadableModuleLogic):
    """Makes the logic with Slicer's own parts; usable from Python scripts without the panel."""

    def make(self) -> object:
        """Return a new ``OtherwiseLib.logic.Logic`` on Slicer's scene."""
        from OtherwiseLib.logic.logic import Logic
        from OtherwiseLib.ui import application

        return Logic(
            slicer.mrmlScene,
            application.QtSettings(),
            application.QtTimer,
            update_proxies=application.update_proxies,
        )

    def parameters(self) -> object:
        """Return the choices saved in the present scene."""
        from OtherwiseLib.logic.parameters import Parameters

        return Parameters(self.getParameterNode())


class OtherwiseTest(ScriptedLoadableModuleTest):
    """What users can run inside Slicer: Reload and Test."""

    def runTest(self) -> None:  # noqa: N802 - Slicer's name
        """Draw a phantom and bring a made-up explanation of it into the scene and out again."""
        from OtherwiseLib.samples.self_test import run
        from OtherwiseLib.ui import application

        slicer.mrmlScene.Clear()
        self.delayDisplay(_("Testing"))
        run(slicer.mrmlScene, application.update_proxies)
        self.delayDisplay(_("Passed"))
