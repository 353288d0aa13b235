"""Slicer's own slice views, rendered in memory."""

from __future__ import annotations

from typing import Any

import numpy as np


class OffscreenViews:
    """An application without windows: a scene, and a slice view for each name.

    A view is drawn when its picture is taken, and not after every change of the scene: Slicer draws once for many
    changes as well.

    Args:
        names: Of the views.
        edge: Pixels along each side of a view.
    """

    def __init__(self, names: tuple[str, ...], edge: int = 300) -> None:
        import slicer
        from trame_slicer.core import SlicerApp
        from trame_slicer.views import DirectViewFactory, ViewLayoutDefinition

        self.application = SlicerApp()
        self.scene = self.application.scene
        self.sequences = slicer.vtkSlicerSequencesLogic()
        self.sequences.SetMRMLScene(self.scene)
        self.application.view_manager.register_factory(DirectViewFactory(do_render_offscreen=True))
        self.views: dict[str, Any] = {}
        for name in names:
            self._open(name, ViewLayoutDefinition.axial_view(), edge)

    def add_solid(self, name: str, edge: int = 300) -> Any:
        """Open a 3-D view as well."""
        from trame_slicer.views import ViewLayoutDefinition

        return self._open(name, ViewLayoutDefinition.threed_view(), edge)

    def _open(self, name: str, definition: Any, edge: int) -> Any:
        from trame_slicer.views import NoScheduleRendering

        definition.singleton_tag = name
        view = self.application.view_manager.create_view(definition)
        view.set_scheduled_render(NoScheduleRendering())
        view.render_window().SetSize(edge, edge)
        self.views[name] = view
        return view

    def resize(self, name: str, width: int, height: int) -> None:
        """Give a slice view another size in pixels, as a window does."""
        view = self.views[name]
        view.render_window().SetSize(width, height)
        view.interactor().InvokeEvent("WindowResizeEvent")

    def fit(self) -> None:
        """Let every view show the whole of its image."""
        for view in self.views.values():
            view.fit_view_to_content()

    def picture(self, name: str) -> np.ndarray:
        """What a view shows: ``(rows, columns, 3)`` uint8."""
        import vtk
        from vtk.util.numpy_support import vtk_to_numpy

        view = self.views[name]
        view.render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(view.render_window())
        grabber.ReadFrontBufferOff()
        grabber.Update()
        image = grabber.GetOutput()
        columns, rows, _ = image.GetDimensions()
        pixels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(rows, columns, -1)
        return np.ascontiguousarray(pixels[::-1, :, :3])

    def close(self) -> None:
        """Give everything back."""
        for view in self.views.values():
            view.finalize()
        self.scene.Clear(True)
