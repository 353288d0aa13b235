"""What only Slicer itself offers: timers, settings, dialogs, web pages and screenshots."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any, Callable

import qt
import slicer
from slicer.i18n import tr as _


class QtTimer:
    """A timer of the main thread, which is deleted by ``stop``.

    PythonQt keeps a connected method alive as long as the timer, and the method keeps the timer: a circle that leaks.
    """

    def __init__(self) -> None:
        self._timer: Any = None
        self._callback: Callable[[], None] | None = None

    def start(self, milliseconds: int, callback: Callable[[], None]) -> None:
        """Start to call ``callback`` at this interval; restart a running timer."""
        self.stop()
        self._timer, self._callback = qt.QTimer(), callback
        self._timer.timeout.connect(callback)
        self._timer.start(milliseconds)

    def stop(self) -> None:
        """Stop and delete the timer."""
        timer, callback = self._timer, self._callback
        self._timer = self._callback = None
        if timer is not None:
            timer.stop()
            timer.timeout.disconnect(callback)
            timer.deleteLater()


class QtSettings:
    """Slicer's settings, which outlive the application."""

    def get(self, key: str, default: str) -> str:
        """Return a value."""
        return str(qt.QSettings().value(key, default))

    def set(self, key: str, value: str) -> None:
        """Remember a value."""
        qt.QSettings().setValue(key, value)


def confirm(question: str) -> bool:
    """Ask a yes-no question."""
    return bool(slicer.util.confirmYesNoDisplay(question, windowTitle=_("Otherwise")))


def open_page(name: str, page: str) -> None:
    """Show a page in the web browser; its file stays until Slicer's temporary folder is emptied."""
    path = Path(tempfile.mkdtemp(prefix="otherwise-", dir=slicer.app.temporaryPath)) / f"{name}.html"
    path.write_text(page, encoding="utf-8")
    qt.QDesktopServices.openUrl(qt.QUrl.fromLocalFile(str(path)))


def ask_folder(title: str) -> str:
    """Ask for a folder; empty: the user chose none."""
    return str(qt.QFileDialog.getExistingDirectory(slicer.util.mainWindow(), title))


def show_text(title: str, text: str) -> None:
    """Show a long text in a window of its own."""
    slicer.util.infoDisplay(title, windowTitle=_("Otherwise"), detailedText=text)


def outside_environment() -> dict[str, str]:
    """Return the environment variables for a program that is not Slicer's; Slicer's own mislead another Python."""
    return dict(slicer.util.startupEnvironment())


def ask_path(suggestion: str) -> str:
    """Ask where to save; empty: the user cancelled."""
    return str(qt.QFileDialog.getSaveFileName(slicer.util.mainWindow(), _("Save as"), suggestion))


def grab(path: str) -> None:
    """Save a screenshot of the views.

    Raises:
        OSError: if it cannot be written, or the name does not end as that of a picture.
    """
    if not slicer.app.layoutManager().viewport().grab().save(path):
        raise OSError(_("the folder may be closed to you, or the name does not end in .png or .jpg"))


def update_proxies(browser: Any) -> None:
    """Update the node that a browser's slider moves."""
    slicer.modules.sequences.logic().UpdateProxyNodesFromSequences(browser)


def draw(segmentation: Any, volume: Any) -> None:
    """Open the Segment Editor, to draw on a volume."""
    slicer.util.selectModule("SegmentEditor")
    editor = slicer.modules.segmenteditor.widgetRepresentation().self().editor
    editor.setSegmentationNode(segmentation)
    editor.setSourceVolumeNode(volume)
