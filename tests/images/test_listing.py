"""What counts as an image of a folder, a file or a table; how images are told apart; what is left out, and why."""

from __future__ import annotations

import gzip
import itertools
import os
import shutil
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import PIL.Image
import pytest
import SimpleITK as sitk  # noqa: N813

from otherwise.errors import ImageError
from otherwise.images import exclusion
from otherwise.images.image import Geometry, Image
from otherwise.images.listing import Listing, draw_images, find_image, list_images
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from otherwise.phantoms.writing import write_phantoms

WriteDicom = Callable[..., Path]
PIXELS = np.arange(120, dtype=np.uint16).reshape(10, 12)


def picture(path: Path, seed: int = 0) -> Path:
    """Write one plane in the format of the path's ending, in upper or lower case."""
    path.parent.mkdir(parents=True, exist_ok=True)
    grey = np.random.default_rng(seed).integers(0, 255, (9, 8)).astype(np.uint8)
    lower = path.with_name(f"lower{''.join(path.suffixes).lower()}")
    if lower.suffix in (".png", ".jpg", ".tif"):
        PIL.Image.fromarray(grey).save(lower)
    elif lower.suffix == ".mhd":
        sitk.WriteImage(sitk.GetImageFromArray(grey), lower)
        lower.with_suffix(".raw").rename(path.with_name("lower.raw"))
    else:
        sitk.WriteImage(sitk.GetImageFromArray(grey), lower)
    lower.rename(path)
    return path


def series(folder: Path, write_dicom: WriteDicom, slices: int = 4, ending: str = "", **tags: object) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    uid = f"1.2.{abs(hash((folder.as_posix(), repr(sorted(tags.items(), key=str))))) % 10**9}"
    orientation = tags.pop("ImageOrientationPatient", [1, 0, 0, 0, 1, 0])
    for number in range(slices):
        place = {"ImagePositionPatient": [0, 0, 2 * number], "ImageOrientationPatient": orientation}
        given = {"SeriesInstanceUID": uid, "StudyInstanceUID": f"{uid}.1", "PixelSpacing": [1, 1], "Modality": "CT"}
        write_dicom(folder / f"{number}{ending}", PIXELS + number, **{**given, **place, **tags})
    return folder


def views(folder: Path, write_dicom: WriteDicom, one_series: bool = False) -> Path:
    """Four views of a mammography, each a series by itself, or all of one."""
    folder.mkdir(parents=True, exist_ok=True)
    for side, view in itertools.product("RL", ("CC", "MLO")):
        tags = {
            "ImageLaterality": side,
            "ViewPosition": view,
            "Modality": "MG",
            "StudyInstanceUID": f"1.2.9{folder.name[1:]}",
        }
        if one_series:
            tags["SeriesInstanceUID"] = f"1.2.8{folder.name[1:]}"
        write_dicom(folder / f"{side}{view}.dcm", PIXELS, **tags)
    return folder


def names(listing: Listing) -> list[str]:
    return [image.name for image in listing.images]


def reasons(listing: Listing) -> dict[str, str]:
    return {item.name: item.reason for item in listing.left_out}


@pytest.mark.parametrize(
    "name", ["a.PNG", "a.JPG", "a.Tif", "a.NII.GZ", "a.Nii", "a.NRRD", "a.MHA", "a.mhd", "deep/er/a.png"]
)
def test_any_format_any_case_any_depth(tmp_path: Path, name: str) -> None:
    picture(tmp_path / "in" / name)
    (image,) = list_images(tmp_path / "in").images
    assert (image.id, image.name) == ("a", name)
    assert sorted(read_image(image).geometry.shape[:2]) == [8, 9]


def test_formats_are_told_by_content(tmp_path: Path, write_dicom: WriteDicom) -> None:
    picture(tmp_path / "plain.png").rename(tmp_path / "picture-without-ending")
    write_dicom(tmp_path / "IM000001", PIXELS)
    (tmp_path / "notes.txt").write_text("no image")
    (tmp_path / "table.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n"))
    listing = list_images(tmp_path)
    assert names(listing) == ["IM000001", "picture-without-ending"]
    assert set(reasons(listing).values()) == {exclusion.NO_IMAGES}


def test_one_file_of_dicom_is_listed_as_in_its_folder(tmp_path: Path, write_dicom: WriteDicom) -> None:
    folder = views(tmp_path / "P1", write_dicom)
    for listed in list_images(folder).images:
        (alone,) = list_images(listed.files[0]).images
        assert alone.dicom is not None
        assert listed.dicom is not None
        assert (alone.key, alone.id, alone.files) == (listed.key, listed.id, listed.files)
        assert (alone.study, alone.dicom.view) == (listed.study, listed.dicom.view)


