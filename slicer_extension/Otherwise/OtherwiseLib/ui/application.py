"""The partners that only Slicer itself can give: timers, settings, questions, pages and pictures."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Callable

import qt
import slicer
from slicer.i18n import tr as _


class QtTimer:
    """A timer of the main thread."""

    def __init__(self) -> None:
        self._timer = qt.QTimer()
        self._callback: Callable[[], None] | None = None
        self._timer.timeout.connect(self._turn)

    def start(self, milliseconds: int, callback: Callable[[], None]) -> None:
        """Begin."""
        self._callback = callback
        self._timer.start(milliseconds)

    def stop(self) -> None:
        """End."""
        self._timer.stop()
        self._callback = None

    def _turn(self) -> None:
        if self._callback is not None:
            self._callback()


class QtSettings:
    """What Slicer remembers between sessions."""

    def get(self, key: str, default: str) -> str:
        """A value."""
        return str(qt.QSettings().value(key, default))

    def set(self, key: str, value: str) -> None:
        """Remember a value."""
        qt.QSettings().setValue(key, value)


def confirm(question: str) -> bool:
    """Ask a question with yes and no."""
    return bool(slicer.util.confirmYesNoDisplay(question, windowTitle=_("Otherwise")))


def open_page(name: str, page: str) -> None:
    """Show a page in the web browser; its file stays until Slicer's temporary folder is emptied."""
    path = Path(tempfile.mkdtemp(prefix="otherwise-", dir=slicer.app.temporaryPath)) / f"{name}.html"
    path.write_text(page, encoding="utf-8")
    qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))


def ask_path(suggestion: str) -> str:
    """Ask where to save; empty: nowhere."""
    return str(qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Save as"), suggestion))


def grab(path: str) -> None:
    """Save a picture of the views."""
    slicer.app.layoutManager().viewport().grab().save(path)


def update_proxies(browser: Any) -> None:
    """Let the node that a browser's slider moves follow it."""
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)


def draw(segmentation: Any, volume: Any) -> None:
    """Open the Segment Editor, to draw on a volume."""
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(volume)
