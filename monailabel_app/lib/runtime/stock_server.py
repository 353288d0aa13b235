"""MONAI Label's FastAPI server, imported without its output."""

from __future__ import annotations

from contextlib import redirect_stdout
from io import StringIO

from fastapi import FastAPI


def stock_server() -> FastAPI:
    """Return MONAI Label's server.

    On import it prints ``Allow Origins: ['*']``. That frightens for nothing, since our own rules for origins
    replace MONAI Label's before the server listens.
    """
    with redirect_stdout(StringIO()):
        from monailabel.app import app
    return app
