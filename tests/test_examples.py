"""The examples that need no data run, and are reproducible."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np

from otherwise.images.listing import list_images
from support.script_file import load_script


def test_ultrasound_like_images_are_a_table_that_training_reads(tmp_path: Path) -> None:
    module = load_script(Path(__file__).parents[1] / "examples" / "ultrasound_like.py")
    module.main(tmp_path, {"train": (6, 1)})
    images = list_images(tmp_path / "train" / "labels.csv").images
    with (tmp_path / "train" / "labels.csv").open(encoding="utf-8") as table:
        assert [image.label for image in images] == [row["label"] for row in csv.DictReader(table)]
    assert {image.label for image in images} == {"benign", "malignant"}
    first, _ = module.draw(1, 0)
    np.testing.assert_array_equal(first, module.draw(1, 0)[0])
    assert first.std() > 20