def test_patients_with_four_views_are_four_images_each(tmp_path: Path, write_dicom: WriteDicom) -> None:
    for patient in ("P1", "P2", "P3"):
        views(tmp_path / patient, write_dicom, one_series=patient == "P2")
    images = list_images(tmp_path).images
    assert len(images) == len({image.id for image in images}) == 12
    assert images[0].id == "P1-LCC"
    assert all(read_image(image).dimension == 2 for image in images)


@pytest.mark.parametrize("ending", ["", ".dcm", ".IMA"])
def test_slices_that_lie_behind_each_other_are_one_image(tmp_path: Path, write_dicom: WriteDicom, ending: str) -> None:
    series(tmp_path / "P1" / "chest", write_dicom, 5, ending)
    series(tmp_path / "P2" / "chest", write_dicom, 7, ending)
    images = list_images(tmp_path).images
    assert [read_image(image).geometry.shape[2] for image in images] == [5, 7]
    assert [image.id for image in images] == ["P1-chest", "P2-chest"]


def test_series_in_one_heap_and_a_scout_beside_slices(tmp_path: Path, write_dicom: WriteDicom) -> None:
    series(tmp_path, write_dicom, 3, ".a", SeriesInstanceUID="1.2.1")
    series(tmp_path, write_dicom, 4, ".b", SeriesInstanceUID="1.2.2")
    series(tmp_path, write_dicom, 1, ".c", SeriesInstanceUID="1.2.2", ImageOrientationPatient=[1, 0, 0, 0, 0, -1])
    images = list_images(tmp_path).images
    assert sorted(read_image(image).geometry.shape[2] for image in images) == [1, 3, 4]
    assert len({image.id for image in images}) == 3


def test_a_copied_slice_is_left_out(tmp_path: Path, write_dicom: WriteDicom) -> None:
    series(tmp_path / "ct", write_dicom, 4, ".dcm")
    shutil.copyfile(tmp_path / "ct" / "1.dcm", tmp_path / "ct" / "1 (copy).dcm")
    listing = list_images(tmp_path)
    assert read_image(listing.images[0]).geometry.shape[2] == 4
    assert list(reasons(listing).values()) == [exclusion.COPIES]


def test_two_files_of_one_name_are_told_apart(tmp_path: Path) -> None:
    for name in ("n.png", "n.nrrd", "benign/1.png", "malignant/1.png", "a/x/2.png", "b/x/2.png", "a-x/2.png"):
        picture(tmp_path / name)
    images = list_images(tmp_path).images
    ids = [image.id for image in images]
    assert len(set(ids)) == 7
    assert {"n.png", "n.nrrd", "benign-1", "malignant-1"} <= set(ids)
    assert not any("/" in id for id in ids)
    for image in images:
        assert find_image(tmp_path, image.id) == find_image(tmp_path, image.key) == image


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("._scan 1.nii.gz", exclusion.HIDDEN),
        (".cache/a.png", exclusion.HIDDEN),
        ("__MACOSX/a.png", exclusion.HIDDEN),
        ("masks/a.png", exclusion.TRUTH),
        ("labelsTr/a.nii.gz", exclusion.TRUTH),
        ("Ground_Truth/deep/a.png", exclusion.TRUTH),
        ("a_mask.png", exclusion.TRUTH),
        ("mask-mass.nii.gz", exclusion.TRUTH),
        ("000_HC_Annotation.PNG", exclusion.TRUTH),
        ("a.seg.nrrd", exclusion.TRUTH),
        ("seg.nii.gz", exclusion.TRUTH),
        ("a-label.nrrd", exclusion.TRUTH),
        ("a.bmp", exclusion.NOT_READ),
        ("study.zip", exclusion.NOT_READ),
        ("notes.txt", exclusion.NO_IMAGES),
    ],
)
def test_what_is_left_out_is_told(tmp_path: Path, name: str, reason: str) -> None:
    picture(tmp_path / "real.png")
    (tmp_path / name).parent.mkdir(exist_ok=True, parents=True)
    (tmp_path / name).write_bytes(b"something")
    listing = list_images(tmp_path)
    assert names(listing) == ["real.png"]
    (item,) = listing.left_out
    assert name.startswith(item.name)
    assert listing.summary == f"1 image; left out: 1 {reason}"


@pytest.mark.parametrize("name", ["masked.png", "labelled-1.png", "segment.nrrd", "roi_1.png", "gt4.png", "P1/7.png"])
def test_names_that_merely_resemble_masks_stay(tmp_path: Path, name: str) -> None:
    picture(tmp_path / name)
    assert names(list_images(tmp_path)) == [name]


