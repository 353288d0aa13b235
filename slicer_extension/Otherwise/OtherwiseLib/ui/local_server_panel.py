"""The part of the Server section that starts a server on this machine: widgets only."""

from __future__ import annotations

from typing import Any, Callable

from slicer.i18n import tr as _

from ..client.address import without_secret
from ..logic.local_server import ENVIRONMENT, STUDIES, LocalServer
from . import texts
from .connections import Connections


class LocalServerPanel:
    """Connects the widgets of the local server with ``LocalServer``.

    Args:
        ui: Namespace of the widgets of ``Otherwise.ui``, by name.
        server: Starts and stops the server.
        ask_folder: Asks for a folder; empty: none.
        show_text: Shows a long text under a title.
        connect: Connects to an address.
    """

    def __init__(
        self,
        ui: Any,
        server: LocalServer,
        ask_folder: Callable[[str], str],
        show_text: Callable[[str, str], None],
        connect: Callable[[str], None],
    ) -> None:
        self.ui = ui
        self.server = server
        self._ask_folder, self._show_text, self._connect = ask_folder, show_text, connect
        self._connections = Connections()
        ui.environmentEdit.text = server.settings.get(ENVIRONMENT, "")
        ui.studiesEdit.text = server.settings.get(STUDIES, "")
        for signal, slot in (
            (ui.environmentButton.clicked, self.on_environment),
            (ui.studiesButton.clicked, self.on_studies),
            (ui.startServerButton.clicked, self.on_start),
            (ui.stopServerButton.clicked, self.on_stop),
            (ui.serverLogButton.clicked, self.on_log),
            (ui.environmentEdit.textChanged, self.update),
            (server.changed, self.update),
            (server.ready, self.ready),
            (server.failed, self.failed),
        ):
            self._connections.add(signal, slot)
        self.update()

    def close(self) -> None:
        """Stop the server and disconnect everything."""
        self._connections.close()
        self.server.stop()

    def on_environment(self, *_unused: object) -> None:
        """Choose the Python environment."""
        folder = self._ask_folder(_("Python environment in which otherwise is installed"))
        if folder:
            self.ui.environmentEdit.text = folder

    def on_studies(self, *_unused: object) -> None:
        """Choose the folder of images."""
        folder = self._ask_folder(_("Images that the server offers"))
        if folder:
            self.ui.studiesEdit.text = folder

    def on_start(self, *_unused: object) -> None:
        """Start the server."""
        self.ui.localServerLabel.text = ""
        self.server.start(self.ui.environmentEdit.text.strip(), self.ui.studiesEdit.text.strip())

    def on_stop(self, *_unused: object) -> None:
        """Stop the server."""
        self.server.stop()

    def on_log(self, *_unused: object) -> None:
        """Show the server's log."""
        self._show_text(_("Log of the local server"), self.server.log or _("It has written nothing yet."))

    def ready(self, address: str) -> None:
        """Connect to the server, which answers now."""
        self._connect(address)

    def failed(self, error: BaseException) -> None:
        """Show why the server did not start, or that it ended."""
        self.ui.localServerLabel.text = texts.trouble(error, _)

    def update(self, *_unused: object) -> None:
        """Show the server's state, and enable the buttons that work now."""
        ui, server = self.ui, self.server
        named = bool(ui.environmentEdit.text.strip())
        ui.startServerButton.enabled = named and not server.running
        ui.startServerButton.toolTip = (
            _("Start a server on this machine, and connect to it") if named else _("Choose the environment first.")
        )
        ui.stopServerButton.enabled = server.running
        # What it writes while it starts is told by nothing, and is what somebody who waits wants to read.
        ui.serverLogButton.enabled = server.running or bool(server.log)
        if server.running and not server.address:
            ui.localServerLabel.text = _("The server is starting …")
        elif server.running:
            ui.localServerLabel.text = _("The server runs at {address}.").format(address=without_secret(server.address))
        elif ui.localServerLabel.text.startswith(_("The server ")):
            ui.localServerLabel.text = _("The server was stopped.")
        ui.localServerLabel.visible = bool(ui.localServerLabel.text)
