"""Lend MONAI Label's only server to the app of one test."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from fastapi import FastAPI
from fastapi.testclient import TestClient

from otherwise.resources import app_folder


def find_modules() -> None:
    """Make ``lib`` importable, the app's modules, which MONAI Label loads from the app's folder."""
    if str(app_folder()) not in sys.path:
        sys.path.insert(0, str(app_folder()))


@cache
def app_class() -> Any:
    """Return the class of the app as MONAI Label finds it: once, since its modules would be loaded anew each time."""
    from monailabel.utils.others.class_utils import get_class_of_subclass_from_file

    return get_class_of_subclass_from_file("main", str(app_folder() / "main.py"), "MONAILabelApp")


def let_in(client: TestClient, app: Any) -> TestClient:
    """Give a client the secret of a server without tokens."""
    if app.address_path:
        client.headers["Authorization"] = f"Bearer {app.address_path.rpartition('/')[2]}"
    return client


@contextmanager
def open_app(app_class: Any, studies: Path, conf: dict[str, str], *explainer: Any) -> Iterator[tuple[TestClient, Any]]:
    """An app on the studies, and a client of its server; what goes on in the background has begun."""
    from monailabel.config import settings
    from monailabel.interfaces.utils.app import apps

    with _alone() as server:
        app = app_class(str(app_folder()), str(studies), conf, *explainer)
        settings.MONAI_LABEL_APP_DIR, settings.MONAI_LABEL_STUDIES = str(app_folder()), str(studies)
        apps[f"{app_folder()}{studies}"] = app
        app.begin()
        try:
            yield let_in(TestClient(server, base_url="http://127.0.0.1"), app), app
        finally:
            app.close()


@contextmanager
def _alone() -> Iterator[FastAPI]:
    """The server, given back to whichever app had it."""
    from monailabel.app import app as server
    from monailabel.config import settings
    from monailabel.interfaces.utils.app import apps

    from lib.install.server import install_app

    former, kept = getattr(server.state, "otherwise", None), dict(apps)
    folders = settings.MONAI_LABEL_APP_DIR, settings.MONAI_LABEL_STUDIES
    sessions, settings.MONAI_LABEL_SESSION_PATH = settings.MONAI_LABEL_SESSION_PATH, ""  # each app has its own
    server.state.otherwise = None
    try:
        yield server
    finally:
        server.state.otherwise = None
        settings.MONAI_LABEL_APP_DIR, settings.MONAI_LABEL_STUDIES = folders
        settings.MONAI_LABEL_SESSION_PATH = sessions
        apps.clear()
        apps.update(kept)
        if former is not None:
            install_app(former)
