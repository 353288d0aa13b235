"""A fake of the server's routes for versions of models and for trainings."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

ABOUT = {
    "versions": {"otherwise": "0.1.0"},
    "classifiers": [
        {
            "name": "mammogram_classifier",
            "version": "9a1505c5",
            "classes": ["benign", "malignant"],
            "inputs": {"spatial_dims": 2, "size": [96, 96], "modality": "MG"},
        }
    ],
    "agents": [{"name": "mammogram_agent", "version": "538c7c38"}],
    "methods": [],
    "devices": [{"name": "cpu", "title": "CPU"}],
}
AGENT = {"name": "mammogram_agent", "trained_here": False}
NOTE = "Trained on the studies: validity {before:.3f} before, {after:.3f} after, on 40 held-out images{worse}."


def version_id(number: int) -> str:
    return hashlib.sha256(str(number).encode()).hexdigest()[:16]


def version(number: int, before: float | None, after: float | None) -> dict[str, Any]:
    """Return a version of the models; without figures it is the one that the server was started with."""
    first = after is None or before is None
    worse = "; worse, so it is kept but not used" if not first and after < before - 0.02 else ""
    content = "538c7c38" if first else f"{number:08x}"
    return {
        "id": version_id(number),
        "created": f"2030-01-31T12:{number:02d}:00+00:00",
        "classifier": {"name": "mammogram_classifier", "version": "9a1505c5", "trained_here": False},
        "agent": {**AGENT, "version": content, "trained_here": not first},
        "parent": "" if first else version_id(0),
        "images": None if first else 160,
        "before": None if first else {"validity": before, "images": 40},
        "after": None if first else {"validity": after, "images": 40},
        "note": "The server was started with it." if first else NOTE.format(before=before, after=after, worse=worse),
    }


@dataclass
class FakeModelVersions:
    """Versions of the models and MONAI Label's trainings, with the replies of the real server.

    Attributes:
        versions: The oldest first.
        active: Id of the one that was chosen.
        used: Id of the one that answers; the server switches after ``lag`` more requests.
        former: Ids that were chosen before, the last first.
        problem: Why it does not switch.
        offered: Whether the server has these routes.
        forbidden: Status and content of the refusal of every change; (0, ...): none is refused.
        slow: Changes wait until this is set.
        trainings: The tasks, the newest last.
        bodies: Bodies of the changes.
    """

    versions: list[dict[str, Any]] = field(default_factory=lambda: [version(0, None, None)])
    active: str = version_id(0)
    used: str = version_id(0)
    former: list[str] = field(default_factory=list)
    lag: int = 0
    problem: str = ""
    offered: bool = True
    forbidden: tuple[int, dict[str, str]] = (0, {})
    slow: threading.Event = field(default_factory=threading.Event)
    trainings: list[dict[str, Any]] = field(default_factory=list)
    bodies: list[dict[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.slow.set()

    def __call__(self, visit: Any) -> None:
        """Answer one request."""
        path = urlsplit(visit.path).path
        if visit.method != "GET" and self.forbidden[0]:
            visit.json(self.forbidden[1], self.forbidden[0])
        elif not self.offered or not self.slow.wait(10):
            visit.json({"detail": "Not Found"}, 404)
        elif (visit.method, path) == ("GET", "/otherwise/models"):
            visit.json(self.reply())
        elif (visit.method, path) == ("GET", "/train/"):
            missing = {"detail": "No Train Tasks Found"}
            visit.json(self.trainings[-1] if self.trainings else missing, 200 if self.trainings else 404)
        elif (visit.method, path) == ("DELETE", "/train/"):
            visit.json(self.end("STOPPED") if self.running else None)
        elif (visit.method, path) == ("POST", "/train/agent"):
            self._train(visit)
        elif (visit.method, path) == ("POST", "/otherwise/models/rollback"):
            self._roll_back(visit)
        elif visit.method == "POST" and (found := re.fullmatch("/otherwise/models/([0-9a-f]{16})/activate", path)):
            self.bodies.append(json.loads(visit.body))
            self.choose(found[1])
            visit.json(self.reply())
        else:
            visit.json({"detail": "Not Found"}, 404)

    @property
    def running(self) -> bool:
        return bool(self.trainings) and self.trainings[-1]["status"] == "RUNNING"

    def about(self) -> dict[str, Any]:
        """Return what is hosted."""
        used = next(v for v in self.versions if v["id"] == self.used)
        return {**ABOUT, "agents": [{"name": used["agent"]["name"], "version": used["agent"]["version"]}]}

    def reply(self) -> dict[str, Any]:
        if self.lag:
            self.lag -= 1
        elif not self.problem:
            self.used = self.active
        versions = [{**v, "in_use": v["id"] == self.used} for v in self.versions]
        reason = next(v["note"] for v in self.versions if v["id"] == self.active)
        return {"active": self.active, "reason": reason, "problem": self.problem, "versions": versions}

    def choose(self, id: str) -> None:
        self.former.insert(0, self.active)
        self.active = id

    def say(self, line: str) -> None:
        """Add a line to the log of the running training."""
        self.trainings[-1]["details"].append(line)

    def end(self, status: str) -> dict[str, Any]:
        self.trainings[-1].update(status=status, end_ts="2030-01-31 12:30:00")
        return self.trainings[-1]

    def make(self, before: float, after: float) -> None:
        """End the training with a new version, which is chosen unless it is worse."""
        made = version(len(self.versions), before, after)
        self.versions.append(made)
        if after >= before - 0.02:
            self.choose(made["id"])
        self.end("DONE")

    def begin(self, request: dict[str, Any]) -> dict[str, Any]:
        """Start a training, as any client may."""
        task = {
            "id": f"task-{len(self.trainings)}",
            "status": "RUNNING",
            "request": {"model": "agent", **request},
            "start_ts": "2030-01-31 12:00:00",
            "details": [],
        }
        self.trainings.append(task)
        return task

    def _train(self, visit: Any) -> None:
        self.bodies.append(json.loads(visit.body))
        if self.running:
            visit.json({"detail": "++++++++++ Train Task is Already Running"}, 429)
        else:
            visit.json({k: v for k, v in self.begin(self.bodies[-1]).items() if k != "details"})

    def _roll_back(self, visit: Any) -> None:
        self.bodies.append(json.loads(visit.body))
        if not self.former:
            detail = "Nothing else was in use before."
            visit.json({"error": "model", "detail": detail, "hint": "Activate a version."}, 404)
            return
        self.active = self.former.pop(0)
        visit.json(self.reply())
