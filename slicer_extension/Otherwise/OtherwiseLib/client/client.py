"""Speaks HTTP with an Otherwise server. Knows neither Slicer nor Qt, so it runs and is tested anywhere."""

from __future__ import annotations

import contextlib
import json
import re
from pathlib import Path
from typing import Callable
from urllib.parse import quote, urlsplit

OLDEST_SERVER = (0, 1, 0)
"""Servers before this version lack something that the module needs."""
CONNECT_SECONDS = 5.0
READ_SECONDS = 60.0
"""No call waits longer than this for the next byte; long work runs as a job that is asked about."""
LARGEST_FILE = 4 * 1024**3
SAFE_NAME = re.compile(r"(?![.])[A-Za-z0-9._-]{1,128}")


class ServerError(Exception):
    """A server that does not do what was asked.

    Attributes:
        kind: ``address``, ``unreachable``, ``not-monailabel``, ``not-otherwise``, ``unauthorised``, ``busy``,
            ``too-old``, ``refused`` or ``broken``.
        detail: What is wrong, one sentence.
        hint: What to do, one sentence, may be empty.
        status: HTTP status of a refusal; 0 where it is none.
        said: Where it is ``unauthorised``: the server's own words, may be empty.
    """

    def __init__(self, kind: str, detail: str, hint: str = "", status: int = 0, said: str = "") -> None:
        super().__init__(f"{detail} {hint}".strip())
        self.kind = kind
        self.detail = detail
        self.hint = hint
        self.status = status
        self.said = said


def complete_address(text: str) -> str:
    """Turn what people type (``host:port``, an address with a slash at the end) into an address.

    Raises:
        ServerError: ``address`` if it is none.
    """
    text = text.strip()
    if "://" not in text:
        text = f"http://{text}"
    try:
        parts = urlsplit(text)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        good = False
    if not good or " " in text or parts.username or parts.query or parts.fragment:
        raise ServerError("address", "This is no server address.", "Type it like 127.0.0.1:8000.")
    return text.rstrip("/")


def host_of(address: str) -> str:
    """The host of an address, for people."""
    return urlsplit(address).hostname or ""


def is_loopback(address: str) -> bool:
    """Whether an address stays on this machine."""
    host = host_of(address)
    return host in ("localhost", "::1") or bool(re.fullmatch(r"127(\.\d{1,3}){3}", host))


