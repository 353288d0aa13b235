"""Open and save the report of an explanation, and save a screenshot of the views."""

from __future__ import annotations

from pathlib import Path
from typing import Callable

from slicer.i18n import tr as _

from ..client.errors import ServerError
from ..logic.logic import Logic
from ..mrml.explanations import ShownExplanation


class ReportFiles:
    """Opens and saves reports and screenshots.

    Args:
        logic: Gets PDF files from the server, and reports what was saved or failed.
        open_page: Opens an HTML text, given a name and the text.
        ask_path: Asks where to save: takes a suggestion, returns a path or an empty text.
        grab: Saves a screenshot of the views to a path.
    """

    def __init__(
        self,
        logic: Logic,
        open_page: Callable[[str, str], None],
        ask_path: Callable[[str], str],
        grab: Callable[[str], None],
    ) -> None:
        self._logic, self._open_page, self._ask_path, self._grab = logic, open_page, ask_path, grab

    def open(self, shown: ShownExplanation | None) -> None:
        """Open the report, if there is one."""
        page = _page_of(shown)
        if page:
            self._open_page(shown.id, page)

    def save(self, shown: ShownExplanation | None) -> None:
        """Save the report as HTML, or as PDF, which the server makes."""
        page = _page_of(shown)
        path = self._ask_path(f"{shown.id}.html") if page else ""
        if path.lower().endswith(".pdf"):
            self._logic.save_pdf(shown, Path(path))
        elif path:
            self._write(path, lambda: Path(path).write_bytes(page.encode("utf-8")))

    def save_screenshot(self, shown: ShownExplanation | None) -> None:
        """Save a screenshot of the views."""
        path = self._ask_path(f"{shown.id}.png") if shown is not None else ""
        if path:
            self._write(path, lambda: self._grab(path))

    def _write(self, path: str, write: Callable[[], object]) -> None:
        """Write a file, and report where it is or why it cannot be written."""
        try:
            write()
        except OSError as error:
            reason = error.strerror or str(error)
            detail = _("{path} cannot be written: {reason}.").format(path=path, reason=reason)
            self._logic.failed.emit(ServerError("file", detail, _("Choose another place.")))
        else:
            self._logic.saved.emit(Path(path))


def _page_of(shown: ShownExplanation | None) -> str:
    """Return the report as HTML; empty if there is none."""
    node = shown.get("report") if shown is not None else None
    return node.GetText() if node is not None else ""
