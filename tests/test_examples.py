"""Examples that need no data: they run, and draw the same each time."""

from __future__ import annotations

import csv
import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np

from otherwise.images.listing import list_images


def example(name: str) -> ModuleType:
    path = Path(__file__).parents[1] / "examples" / f"{name}.py"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_ultrasound_like_images_are_a_table_that_training_reads(tmp_path: Path) -> None:
    module = example("ultrasound_like")
    module.main(tmp_path, {"train": (6, 1)})
    images = list_images(tmp_path / "train" / "labels.csv").images
    with (tmp_path / "train" / "labels.csv").open(encoding="utf-8") as table:
        assert [image.label for image in images] == [row["label"] for row in csv.DictReader(table)]
    assert {image.label for image in images} == {"benign", "malignant"}
    first, _ = module.draw(1, 0)
    np.testing.assert_array_equal(first, module.draw(1, 0)[0])
    assert first.std() > 20