def without_secret(address: str) -> str:
    """Return an address as it may be shown and stored: on this machine, the path is the server's secret."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}" if is_loopback(address) else address


class Client:
    """An Otherwise server.

    Args:
        address: See ``complete_address``.
        token: Bearer token, if the server wants one.
        timeout: Seconds to connect, and seconds between two bytes.
    """

    def __init__(
        self, address: str, token: str | None = None, timeout: tuple[float, float] = (CONNECT_SECONDS, READ_SECONDS)
    ) -> None:
        import requests

        self.address = complete_address(address)
        self._timeout = timeout
        self._session = requests.Session()
        # A proxy of the network has no business between this program and a server on this machine.
        self._session.trust_env = not is_loopback(self.address)
        if token:
            self._session.headers["Authorization"] = f"Bearer {token}"

    def close(self) -> None:
        """Give back the connections."""
        self._session.close()

    def log_in(self, user: str, password: str) -> None:
        """Exchange a user's name and password for a token, as MONAI Label's servers do.

        Raises:
            ServerError: ``unauthorised`` if they are wrong.
        """
        reply = self._ask("POST", "/auth/token", data={"username": user, "password": password})
        token = _json(reply).get("access_token")
        if not isinstance(token, str):
            raise ServerError("unauthorised", "The server gave no token.", "Check user and password.")
        self._session.headers["Authorization"] = f"Bearer {token}"

    def ask(self, method: str, path: str, wanted: int = 0, **arguments: object) -> dict:
        """Ask any of the server's routes for JSON.

        Args:
            method: Of HTTP.
            path: Of the route.
            wanted: Take no answer but one of this status; 0: any good one.
            arguments: As ``requests`` takes them.

        Raises:
            ServerError: if the answer is a refusal, or no JSON object, or of another status.
        """
        reply = self._ask(method, path, **arguments)
        if wanted and reply.status_code != wanted:
            raise broken(f"the status {wanted}")
        return _json(reply)

    def tell(self, method: str, path: str) -> bool:
        """Ask any of the server's routes, and say whether its answer holds anything."""
        return self._ask(method, path).text.strip() not in ("", "null")

    def fetch(self, path: str, target: Path) -> Path:
        """Download what a route sends; the file is there whole, or not at all."""
        return _save(self._ask("GET", path, stream=True), target)

    def about(self) -> dict:
        """What is running there: versions, classifiers, agents, devices, limits.

        Raises:
            ServerError: of the kind that says what the address leads to instead.
        """
        try:
            about = _json(self._ask("GET", "/otherwise/about"))
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
        """Ids of the images of the server's studies, sorted."""
        listed = _json(self._ask("GET", "/datastore/", params={"output": "all"}))
        objects = listed.get("objects", {})
        if not isinstance(objects, dict):
            raise broken("a list of images")
        return sorted(str(name) for name in objects)

    def image(self, id: str, target: Path) -> Path:
        """Download an image of the studies; the file gets the ending that the server says.

        Args:
            id: Of the image.
            target: Path without an ending.
        """
        reply = self._ask("GET", "/datastore/image", params={"image": id}, stream=True)
        found = re.search(r'filename="?([^";]+)"?', reply.headers.get("Content-Disposition", ""))
        name = (found.group(1) if found else "").lower()
        ending = next((e for e in (".nii.gz", ".nii", ".nrrd", ".mha", ".dcm", ".png", ".jpg") if name.endswith(e)), "")
        if not ending:
            raise broken("an image file")
        return _save(reply, target.with_name(target.name + ending))

    def next_image(self, strategy: str = "random") -> str:
        """Id of the image of the studies that the server would have looked at next; empty: none is left."""
        reply = self._ask("POST", f"/activelearning/{quote(strategy, safe='')}", json={})
        return str(_json(reply).get("id") or "")

    def upload(self, path: Path) -> str:
        """Send an image for a session of its own; it does not join the studies.

        Returns:
            Id of the session.
        """
        with path.open("rb") as file:
            # The name of a file may be a patient's.
            files = {
                "files": (f"image{''.join(path.suffixes[-2:]) if path.name.endswith('.nii.gz') else path.suffix}", file)
            }
            answer = _json(self._ask("PUT", "/session/", files=files))
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
            kind: ``explain``, ``classify`` or ``attribute``.
            image: Id of an image of the studies; or
            session: of an uploaded one; or
            explanation: of an explanation, to ask another method about the same image.
            params: Options.

        Returns:
            The job; see ``job``.
        """
        body = {"kind": kind, "image": image, "session": session, "params": params or {}}
        if explanation:
            body["explanation"] = explanation
        return _checked_job(_json(self._ask("POST", "/otherwise/jobs", json=body)))

    def job(self, id: str) -> dict:
        """How far a job is: ``state, stage, fraction, seconds_left, error, result``."""
        return _checked_job(_json(self._ask("GET", f"/otherwise/jobs/{quote(id, safe='')}")))

    def cancel(self, id: str) -> None:
        """Cancel a job; one that is over stays as it is."""
        self._ask("DELETE", f"/otherwise/jobs/{quote(id, safe='')}")

    def download(self, id: str, parent: Path, arrived: Callable[[Path], None] = lambda path: None) -> Path:
        """Download a whole explanation but for its alternatives, its report included.

        Args:
            id: Of the explanation.
            parent: Gets a folder of this name.
            arrived: Told each file as soon as it is there, the largest first.

        Returns:
            Folder with ``explanation.json``, everything that it names, and ``report.html``.

        Raises:
            ServerError: ``broken`` if it is incomplete or names files outside of itself; nothing is left then.
        """
        base = f"/otherwise/explanations/{quote(id, safe='')}"
        content = _json(self._ask("GET", base))
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
                arrived(_save(self._ask("GET", f"{base}/files/{name}", stream=True), folder / name))
            made.append(folder / "report.html")
            _save(self._ask("GET", f"{base}/report.html", stream=True), folder / "report.html")
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
            ServerError: ``broken`` if its name is none; nothing is left then.
        """
        if not SAFE_NAME.fullmatch(name) or not SAFE_NAME.fullmatch(id):
            raise broken("the name of a file")
        reply = self._ask("GET", f"/otherwise/explanations/{id}/files/{name}", stream=True)
        return _save(reply, folder / name)

    def pdf(self, id: str, target: Path) -> Path:
        """Download the report of an explanation as PDF; the server makes it when it is first asked for."""
        return self.fetch(f"/otherwise/explanations/{quote(id, safe='')}/report.pdf", target)

    def _what_else(self) -> ServerError:
        """Tell apart a MONAI Label server without our app, and something else altogether."""
        try:
            info = _json(self._ask("GET", "/info/"))
        except ServerError as error:
            if error.kind in ("unauthorised", "busy", "unreachable"):
                return error
            info = {}
        if isinstance(info.get("models"), dict):
            name = str(info.get("name", "another app"))[:64]
            detail = f"This MONAI Label server runs {name}, not Otherwise."
            return ServerError("not-otherwise", detail, "Start it with otherwise serve.")
        return ServerError("not-monailabel", "Something else answers there.", "Check host and port.")

    def _ask(self, method: str, path: str, **arguments: object):
        import requests

        try:
            reply = self._session.request(method, self.address + path, timeout=self._timeout, **arguments)
        except requests.exceptions.Timeout as error:
            raise ServerError(
                "unreachable", "The server does not answer in time.", "Try again, or check it."
            ) from error
        except requests.exceptions.SSLError as error:
            raise ServerError("unreachable", "The server's certificate is not trusted.", "Ask who runs it.") from error
        except (requests.exceptions.RequestException, UnicodeError) as error:
            detail = f"Nothing answers at {host_of(self.address)}."
            raise ServerError("unreachable", detail, "Start the server, or check the address.") from error
        told = {} if reply.ok else _told(reply)
        if reply.status_code == 401 or (reply.status_code == 403 and told.get("error", "forbidden") == "forbidden"):
            said = f"{told.get('detail', '')} {told.get('hint', '')}".strip()
            hint = "Give user and password, a token, or the address that the server printed, with its secret."
            raise ServerError("unauthorised", "The server wants to know who asks.", hint, said=said)
        if reply.status_code in (429, 503):
            detail, hint = told.get("detail", "The server is busy."), told.get("hint", "Try again in a minute.")
            raise ServerError("busy", detail, hint)
        if not reply.ok:
            detail = told.get("detail", f"The server refused ({reply.status_code}).")
            raise ServerError("refused", detail, told.get("hint", "Its log may tell why."), reply.status_code)
        return reply


