"""Connect to an archive: credentials, timeouts, retries, and a pause while it is away."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
from dicomweb_client import DICOMwebClient
from requests.adapters import HTTPAdapter
from urllib3.exceptions import ReadTimeoutError

from otherwise.errors import OtherwiseError

T = TypeVar("T")

USER, PASSWORD = "MONAI_LABEL_DICOMWEB_USERNAME", "MONAI_LABEL_DICOMWEB_PASSWORD"
"""MONAI Label's environment variables for HTTP Basic; without them requests reads ``~/.netrc`` (or ``$NETRC``)."""
TOKEN = "OTHERWISE_DICOMWEB_TOKEN"
"""Environment variable of a bearer token, which takes precedence over a user name."""
_CHUNK = 16 * 1024 * 1024  # dicomweb-client searches a whole part again with every chunk
_SILENT = "it does not answer"
_WORTH_ANOTHER_TRY = (408, 425, 429, 500, 502, 503, 504)


class ArchiveError(OtherwiseError):
    """The archive cannot be reached, or a request fails."""

    code = "archive"
    status = 503


class ArchiveRefusedError(ArchiveError):
    """The archive refuses a request, so that a retry is useless."""

    status = 502


@dataclass(frozen=True)
class Patience:
    """Timeouts and retries of requests to an archive.

    Attributes:
        connect: Seconds to connect.
        read: Seconds between two bytes of an answer.
        retrieve: The same for images: Orthanc takes a minute to start sending a file of 400 MiB.
        attempts: Attempts of one request, if the archive refuses connections, aborts, or is busy.
        backoff: Seconds before the second attempt; doubled for each further one.
        pause: Seconds without requests after an archive was found to be away.
    """

    connect: float = 3.0
    read: float = 30.0
    retrieve: float = 180.0
    attempts: int = 3
    backoff: float = 0.2
    pause: float = 3.0


class Connection:
    """A DICOMweb client with a time limit on every request.

    Safe for use by many threads.

    Args:
        url: Address of the DICOMweb service, without credentials.
        patience: Timeouts and retries.

    Raises:
        ArchiveError: if the address is invalid or contains credentials.
    """

    def __init__(self, url: str, patience: Patience | None = None) -> None:
        self.url, self.patience = url.rstrip("/"), patience or Patience()
        parts = urlsplit(self.url)
        if "@" in parts.netloc:
            raise ArchiveError(
                "The archive's address carries a password.", f"Give it by {USER} and {PASSWORD}, or in ~/.netrc."
            )
        session = requests.Session()
        adapter = _Timed(self.patience)
        session.mount("http://", adapter)
        session.mount("https://", adapter)
        session.headers["Accept"] = "application/dicom+json"  # else STOW-RS answers in XML
        session.auth = _login()
        try:
            self.client = DICOMwebClient(self.url, session=session, chunk_size=_CHUNK)
        except ValueError:
            raise ArchiveError("The archive's address is none.", "Give http://HOST:PORT/PATH as --studies.") from None
        self.client.host = parts.netloc  # it would send the Host without its port
        self.client.set_http_retry_params(retry=False)  # it knows HTTP's own errors only
        logging.getLogger("dicomweb_client").setLevel(logging.WARNING)
        self._rest_until = 0.0
        self._lock = threading.Lock()

    def ask(self, question: Callable[[DICOMwebClient], T]) -> T:
        """Send a request, and repeat it if the archive does not answer.

        Args:
            question: Sends the request; each call starts it anew.

        Raises:
            ArchiveError: if the archive is away, or was within the last ``pause`` seconds.
            ArchiveRefusedError: if it refuses; ``__cause__`` is the ``requests.HTTPError``.
        """
        if time.monotonic() < self._rest_until:
            raise _away("it did not answer a moment ago")
        for attempt in range(self.patience.attempts):
            if attempt:
                time.sleep(self.patience.backoff * 2 ** (attempt - 1))
            try:
                return question(self.client)
            except requests.HTTPError as error:
                if error.response.status_code not in _WORTH_ANOTHER_TRY:
                    raise _refused(error.response.status_code) from error
                reason = f"HTTP status {error.response.status_code}"
            except requests.RequestException as error:
                reason = _reason(error)
                if reason == _SILENT:  # the caller has waited long enough
                    break
            except OtherwiseError:
                raise
            except Exception as error:  # errors of parsing the answer
                raise ArchiveRefusedError(
                    f"The archive's answer cannot be understood ({type(error).__name__}).",
                    "Check that the address is that of its DICOMweb service.",
                ) from error
        with self._lock:
            self._rest_until = time.monotonic() + self.patience.pause
        raise _away(reason)


class _Timed(HTTPAdapter):
    """Session with timeouts, which dicomweb-client does not offer."""

    def __init__(self, patience: Patience) -> None:
        super().__init__()
        self._patience = patience

    def send(self, request: requests.PreparedRequest, *arguments: Any, **options: Any) -> requests.Response:
        if options.get("timeout") is None:
            retrieves = request.headers.get("Accept", "").startswith("multipart/")
            read = self._patience.retrieve if retrieves else self._patience.read
            options["timeout"] = (self._patience.connect, read)
        return super().send(request, *arguments, **options)


class _Bearer(requests.auth.AuthBase):
    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


def _login() -> requests.auth.AuthBase | None:
    if token := os.environ.get(TOKEN):
        return _Bearer(token)
    user, password = os.environ.get(USER), os.environ.get(PASSWORD)
    if user and password:
        # As UTF-8 (RFC 7617); requests itself would take Latin-1.
        return requests.auth.HTTPBasicAuth(user.encode(), password.encode())
    return None


def _away(reason: str) -> ArchiveError:
    return ArchiveError(
        f"The archive is away ({reason}).", "What was fetched before can be used meanwhile; try again in a minute."
    )


def _refused(status: int) -> ArchiveRefusedError:
    hint = f"Set {USER} and {PASSWORD}, {TOKEN}, or ~/.netrc." if status in (401, 403) else "Look at the archive's log."
    return ArchiveRefusedError(f"The archive refuses (HTTP status {status}).", hint)


def _reason(error: requests.RequestException) -> str:
    """Return the reason without the addresses that messages of the libraries contain."""
    if isinstance(error, requests.exceptions.SSLError):
        return "its certificate is not trusted"
    # While an answer is streamed, a timeout comes as something else.
    if isinstance(error, requests.Timeout) or any(isinstance(cause, ReadTimeoutError) for cause in error.args):
        return _SILENT
    if isinstance(error, requests.exceptions.ChunkedEncodingError):
        return "it broke off"
    return "no connection" if isinstance(error, requests.ConnectionError) else "a broken answer"
