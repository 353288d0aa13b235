"""Send DICOM objects by C-STORE (PS3.4 annex B), for archives that do not offer STOW-RS."""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom

from otherwise.errors import OtherwiseError
from otherwise.images.dicom_status import NOT_KEPT, refusal
from otherwise.images.dicomweb.connection import ArchiveError, ArchiveRefusedError

if TYPE_CHECKING:
    from pydicom.dataset import Dataset
    from pynetdicom.association import Association

OUR_TITLE = "OTHERWISE"
"""Application entity title by which archives know us."""
CONNECT_SECONDS = 5.0
REPLY_SECONDS = 60.0
"""How long an archive may take for one object."""
_NODE = re.compile(r"(?P<title>[^@\\\s]{1,16})@(?P<host>\[[0-9A-Fa-f:.]+\]|[^@:\s]+):(?P<port>\d{1,5})")


class NodeError(OtherwiseError):
    """An archive's address for C-STORE is malformed."""

    code = "option"


@dataclass(frozen=True)
class Node:
    """An archive in a DICOM network.

    Attributes:
        title: Its application entity title.
        host: Its name or address.
        port: Its port.
    """

    title: str
    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Node:
        """Read ``AET@HOST:PORT``.

        Raises:
            NodeError: if it is malformed.
        """
        match = _NODE.fullmatch(text)
        if match is None or not 0 < int(match["port"]) < 65536:
            raise NodeError(f"{text[:64]!r} is no archive.", "Give AET@HOST:PORT, as ORTHANC@archive.example:4242.")
        return cls(match["title"], match["host"].strip("[]"), int(match["port"]))

    def __str__(self) -> str:
        return f"{self.title}@{f'[{self.host}]' if ':' in self.host else self.host}:{self.port}"


def send(files: Mapping[str, Path], node: Node) -> dict[str, str]:
    """Send objects over one association.

    Args:
        files: DICOM files, by any name. An archive that has one already keeps it as it is.
        node: Where to.

    Returns:
        By the same names: empty where the archive says that it stored the object, else why not.

    Raises:
        ArchiveError: if it cannot be reached, or does not answer.
        ArchiveRefusedError: if it does not accept the association, or breaks it off instead of an answer.
    """
    # Not while a server starts. It logs what it does; errors are reported below, without patient data.
    from pynetdicom import events
    from pynetdicom.ae import ApplicationEntity
    from pynetdicom.pdu import A_ABORT_RQ, A_ASSOCIATE_AC, A_ASSOCIATE_RJ
    from pynetdicom.presentation import build_context

    logging.getLogger("pynetdicom").setLevel(logging.CRITICAL)
    headers = {name: pydicom.dcmread(path, stop_before_pixels=True) for name, path in files.items()}
    syntaxes: dict[str, list[str]] = {}
    for header in headers.values():
        offered = syntaxes.setdefault(str(header.SOPClassUID), [])
        if header.file_meta.TransferSyntaxUID not in offered:
            offered.append(str(header.file_meta.TransferSyntaxUID))
    here = ApplicationEntity(OUR_TITLE)
    here.connection_timeout, here.acse_timeout = CONNECT_SECONDS, REPLY_SECONDS
    here.dimse_timeout = here.network_timeout = REPLY_SECONDS
    contexts = [build_context(kind, offered) for kind, offered in syntaxes.items()]
    heard: set[type] = set()

    def received(event: events.Event) -> None:
        heard.add(type(event.pdu))

    def connected(event: events.Event) -> None:
        heard.add(type(event))

    handlers: list[events.EventHandlerType] = [(events.EVT_PDU_RECV, received), (events.EVT_CONN_OPEN, connected)]
    association = here.associate(node.host, node.port, contexts=contexts, ae_title=node.title, evt_handlers=handlers)
    try:
        # What the archive sent tells why: the association's own state also depends on when it hung up.
        if not association.is_established and A_ASSOCIATE_AC not in heard:
            raise _not_established(node, heard & {A_ASSOCIATE_RJ, A_ABORT_RQ} != set(), bool(heard))
        return {name: _store(association, path, headers[name]) for name, path in files.items()}
    finally:
        if association.is_established:
            association.release()


def _not_established(node: Node, refused: bool, connected: bool) -> OtherwiseError:
    """Return why there is no association: the archive refused, did not answer, or cannot be reached."""
    if refused:
        return ArchiveRefusedError(
            f"{node.title} does not accept associations of {OUR_TITLE}.", "Enter our title and address there."
        )
    if connected:
        return ArchiveError(f"{node} took the connection and did not answer.", "Look whether DICOM is on this port.")
    return ArchiveError(f"{node} cannot be reached.", "Check title, host and port, and whether it runs.")


def _store(association: Association, path: Path, header: Dataset) -> str:
    if not any(context.abstract_syntax == header.SOPClassUID for context in association.accepted_contexts):
        return f"{refusal(NOT_KEPT)}."
    if not association.is_established:
        return "The archive broke off."
    try:
        status = association.send_c_store(pydicom.dcmread(path))
    except (RuntimeError, ValueError) as error:  # of an association that ended, or a transfer syntax that was refused
        return f"It could not be sent ({type(error).__name__})."
    if "Status" not in status:
        return "The archive did not answer in time."
    code = int(status.Status)
    if code == 0 or code >> 12 == 0xB:  # a warning: stored, though not as it was sent
        return ""
    return f"{refusal(code)} (status {code:04X})."
