"""The split of real nodules: by patient, clean, and the same everywhere."""

from __future__ import annotations

import csv
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from otherwise.blackbox.protocol import InputSpec, Prepared
from otherwise.datasets import lidc
from otherwise.errors import ImageError
from otherwise.evaluation.benchmark.cases import lidc_cases
from otherwise.images.image import Geometry, Image
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image

DATA = Path(__file__).parents[2].parent / "shared" / "data" / "lidc_nodules"


def test_only_nodules_with_agreeing_ratings_are_kept_and_patients_are_not_torn_apart(tmp_path: Path) -> None:
    rows = [("a1", "A", 5, 1), ("a2", "A", 1, 0), ("b1", "B", 3, 1), ("c1", "C", 4, 0), ("d1", "D", 2, 0)]
    text = "file,patient_id,Malignancy_value,Diagnosis_value\n"
    (tmp_path / "nodules.csv").write_text(text + "".join(f"{f}.nii.gz,{p},{m},{d}\n" for f, p, m, d in rows))
    kept = lidc.nodules(tmp_path)
    assert [(n.file, n.label) for n in kept] == [("a1.nii.gz", 1), ("a2.nii.gz", 0), ("d1.nii.gz", 0)]
    assert kept[0].split == kept[1].split


def test_a_missing_table_or_column_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"no nodules\.csv"):
        lidc.nodules(tmp_path)
    (tmp_path / "nodules.csv").write_text("file,patient_id\na,b\n")
    with pytest.raises(ImageError, match="Malignancy_value"):
        lidc.nodules(tmp_path)


def study(folder: Path, patients: str) -> Path:
    """One nodule a patient, of radius 3 voxels about slice 4 of 7; every third is indeterminate."""
    geometry = Geometry((20, 18, 7), np.diag([0.7, 0.7, 2.0, 1.0]))
    place = np.indices(geometry.shape) - np.array([9, 8, 4]).reshape(3, 1, 1, 1)
    mask = (place**2).sum(axis=0) <= 9
    lines = ["file,patient_id,Malignancy_value,Diagnosis_value"]
    for number, patient in enumerate(patients):
        hu = np.where(mask, 50, -800) + np.arange(7)
        write_image(Image(hu[None].astype(np.int16), geometry), folder / "image" / f"n{patient}.nii.gz")
        write_image(Image(mask[None].astype(np.uint8), geometry), folder / "mask" / f"n{patient}.nii.gz")
        lines.append(f"n{patient}.nii.gz,{patient},{(1, 5, 3)[number % 3]},{(0, 1, 0)[number % 3]}")
    (folder / "nodules.csv").write_text("\n".join(lines) + "\n")
    return folder


@pytest.mark.parametrize("size", [(16, 16), (16, 16, 8)])
def test_cases_of_a_split_carry_the_readers_mask(tmp_path: Path, size: tuple[int, ...]) -> None:
    inputs = InputSpec(size, intensity=(-1000.0, 400.0))
    data = study(tmp_path, "abcdefghijklmnopqrstuvwxyz")
    cases = [case for split in lidc.SPLITS for case in lidc_cases(data, inputs, split)]
    assert len(cases) == 18
    assert {case.id for case in lidc_cases(data, inputs, lidc.EVERY_SPLIT)} == {case.id for case in cases}
    for case in cases:
        assert case.truth is not None
        assert case.image.shape == (1, *size)
        assert case.image[0][case.truth].min() > case.image[0][~case.truth].mean() + 0.2
        assert case.label in lidc.CLASSES


class WholeImage:
    """Preprocessing that changes nothing."""

    def prepare(self, image: Image) -> Prepared:
        return Prepared(image.array, image.geometry, (-1000.0, 400.0))


