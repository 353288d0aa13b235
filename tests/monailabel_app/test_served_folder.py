"""The server offers every image of a folder, at every depth, under an id that stays; a read-only folder is served."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import PIL.Image
import pytest

from otherwise.errors import OtherwiseError
from otherwise.images.image import Geometry, Image
from otherwise.images.listing import list_images
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image
from otherwise.phantoms.dicom import write_dicom
from otherwise.resources import app_folder

if TYPE_CHECKING:
    from lib.storage.served_folder import ServedFolder

ENDINGS = ["*.nii.gz", "*.nii", "*.nrrd", "*.mha", "*.png"]


def volume(seed: int = 0, slices: int = 4) -> Image:
    voxels = np.random.default_rng(seed).integers(-900, 900, (1, 12, 10, slices)).astype(np.int16)
    return Image(voxels, Geometry((12, 10, slices), np.diag([-0.5, -0.5, 2.0, 1.0])), f"ct {seed}")


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    """What shares hold: upper case, two files of one name, subfolders, a DICOM series, macOS's leftovers, masks."""
    folder = tmp_path / "studies"
    folder.mkdir()
    write_image(volume(1), folder / "upper.nii.gz")
    (folder / "upper.nii.gz").rename(folder / "UPPER.NII.GZ")
    write_image(volume(2), folder / "n.nrrd")
    PIL.Image.fromarray(np.arange(90, dtype=np.uint8).reshape(9, 10)).save(folder / "n.png")
    (folder / "sub").mkdir()
    write_image(volume(3), folder / "sub" / "nested.nii.gz")
    write_dicom(volume(4), folder / "P1" / "chest")
    (folder / "._scan 1.nii.gz").write_bytes(b"attributes")
    (folder / "masks").mkdir()
    write_image(volume(5), folder / "masks" / "n.nrrd")
    return folder


@pytest.fixture
def serve(studies: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    monkeypatch.syspath_prepend(str(app_folder()))
    from lib.storage.served_folder import ServedFolder

    made: list[ServedFolder] = []

    def start(**options: Any) -> ServedFolder:
        made.append(ServedFolder(str(studies), tmp_path / "state", extensions=ENDINGS, **options))
        return made[-1]

    yield start
    for store in made:
        store.close()


def test_everything_that_the_commands_find_is_offered(studies: Path, serve: Any) -> None:
    store = serve()
    assert sorted(store.list_images()) == ["UPPER", "chest", "n.nrrd", "n.png", "nested"]
    assert {image.id for image in list_images(studies).images} == set(store.list_images())
    assert "left out: 1 hidden, 1 named as mask, label or truth" in store.left_out
    for id, seed in (("UPPER", 1), ("n.nrrd", 2), ("nested", 3)):
        np.testing.assert_array_equal(read_image(Path(store.get_image_uri(id))).array, volume(seed).array)


def test_a_series_is_one_file_for_whoever_asks(studies: Path, serve: Any) -> None:
    from lib.routes.studies import list_studies

    store = serve()
    path = Path(store.get_image_uri("chest"))
    assert path.is_file()
    assert path == Path(store.get_image_uri("chest"))
    assert read_image(path).sha256 == read_image(studies / "P1" / "chest").sha256
    (study,) = [study for study in list_studies(store) if study["images"][0]["id"] == "chest"]
    assert study["images"][0]["frames"] == 4


def test_ids_stay_with_their_files(studies: Path, serve: Any) -> None:
    (studies / "n.nrrd").unlink()
    store = serve()
    assert "n" in store.list_images()
    write_image(volume(2), studies / "n.nrrd")
    store.refresh()
    again = serve()
    for each in (store, again):
        assert Path(each.get_image_uri("n")).name == "n.png"
        assert len(each.list_images()) == 5


def test_labels_are_kept_and_go_with_their_image(studies: Path, serve: Any, tmp_path: Path) -> None:
    store = serve()
    label = tmp_path / "label.nrrd"
    write_image(volume(6), label)
    store.save_label("nested", str(label), "final", {})
    assert serve().get_labels_by_image_id("nested") == {"final": "nested"}
    assert Path(store.datalist()[0]["label"]).is_file()
    (studies / "sub" / "nested.nii.gz").unlink()
    store.refresh()
    assert "nested" not in store.list_images()


def test_read_only_studies_are_served(
    studies: Path, serve: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("lib.storage.served_folder.is_writable", lambda folder: False)
    before = sorted(studies.rglob("*"))
    store = serve()
    label = tmp_path / "label.nrrd"
    write_image(volume(6), label)
    store.save_label("nested", str(label), "final", {})
    assert len(store.list_images()) == 5
    assert Path(store.get_label_uri("nested", "final")).is_file()
    assert Path(store.get_image_uri("chest")).is_file()
    with pytest.raises(OtherwiseError, match="read-only"):
        store.add_image("new", str(label), {})
    assert sorted(studies.rglob("*")) == before, "nothing was written there"


def test_a_link_that_leads_out_is_not_offered(studies: Path, serve: Any, tmp_path: Path) -> None:
    write_image(volume(7), tmp_path / "secret.nrrd")
    (studies / "out.nrrd").symlink_to(tmp_path / "secret.nrrd")
    assert "out" not in serve().list_images()


def test_an_added_image_is_found_and_a_removed_one_is_gone(studies: Path, serve: Any, tmp_path: Path) -> None:
    store = serve()
    write_image(volume(8), tmp_path / "new.nrrd")
    store.add_image("added", str(tmp_path / "new.nrrd"), {})
    np.testing.assert_array_equal(read_image(Path(store.get_image_uri("added"))).array, volume(8).array)
    store.remove_image("added")
    assert "added" not in store.list_images()
    assert not (studies / "added.nrrd").exists()


@pytest.mark.parametrize("id", ["UPPER", "n.nrrd", "n.png", "nested", "chest"])
def test_an_image_is_removed_whatever_its_file_is_called_and_nothing_else(studies: Path, serve: Any, id: str) -> None:
    store = serve()
    files, others = set(store.found_images()[id].files), set(store.list_images()) - {id}
    store.remove_image(id)
    assert not [file for file in files if file.exists()]
    assert set(store.list_images()) == others
    assert set(serve().list_images()) == others, "also for the next server"


def test_removing_an_image_spares_another_whose_file_is_called_like_its_id(studies: Path, serve: Any) -> None:
    store = serve()
    write_image(volume(9), studies / "nested.nii.gz")
    store.refresh()
    (other,) = [id for id, found in store.found_images().items() if found.files[0] == studies / "nested.nii.gz"]
    assert other != "nested"
    store.remove_image("nested")
    assert (studies / "nested.nii.gz").is_file()
    assert not (studies / "sub" / "nested.nii.gz").exists()
    assert other in store.list_images()


def test_a_removed_series_leaves_no_converted_copy(studies: Path, serve: Any, tmp_path: Path) -> None:
    store = serve()
    assert Path(store.get_image_uri("chest")).is_relative_to(tmp_path / "state")
    store.remove_image("chest")
    assert not list((tmp_path / "state").rglob("*.nrrd"))
