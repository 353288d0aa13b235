"""Commands that are given an archive's address read from it what they read from a folder, and leave nothing behind."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pydicom
import pytest

from otherwise.errors import ImageError
from otherwise.images.dicomweb.connection import PASSWORD, USER, ArchiveError
from otherwise.images.dicomweb.download import download
from otherwise.images.listing import list_images
from otherwise.images.reading import read_image
from support import forked_python

if TYPE_CHECKING:
    from conftest import Orthanc

Write = Callable[..., list[Path]]


def otherwise(*words: str, temporary: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a process of its own, whose temporary files lie in ``temporary``."""
    command = [sys.executable, "-m", "otherwise", *words]
    return forked_python.run(command, timeout=120, env={**os.environ, "TMPDIR": str(temporary), **environment})


@pytest.fixture
def temporary(tmp_path: Path) -> Path:
    folder = tmp_path / "temporary"
    folder.mkdir()
    return folder


@pytest.fixture
def filled(orthanc: Orthanc, volume: Write, plane: Callable[..., Path]) -> tuple[Orthanc, list[Path], Path]:
    slices, mammogram = volume(1), plane(2)
    orthanc.send(*slices, mammogram)
    return orthanc, slices, mammogram


def test_an_archive_is_listed_as_its_files_in_a_folder_are(
    filled: tuple[Orthanc, list[Path], Path], temporary: Path
) -> None:
    orthanc, slices, _ = filled
    result = otherwise("studies", orthanc.url, "--json", temporary=temporary)
    assert result.returncode == 0, result.stderr
    listed = [image for study in json.loads(result.stdout)["studies"] for image in study["images"]]
    assert sorted((image["modality"], len(image["files"])) for image in listed) == [("CT", len(slices)), ("MG", 1)]
    assert list(temporary.iterdir()) == [], "patients' images stay nowhere"


def test_a_study_a_series_and_an_instance_have_addresses(filled: tuple[Orthanc, list[Path], Path]) -> None:
    orthanc, slices, mammogram = filled
    for file, count in ((slices[0], len(slices)), (mammogram, 1)):
        header = pydicom.dcmread(file, stop_before_pixels=True)
        study = f"{orthanc.url}/studies/{header.StudyInstanceUID}"
        series = f"{study}/series/{header.SeriesInstanceUID}"
        (image,) = list_images(download(series)).images
        assert len(image.files) == count
        (other,) = list_images(download(f"{study}/")).images
        assert len(other.files) == count
        fetched = download(series)
        np.testing.assert_array_equal(read_image(fetched).array, read_image(file.parent if count > 1 else file).array)
        private = next(folder for folder in (fetched, *fetched.parents) if folder.name.startswith("otherwise-archive-"))
        assert private.stat().st_mode & 0o077 == 0, "only this user may read it"


def test_an_image_of_an_archive_is_combined_like_a_file(
    filled: tuple[Orthanc, list[Path], Path], temporary: Path, tmp_path: Path
) -> None:
    orthanc, slices, _ = filled
    header = pydicom.dcmread(slices[0], stop_before_pixels=True)
    address = f"{orthanc.url}/studies/{header.StudyInstanceUID}/series/{header.SeriesInstanceUID}"
    out = tmp_path / "two.nrrd"
    result = otherwise("combine", address, str(slices[0].parent), "--out", str(out), temporary=temporary)
    assert result.returncode == 0, result.stderr
    first, second = read_image(out).array
    np.testing.assert_array_equal(first, second)


def test_credentials_come_from_the_environment_as_the_server_has_them(
    another: Callable[..., Orthanc], plane: Callable[..., Path], temporary: Path
) -> None:
    archive = another(AuthenticationEnabled=True, RegisteredUsers={"reader": "sésame"})
    archive.send(plane(3))
    refused = otherwise("studies", archive.url, temporary=temporary)
    assert refused.returncode != 0
    assert "refuses (HTTP status 401)" in refused.stderr
    assert "Traceback" not in refused.stderr
    read = otherwise("studies", archive.url, "--json", temporary=temporary, **{USER: "reader", PASSWORD: "sésame"})
    assert read.returncode == 0, read.stderr
    assert len(json.loads(read.stdout)["studies"]) == 1


def test_what_is_not_there_is_said_in_one_line(filled: tuple[Orthanc, list[Path], Path]) -> None:
    orthanc, _, _ = filled
    with pytest.raises(ImageError, match="has no image there"):
        download(f"{orthanc.url}/studies/1.2.3")
    with pytest.raises(ImageError, match="is no identifier of a DICOM study"):
        download(f"{orthanc.url}/studies/..")
    with pytest.raises(ArchiveError, match="is away"):
        download("http://127.0.0.1:9/dicom-web")


def test_a_classifier_is_trained_on_the_images_that_a_table_names_in_an_archive(
    orthanc: Orthanc, plane: Callable[..., Path], volume: Write, temporary: Path, tmp_path: Path
) -> None:
    planes = [plane(number) for number in range(20, 28)]
    orthanc.send(*planes)
    rows = []
    for number, file in enumerate(planes):
        header = pydicom.dcmread(file, stop_before_pixels=True)
        study, series, instance = header.StudyInstanceUID, header.SeriesInstanceUID, header.SOPInstanceUID
        place = f"studies/{study}/series/{series}"
        names = (instance, series, study, place, f"{place}/instances/{instance}", f"studies/{study}/")
        rows.append(f"{names[number % len(names)]},{'even' if number % 2 else 'odd'}\n")
    table = tmp_path / "labels.csv"
    table.write_text("file,label\n" + "".join(rows), encoding="utf-8")
    options = ["--size", "16,16", "--intensity", "0,1000", "--epochs", "1", "--validation-share", "0.4"]
    words = ["classifier", "train", "--images", orthanc.url, "--labels", str(table), *options]
    result = otherwise(*words, "--out", str(tmp_path / "trained"), temporary=temporary)
    assert result.returncode == 0, result.stderr
    assert "held-out images" in result.stdout
    assert list(temporary.glob("otherwise-archive-*")) == [], "patients' images stay nowhere"
    assert orthanc.url not in (tmp_path / "trained" / "docs" / "README.md").read_text(encoding="utf-8")

    table.write_text("file,label\n1.2.3.4,even\n1.2.3.5,odd\n", encoding="utf-8")
    missing = otherwise(*words, "--out", str(tmp_path / "none"), temporary=temporary)
    assert missing.returncode != 0
    assert "has no image there" in missing.stderr
    assert "Traceback" not in missing.stderr
