"""Explanations as DICOM objects in a real archive: once, with their names, and every refusal told."""

from __future__ import annotations

import importlib
import zipfile
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest

from otherwise.images.dicomweb.archive import Archive
from otherwise.images.dicomweb.connection import Connection
from otherwise.images.writing import write_image

if TYPE_CHECKING:
    from conftest import Orthanc

NAME = {"name": "Spiculated lesion", "scheme": "SCT", "code": "129742005", "confidence": 0.9}
OBJECTS = ["change", "effect", "page-1", "page-2", "regions", "report"]


@pytest.fixture
def explain() -> Callable[[Any, str], str]:
    """Explain an image by the fake explainer, and return the explanation's id."""

    def ask(client: Any, image: str) -> str:
        reply = client.post("/infer/explain", params={"image": image, "output": "json"}, data={"params": "{}"})
        assert reply.status_code == 200, reply.text
        return str(reply.json()["id"])

    return ask


def name_regions(app: Any, monkeypatch: pytest.MonkeyPatch, **concept: Any) -> None:
    """As if somebody had taught the server what region 1 is called."""
    renaming = importlib.import_module("lib.teaching.region_names")
    concepts = importlib.import_module("otherwise.explain.explanation").Concepts("7", 1.0, ())
    monkeypatch.setattr(app.teaching, "names", lambda id: renaming.RegionNames({1: ({**NAME, **concept},)}, concepts))


def test_regions_maps_and_report_are_stored_once(
    orthanc: Orthanc, opened: Any, volume: Any, uid: Any, explain: Any
) -> None:
    files = volume(1)
    orthanc.send(*files)
    client, app = opened(orthanc.url)
    id = explain(client, uid(files[0]))
    reply = client.post(f"/otherwise/explanations/{id}/store")

    assert reply.status_code == 200, reply.text
    assert reply.json()["failed"] == []
    stored = {one["name"]: one for one in reply.json()["stored"]}
    assert list(stored) == OBJECTS
    assert [one["kind"] for one in stored.values()] == [
        "Parametric Map Storage",
        "Parametric Map Storage",
        "Secondary Capture Image Storage",
        "Secondary Capture Image Storage",
        "Segmentation Storage",
        "Comprehensive 3D SR Storage",
    ]
    sources = {str(pydicom.dcmread(file).SOPInstanceUID) for file in files}
    for name, one in stored.items():
        study, series, instance = one["url"].split("/studies/")[1].replace("/instances/", "/series/").split("/series/")
        theirs = app.datastore().archive.connection.client.retrieve_instance(study, series, instance)
        ours = pydicom.dcmread(BytesIO(client.get(f"/otherwise/explanations/{id}/dicom/{name}.dcm").content))
        assert theirs == ours, "to the last pixel, by WADO-RS"
        assert {uid for uid in sources if uid in str(theirs)}
    maps = pydicom.dcmread(BytesIO(client.get(f"/otherwise/explanations/{id}/dicom/change.dcm").content))
    assert set(np.frombuffer(maps.FloatPixelData, "<f4")) == {np.float32(0.25)}

    count = orthanc.count()
    assert client.post(f"/otherwise/explanations/{id}/store").json() == reply.json()
    for folder in (app.host.store.folder(id)).glob("dicom-*"):
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    assert client.post(f"/otherwise/explanations/{id}/store").json() == reply.json(), "written anew, the same objects"
    assert orthanc.count() == count
    assert app.datastore().list_images() == [uid(files[0])]


