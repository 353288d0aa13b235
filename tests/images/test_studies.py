"""A study lists its images: a series of slices is one, each view of a mammogram is one; and each can be read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from otherwise.errors import ImageError
from otherwise.images.listing import list_images
from otherwise.images.reading import read_image
from otherwise.images.studies import Study

WriteDicom = Callable[..., Path]
PIXELS = np.arange(30, dtype=np.uint16).reshape(5, 6)
VIEWS = [("R", "CC"), ("R", "MLO"), ("L", "CC"), ("L", "MLO")]


@pytest.fixture
def folder(tmp_path: Path, write_dicom: WriteDicom) -> Path:
    """Four views of a mammography and a CT series of another study, all in one heap, with a report beside them."""
    for number, (side, view) in enumerate(VIEWS):
        tags = {"ImageLaterality": side, "ViewPosition": view, "SeriesNumber": number, "Modality": "MG"}
        write_dicom(tmp_path / f"{number}.dcm", PIXELS + number, StudyInstanceUID="1.2.1", **tags)
    (tmp_path / "ct").mkdir()
    for number in range(3):
        place = {"ImagePositionPatient": [0, 0, number], "ImageOrientationPatient": [1, 0, 0, 0, 1, 0]}
        tags = {"Modality": "CT", "PixelSpacing": [1, 1], "SeriesInstanceUID": "1.2.9", "StudyInstanceUID": "1.2.8"}
        write_dicom(tmp_path / "ct" / f"{number}.dcm", PIXELS + 100 * number, **place, **tags)
    (tmp_path / "report.txt").write_text("no image")
    (tmp_path / "damaged.dcm").write_bytes(bytes(128) + b"DICM" + b"rubbish")
    return tmp_path


@pytest.fixture
def studies(folder: Path) -> list[Study]:
    return list(list_images(folder).studies)


def test_each_view_is_an_image_and_a_series_is_one(studies: list[Study]) -> None:
    breast, chest = sorted(studies, key=lambda study: -len(study.images))
    assert [image.view for image in breast.images] == [f"{side} {view}" for side, view in VIEWS]
    assert {image.modality for image in breast.images} == {"MG"}
    (series,) = chest.images
    assert (series.modality, series.frames, len(series.paths)) == ("CT", 3, 3)
    assert len({image.id for study in studies for image in study.images}) == 5


def test_ids_are_not_those_of_the_archive(studies: list[Study]) -> None:
    text = repr([(study.id, [(image.id, image.view) for image in study.images]) for study in studies])
    assert "1.2." not in text
    assert "Doe" not in text


def test_each_image_of_a_heap_can_be_read(folder: Path, studies: list[Study]) -> None:
    images = {image.view or image.modality: image for study in studies for image in study.images}
    left = read_image(folder, part=images["L CC"].id)
    np.testing.assert_array_equal(left.array[0, :, :, 0].T, PIXELS + 2)
    chest = read_image(folder, part=images["CT"].id[:6])
    assert chest.geometry.shape == (6, 5, 3)
    with pytest.raises(ImageError, match="no image 'ffff'"):
        read_image(folder, part="ffff")
    with pytest.raises(ImageError, match="6 images ''"):
        read_image(folder, part="")
