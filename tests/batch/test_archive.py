"""What counts as an image of an archive, under which name, and when two are the same."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet
import pydicom
import pytest
import SimpleITK as sitk  # noqa: N813

from otherwise.batch.archive import read_content
from otherwise.batch.executor import InProcess
from otherwise.batch.parcel import pack_image, unpack_image
from otherwise.batch.run import run_batch
from otherwise.batch.worker import BatchOrder
from otherwise.errors import ImageError
from otherwise.images.image import Geometry, Image
from otherwise.images.listing import list_images
from otherwise.images.reading import read_image
from otherwise.phantoms.dicom import write_dicom

Draw = Callable[..., Path]


def series(folder: Path, seed: int) -> Path:
    """Three slices of CT."""
    voxels = np.random.default_rng(seed).integers(-1000, 1000, (1, 18, 16, 3)).astype(np.int16)
    return write_dicom(Image(voxels, Geometry((18, 16, 3), np.diag([-0.5, -0.5, 2.0, 1.0])), f"chest {seed}"), folder)


def heap(folder: Path) -> Path:
    """Two series in one folder, whose files have nothing but numbers for names."""
    for seed in (1, 2):
        for number, file in enumerate(sorted(series(folder.with_name("apart") / str(seed), seed).iterdir())):
            folder.mkdir(exist_ok=True)
            shutil.copyfile(file, folder / f"{10 * number + seed}")
    return folder


def names(archive: Path) -> list[str]:
    return [image.name for image in list_images(archive).images]


def test_what_is_an_image(tmp_path: Path, draw: Draw) -> None:
    archive = tmp_path / "archive"
    draw(archive / "a.nii.gz", 0.3)
    draw(archive / "deep" / "b.png.nrrd", 0.3)
    draw(archive / ".hidden.nrrd", 0.3)
    draw(archive / "explained" / "original.nrrd", 0.3)
    (archive / "explained" / "explanation.json").write_text("{}")
    (archive / "notes.txt").write_text("no image")
    (archive / "damaged.dcm").write_bytes(bytes(128) + b"DICM" + b"rubbish")
    marks = pydicom.dcmread(next(series(archive / "chest", 1).iterdir()))
    marks.Modality = "PR"
    marks.save_as(archive / "marks.dcm")
    (archive / "around").symlink_to(archive, target_is_directory=True)

    a, chest, damaged, b = names(archive)

    assert (a, damaged, b) == ("a.nii.gz", "damaged.dcm", "deep/b.png.nrrd")
    assert chest.startswith("chest#")


def test_voxels_beside_their_header_belong_to_it(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    archive.mkdir()
    sitk.WriteImage(sitk.GetImageFromArray(np.random.default_rng(0).random((9, 8), np.float32)), archive / "x.mhd")
    (image,) = list_images(archive).images
    assert [file.name for file in image.files] == ["x.mhd", "x.raw"]
    there = unpack_image(pack_image(image), image, tmp_path / "there")
    assert read_image(there.files[0]).sha256 == read_image(archive / "x.mhd").sha256


def test_the_same_bytes_are_the_same_image(tmp_path: Path, draw: Draw) -> None:
    archive = tmp_path / "archive"
    draw(archive / "a.nrrd", 0.3, seed=1)
    draw(archive / "b.nrrd", 0.3, seed=2)
    shutil.copyfile(archive / "a.nrrd", archive / "c.nrrd")
    a, b, c = (read_content(image, archive).digest for image in list_images(archive).images)
    assert a == c != b


def test_a_copy_of_a_series_is_the_series(tmp_path: Path) -> None:
    archive = tmp_path / "archive"
    once = read_content(list_images(series(archive / "a", 1)).images[0], archive / "a")
    shutil.copytree(archive / "a", archive / "again")
    (image,) = list_images(archive).images
    content = read_content(image, archive)
    assert content.digest == once.digest
    assert content.copies == (image.name.replace("a#", "again#"),)
    there = unpack_image(pack_image(content.image), content.image, tmp_path / "there")
    assert (there.id, len(there.files)) == ("a", 3)
    assert read_image(there.files[0].parent).sha256 == read_image(archive / "a").sha256


def test_series_in_one_heap_are_explained_apart(
    tmp_path: Path, order: BatchOrder, asking: Callable[..., BatchOrder]
) -> None:
    archive = heap(tmp_path / "heap")
    asked = asking(slice_index=1)
    summary = run_batch(archive, tmp_path / "out", InProcess(asked), asked.request)
    rows = pyarrow.parquet.read_table(summary.table).to_pylist()
    assert summary.explained == 2
    for row in rows:
        folder, _, id = row["image"].partition("#")
        assert row["sha256"] == read_image(archive / folder, part=id).sha256


def test_a_folder_that_nobody_may_look_into_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("otherwise.images.listing.os.scandir", refuse)
    with pytest.raises(ImageError, match=r"cannot be looked into: Permission denied"):
        list_images(tmp_path)
