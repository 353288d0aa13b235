"""A server of a model that says a value: targets and tolerances are read as people write them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from otherwise.blackbox.importing import import_classifier
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.output_kind import OutputKind
from otherwise.blackbox.protocol import InputSpec, PatchSpec
from otherwise.errors import OtherwiseError
from otherwise.explain.explanation import ModelRef
from otherwise.finding.finder import Finder
from otherwise.images.image import Geometry, Image
from support.fake_explainer import FakeClassifier
from support.value_models import SquareValue, save

MONTHS = OutputKind("value", unit="months", range=(0, 228), name="bone age")


@dataclass(frozen=True)
class MonthsClassifier(FakeClassifier):
    """A classifier that says bone age."""

    classes: tuple[str, ...] = MONTHS.classes
    answer: OutputKind = field(default=MONTHS)


@pytest.fixture
def task() -> Any:
    from lib.infers.explain import Explain

    return Explain(SimpleNamespace(classifier=MonthsClassifier()))


@pytest.mark.parametrize(
    ("params", "target", "tolerance"),
    [
        ({}, None, None),
        ({"target": "auto", "tolerance": "auto"}, None, None),
        ({"target": "<120", "tolerance": 2.5}, "<120", 2.5),
        ({"target": 130}, "130", None),
        ({"target": 1234567.5}, "1234567.5", None),
        ({"target": "20 months less"}, "20 months less", None),
    ],
)
def test_a_target_of_a_value_is_a_text(task: Any, params: dict, target: str | None, tolerance: float | None) -> None:
    checked = task.check(params)
    assert (checked["target"], checked["tolerance"]) == (target, tolerance)


def test_finds_of_a_value_are_ranked_by_concern_and_carry_value_and_unit(tmp_path: Path) -> None:
    from lib.infers.find import FindTask, PatchScoreCache

    save(SquareValue(), tmp_path / "m.ts", (8, 8))
    inputs = InputSpec((8, 8), spacing=(1.0, 1.0), patches=PatchSpec(("lower",)))
    score = OutputKind("value", unit="mm", range=(0, 100), spread=10, name="oedema score")
    import_classifier(tmp_path / "m.ts", tmp_path / "bundle", inputs=inputs, answer=score)
    box = load_classifier(tmp_path / "bundle")
    host = SimpleNamespace(classifier=box, classifier_ref=ModelRef(box.name, box.version))
    array = np.full((1, 40, 32, 1), 0.5, np.float32)
    array[0, 10:22, 8:20] = 0.1
    image = Image(array, Geometry((40, 32, 1), np.eye(4)), "whole", 2)
    task = FindTask(host, PatchScoreCache(host))
    assert "the lowest oedema score" in task.description
    reply = task.answer(image, {"slice_index": None, "most": 3}, lambda: False, lambda stage, part: None).json
    first = reply["finds"][0]
    assert (first["value"], first["unit"]) == (pytest.approx(10, abs=1), "mm")
    assert reply["label"] == ["lower"] * len(reply["finds"])
    assert reply["label_scores"] == sorted(reply["label_scores"], reverse=True)


def test_scores_and_answers_of_bundles_that_lay_patches_otherwise_are_kept_apart(tmp_path: Path) -> None:
    from lib.infers.find import PatchScoreCache
    from lib.jobs.spec import ResolvedJob

    save(SquareValue(), tmp_path / "m.ts", (8, 8))
    score = OutputKind("value", unit="mm", range=(0, 100), spread=10, name="oedema score")
    boxes = []
    for overlap in (0.0, 0.75):
        inputs = InputSpec((8, 8), spacing=(1.0, 1.0), patches=PatchSpec((">80",), overlap=overlap))
        import_classifier(tmp_path / "m.ts", tmp_path / str(len(boxes)), inputs=inputs, answer=score)
        boxes.append(load_classifier(tmp_path / str(len(boxes))))
    assert boxes[0].version == boxes[1].version
    array = np.full((1, 40, 32, 1), 0.5, np.float32)
    array[0, 10:22, 8:20], array[0, 26:36, 18:28] = 0.1, 0.9
    image = Image(array, Geometry((40, 32, 1), np.eye(4)), "whole", 2)
    host = SimpleNamespace(classifier=boxes[0], agent_ref=ModelRef("agent", "1"))
    scores, keys, counts = PatchScoreCache(host), [], []
    for box in boxes:
        host.classifier, host.classifier_ref = box, ModelRef(box.name, box.version)
        starts = scores.get(image, None, lambda: False, lambda stage, part: None).starts
        np.testing.assert_array_equal(starts, Finder(box).score(image).starts)
        counts.append(len(starts))
        keys.append(ResolvedJob("explain", SimpleNamespace(host=host), None, {}).key(image))  # type: ignore[arg-type]
    assert counts[1] > counts[0]
    assert keys[0] != keys[1]


@pytest.mark.parametrize(("original", "label"), [(100.0, "at most 114 months"), (150.0, "above 114 months")])
def test_a_map_of_another_method_is_of_the_side_of_the_reference(original: float, label: str) -> None:
    from lib.infers.attribute import Attribute
    from lib.storage.owners import ITSELF

    content = {
        "files": {"original": "original.nrrd"},
        "image": {"id": "hand"},
        "slice_index": None,
        "prediction": {"label": "above 90 months"},
        "value": {"original": original},
    }
    store = SimpleNamespace(content=lambda id: content, file=lambda id, name: Path(name))
    host = SimpleNamespace(classifier=MonthsClassifier(), store=store, owners=SimpleNamespace(get=lambda id: None))
    target = Attribute(host).find_target(SimpleNamespace(explanation="1"), None, ITSELF)
    assert target.arguments["label"] == label


@pytest.mark.parametrize(
    "params", [{"target": ["<3"]}, {"target": True}, {"target": "9" * 200}, {"tolerance": -1}, {"tolerance": "much"}]
)
def test_what_is_no_target_is_refused(task: Any, params: dict) -> None:
    with pytest.raises(OtherwiseError) as refused:
        task.check(params)
    assert refused.value.status == 422


def test_classifying_is_described_by_the_value_and_not_by_sides_of_the_reference() -> None:
    from lib.infers.classify import Classify

    task = Classify(SimpleNamespace(classifier=MonthsClassifier()))
    assert task.description.startswith("Bone age in months by ")