def test_names_reach_the_archive_and_new_names_are_new_objects(
    orthanc: Orthanc, opened: Any, plane: Any, uid: Any, explain: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    mammogram = plane(2)
    orthanc.send(mammogram)
    client, app = opened(orthanc.url)
    id = explain(client, uid(mammogram))

    def store() -> dict[str, str]:
        reply = client.post(f"/otherwise/explanations/{id}/store")
        return {one["name"]: one["instance"] for one in reply.json()["stored"]}

    unnamed = store()
    name_regions(app, monkeypatch)
    named = store()
    assert not set(named.values()) & set(unnamed.values())
    for object in ("regions", "report"):
        assert "129742005" in str(orthanc.instance(named[object]))
        assert "129742005" not in str(orthanc.instance(unnamed[object]))
    name_regions(app, monkeypatch, confidence=0.4)
    assert store() == named, "how sure the server is, DICOM is not told"


def test_every_refusal_is_told(orthanc: Orthanc, opened: Any, plane: Any, uid: Any, explain: Any) -> None:
    mammogram = plane(3)
    orthanc.send(mammogram)
    client, _ = opened(orthanc.url)
    id = explain(client, uid(mammogram))
    orthanc.refusing.write_text("")
    try:
        reply = client.post(f"/otherwise/explanations/{id}/store")
    finally:
        orthanc.refusing.unlink()

    assert reply.status_code == 202
    assert [one["name"] for one in reply.json()["stored"]] == [name for name in OBJECTS if name != "effect"]
    (failed,) = reply.json()["failed"]
    assert failed["name"] == "effect"
    assert "does not have it" in failed["reason"], "though Orthanc said that it was stored"
    again = client.post(f"/otherwise/explanations/{id}/store")
    assert (again.status_code, len(again.json()["stored"])) == (200, 6), "what was missing is stored now"


def test_an_archive_that_is_away_and_one_that_keeps_nothing(
    another: Any, opened: Any, plane: Any, uid: Any, explain: Any
) -> None:
    orthanc, mammogram = another(), plane(4)
    orthanc.send(mammogram)
    client, app = opened(orthanc.url)
    id = explain(client, uid(mammogram))
    app.datastore().archive.connection.patience = replace(app.datastore().archive.connection.patience, pause=0.0)
    orthanc.kill()
    reply = client.post(f"/otherwise/explanations/{id}/store")
    assert (reply.status_code, reply.json()["error"]) == (503, "archive")
    assert int(reply.headers["Retry-After"]) > 0
    assert client.get(f"/otherwise/explanations/{id}/dicom.zip").status_code == 200, "the image is in the cache"
    orthanc.start()
    assert client.post(f"/otherwise/explanations/{id}/store").status_code == 200


def test_a_folder_with_dicom_offers_the_objects_too(
    opened: Any, plane: Any, volume: Any, explain: Any, tmp_path: Path, plugin: Path
) -> None:
    studies = tmp_path / "studies"
    studies.mkdir()
    source = plane(5)
    (studies / "film.dcm").write_bytes(source.read_bytes())
    from otherwise.images.reading import read_image

    write_image(read_image(source), studies / "nifti.nii.gz")
    client, _ = opened(studies)
    id = explain(client, "film")

    packed = client.get(f"/otherwise/explanations/{id}/dicom.zip")
    with zipfile.ZipFile(BytesIO(packed.content)) as files:
        assert sorted(files.namelist()) == [f"{name}.dcm" for name in OBJECTS]
        assert pydicom.dcmread(BytesIO(files.read("report.dcm"))).Modality == "SR"
    for name in ("secret.dcm", "..%2F..%2Fexplanation.json", "explanation.json"):
        assert client.get(f"/otherwise/explanations/{id}/dicom/{name}").status_code == 404
    assert client.post(f"/otherwise/explanations/{id}/store").json()["error"] == "no-archive"
    reply = client.get(f"/otherwise/explanations/{explain(client, 'nifti')}/dicom.zip")
    assert (reply.status_code, reply.json()["error"]) == (422, "dicom")
    assert client.get("/otherwise/explanations/none/dicom.zip").status_code == 404


def test_what_the_archive_says_of_an_object_is_told(orthanc: Orthanc, plane: Any, tmp_path: Path) -> None:
    data = pydicom.dcmread(plane(6))
    del data.StudyInstanceUID
    data.save_as(tmp_path / "broken.dcm")
    reason = Archive(Connection(orthanc.url)).store(tmp_path / "broken.dcm")
    assert reason == "It is not understood (reason C000)."
