"""The split of real nodules: by patient, clean, and the same everywhere."""

from __future__ import annotations

from pathlib import Path

import pytest

from otherwise.errors import ImageError
from otherwise.evaluation import lidc

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