def test_a_folder_of_masks_can_be_asked_for_itself(tmp_path: Path) -> None:
    picture(tmp_path / "masks" / "a_mask.png")
    with pytest.raises(ImageError, match=r"no image in masks .left out: 1 named as mask, label or truth"):
        list_images(tmp_path / "masks")
    assert names(list_images(tmp_path / "masks", masks=True)) == ["a_mask.png"]


def test_a_folder_of_phantoms_holds_the_phantoms_alone(tmp_path: Path) -> None:
    write_phantoms(mammograms(1, 3, MammogramSettings()), tmp_path / "phantoms")
    listing = list_images(tmp_path / "phantoms")
    assert len(listing.images) == 3
    assert all(name.startswith("images/") for name in names(listing))


def test_voxels_beside_their_header_belong_to_it(tmp_path: Path) -> None:
    picture(tmp_path / "x.mhd")
    (image,) = list_images(tmp_path).images
    assert [file.name for file in image.files] == ["x.mhd", "lower.raw"]


def test_damaged_images_are_listed_and_say_why_when_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"rubbish")
    (tmp_path / "b.dcm").write_bytes(bytes(128) + b"DICM" + b"rubbish")
    (tmp_path / "c.nii.gz").write_bytes(b"")
    listing = list_images(tmp_path)
    assert len(listing.images) == 3
    for image in listing.images:
        with pytest.raises(ImageError, match=image.files[0].name):
            read_image(image)


def test_one_file_is_one_image(tmp_path: Path) -> None:
    assert [image.id for image in list_images(picture(tmp_path / "a_mask.png")).images] == ["a_mask"]
    with pytest.raises(ImageError, match="no file or folder nosuch"):
        list_images(tmp_path / "nosuch")


@pytest.mark.parametrize(("separator", "column"), [(",", "file"), (";", "Path"), ("\t", "image")])
def test_a_table_names_images_and_labels(tmp_path: Path, separator: str, column: str) -> None:
    picture(tmp_path / "a" / "1.png")
    picture(tmp_path / "b" / "1.png")
    rows = [(column, "label"), ("a/1.png", "benign"), ("b/1.png", "malignant")]
    table = tmp_path / "table.csv"
    table.write_text("\n".join(separator.join(row) for row in rows))
    images = list_images(table).images
    assert [(image.id, image.label) for image in images] == [("a-1", "benign"), ("b-1", "malignant")]
    table.write_text(f"{column}\nnosuch.png\n")
    with pytest.raises(ImageError, match=r"table.csv line 2: there is no nosuch.png"):
        list_images(table)
    table.write_text("words\nof no use\n")
    with pytest.raises(ImageError, match="no column of files"):
        list_images(table)


def test_links_do_not_lead_in_circles(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "around").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "broken.png").symlink_to(tmp_path / "nosuch.png")
    listing = list_images(tmp_path)
    assert names(listing) == ["a.png"]
    assert reasons(listing) == {"around": exclusion.LINKS, "broken.png": exclusion.LINKS}


def test_a_link_that_leads_to_itself_hides_no_other_image(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "loop.png").symlink_to("loop.png")
    (tmp_path / "there.png").symlink_to("back.png")
    (tmp_path / "back.png").symlink_to("there.png")
    listing = list_images(tmp_path)
    assert names(listing) == ["a.png"]
    assert set(reasons(listing).values()) == {exclusion.LINKS}
    with pytest.raises(ImageError, match=r"no file or folder loop\.png"):
        list_images(tmp_path / "loop.png")


def test_a_linked_file_has_the_name_of_the_link(tmp_path: Path) -> None:
    picture(tmp_path / "store" / "0a1b2c.png")
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "patient-7.png").symlink_to("../store/0a1b2c.png")
    (image,) = list_images(tmp_path / "images").images
    assert image.id == "patient-7"
    assert read_image(image.files[0]).id == "patient-7"


@pytest.mark.parametrize("place", ["file", "folder"])
def test_a_name_that_is_not_utf_8_hides_no_other_image(tmp_path: Path, place: str) -> None:
    picture(tmp_path / "a.png")
    strange = tmp_path / os.fsdecode(b"\xe4\xff.png")
    try:
        picture(strange / "b.png" if place == "folder" else strange)
    except OSError:
        pytest.skip("this file system has only names in UTF-8")
    listing = list_images(tmp_path)
    assert names(listing) == ["a.png"]
    (item,) = listing.left_out
    assert item.reason == exclusion.NAMES
    assert item.name.encode()
    if place == "file":
        with pytest.raises(ImageError, match="is not UTF-8"):
            list_images(strange)


