"""Explanations are sent by C-STORE to a real Orthanc that offers nothing else, and every refusal is told."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pydicom
import pytest
from pynetdicom import AE, StoragePresentationContexts, build_context, evt

from otherwise.demo.server import free_port
from otherwise.errors import OtherwiseError
from otherwise.report.dicom.c_store import Node, NodeError, send

if TYPE_CHECKING:
    from conftest import Orthanc

OBJECTS = {"change", "effect", "page-1", "page-2", "regions", "report"}


@pytest.fixture
def archive(another: Callable[..., Orthanc]) -> tuple[Orthanc, str]:
    """An archive in a DICOM network, and its address there; it accepts only whom it knows."""
    port = free_port()
    known = {"otherwise": ["OTHERWISE", "127.0.0.1", 104]}
    options = {"DicomServerEnabled": True, "DicomPort": port, "DicomAet": "ARCHIVE", "DicomCheckCalledAet": True}
    return another(**options, DicomAlwaysAllowStore=False, DicomModalities=known), f"ARCHIVE@127.0.0.1:{port}"


@pytest.fixture
def explained(opened: Any, plane: Any, tmp_path: Path, plugin: Path) -> Callable[[str], tuple[Any, str]]:
    """Open a server that sends to an archive, and explain a mammogram of a folder."""

    def make(store_to: str) -> tuple[Any, str]:
        studies = tmp_path / "studies"
        studies.mkdir()
        (studies / "film.dcm").write_bytes(plane(5).read_bytes())
        client, _ = opened(studies, store_to=store_to)
        reply = client.post("/infer/explain", params={"image": "film", "output": "json"}, data={"params": "{}"})
        return client, str(reply.json()["id"])

    return make


def test_all_objects_reach_an_archive_without_dicomweb(archive: tuple[Orthanc, str], explained: Any) -> None:
    orthanc, address = archive
    client, id = explained(address)
    reply = client.post(f"/otherwise/explanations/{id}/store")

    assert reply.status_code == 200, reply.text
    assert reply.json()["failed"] == []
    stored = {one["name"]: one for one in reply.json()["stored"]}
    assert set(stored) == OBJECTS
    assert {one["archive"] for one in stored.values()} == {address}
    for one in stored.values():
        theirs = orthanc.instance(one["instance"])
        assert (theirs.StudyInstanceUID, theirs.SeriesInstanceUID) == (one["study"], one["series"])
    page = orthanc.instance(stored["page-1"]["instance"])
    assert page.pixel_array.shape == (page.Rows, page.Columns, 3)

    count = orthanc.count()
    assert client.post(f"/otherwise/explanations/{id}/store").json() == reply.json()
    assert orthanc.count() == count, "each once"


def test_an_archive_that_does_not_know_us_and_one_that_is_away(archive: tuple[Orthanc, str], explained: Any) -> None:
    orthanc, address = archive
    client, id = explained(address.replace("ARCHIVE", "ANOTHER"))
    reply = client.post(f"/otherwise/explanations/{id}/store")
    assert (reply.status_code, reply.json()["error"]) == (502, "archive")
    assert "OTHERWISE" in reply.json()["detail"]
    orthanc.kill()
    reply = client.post(f"/otherwise/explanations/{id}/store")
    assert (reply.status_code, reply.json()["error"]) == (503, "archive")
    assert int(reply.headers["Retry-After"]) > 0


def test_each_refusal_is_told(tmp_path: Path, plane: Any) -> None:
    """An archive that keeps one object, is full for the second, and does not know the kind of the third."""
    answers = iter((0x0000, 0xA700, 0xB000))
    server = AE("FULL")
    server.supported_contexts = [
        context for context in StoragePresentationContexts if context.abstract_syntax != "1.2.840.10008.5.1.4.1.1.66.4"
    ]
    running = server.start_server(
        ("127.0.0.1", 0), block=False, evt_handlers=[(evt.EVT_C_STORE, lambda event: next(answers))]
    )
    try:
        files = {name: plane(number) for number, name in enumerate(("kept", "full", "coerced"))}
        segmentation = pydicom.dcmread(plane(9))
        segmentation.SOPClassUID = segmentation.file_meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.66.4"
        segmentation.save_as(tmp_path / "segmentation.dcm", write_like_original=False)
        files["unknown"] = tmp_path / "segmentation.dcm"
        reasons = send(files, Node("FULL", "127.0.0.1", running.server_address[1]))
    finally:
        running.shutdown()

    assert reasons == {
        "kept": "",
        "full": "The archive is out of resources (status A700).",
        "coerced": "",
        "unknown": "The archive does not keep objects of this kind.",
    }


REJECTED = bytes.fromhex("03 00 00000004 00 01 01 07")
"""A-ASSOCIATE-RJ: rejected for good, by the user of the service, who does not know the called title (PS3.8, 9.3.4)."""
ABORTED = bytes.fromhex("07 00 00000004 00 00 00 00")
"""A-ABORT of the user of the service (PS3.8, 9.3.8)."""


@pytest.mark.parametrize("end", ["closes", "resets"])
@pytest.mark.parametrize(
    ("answer", "status", "reason"),
    [
        (REJECTED, 502, "does not accept associations of OTHERWISE"),
        (REJECTED + ABORTED, 502, "does not accept associations of OTHERWISE"),
        (ABORTED, 502, "does not accept associations of OTHERWISE"),
        (REJECTED[:5], 503, "did not answer"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", 503, "did not answer"),
        (b"", 503, "did not answer"),
    ],
    ids=["rejection", "rejection and abort", "abort", "part of a rejection", "another protocol", "nothing"],
)
def test_a_refusal_is_told_however_the_connection_ends(
    plane: Any, answer: bytes, status: int, reason: str, end: str
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as door:

        def refuse() -> None:
            connection, _ = door.accept()
            with connection:
                connection.recv(2**16)
                connection.sendall(answer)
                if end == "resets":
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

        thread = threading.Thread(target=refuse)
        thread.start()
        with pytest.raises(OtherwiseError, match=reason) as refused:
            send({"a": plane(1)}, Node("CLOSED", "127.0.0.1", door.getsockname()[1]))
        thread.join()
    assert refused.value.status == status


@contextmanager
def provider(*handlers: Any, **options: Any) -> Iterator[Node]:
    """An archive of pynetdicom's own."""
    server = AE("PROVIDER")
    server.supported_contexts = [build_context("1.2.840.10008.1.1")]  # echoes only
    for name, value in options.items():
        setattr(server, name, value)
    running = server.start_server(("127.0.0.1", 0), block=False, evt_handlers=list(handlers))
    try:
        yield Node("PROVIDER", "127.0.0.1", running.server_address[1])
    finally:
        running.shutdown()


