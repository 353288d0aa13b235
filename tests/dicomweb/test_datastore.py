"""The images of a real archive through MONAI Label's datastore interface."""

from __future__ import annotations

import asyncio
import importlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from otherwise.errors import OtherwiseError
from otherwise.images.dicomweb.archive import Archive
from otherwise.images.dicomweb.connection import Connection, Patience
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image

if TYPE_CHECKING:
    from conftest import Orthanc


@pytest.fixture
def connect(tmp_path: Path) -> Callable[..., Any]:
    """Open the datastore of an archive, whose list is asked for each time."""
    datastore = importlib.import_module("lib.dicomweb.datastore")
    patience = Patience(connect=2.0, read=2.0, retrieve=2.0, attempts=2, backoff=0.01, pause=0.0)

    def make(orthanc: Orthanc, search: dict[str, str] | None = None, fresh: float = 0.0, most: int = 10**8) -> Any:
        connected = Archive(Connection(orthanc.url, patience), search)
        return datastore.DicomWebDatastore(connected, tmp_path / "state", most, fresh)

    return make


@pytest.fixture
def refused() -> Callable[..., OtherwiseError]:
    def ask(question: Callable[[], Any]) -> OtherwiseError:
        with pytest.raises(OtherwiseError) as caught:
            question()
        assert "127.0.0.1" not in str(caught.value)
        assert "\n" not in str(caught.value)
        return caught.value

    return ask


def test_images_of_every_modality_are_listed_and_read_as_from_files(
    orthanc: Orthanc, connect: Any, volume: Any, plane: Any, uid: Any
) -> None:
    files, mammogram = volume(1), plane(2)
    orthanc.send(*files, mammogram)
    store = connect(orthanc)

    assert {uid(files[0]), uid(mammogram)} <= set(store.list_images())
    for path, source in ((files[0].parent, files[0]), (mammogram, mammogram)):
        there, here = read_image(path), read_image(Path(store.get_image_uri(uid(source))))
        assert here.sha256 == there.sha256
        assert here.geometry.same_as(there.geometry)
        assert here.array.dtype == there.array.dtype
    info = store.get_image_info(uid(files[0]))
    assert (info["Modality"], info["frames"]) == ("CT", 4)
    assert "Phantom" not in str(store.json()), "nothing of the patient"


def test_what_is_no_image_is_not_listed(orthanc: Orthanc, connect: Any, volume: Any, uid: Any) -> None:
    first = pydicom.dcmread(volume(3)[0])
    before = set(connect(orthanc).list_images())
    for modality in ("SR", "SEG", "PR", "KO", "RTSTRUCT"):
        first.Modality, first.SeriesInstanceUID, first.SOPInstanceUID = modality, generate_uid(), generate_uid()
        first.file_meta.MediaStorageSOPInstanceUID = first.SOPInstanceUID
        orthanc.send(first)
    assert set(connect(orthanc).list_images()) == before


def test_a_series_without_identifiers_does_not_hide_the_others(
    orthanc: Orthanc, connect: Any, plane: Any, uid: Any
) -> None:
    good, bad = plane(4), pydicom.dcmread(plane(5))
    bad.StudyInstanceUID = "nothing of the kind"
    orthanc.send(good, bad)
    store = connect(orthanc)
    assert uid(good) in store.list_images()
    assert str(bad.SeriesInstanceUID) not in store.list_images()


def test_each_view_of_a_mammography_is_an_image(orthanc: Orthanc, connect: Any, plane: Any) -> None:
    views = []
    series, study = generate_uid(), generate_uid()
    for number, view in enumerate(("CC", "MLO")):
        data = pydicom.dcmread(plane(10 + number))
        data.StudyInstanceUID, data.SeriesInstanceUID, data.ViewPosition = study, series, view
        data.ImageLaterality = "R"
        del data.ImagePositionPatient
        views.append(data)
    orthanc.send(*views)
    store = connect(orthanc)

    listed = [study for study in store.studies() if len(study["images"]) == 2]
    assert [sorted(image["view"] for image in study["images"]) for study in listed] == [["R CC", "R MLO"]]
    for data in views:
        image = read_image(Path(store.get_image_uri(str(data.SOPInstanceUID))))
        assert image.array.shape == (1, 8, 6, 1)
        stored = np.rint(image.array[0, :, :, 0].T * 65535).astype(np.uint16)
        np.testing.assert_array_equal(stored, data.pixel_array)
    assert store.get_image_uri(str(series)) == "", "which of the two?"


def test_a_search_narrows_what_is_listed_and_what_is_found(
    orthanc: Orthanc, connect: Any, volume: Any, plane: Any, uid: Any
) -> None:
    files, mammogram = volume(20), plane(21)
    orthanc.send(*files, mammogram)
    store = connect(orthanc, {"Modality": "MG"})
    assert uid(mammogram) in store.list_images()
    assert uid(files[0]) not in store.list_images()
    assert store.get_image_uri(uid(files[0])) == ""


