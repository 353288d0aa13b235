"""The real server on a real archive: list, fetch, classify, explain; the archive goes away and comes back."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest

from otherwise.images.reading import read_image
from otherwise.phantoms.dicom import write_dicom
from otherwise.phantoms.mammogram import MammogramSettings, mammograms

if TYPE_CHECKING:
    from conftest import Orthanc, Served


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("phantoms")
    made = mammograms(seed=27_182, count=4, settings=MammogramSettings())
    return [write_dicom(phantom.image, folder / f"{phantom.image.id}.dcm") for phantom in made]


@pytest.fixture(scope="module")
def served(orthanc: Orthanc, phantoms: list[Path], serve: Callable[..., Any]) -> Iterator[Served]:
    orthanc.send(*phantoms[:3])
    with serve(orthanc, "mammogram_classifier", "mammogram_agent") as running:
        yield running


def test_the_studies_of_the_archive_are_listed(served: Served, phantoms: list[Path], uid: Any) -> None:
    expected = {uid(path) for path in phantoms[:3]}
    assert served.ids() == expected
    listed = served.get("/otherwise/studies").json()["studies"]
    assert {image["id"] for study in listed for image in study["images"]} == expected
    assert {image["modality"] for study in listed for image in study["images"]} == {"MG"}
    status = served.get("/datastore/").json()
    assert (status["total"], status["archive"]) == (3, "ready")
    following = served.post("/activelearning/random", json={}).json()
    assert following["id"] in expected
    assert "Phantom" not in served.get("/datastore/", output="all").text


def test_an_image_comes_as_it_would_from_a_file(served: Served, phantoms: list[Path], uid: Any, tmp_path: Path) -> None:
    id = uid(phantoms[0])
    reply = served.get("/datastore/image", image=id)
    assert f'filename="{id}.nrrd"' in reply.headers["Content-Disposition"]
    (tmp_path / "image.nrrd").write_bytes(reply.content)
    there, here = read_image(phantoms[0]), read_image(tmp_path / "image.nrrd")
    np.testing.assert_array_equal(here.array, there.array)
    np.testing.assert_allclose(here.geometry.affine, there.geometry.affine, rtol=0, atol=1e-9)
    assert served.session.head(f"{served.url}/datastore/image", params={"image": id}, timeout=60).status_code == 200
    for unknown in ("1.2.3.4", "../../etc/passwd"):
        head = served.session.head(f"{served.url}/datastore/image", params={"image": unknown}, timeout=60)
        assert head.status_code == 404
        reply = served.get("/datastore/image", image=unknown)
        assert reply.status_code == 404
        assert set(reply.json()) == {"error", "detail", "hint"}


def test_images_are_classified_and_explained(served: Served, phantoms: list[Path], uid: Any) -> None:
    id = uid(phantoms[0])
    answer = served.infer("classify", id).json()
    (state,) = served.log.parent.glob("state/archive")
    assert state.stat().st_mode & 0o077 == 0, "patients' images are nobody else's"
    assert sum(score["score"] for score in answer["prediction"]) == pytest.approx(1)
    explanation = served.infer("explain", id, seed=1).json()
    assert explanation["image"]["id"] == id
    assert explanation["image"]["sha256"] == read_image(phantoms[0]).sha256
    assert explanation["prediction"]["label"] == answer["label"]
    done = served.job(kind="classify", image=uid(phantoms[1]))
    assert (done["state"], done["image"]) == ("done", uid(phantoms[1]))


def test_an_explanation_is_stored_beside_its_image_and_reads_back_equal(
    served: Served, orthanc: Orthanc, phantoms: list[Path], uid: Any
) -> None:
    explanation = served.infer("explain", uid(phantoms[2]), seed=1).json()
    assert explanation["regions"]
    address = f"/otherwise/explanations/{explanation['id']}"

    reply = served.post(f"{address}/store")
    assert reply.status_code == 200, reply.text
    stored = {one["name"]: one for one in reply.json()["stored"]}
    assert list(stored) == ["change", "effect", "page-1", "page-2", "regions", "report"]
    count = orthanc.count()
    source = pydicom.dcmread(phantoms[2])
    for name, one in stored.items():
        theirs = orthanc.instance(one["instance"])
        ours = pydicom.dcmread(BytesIO(served.get(f"{address}/dicom/{name}.dcm").content))
        assert theirs == ours
        assert (theirs.PatientID, theirs.StudyInstanceUID) == (source.PatientID, source.StudyInstanceUID)
        assert source.SOPInstanceUID in str(theirs), "it says what it is about"
        assert one["url"].startswith(orthanc.url)
    regions = orthanc.instance(stored["regions"]["instance"])
    read = served.get(f"{address}/files/{explanation['files']['regions']}").content
    (phantoms[2].parent / "regions.nrrd").write_bytes(read)
    labels = read_image(phantoms[2].parent / "regions.nrrd").array[0, :, :, 0].T
    frames = regions.pixel_array.reshape(-1, regions.Rows, regions.Columns)
    assert frames.sum() == (labels > 0).sum()
    np.testing.assert_array_equal(frames.max(axis=0) > 0, labels > 0)

    assert served.post(f"{address}/store").json() == reply.json(), "again it is the same"
    assert orthanc.count() == count
    assert uid(phantoms[2]) in served.ids()
    assert not {one["series"] for one in stored.values()} & served.ids(), "what we made is no image to explain"


def test_the_archive_is_not_handed_on(served: Served) -> None:
    for address in ("/proxy/dicom/studies", "/proxy/dicom/wado/studies", "/proxy/dicom/qido/../../instances"):
        reply = served.get(address)
        assert (reply.status_code, reply.json()["error"]) == (403, "closed")


@pytest.mark.long
def test_new_studies_appear_and_the_archive_may_go_away(
    served: Served, orthanc: Orthanc, phantoms: list[Path], volume: Any, uid: Any
) -> None:
    new, id = uid(phantoms[3]), uid(phantoms[0])
    late = volume(7)
    orthanc.send(phantoms[3], *late)
    served.eventually(lambda: {new, uid(late[0])} <= served.ids())
    assert served.infer("classify", new).ok

    orthanc.kill()
    served.forget(uid(late[0]))  # which the server may have looked at in the background meanwhile
    for known in (id, new):
        assert served.infer("classify", known).ok, "what was fetched before goes on"
    reply = served.infer("classify", uid(late[0]))
    assert (reply.status_code, reply.json()["error"]) == (503, "archive")
    assert int(reply.headers["Retry-After"]) > 0
    assert orthanc.url not in reply.text
    reply = served.post("/otherwise/jobs", json={"kind": "explain", "image": uid(late[0])})
    assert (reply.status_code, reply.json()["error"]) == (503, "archive")
    begun = time.monotonic()
    assert served.get("/info/").ok
    assert len(served.ids()) == 5
    assert time.monotonic() - begun < 10, "a request that waits for the archive takes 20 s"
    served.eventually(lambda: "away" in served.get("/datastore/").json()["archive"])

    orthanc.start()
    served.eventually(lambda: served.get("/datastore/").json()["archive"] == "ready")
    reply = served.infer("classify", uid(late[0]))
    assert (reply.status_code, reply.json()["error"]) == (422, "image"), "there again, but a volume"


def test_nothing_went_wrong_unnoticed_and_nobody_is_named(served: Served) -> None:
    log = served.log.read_text(encoding="utf-8", errors="replace")
    assert "Traceback" not in log
    assert not re.search("Phantom|Synthetic", log)
