"""Teaching on state and studies that were there before: after restarts, imports and damage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from otherwise.annotations.annotation import Annotation
from otherwise.annotations.region import RegionMask
from otherwise.annotations.store import AnnotationStore
from otherwise.images.image import Geometry, Image
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image
from support.square_models import squares
from support.teachable_server import COUNT, SIZE, SPICULATED, teachable_server

SQUARE = {"polygon": [[4, 4, 0], [12, 4, 0], [12, 12, 0], [4, 12, 0]]}


def test_a_file_that_is_no_image_stops_nothing(tmp_path: Path, app_class: Any) -> None:
    studies = tmp_path / "studies"
    studies.mkdir()
    (studies / "broken.nrrd").write_bytes(b"NRRD0004 and nothing more")
    for number, array in enumerate(squares(SIZE, 3, seed=3)):
        image = Image(array[..., None], Geometry((*SIZE, 1), np.eye(4)), dimension=2)
        write_image(image, studies / f"image-{number:02d}.nrrd")
    with teachable_server(tmp_path, app_class) as running:
        running.settle()
        assert running.get("/concepts")["images"] == 3


def test_two_slices_of_one_volume_are_two_places(tmp_path: Path, app_class: Any) -> None:
    volume = np.concatenate([array[..., None] for array in squares(SIZE, 4, seed=5)], axis=-1)
    geometry = Geometry((*SIZE, 4), np.diag([0.5, 0.5, 2.0, 1.0]))
    write_image(Image(volume, geometry), tmp_path / "studies" / "volume.nrrd")
    with teachable_server(tmp_path, app_class) as running:
        for k in (0, 2):
            square = {"polygon": [[x, y, 2.0 * k] for x, y in ((4, 4), (12, 4), (12, 12), (4, 12))]}
            body = {"kind": "name", "image": "volume", "slice_index": k, "region": square}
            assert running.say(**body, term={"meaning": f"square {k}"}).status_code == 201
        running.settle()
        assert {c["labels"] for c in running.get("/concepts")["concepts"]} == {1}
        assert len(running.app.teaching.taught.examples) == 2


def test_everything_is_there_again_after_a_restart(tmp_path: Path, app_class: Any) -> None:
    with teachable_server(tmp_path, app_class) as before:
        first = before.explain("image-00")
        before.say(kind="name", explanation=first["id"], region={"label": 1}, term=SPICULATED)
        before.settle()
        report = before.get(f"/explanations/{first['id']}")
    (tmp_path / "state" / "concepts" / "facts.sqlite").write_bytes(b"damaged")
    with teachable_server(tmp_path, app_class) as after:
        after.settle()
        again = after.get(f"/explanations/{first['id']}")
    assert again["regions"] == report["regions"]
    assert again["concepts"]["version"] == report["concepts"]["version"]


def test_labels_that_were_imported_are_learned_from(tmp_path: Path, app_class: Any) -> None:
    with teachable_server(tmp_path, app_class) as before:
        before.explain("image-00")
    image = read_image(tmp_path / "studies" / "image-03.nrrd")
    mask = np.zeros(image.geometry.shape, bool)
    mask[8:24, 8:24] = True
    with AnnotationStore(tmp_path / "state" / "annotations.sqlite") as store:
        from otherwise.annotations.vocabulary import local_term

        region = RegionMask(mask, image.geometry)
        store.append(Annotation(author="Ada", kind="name", image="image-03", region=region, term=local_term("square")))
    with teachable_server(tmp_path, app_class) as after:
        after.settle()
        assert after.get("/concepts")["labels"] == 1
        assert [c["labels"] for c in after.get("/concepts")["concepts"] if c["term"]["meaning"] == "square"] == [1]


@pytest.mark.parametrize("content", ["", '{"objects": {"image-00"', "\x00\x00"])
def test_a_record_of_the_studies_that_was_half_written_stops_nothing(
    tmp_path: Path, app_class: Any, content: str
) -> None:
    with teachable_server(tmp_path, app_class) as before:
        before.say(kind="name", image="image-02", region=SQUARE, term=SPICULATED)
        before.settle()
    record = tmp_path / "studies" / "datastore_v2.json"
    record.write_text(content)
    with teachable_server(tmp_path, app_class) as after:
        assert len(after.app.datastore().list_images()) == COUNT
        after.settle()
    (aside,) = record.parent.glob("datastore_v2.json.damaged-*")
    assert aside.read_text() == content