def test_new_images_appear_growing_ones_grow_and_removed_ones_are_gone(
    orthanc: Orthanc, connect: Any, volume: Any, uid: Any
) -> None:
    store, files = connect(orthanc), volume(30)
    id = uid(files[0])
    assert id not in store.list_images()
    orthanc.send(*files[:3])
    assert id in store.list_images()
    assert read_image(Path(store.get_image_uri(id))).geometry.shape[2] == 3
    orthanc.send(files[3])
    assert read_image(Path(store.get_image_uri(id))).geometry.shape[2] == 4
    orthanc.remove(id)
    assert id not in store.list_images()
    assert store.get_image_uri(id) == ""
    assert store.cache.find(id) is None, "what the archive forgets is forgotten here"


def test_an_image_that_came_in_a_moment_ago_is_found_before_it_is_listed(
    orthanc: Orthanc, connect: Any, volume: Any, uid: Any
) -> None:
    store, files = connect(orthanc, fresh=3600.0), volume(40)
    orthanc.send(*files)
    assert uid(files[0]) not in store.list_images()
    assert store.has(uid(files[0]))
    assert Path(store.get_image_uri(uid(files[0]))).is_dir()


@pytest.mark.parametrize("id", ["", "..", "1.2/../3", "1..2", "1.2.3*", "a" * 10, "1" * 65, "1.2.3%00", "1.2\\3"])
def test_what_is_no_uid_is_no_image_and_is_not_asked_for(connect: Any, orthanc: Orthanc, id: str) -> None:
    assert connect(orthanc).get_image_uri(id) == ""


def test_an_image_is_fetched_once_however_many_ask(orthanc: Orthanc, connect: Any, volume: Any, uid: Any) -> None:
    files = volume(50)
    orthanc.send(*files)
    store, fetched = connect(orthanc), []
    fetch = store.archive.fetch

    def counted(*arguments: Any) -> int:
        fetched.append(threading.current_thread().name)
        return int(fetch(*arguments))

    store.archive.fetch = counted
    with ThreadPoolExecutor(8) as people:
        assert len(set(people.map(lambda _: store.get_image_uri(uid(files[0])), range(8)))) == 1
    assert len(fetched) == 1


def test_an_archive_that_goes_away_and_comes_back(
    another: Any, connect: Any, volume: Any, uid: Any, refused: Any
) -> None:
    orthanc = another()
    known, unknown = volume(60), volume(61)
    orthanc.send(*known, *unknown)
    store = connect(orthanc)
    here = Path(store.get_image_uri(uid(known[0])))

    orthanc.kill()
    assert sorted(store.list_images()) == sorted([uid(known[0]), uid(unknown[0])])
    assert Path(store.get_image_uri(uid(known[0]))) == here
    error = refused(lambda: store.get_image_uri(uid(unknown[0])))
    assert (error.code, error.status) == ("archive", 503)
    assert refused(lambda: store.get_image_uri("1.2.3.4")).status == 503, "nobody knows"
    assert "away" in store.status()["archive"]

    again = connect(orthanc)
    assert sorted(again.list_images()) == sorted([uid(known[0]), uid(unknown[0])]), "also after a start without it"
    assert Path(again.get_image_uri(uid(known[0]))) == here

    orthanc.start()
    assert Path(store.get_image_uri(uid(unknown[0]))).is_dir()
    assert store.get_image_uri("1.2.3.4") == ""
    assert store.status()["archive"] == "ready"


def test_a_server_starts_without_an_archive_and_finds_it_later(
    another: Any, connect: Any, plane: Any, uid: Any
) -> None:
    orthanc = another()
    mammogram = plane(70)
    orthanc.send(mammogram)
    orthanc.kill()
    store = connect(orthanc)
    assert store.list_images() == []
    orthanc.start()
    assert store.list_images() == [uid(mammogram)]


@pytest.mark.timing
def test_an_archive_that_hangs_holds_nobody_up_for_long(
    another: Any, connect: Any, plane: Any, uid: Any, refused: Any
) -> None:
    orthanc = another()
    mammogram = plane(80)
    orthanc.send(mammogram)
    store = connect(orthanc)
    assert store.list_images() == [uid(mammogram)]
    orthanc.freeze()
    begun = time.monotonic()
    error = refused(lambda: store.get_image_uri(uid(mammogram)))
    assert (error.status, "does not answer" in error.detail) == (503, True)
    assert time.monotonic() - begun < 8
    orthanc.thaw()
    assert Path(store.get_image_uri(uid(mammogram))).is_dir()


