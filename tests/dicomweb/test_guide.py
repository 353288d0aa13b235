"""The guide on archives as a reader follows it, with Orthanc in the place of the hospital's archive."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pydicom
import pytest

from otherwise.phantoms.dicom import write_dicom
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from support.serve_process import serving
from support.typed_commands import type_in, typed_command

if TYPE_CHECKING:
    from conftest import Orthanc

pytestmark = pytest.mark.slow

PAIR = {"CLASSIFIER": "mammogram_classifier", "AGENT": "mammogram_agent"}


@pytest.fixture
def archive(another: Callable[..., Orthanc], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Orthanc:
    """An archive of 12 phantom mammograms, and a folder with a table of their classes by UID of the series."""
    monkeypatch.chdir(tmp_path)
    orthanc = another()
    with Path("labels.csv").open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(["file", "label"])
        for phantom in mammograms(seed=9, count=12, settings=MammogramSettings()):
            file = write_dicom(phantom.image, tmp_path / f"{phantom.image.id}.dcm")
            orthanc.send(file)
            rows.writerow([pydicom.dcmread(file, stop_before_pixels=True).SeriesInstanceUID, phantom.label])
    return orthanc


def test_the_guide_on_archives_can_be_followed(archive: Orthanc) -> None:
    first = pydicom.dcmread(next(Path().glob("*.dcm")), stop_before_pixels=True)
    meant = {
        "http://PACS:8042/dicom-web": archive.url,
        "http://PACS:8042/dicom-web/studies/1.2.3": f"{archive.url}/studies/{first.StudyInstanceUID}",
        "http://PACS:8042/dicom-web/studies/1.2.3/series/1.2.4": (
            f"{archive.url}/studies/{first.StudyInstanceUID}/series/{first.SeriesInstanceUID}"
        ),
    }
    listed = type_in(typed_command("otherwise studies http://PACS", meant))
    assert "MG" in listed

    type_in(typed_command("otherwise explain http://PACS", {**meant, **PAIR, "DIR": "explained"}))
    assert Path("explained/report.html").is_file()

    trained = typed_command("otherwise classifier train --images http://PACS", meant)
    type_in([*trained, "--epochs", "1"])
    assert Path("my_classifier").is_dir()

    words = typed_command("otherwise serve --studies http://PACS", {**meant, "DIR": "state"})
    with serving(Path(), *words[1:], "--device", "cpu") as server:
        known = server.get("/datastore/?output=all").json()["objects"]
    assert len(known) == 12


def test_a_server_names_the_archive_that_it_stores_in(archive: Orthanc) -> None:
    Path("studies").mkdir()
    words = typed_command("otherwise serve --studies DIR --store", {"DIR": "studies"})
    with serving(Path(), *words[1:], "--device", "cpu") as server:
        assert server.get("/otherwise/about").status_code == 200