def _told(reply) -> dict:
    """What a refusal says: ``error``, ``detail`` and ``hint`` where the server is ours, else nothing."""
    try:
        content = reply.json()
        told = {name: str(content[name])[:500] for name in ("error", "detail", "hint") if name in content}
    except (ValueError, TypeError):
        return {}
    return {"hint": "", **told} if "detail" in told else {}


def _json(reply) -> dict:
    try:
        content = reply.json()
    except ValueError as error:
        raise broken("JSON") from error
    if not isinstance(content, dict):
        raise broken("a JSON object")
    return content


def _checked_job(job: dict) -> dict:
    states = ("queued", "running", "done", "failed", "cancelled", "interrupted")
    if not isinstance(job.get("id"), str) or job.get("state") not in states:
        raise broken("a job")
    fraction = job.get("fraction")
    job["fraction"] = min(1.0, max(0.0, float(fraction))) if isinstance(fraction, (int, float)) else 0.0
    if job["state"] == "done" and not isinstance(job.get("result"), dict):
        raise broken("a result")
    return job


def _save(reply, path: Path) -> Path:
    """Save a streamed reply under a temporary name, and rename it once it is complete."""
    import requests

    draft = path.with_name(f".{path.name}.part")
    expected = reply.headers.get("Content-Length", "")
    size = 0
    try:
        with draft.open("wb") as file:
            for block in reply.iter_content(1 << 20):
                size += len(block)
                if size > LARGEST_FILE:
                    raise broken("a file of bearable size")
                file.write(block)
        plain = "Content-Encoding" not in reply.headers
        if plain and expected.isdigit() and int(expected) != size:
            raise broken("a complete file")
        draft.replace(path)
    except requests.exceptions.RequestException as error:
        raise broken("a complete file") from error
    finally:
        reply.close()
        with contextlib.suppress(OSError):
            draft.unlink()
    return path


def broken(wanted: str) -> ServerError:
    """The error for an answer that cannot be understood; ``wanted`` says what should have come."""
    return ServerError("broken", f"The server did not send {wanted}.", "Try again; if it stays so, ask who runs it.")


def _numbers(version: str) -> tuple[int, ...]:
    """The leading numbers of a version, to compare: ``0.2.1rc1`` becomes ``(0, 2, 1)``."""
    return tuple(int(number) for number in re.findall(r"\d+", version)[:3])