@pytest.mark.parametrize("size", [(16, 16), (16, 16, 6)])
def test_the_field_can_be_moved_so_that_nodules_are_not_in_the_middle(tmp_path: Path, size: tuple[int, ...]) -> None:
    """The field of 16 x 16 voxels of 0.5 mm leaves 3 mm of the image's 14 x 12.6 mm on one side of each axis."""
    inputs = InputSpec(size, intensity=(-1000.0, 400.0), spacing=(0.5, 0.5, 2.0)[: len(size)])
    data = study(tmp_path, "abcdefghijkl")
    plain = list(lidc_cases(data, inputs, lidc.EVERY_SPLIT))
    moved = list(lidc_cases(data, inputs, lidc.EVERY_SPLIT, off_centre=True))
    assert [case.id for case in plain] == [case.id for case in moved]
    corners = set()
    for before, after in zip(plain, moved, strict=True):
        assert before.truth is not None
        assert after.truth is not None
        assert after.image.min() > 0, "nothing outside the image is seen"
        assert after.image[0][after.truth].min() > after.image[0][~after.truth].mean() + 0.2
        shift = np.argwhere(after.truth).mean(axis=0) - np.argwhere(before.truth).mean(axis=0)
        assert (np.abs(shift[:2]) > 2).all()
        corners.add(tuple(np.sign(shift[:2])))
    assert len(corners) > 1
    for fixed in (replace(inputs, spacing=None), replace(inputs, pipeline=WholeImage())):
        with pytest.raises(ImageError, match="cannot be moved"):
            next(lidc_cases(data, fixed, lidc.EVERY_SPLIT, off_centre=True))


def test_slices_lie_where_the_nodule_is_and_in_their_patients_split(tmp_path: Path) -> None:
    patients = "abcdefghijklmnopqrstuvwxyz"
    counts = lidc.write_slices(study(tmp_path / "data", patients), tmp_path / "out")

    clean = {n.patient: n for n in lidc.nodules(tmp_path / "data")}
    assert len(clean) == 18
    for split in lidc.SPLITS:
        with (tmp_path / "out" / split / "labels.csv").open() as file:
            rows = list(csv.DictReader(file))
        assert len(rows) == counts[split]
        assert {row["patient"] for row in rows} == {p for p, n in clean.items() if n.split == split}
        for row in rows:
            image = read_image(tmp_path / "out" / split / row["file"])
            assert image.geometry.shape == (20, 18, 1)
            k = round(image.geometry.affine[2, 3] / 2.0)
            assert k in ((3, 4, 5) if split == "train" else (4,))
            assert image.array[0, 0, 0, 0] == -800 + k
            assert row["label"] == lidc.CLASSES[clean[row["patient"]].label or 0]
    # A ball of radius 3 voxels lies in slices 1 to 6 of 0 to 6.
    learners = [p for p in patients if lidc.split_of(p) == "train"]
    assert counts["unlabelled"] == 6 * len(learners) == len(list((tmp_path / "out/unlabelled/images").iterdir()))


def test_volumes_are_whole_nodules_and_only_training_patients_are_learned_from(tmp_path: Path) -> None:
    patients = "abcdefghijklmnopqrstuvwxyz"
    data = study(tmp_path / "data", patients)
    counts = lidc.write_volumes(data, tmp_path / "out")

    of = {Path(nodule.file).name.split(".")[0]: nodule for nodule in lidc.all_nodules(data)}
    assert sum(counts[split] for split in lidc.SPLITS) == 18
    for split in lidc.SPLITS:
        for written in (tmp_path / "out" / split).glob("images/*"):
            original = read_image(data / "image" / written.name)
            assert read_image(written).sha256 == original.sha256
            assert of[original.id].split == split
    unlabelled = [path.name.split(".")[0] for path in (tmp_path / "out/unlabelled/images").iterdir()]
    assert sorted(unlabelled) == sorted(id for id, nodule in of.items() if nodule.split == "train")


def test_slices_are_written_as_a_whole_or_not_at_all(tmp_path: Path) -> None:
    data = study(tmp_path / "data", "abcd")
    (data / "mask" / "nd.nii.gz").write_bytes(b"broken")
    with pytest.raises(ImageError):
        lidc.write_slices(data, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(ImageError, match="is not empty"):
        lidc.write_slices(data, tmp_path / "mine")


@pytest.mark.skipif(not DATA.is_dir(), reason="real CT nodules (shared/data/lidc_nodules) are not here")
def test_real_nodules_fall_into_three_splits_without_a_common_patient() -> None:
    kept = lidc.nodules(DATA)
    patients = {split: {n.patient for n in kept if n.split == split} for split in lidc.SPLITS}
    assert len(kept) > 400
    assert 0.3 < sum(n.label for n in kept) / len(kept) < 0.6
    assert all(len(members) > 20 for members in patients.values())
    assert not (patients["train"] & patients["test"])
    assert not (patients["validation"] & patients["test"])
    image = next(lidc.test_images(DATA))
    assert image.dimension == 3
    assert image.array.min() < -500