@pytest.mark.parametrize(
    ("rows", "cause"),
    [
        (("file", "a.png", "a.png"), "line 3 names a.png again, as line 2 does"),
        (("file", "a.png", "./a.png"), "line 3 names ./a.png again, as line 2 does"),
        (("file,id", "a.png,one", "b.png,one"), "line 3 has the id one, as line 2 does"),
        (("file", "a.png", "table.csv"), "line 3: table.csv is a table"),
    ],
)
def test_a_table_names_each_image_once(tmp_path: Path, rows: tuple[str, ...], cause: str) -> None:
    picture(tmp_path / "a.png")
    picture(tmp_path / "b.png")
    (tmp_path / "table.csv").write_text("\n".join(rows))
    with pytest.raises(ImageError, match=cause):
        list_images(tmp_path / "table.csv")


def test_a_draw_is_random_and_the_same_again(tmp_path: Path) -> None:
    for number in range(30):
        picture(tmp_path / f"{number:02}.png")
    images = list_images(tmp_path).images
    drawn = draw_images(images, 10, seed=1)
    assert len(set(drawn)) == 10
    assert drawn == draw_images(images, 10, seed=1)
    assert drawn not in (images[:10], draw_images(images, 10, seed=2))


def test_files_are_looked_into_once_where_a_memory_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    picture(tmp_path / "a.png")
    looks: dict = {}
    before = list_images(tmp_path, examined=looks)

    def refuse(path: Path) -> bytes:
        raise AssertionError(f"{path} was opened again")

    monkeypatch.setattr("otherwise.images.examination.read_head", refuse)
    assert list_images(tmp_path, examined=looks).images == before.images


def test_memory_of_a_listing_does_not_depend_on_pixels(tmp_path: Path, write_dicom: WriteDicom) -> None:
    big = np.zeros((2000, 2000), np.uint16)
    for number in range(3):
        write_dicom(tmp_path / f"{number}.dcm", big)
        voxels = np.zeros((1, 300, 300, 40), np.int16)
        write_image(Image(voxels, Geometry((300, 300, 40), np.eye(4))), tmp_path / f"{number}.nii")
    list_images(tmp_path)
    tracemalloc.start()
    try:
        list_images(tmp_path)
        assert tracemalloc.get_traced_memory()[1] < 2_000_000, "a file has 7 or 8 MB of pixels"
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_a_hundred_thousand_files_are_listed_in_seconds(tmp_path: Path) -> None:
    content = nibabel.Nifti1Image(np.zeros((2, 2, 2), np.int16), np.eye(4)).to_bytes()
    for folder in range(100):
        (tmp_path / f"{folder:03}").mkdir()
        for number in range(1000):
            (tmp_path / f"{folder:03}" / f"{number:04}.nii").write_bytes(content)
    begun = time.process_time()
    listing = list_images(tmp_path)
    seconds = time.process_time() - begun
    print(f"100,000 files: {seconds:.1f} s")
    assert len({image.id for image in listing.images}) == 100_000
    assert seconds <= 20


@pytest.mark.slow
def test_ten_thousand_dicom_files_are_listed_in_a_minute(tmp_path: Path, write_dicom: WriteDicom) -> None:
    first = series(
        tmp_path / "0", write_dicom, 1, ".dcm", SOPInstanceUID="1.2.77.10000", SeriesInstanceUID="1.2.66.100"
    )
    content = (first / "0.dcm").read_bytes()
    for number in range(10_000):
        folder = tmp_path / f"{number // 100}"
        folder.mkdir(exist_ok=True)
        changed = content.replace(b"1.2.77.10000", f"1.2.77.{number + 10000}".encode())
        changed = changed.replace(b"1.2.66.100", f"1.2.66.{number // 100 + 100}".encode())
        (folder / f"{number % 100}.dcm").write_bytes(changed)
    reported: list[tuple[int, int]] = []
    begun = time.process_time()
    listing = list_images(tmp_path, progress=lambda done, total: reported.append((done, total)))
    seconds = time.process_time() - begun
    print(f"10,000 DICOM files: {seconds:.1f} s")
    assert len(listing.images) == 100
    assert reported[0][1] == reported[-1][0] == 10_000
    assert len(reported) > 20
    assert seconds <= 60


@pytest.mark.skipif(os.getuid() == 0, reason="root may look into every folder")
def test_a_folder_within_that_nobody_may_look_into_is_left_out(tmp_path: Path) -> None:
    picture(tmp_path / "a.png")
    (tmp_path / "lost+found").mkdir(mode=0)
    listing = list_images(tmp_path)
    assert names(listing) == ["a.png"]
    assert reasons(listing) == {"lost+found": exclusion.FORBIDDEN}
