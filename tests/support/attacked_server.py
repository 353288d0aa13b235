"""A server in this process that tests attack, and the files around its studies."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
from fastapi.testclient import TestClient


class AttackedServer:
    """A server in this process, and what lies around its studies."""

    def __init__(self, client: TestClient, app: Any, root: Path) -> None:
        self.client, self.app, self.root = client, app, root
        self.studies = root / "studies"
        self.image = (self.studies / "dark.nrrd").read_bytes()

    def refuses(self, reply: httpx.Response, *statuses: int) -> dict[str, str]:
        assert reply.status_code in (statuses or (400, 403, 404, 409, 413, 422)), reply.text
        content: dict[str, str] = reply.json()
        assert set(content) == {"error", "detail", "hint"}
        assert str(self.root) not in reply.text
        assert "Traceback" not in reply.text
        return content

    def files(self) -> set[Path]:
        """Everything around, but what lies in the state and the record itself."""
        return {
            path.relative_to(self.root)
            for path in self.root.rglob("*")
            if path.is_file() and not path.is_relative_to(self.root / "state") and path.name != ".lock"
        }
