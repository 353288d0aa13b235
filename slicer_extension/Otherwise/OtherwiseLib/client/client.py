"""The HTTP client of an Otherwise server. Knows neither Slicer nor Qt, so it runs and is tested anywhere."""

from __future__ import annotations

import contextlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Callable
from urllib.parse import quote

from .address import complete_address, host_of, is_loopback
from .endings import ending_of
from .errors import ServerError, broken
from .replies import checked_job, json_of, refusal_of, save

OLDEST_SERVER = (0, 1, 0)
"""Servers before this version lack something that the module needs."""
CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
"""No call waits longer than this for the next byte; long work runs as a job."""
SAFE_NAME = re.compile(r"(?![.])[A-Za-z0-9._-]{1,128}")


class Client:
    """An Otherwise server.

    Args:
        address: As a user types it; see ``complete_address``.
        token: Bearer token, if the server needs one.
        timeout: Seconds to connect, and seconds between two bytes.
    """

    def __init__(
        self, address: str, token: str | None = None, timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS)
    ) -> None:
        import requests

        self.address = complete_address(address)
        self._timeout = timeout
        self._session = requests.Session()
        # Requests to this machine do not go through the network's proxy.
        self._session.trust_env = not is_loopback(self.address)
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def log_in(self, user: str, password: str) -> None:
        """Exchange a user's name and password for a token, as MONAI Label's servers do.

        Raises:
            ServerError: ``unauthorised`` if they are wrong.
        """
        reply = self._ask("POST", "/auth/token", data={"username": user, "password": password})
        token = json_of(reply).get("access_token")
        if not isinstance(token, str):
            raise ServerError("unauthorised", "The server gave no token.", "Check user and password.")
        self._session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, status: int = 0, **arguments: object) -> dict:
        """Call a route that answers in JSON.

        Args:
            method: HTTP method.
            path: Path of the route.
            status: The only HTTP status to accept; 0 accepts every good one.
            arguments: As ``requests`` takes them.

        Raises:
            ServerError: if the answer is a refusal, or no JSON object, or of another status.
        """
        reply = self._ask(method, path, **arguments)
        if status and reply.status_code != status:
            raise broken(f"the status {status}")
        return json_of(reply)

    def has_answer(self, method: str, path: str) -> bool:
        """Call a route, and return whether its answer holds anything."""
        return self._ask(method, path).text.strip() not in ("", "null")

    def fetch(self, path: str, target: Path) -> Path:
        """Download a file from a route; it is there whole, or not at all."""
        return save(self._ask("GET", path, stream=True), target)

    def about(self) -> dict:
        """Return what the server runs: versions, classifiers, agents, devices, limits.

        Raises:
            ServerError: if it is no Otherwise server; its kind says what the address leads to instead.
        """
        try:
            about = json_of(self._ask("GET", "/otherwise/about"))
        except ServerError as error:
            if error.kind not in ("refused", "broken"):
                raise
            raise self._what_else() from error
        try:
            version = str(about["versions"]["otherwise"])
            classifier, agent = about["classifiers"][0], about["agents"][0]
            if not (classifier["classes"] and classifier["inputs"]["spatial_dims"] and agent["name"]):
                raise ValueError("empty")
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise self._what_else() from error
        if _numbers(version) < OLDEST_SERVER:
            oldest = ".".join(str(number) for number in OLDEST_SERVER)
            raise ServerError("too-old", f"The server runs Otherwise {version}.", f"Update it to {oldest} or newer.")
        return about

    def images(self) -> list[str]:
        """Return the ids of the images of the server's studies, sorted."""
        listed = json_of(self._ask("GET", "/datastore/", params={"output": "all"}))
        objects = listed.get("objects", {})
        if not isinstance(objects, dict):
            raise broken("a list of images")
        return sorted(str(name) for name in objects)

    def image(self, id: str, target: Path) -> Path:
        """Download an image of the studies; the file gets the ending that the server names.

        Args:
            id: Id of the image.
            target: Path without an ending.

        Raises:
            ServerError: ``broken`` if the server sends no image.
        """
        reply = self._ask("GET", "/datastore/image", params={"image": id}, stream=True)
        found = re.search(r'filename="?([^";]+)"?', reply.headers.get("Content-Disposition", ""))
        ending = ending_of(found.group(1) if found else "")
        if not ending:
            raise broken("an image file")
        return save(reply, target.with_name(target.name + ending))

    def next_image(self, strategy: str = "random") -> str:
        """Return the id of the image that the server proposes to look at next; empty: none is left."""
        reply = self._ask("POST", f"/activelearning/{quote(strategy, safe='')}", json={})
        return str(json_of(reply).get("id") or "")

    def upload(self, path: Path) -> str:
        """Send an image into a session of its own; it does not join the studies.

        Args:
            path: Image file, with one of the endings of ``IMAGE_ENDINGS``.

        Returns:
            Id of the session.
        """
        with path.open("rb") as file:
            # The file's own name may be a patient's.
            answer = json_of(self._ask("PUT", "/session/", files={"files": (f"image{ending_of(path.name)}", file)}))
        session = answer.get("session_id")
        if not isinstance(session, str):
            raise broken("a session")
        return session

    def forget(self, session: str) -> None:
        """Delete an uploaded image."""
        self._ask("DELETE", f"/session/{quote(session, safe='')}")

    def start(
        self, kind: str, *, image: str = "", session: str = "", explanation: str = "", params: dict | None = None
    ) -> dict:
        """Start a job.

        Args:
            kind: ``explain``, ``classify``, ``find`` or ``attribute``.
            image: Id of an image of the studies.
            session: Id of an uploaded image, instead of ``image``.
            explanation: Id of an explanation, to run another method on the same image.
            params: Options, as the server's ``/info/`` lists them.

        Returns:
            The job; see ``job``.
        """
        body = {"kind": kind, "image": image, "session": session, "params": params or {}}
        if explanation:
            body["explanation"] = explanation
        return checked_job(json_of(self._ask("POST", "/otherwise/jobs", json=body)))

    def job(self, id: str) -> dict:
        """Return a job: ``id, state, stage, fraction, seconds_left, error, result``."""
        return checked_job(json_of(self._ask("GET", f"/otherwise/jobs/{quote(id, safe='')}")))

    def events(self, id: str) -> Iterator[dict]:
        """Yield a job whenever it changes, as the server sends it; the first at once, the last when it is over.

        A read waits for the next change, at most ``READ_SECONDS``.

        Args:
            id: Id of the job.

        Raises:
            ServerError: if the server sends no events, or stops before the job is over.
        """
        import requests

        headers = {"Accept": "text/event-stream", "Accept-Encoding": "identity"}
        reply = self._ask("GET", f"/otherwise/jobs/{quote(id, safe='')}/events", stream=True, headers=headers)
        try:
            if not reply.headers.get("Content-Type", "").startswith("text/event-stream"):
                raise broken("events")
            # No chunk size: each chunk that the server sends is read as soon as it has come.
            for line in reply.iter_lines(chunk_size=None):
                if line.startswith(b"data:"):
                    yield checked_job(_event_data(line))
        except requests.exceptions.RequestException as error:
            raise broken("all events") from error
        finally:
            reply.close()

    def cancel(self, id: str) -> None:
        """Cancel a job; one that is over stays as it is."""
        self._ask("DELETE", f"/otherwise/jobs/{quote(id, safe='')}")

    def download(self, id: str, parent: Path, arrived: Callable[[Path], None] = lambda path: None) -> Path:
        """Download an explanation with its report, without its alternatives.

        Args:
            id: Id of the explanation.
            parent: Folder in which a folder of this name is made.
            arrived: Called with each file as soon as it is there, the largest first.

        Returns:
            The folder, with ``explanation.json``, the files that it names, and ``report.html``.

        Raises:
            ServerError: ``broken`` if it is incomplete or names files outside of itself; nothing is left then.
        """
        base = f"/otherwise/explanations/{quote(id, safe='')}"
        content = json_of(self._ask("GET", base))
        try:
            listed = [name for name in content["files"].values() if not isinstance(name, list)]
            listed.sort(key=lambda name: name != content["files"].get("path"))
            good = bool(listed) and all(SAFE_NAME.fullmatch(name) for name in listed) and content["id"] == id
        except (KeyError, TypeError, AttributeError):
            good = False
        if not good or not SAFE_NAME.fullmatch(id):
            raise broken("an explanation")
        folder = parent / id
        folder.mkdir(parents=True, exist_ok=True)
        made: list[Path] = []
        try:
            for name in listed:
                made.append(folder / name)
                arrived(save(self._ask("GET", f"{base}/files/{name}", stream=True), folder / name))
            made.append(folder / "report.html")
            save(self._ask("GET", f"{base}/report.html", stream=True), folder / "report.html")
            made.append(folder / "explanation.json")
            (folder / "explanation.json").write_text(json.dumps(content), encoding="utf-8")
        except BaseException:
            for path in made:
                with contextlib.suppress(OSError):
                    path.unlink()
            with contextlib.suppress(OSError):
                folder.rmdir()
            raise
        return folder

    def file(self, id: str, name: str, folder: Path) -> Path:
        """Download one file of an explanation.

        Raises:
            ServerError: ``broken`` if the name is not safe as a file's; nothing is left then.
        """
        if not SAFE_NAME.fullmatch(name) or not SAFE_NAME.fullmatch(id):
            raise broken("the name of a file")
        reply = self._ask("GET", f"/otherwise/explanations/{id}/files/{name}", stream=True)
        return save(reply, folder / name)

    def pdf(self, id: str, target: Path) -> Path:
        """Download the report of an explanation as PDF; the server makes it at the first request."""
        return self.fetch(f"/otherwise/explanations/{quote(id, safe='')}/report.pdf", target)

    def _what_else(self) -> ServerError:
        """Return the error for a MONAI Label server without our app, or for something else altogether."""
        try:
            info = json_of(self._ask("GET", "/info/"))
        except ServerError as error:
            if error.kind in ("unauthorised", "busy", "unreachable"):
                return error
            info = {}
        if isinstance(info.get("models"), dict):
            name = str(info.get("name", "another app"))[:64]
            detail = f"This MONAI Label server runs {name}, not Otherwise."
            return ServerError("not-otherwise", detail, "Start it with otherwise serve.")
        return ServerError("not-monailabel", "Something else answers there.", "Check host and port.")

    def _ask(self, method: str, path: str, **arguments: object) -> Any:
        """Call a route, and return the reply if its status is a good one."""
        import requests

        try:
            reply = self._session.request(method, self.address + path, timeout=self._timeout, **arguments)
        except requests.exceptions.Timeout as error:
            detail = "The server does not answer in time."
            raise ServerError("unreachable", detail, "Try again, or look whether it runs.") from error
        except requests.exceptions.SSLError as error:
            detail = "The server's certificate is not trusted."
            raise ServerError("unreachable", detail, "Ask the server's administrator.") from error
        except (requests.exceptions.RequestException, UnicodeError) as error:
            detail = f"Nothing answers at {host_of(self.address)}."
            raise ServerError("unreachable", detail, "Start the server, or check the address.") from error
        if not reply.ok:
            raise refusal_of(reply)
        return reply


def _event_data(line: bytes) -> dict:
    try:
        content = json.loads(line[len(b"data:") :])
    except ValueError as error:
        raise broken("JSON") from error
    if not isinstance(content, dict):
        raise broken("a job")
    return content


def _numbers(version: str) -> tuple[int, ...]:
    """Return the leading numbers of a version, to compare: ``0.2.1rc1`` becomes ``(0, 2, 1)``."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
