"""The part of the Teach section that chooses the region to speak of: one of the explanation, or a drawn one."""

from __future__ import annotations

from typing import Any, Callable

import slicer
from slicer.i18n import tr as _

from ..mrml import segments
from .connections import Connections
from .explanation_panel import ExplanationPanel


class RegionChoice:
    """Knows the chosen region, and lets the user draw one.

    Args:
        ui: Namespace of the widgets of ``Otherwise.ui``, by name.
        viewer: Holds the explanation that is shown, and the selected region.
        scene: Returns the MRML scene.
        draw: Opens the Segment Editor with a segmentation and the volume to draw on.
        changed: Called when another segment may be chosen.
        refused: Called with the reason why a region cannot be sent.
    """

    def __init__(
        self,
        ui: Any,
        viewer: ExplanationPanel,
        scene: Callable[[], Any],
        draw: Callable[[Any, Any], None],
        changed: Callable[[], None],
        refused: Callable[[str], None],
    ) -> None:
        self.ui, self.viewer = ui, viewer
        self._scene, self._draw, self._changed, self._refused = scene, draw, changed, refused
        self._connections = Connections()
        self._observed: list[tuple[Any, int]] = []
        self._segments: list[tuple[str, str]] = []
        self._connections.add(ui.drawButton.clicked, self.on_draw)
        self._connections.add(ui.segmentationSelector.currentNodeChanged, self.on_segmentation)
        self._connections.add(ui.segmentBox.currentIndexChanged, lambda *_unused: changed())

    def close(self) -> None:
        """Stop observing and disconnect everything."""
        self._observe(None)
        self._connections.close()

    def on_draw(self, *_unused: object) -> None:
        """Open the Segment Editor on the image of the explanation."""
        volume = self.volume()
        if volume is None:
            return
        node = self.ui.segmentationSelector.currentNode()
        if node is None:
            node = segments.new_drawing(self._scene(), volume, _("Drawn regions"))
            self.ui.segmentationSelector.setCurrentNode(node)
        self._draw(node, volume)

    def on_segmentation(self, *_unused: object) -> None:
        """List the segments of the chosen drawing."""
        node = self.ui.segmentationSelector.currentNode()
        if node is not None and node.GetScene() is None:
            node = None
        self._observe(node)
        chosen = self._segment()
        self._segments = segments.segments_of(node)
        self.ui.segmentBox.clear()
        for _id, name in self._segments:
            self.ui.segmentBox.addItem(name)
        ids = [id for id, name in self._segments]
        self.ui.segmentBox.currentIndex = ids.index(chosen) if chosen in ids else len(ids) - 1
        self._changed()

    def subject(self) -> dict | None:
        """Return the chosen region in the form that the server reads.

        None: no region is chosen, or it cannot be sent and a message says why.
        """
        shown, segment = self.viewer.shown, self._segment()
        if segment:
            about = {"explanation": shown.id} if shown is not None else {"image": self._image()}
            try:
                node = self.ui.segmentationSelector.currentNode()
                return {**about, "region": segments.region_of(node, segment, self.volume())}
            except segments.RegionError as error:
                self._refused(_(str(error)))
                return None
        label = self.viewer.selected_label
        return {"explanation": shown.id, "region": {"label": label}} if shown is not None and label else None

    def about(self) -> str:
        """Return the chosen region in words; empty: none is chosen."""
        shown, segment = self.viewer.shown, self._segment()
        if segment:
            if shown is None and not self._image():
                return ""
            name = dict(self._segments)[segment]
            image = shown.image_name if shown is not None else self._image()
            return _("About: {name}, drawn on {image}").format(name=name, image=image)
        label = self.viewer.selected_label
        return _("About: region {label} of the explanation").format(label=label) if shown is not None and label else ""

    def volume(self) -> Any:
        """Return the volume to draw on."""
        shown = self.viewer.shown
        return shown.get("original") if shown is not None else self.ui.volumeSelector.currentNode()

    def _segment(self) -> str:
        """Return the id of the chosen segment; empty: none."""
        index = self.ui.segmentBox.currentIndex
        some = self.ui.segmentationSelector.currentNode() is not None and 0 <= index < len(self._segments)
        return self._segments[index][0] if some else ""

    def _image(self) -> str:
        """Return the id of the chosen image of the server; empty: a volume of the scene is chosen."""
        return "" if self.ui.volumeSelector.currentNode() is not None else self.ui.studyBox.currentText

    def _observe(self, node: Any) -> None:
        """Observe the segments of a segmentation."""
        if [watched for watched, tag in self._observed] and self._observed[0][0] is node:
            return
        for watched, tag in self._observed:
            watched.RemoveObserver(tag)
        self._observed = []
        events = slicer.vtkSegmentation
        for event in (events.SegmentAdded, events.SegmentRemoved, events.SegmentModified) if node is not None else ():
            self._observed.append((node, node.AddObserver(event, self.on_segmentation)))
