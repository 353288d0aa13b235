"""A server on this machine, started from the panel: a real process that speaks as ``otherwise serve`` does."""

from __future__ import annotations

import os
import stat
import sys
import time
from pathlib import Path
from typing import Any

import pytest

slicer = pytest.importorskip("slicer", exc_type=ImportError, reason="slicer-core is not installed")
pytest.importorskip("PySide6", exc_type=ImportError, reason="PySide6-Essentials is not installed")

from OtherwiseLib.logic.local_server import ENVIRONMENT, command_of  # noqa: E402
from support.panel_session import PanelSession  # noqa: E402

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the command is a shell script here")

SERVES = """
import signal, sys, time
folder = sys.argv[sys.argv.index("--studies") + 1]
print("starting up", flush=True)
print(f"Serving {folder} at http://127.0.0.1:8765/s3cr3t (this is the address for Slicer). Ctrl-C stops.", flush=True)
time.sleep(60)
"""
SLOW = """
import time
print("reading the models", flush=True)
time.sleep(60)
"""
FAILS = """
print("Traceback: something else")
print("The classifier cannot be read. Give another one.")
raise SystemExit(1)
"""


def environment(folder: Path, program: str) -> Path:
    """Make a folder that looks like a Python environment in which ``otherwise`` is installed."""
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "python").symlink_to(sys.executable)
    script = folder / "bin" / "otherwise"
    script.write_text(f"#!{sys.executable}\n{program}")
    script.chmod(script.stat().st_mode | stat.S_IXUSR)
    return folder


def test_a_server_is_started_connected_to_and_stopped(app: PanelSession, tmp_path: Path) -> None:
    app.answers["folder"] = str(environment(tmp_path / "env", SERVES))
    assert not app.ui.startServerButton.isEnabled()
    assert "environment" in app.ui.startServerButton.toolTip()
    app.press("environmentButton")
    app.press("startServerButton")
    assert app.ui.localServerLabel.text() == "The server is starting …"
    app.until(lambda: app.logic.about is not None and not app.logic.busy)
    assert app.clients[-1].address == "http://127.0.0.1:8765/s3cr3t"
    assert "s3cr3t" not in str(app.settings), "the secret of the address is not stored"
    assert app.ui.localServerLabel.text() == "The server runs at http://127.0.0.1:8765."
    assert app.settings[ENVIRONMENT] == str(tmp_path / "env")
    app.press("serverLogButton")
    assert "starting up" in app.pages[-1][1]
    process: Any = app.panel.local.server._process
    app.press("stopServerButton")
    assert process.poll() is not None
    assert app.ui.localServerLabel.text() == "The server was stopped."
    assert app.ui.startServerButton.isEnabled()


def test_a_server_that_is_slow_to_start_can_be_looked_at_meanwhile(app: PanelSession, tmp_path: Path) -> None:
    app.ui.environmentEdit.setText(str(environment(tmp_path / "env", SLOW)))
    app.press("startServerButton")
    app.press("serverLogButton")
    assert "nothing yet" in app.pages[-1][1] or "reading" in app.pages[-1][1]
    app.until(lambda: "reading the models" in app.panel.local.server.log)
    app.press("serverLogButton")
    assert "reading the models" in app.pages[-1][1]


def test_what_was_wrong_before_a_local_server_answered_is_over(app: PanelSession, tmp_path: Path) -> None:
    app.ui.addressEdit.setText("no address at all")
    app.press("connectButton")
    app.until(lambda: not app.logic.busy)
    assert app.ui.trouble.text()
    app.ui.environmentEdit.setText(str(environment(tmp_path / "env", SERVES)))
    app.press("startServerButton")
    app.until(lambda: app.logic.about is not None and not app.logic.busy)
    assert not app.ui.trouble.text()


def test_the_server_ends_with_the_panel(app: PanelSession, tmp_path: Path) -> None:
    app.ui.environmentEdit.setText(str(environment(tmp_path / "env", SERVES)))
    app.press("startServerButton")
    process: Any = app.panel.local.server._process
    begun = time.monotonic()
    app.panel.local.close()
    assert process.poll() is not None
    assert time.monotonic() - begun < 5


def test_a_server_that_ends_by_itself_says_why(app: PanelSession, tmp_path: Path) -> None:
    app.ui.environmentEdit.setText(str(environment(tmp_path / "env", FAILS)))
    app.press("startServerButton")
    app.until(lambda: "ended" in app.ui.localServerLabel.text())
    assert "The classifier cannot be read. Give another one." in app.ui.localServerLabel.text()
    app.press("serverLogButton")
    assert "something else" in app.pages[-1][1]
    assert app.ui.startServerButton.isEnabled()


def test_where_it_is_not_installed_the_one_command_is_told(app: PanelSession, tmp_path: Path) -> None:
    folder = environment(tmp_path / "env", SERVES)
    (folder / "bin" / "otherwise").unlink()
    for given, command in (
        (folder, f"{folder}/bin/python -m pip install slicer-otherwise"),
        (tmp_path, "is no Python environment"),
        (tmp_path / "nothing", "There is no folder"),
    ):
        app.ui.environmentEdit.setText(str(given))
        app.press("startServerButton")
        assert command in app.ui.localServerLabel.text()
    app.ui.environmentEdit.setText(str(environment(tmp_path / "other", SERVES)))
    app.ui.studiesEdit.setText(str(tmp_path / "no studies"))
    app.press("startServerButton")
    assert "There is no folder" in app.ui.localServerLabel.text()


def test_the_command_itself_may_be_chosen(tmp_path: Path) -> None:
    script = environment(tmp_path / "env", SERVES) / "bin" / "otherwise"
    assert command_of(script) == script