def test_a_provider_that_refuses_aborts_or_keeps_nothing(plane: Any) -> None:
    stranger = {"require_calling_aet": ["ANOTHER"]}
    with provider(**stranger) as node, pytest.raises(OtherwiseError, match="does not accept"):
        send({"a": plane(1)}, node)
    aborts = (evt.EVT_REQUESTED, lambda event: event.assoc.abort())
    with provider(aborts) as node, pytest.raises(OtherwiseError, match="does not accept"):
        send({"a": plane(1)}, node)
    with provider() as node:
        assert send({"a": plane(1)}, node) == {"a": "The archive does not keep objects of this kind."}


def test_an_archive_that_accepts_and_then_aborts_has_broken_off(plane: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    associate = AE.associate

    def until_it_ends(*args: Any, **options: Any) -> Any:
        association = associate(*args, **options)
        association.join()
        return association

    monkeypatch.setattr(AE, "associate", until_it_ends)
    aborts = (evt.EVT_ESTABLISHED, lambda event: event.assoc.abort())
    with provider(aborts, supported_contexts=StoragePresentationContexts) as node:
        assert send({"a": plane(1)}, node) == {"a": "The archive broke off."}


def test_an_archive_that_takes_connections_and_says_nothing(plane: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from otherwise.report.dicom import c_store

    monkeypatch.setattr(c_store, "REPLY_SECONDS", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as door:
        taken: list[socket.socket] = []
        thread = threading.Thread(target=lambda: taken.append(door.accept()[0]))
        thread.start()
        with pytest.raises(OtherwiseError, match="did not answer"):
            send({"a": plane(1)}, Node("SILENT", "127.0.0.1", door.getsockname()[1]))
        thread.join()
        taken[0].close()
    with socket.socket() as shut:
        shut.bind(("127.0.0.1", 0))  # and not listening, so that nobody else takes the port
        with pytest.raises(OtherwiseError, match="cannot be reached"):
            send({"a": plane(1)}, Node("AWAY", "127.0.0.1", shut.getsockname()[1]))


@pytest.mark.parametrize(
    "text", ["", "ARCHIVE", "host:104", "@host:104", "A@host", "A@host:0", "A@host:70000", "A B@h:1"]
)
def test_what_is_no_archive_is_refused(text: str) -> None:
    with pytest.raises(NodeError, match="AET@HOST:PORT"):
        Node.parse(text)


@pytest.mark.parametrize("text", ["ARCHIVE@archive.example:4242", "A@[2001:db8::1]:104"])
def test_an_address_is_written_as_it_was_read(text: str) -> None:
    assert str(Node.parse(text)) == text
