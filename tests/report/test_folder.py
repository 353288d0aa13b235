"""An explanation on disk: described by a schema, equal when read again, and never there by halves."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import jsonschema
import nrrd
import numpy as np
import pytest

from otherwise.errors import ImageError
from otherwise.explain.explanation import Explanation, Prediction
from otherwise.images.atomic import WriteError
from otherwise.images.image import Image
from otherwise.images.reading import read_image
from otherwise.report.explanation_json import explanation_json, schema
from otherwise.report.folder import ReportError, read_explanation, write_explanation

Explain = Callable[..., Explanation]


def all_images(explanation: Explanation) -> dict[str, Image]:
    volumes = explanation.volumes
    found = {field.name: getattr(volumes, field.name) for field in fields(volumes)}
    for kind in ("path", "alternatives"):
        found |= {f"{kind} {place}": image for place, image in enumerate(found.pop(kind))}
    return found


@pytest.fixture(params=[2, 3], ids=["2-D", "oblique 3-D"])
def explanation(request: pytest.FixtureRequest, explain: Explain) -> Explanation:
    return explain(request.param)


def test_the_json_obeys_its_schema_and_names_every_file(explanation: Explanation, tmp_path: Path) -> None:
    folder = write_explanation(explanation, tmp_path / "state" / explanation.id)

    content = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    jsonschema.Draft7Validator.check_schema(schema())
    jsonschema.validate(content, schema())
    assert content == explanation_json(explanation)
    files = [name for names in content["files"].values() for name in ([names] if isinstance(names, str) else names)]
    assert sorted([*files, "explanation.json", "report.html"]) == sorted(path.name for path in folder.iterdir())
    assert content["files"]["regions"].endswith(".seg.nrrd")
    assert content["files"]["path"].endswith(".seq.nrrd")


def test_the_schema_refuses_what_no_explanation_says(explain: Explain) -> None:
    content = explanation_json(explain())
    content["counterfactual"]["changed_fraction"] = 1.2

    with pytest.raises(jsonschema.ValidationError, match=r"1\.2"):
        jsonschema.validate(content, schema())


def test_everything_comes_back_to_the_last_bit(explanation: Explanation, tmp_path: Path) -> None:
    again = read_explanation(write_explanation(explanation, tmp_path / explanation.id))

    assert replace(again, volumes=explanation.volumes) == explanation
    for (name, before), after in zip(all_images(explanation).items(), all_images(again).values(), strict=True):
        assert after.geometry.same_as(before.geometry), name
        assert after.array.dtype == before.array.dtype, name
        assert (after.sha256, after.dimension) == (before.sha256, before.dimension), name


def test_every_volume_lies_where_the_original_does_for_other_readers(explain: Explain, tmp_path: Path) -> None:
    explanation = explain(3)
    folder = write_explanation(explanation, tmp_path / "one")

    original = explanation.volumes.original.geometry
    for name in ("original", "counterfactual", "difference", "effect", "minimal", "regions.seg", "alternative-1"):
        assert read_image(folder / f"{name}.nrrd").geometry.same_as(original), name
    header = nrrd.read_header(str(folder / "regions.seg.nrrd"))
    assert header["Segment0_Name"] == "region 1: mass with spiculated margin"
    assert header["Segment1_Name"] == "region 2"
    strengths = nrrd.read_header(str(folder / "path.seq.nrrd"))["axis 0 index values"]
    assert [float(value) for value in strengths.split()] == [point.strength for point in explanation.path]


def test_images_in_colour_come_back(explain: Explain, tmp_path: Path) -> None:
    grey = explain()

    def colour(image: Image) -> Image:
        return image.with_array(np.concatenate([image.array, image.array / 2, image.array / 3]))

    volumes = replace(
        grey.volumes,
        **{
            name: colour(getattr(grey.volumes, name))
            for name in ("original", "counterfactual", "difference", "minimal")
        },
        path=tuple(map(colour, grey.volumes.path)),
        alternatives=tuple(map(colour, grey.volumes.alternatives)),
    )

    again = read_explanation(write_explanation(replace(grey, volumes=volumes), tmp_path / "colour"))

    assert again.volumes.original.sha256 == volumes.original.sha256
    assert [image.sha256 for image in again.volumes.path] == [image.sha256 for image in volumes.path]


def test_numbers_as_numpy_counts_them_are_plain_in_json(explain: Explain) -> None:
    probabilities = {"benign": np.float32(0.25), "malignant": np.float32(0.75)}

    content = explanation_json(explain(prediction=Prediction("malignant", probabilities), queries=np.int64(7)))

    assert content["prediction"]["probabilities"] == {"benign": 0.25, "malignant": 0.75}
    assert type(content["queries"]) is int


def test_a_path_that_turns_back_or_changes_type_is_written_all_the_same(explain: Explain, tmp_path: Path) -> None:
    explanation = explain(3)
    strengths = (0.0, 1.0, 1.0, 0.5, 2.0, 2.0, 3.0)
    path = tuple(replace(point, strength=s) for point, s in zip(explanation.path, strengths, strict=True))
    first, *others = explanation.volumes.path
    mixed = replace(explanation.volumes, path=(first, *(i.with_array(i.array.astype(np.float32)) for i in others)))

    again = read_explanation(write_explanation(replace(explanation, path=path, volumes=mixed), tmp_path / "path"))

    assert [point.strength for point in again.path] == list(strengths)
    assert np.array_equal(again.volumes.path[0].array, first.array)


def test_an_explanation_is_replaced_only_when_asked(explain: Explain, tmp_path: Path) -> None:
    folder = write_explanation(explain(), tmp_path / "one")

    with pytest.raises(ReportError, match="already"):
        write_explanation(explain(target="another"), folder)
    assert read_explanation(folder).target == "benign"

    write_explanation(explain(target="another"), folder, replace=True)
    assert read_explanation(folder).target == "another"
    assert [path.name for path in tmp_path.iterdir()] == ["one"]


def test_a_failed_write_leaves_nothing_behind(explain: Explain, tmp_path: Path) -> None:
    good = explain()
    unexplained = replace(good, regions=good.regions[:1])  # the label map still holds a second one

    with pytest.raises(ImageError, match="no segment explains"):
        write_explanation(unexplained, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []

    write_explanation(good, tmp_path / "old")
    with pytest.raises(ImageError):
        write_explanation(unexplained, tmp_path / "old", replace=True)
    assert [path.name for path in tmp_path.iterdir()] == ["old"]
    assert len(read_explanation(tmp_path / "old").regions) == 2


def test_a_place_that_cannot_be_written_is_named_without_its_path(explain: Explain, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")

    with pytest.raises(WriteError) as caught:
        write_explanation(explain(), tmp_path / "file" / "one")

    assert "one" in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "explanation.json").unlink(), "no explanation"),
        (lambda folder: (folder / "explanation.json").write_text("{"), "damaged"),
        (lambda folder: (folder / "explanation.json").write_text("[]"), "damaged"),
        (lambda folder: (folder / "effect.nrrd").unlink(), r"effect\.nrrd"),
        (lambda folder: (folder / "path.seq.nrrd").write_bytes(b"NRRD0005\n"), r"path\.seq\.nrrd"),
        (lambda folder: (folder / "path.seq.nrrd").unlink(), r"path\.seq\.nrrd"),
        (lambda folder: (folder / "minimal.nrrd").write_bytes(b""), r"minimal\.nrrd"),
    ],
)
def test_damage_is_said_in_one_line(
    damage: Callable[[Path], object], message: str, explain: Explain, tmp_path: Path
) -> None:
    folder = write_explanation(explain(), tmp_path / "one")
    damage(folder)

    with pytest.raises((ReportError, ImageError), match=message) as caught:
        read_explanation(folder)

    assert "\n" not in str(caught.value)
    assert str(tmp_path) not in str(caught.value)


@pytest.mark.parametrize("name", ["../secret.nrrd", "/secret.nrrd", "..\\secret.nrrd", "..", ""])
def test_an_explanation_reads_no_file_outside_of_its_folder(name: str, explain: Explain, tmp_path: Path) -> None:
    folder = write_explanation(explain(), tmp_path / "one")
    content = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    content["files"]["effect"] = name
    (folder / "explanation.json").write_text(json.dumps(content), encoding="utf-8")

    with pytest.raises(ReportError, match="outside"):
        read_explanation(folder)


def test_a_sequence_does_not_fetch_voxels_from_another_file(explain: Explain, tmp_path: Path) -> None:
    folder = write_explanation(explain(), tmp_path / "one")
    header, _, _ = (folder / "path.seq.nrrd").read_bytes().partition(b"\n\n")
    (folder / "path.seq.nrrd").write_bytes(header + b"\ndata file: original.nrrd\n\n")

    with pytest.raises(ReportError, match=r"path\.seq\.nrrd"):
        read_explanation(folder)


def test_another_schema_is_refused(explain: Explain, tmp_path: Path) -> None:
    folder = write_explanation(explain(), tmp_path / "one")
    file = folder / "explanation.json"
    file.write_text(file.read_text(encoding="utf-8").replace("otherwise.explanation/1", "otherwise.explanation/9"))

    with pytest.raises(ReportError, match="explanation/9"):
        read_explanation(folder)