@pytest.mark.timing
def test_nobody_waits_on_the_event_loop(another: Any, connect: Any, plane: Any) -> None:
    orthanc = another()
    orthanc.send(plane(81))
    store = connect(orthanc)
    store.list_images()
    orthanc.freeze()

    async def ask() -> tuple[list[str], float]:
        begun = time.monotonic()
        return [*store.list_images(), str(store.status()["total"]), *store.json()["objects"]], time.monotonic() - begun

    answers, seconds = asyncio.run(ask())
    assert len(answers) == 3
    assert seconds < 0.2


def test_an_image_larger_than_the_cache_is_refused(
    orthanc: Orthanc, connect: Any, volume: Any, uid: Any, refused: Any
) -> None:
    files = volume(90)
    orthanc.send(*files)
    store = connect(orthanc, most=1500)
    error = refused(lambda: store.get_image_uri(uid(files[0])))
    assert error.code == "image"
    assert store.cache.size == 0


def test_a_login_goes_by_the_environment_and_into_no_message(
    another: Any, connect: Any, plane: Any, uid: Any, refused: Any, monkeypatch: pytest.MonkeyPatch, caplog: Any
) -> None:
    caplog.set_level("DEBUG")
    monkeypatch.setenv("NETRC", "none")
    orthanc = another(AuthenticationEnabled=True, RegisteredUsers={"reader": "sesame-Ä"})
    mammogram = plane(100)
    orthanc.send(mammogram)
    store = connect(orthanc)
    assert store.list_images() == []
    assert "401" in store.status()["archive"]
    assert refused(lambda: store.get_image_uri(uid(mammogram))).status == 502

    monkeypatch.setenv("MONAI_LABEL_DICOMWEB_USERNAME", "reader")
    monkeypatch.setenv("MONAI_LABEL_DICOMWEB_PASSWORD", "sesame-Ä")
    store = connect(orthanc)
    assert store.list_images() == [uid(mammogram)]
    assert Path(store.get_image_uri(uid(mammogram))).is_dir()
    assert "sesame" not in caplog.text
    with pytest.raises(OtherwiseError, match="password") as caught:
        importlib.import_module("otherwise.images.dicomweb.connection").Connection(
            "http://reader:sesame@localhost/dicom-web"
        )
    assert "sesame" not in str(caught.value)


@pytest.mark.parametrize(("path", "reason"), [("nothing", "HTTP status 404"), ("system", "cannot be understood")])
def test_an_address_that_is_no_archive_is_told(
    orthanc: Orthanc, connect: Any, refused: Any, path: str, reason: str
) -> None:
    class Elsewhere:
        url = orthanc.url.replace("/dicom-web", f"/{path}?")

    store = connect(Elsewhere)
    assert store.list_images() == []
    assert reason in store.status()["archive"]
    assert refused(lambda: store.get_image_uri("1.2.3")).status == 502


def test_labels_and_notes_stay_on_this_machine(
    orthanc: Orthanc, connect: Any, plane: Any, uid: Any, tmp_path: Path, refused: Any
) -> None:
    mammogram = plane(110)
    orthanc.send(mammogram)
    store, id, count = connect(orthanc), uid(mammogram), orthanc.count()
    image = read_image(mammogram)
    label = write_image(image.with_array((image.array > 0.2).astype(np.uint8)), tmp_path / "label.nrrd")

    store.save_label(id, str(label), "final", {"label_info": []})
    store.update_image_info(id, {"strategy": {"random": {"ts": 1}}})

    for opened in (store, connect(orthanc)):
        assert opened.get_labeled_images() == [id]
        assert id not in opened.get_unlabeled_images()
        assert read_image(Path(opened.get_label_uri(id, "final"))).geometry.same_as(image.geometry)
        assert opened.get_image_info(id)["strategy"] == {"random": {"ts": 1}}
        assert list(opened.json()["objects"][id]["labels"]) == ["final"]
        assert opened.datalist()[0]["label"].endswith(".nrrd")
    assert orthanc.count() == count
    store.remove_label(id, "final")
    assert store.get_labeled_images() == []
    for change in (lambda: store.add_image("x", str(label), {}), lambda: store.remove_image(id)):
        assert refused(change).status == 405


def test_background_work_does_not_download_the_archive(
    orthanc: Orthanc, connect: Any, plane: Any, uid: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(importlib.import_module("lib.dicomweb.datastore"), "SAMPLE", 2)
    orthanc.send(*(plane(seed) for seed in range(120, 125)))
    store = connect(orthanc)
    sample = store.at_hand()
    assert len(sample) == 2
    assert set(sample) < set(store.list_images())
    asked = next(id for id in store.list_images() if id not in sample)
    store.get_image_uri(asked)
    assert set(store.at_hand()) == {*sample, asked}
