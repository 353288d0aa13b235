"""Where the disk refuses a change of the studies, nothing is lost, nothing is half done, and the reason is told."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from otherwise.errors import OtherwiseError
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from otherwise.phantoms.dicom import write_dicom
from otherwise.resources import app_folder
from support.ordinary_rights import ordinary_rights

if TYPE_CHECKING:
    from lib.storage.served_folder import ServedFolder


def volume(seed: int) -> Image:
    voxels = np.random.default_rng(seed).integers(-900, 900, (1, 12, 10, 4)).astype(np.int16)
    return Image(voxels, Geometry((12, 10, 4), np.diag([-0.5, -0.5, 2.0, 1.0])), f"ct {seed}")


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """A volume and a DICOM series that lies in two folders, each in a subfolder."""
    folder = tmp_path / "studies"
    (folder / "sub").mkdir(parents=True)
    write_image(volume(1), folder / "sub" / "nested.nii.gz")
    write_dicom(volume(2), folder / "first" / "chest")
    (folder / "second").mkdir()
    for number, file in enumerate(sorted((folder / "first" / "chest").iterdir())):
        if number % 2:
            file.rename(folder / "second" / file.name)
    return folder


@pytest.fixture
def store(studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ServedFolder]:
    """The served studies; every image has a final label."""
    monkeypatch.syspath_prepend(str(app_folder()))
    from lib.storage.served_folder import ServedFolder

    made = ServedFolder(str(studies), tmp_path / "state", extensions=["*.nii.gz", "*.nrrd"])
    write_image(volume(3), tmp_path / "label.nrrd")
    for id in made.list_images():
        made.save_label(id, str(tmp_path / "label.nrrd"), "final", {"said": "Ann"})
    yield made
    made.close()


@contextmanager
def refused_in(*folders: Path) -> Iterator[None]:
    """Make folders read-only, and expect that a change of the studies is refused for that reason."""
    for folder in folders:
        folder.chmod(0o555)
    try:
        with ordinary_rights(), pytest.raises(OtherwiseError, match="Permission denied") as refused:
            yield
        assert (refused.value.status, str(folders[0].parent) in refused.value.detail) == (507, False)
    finally:
        for folder in folders:
            folder.chmod(0o755)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file of a folder but the lock, by its path."""
    files = (file for file in folder.rglob("*") if file.is_file() and file.name != ".lock")
    return {str(file.relative_to(folder)): file.read_bytes() for file in files}


@pytest.mark.parametrize("folder", ["sub", "first/chest", "second", "labels/final"])
def test_an_image_that_cannot_be_removed_stays_with_its_labels(store: ServedFolder, studies: Path, folder: str) -> None:
    before, images = contents(studies), set(store.list_images())
    touched = [id for id, found in store.found_images().items() if studies / folder in {f.parent for f in found.files}]
    for id in touched or images:
        with refused_in(studies / folder):
            store.remove_image(id)
    assert contents(studies) == before
    assert set(store.list_images()) == images
    for id in images:
        store.remove_image(id)
    assert not [name for name in contents(studies) if name.endswith((".gz", ".dcm", ".nrrd", "removed"))]


def test_a_label_that_cannot_be_removed_stays(store: ServedFolder, studies: Path) -> None:
    before = contents(studies)
    with refused_in(studies / "labels" / "final"):
        store.remove_label("nested", "final")
    assert contents(studies) == before
    assert store.get_label_info("nested", "final")["said"] == "Ann"


@pytest.mark.parametrize("tag", ["final", "another"])
def test_a_label_that_cannot_be_written_changes_nothing(
    store: ServedFolder, studies: Path, tmp_path: Path, tag: str
) -> None:
    before = contents(studies)
    write_image(volume(4), tmp_path / "newer.nrrd")
    with refused_in(studies / "labels", studies / "labels" / "final"):
        store.save_label("nested", str(tmp_path / "newer.nrrd"), tag, {"said": "Ben"})
    assert contents(studies) == before
    assert store.get_label_info("nested", "final")["said"] == "Ann"
    assert set(store.get_labels_by_image_id("nested")) == {"final"}


def test_a_label_that_can_be_written_but_not_recorded_changes_nothing(
    store: ServedFolder, studies: Path, tmp_path: Path
) -> None:
    before = contents(studies)
    write_image(volume(4), tmp_path / "newer.nrrd")
    with refused_in(studies):
        store.save_label("nested", str(tmp_path / "newer.nrrd"), "final", {"said": "Ben"})
    assert contents(studies) == before
    assert store.get_label_info("nested", "final")["said"] == "Ann"


@pytest.mark.parametrize("change", ["image", "label"])
def test_facts_that_cannot_be_recorded_are_not_told_as_if_they_were(
    store: ServedFolder, studies: Path, change: str
) -> None:
    before = contents(studies)
    with refused_in(studies):
        if change == "image":
            store.update_image_info("nested", {"said": "Ben"})
        else:
            store.update_label_info("nested", "final", {"said": "Ben"})
    assert contents(studies) == before
    assert "said" not in store.get_image_info("nested")
    assert store.get_label_info("nested", "final")["said"] == "Ann"


def test_an_image_to_come_overwrites_no_file(store: ServedFolder, studies: Path, tmp_path: Path) -> None:
    """Two images of one name have longer ids, so that their name is free as an id, though not as a file."""
    for name in ("twin.nrrd", "twin.nii.gz"):
        write_image(volume(5), studies / name)
    store.refresh()
    before = contents(studies)
    assert "twin" not in store.list_images()
    with pytest.raises(OtherwiseError, match="already") as refused:
        store.add_image("twin", str(tmp_path / "label.nrrd"), {})
    assert refused.value.status == 409
    assert contents(studies) == before


def test_a_label_of_another_format_takes_the_place_of_the_former(
    store: ServedFolder, studies: Path, tmp_path: Path
) -> None:
    write_image(volume(6), tmp_path / "newer.nii.gz")
    store.save_label("nested", str(tmp_path / "newer.nii.gz"), "final", {})
    assert [name for name in contents(studies) if "final/nested" in name] == ["labels/final/nested.nii.gz"]
    (studies / "labels" / "final" / "nested.nrrd").write_bytes(b"of an earlier version, which left it")
    store.remove_label("nested", "final")
    store.refresh()
    assert store.get_labels_by_image_id("nested") == {}


@pytest.mark.parametrize("id", ["scan.nrrd", "scan.nii.gz"])
def test_a_label_stays_with_an_image_whose_id_has_an_ending(
    store: ServedFolder, studies: Path, tmp_path: Path, id: str
) -> None:
    for name in ("scan.nrrd", "scan.nii.gz"):
        write_image(volume(7), studies / name)
    store.refresh()
    ending = id.removeprefix("scan")
    write_image(volume(8), tmp_path / f"newer{ending}")
    store.save_label(id, str(tmp_path / f"newer{ending}"), "final", {})
    (studies / "datastore_v2.json").unlink()
    again = type(store)(str(studies), tmp_path / "state", extensions=["*.nii.gz", "*.nrrd"])
    assert again.get_labels_by_image_id(id) == {"final": id}, "found again by its file"
