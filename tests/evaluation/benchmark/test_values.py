"""A benchmark of values says what was reached, who follows, and whose effects are true; an interrupted run goes on."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from otherwise.attribution.methods import METHODS
from otherwise.blackbox.importing import import_classifier
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.output_kind import OutputKind
from otherwise.blackbox.protocol import BlackBox, InputSpec
from otherwise.evaluation.benchmark.methods.method import MapMethod
from otherwise.evaluation.benchmark.run import BenchmarkError
from otherwise.evaluation.benchmark.values.cases import RISKS, prognosis_cases, value_of
from otherwise.evaluation.benchmark.values.suite import measure_case, run_values, summarised
from otherwise.explain.explainer import Explainer
from otherwise.phantoms.hazard import WEIGHTS
from support.square_models import SquareClassifier, eager_agent
from support.value_models import SquareValue, save

INPUTS = InputSpec((64, 64), 1, (0.7, 0.7), (-1000.0, 400.0), "CT")
KIND = OutputKind("value", unit="%", range=(0, 100), reference=30, spread=15, tolerance=5, name="risk")
SIZE = (64, 64)


def brightness(folder: Path, slope: float = 150.0, **changes: float) -> BlackBox:
    """A model that takes the brightness of the middle for a risk."""
    folder.mkdir(parents=True)
    answer = OutputKind(**{**KIND.to_dict(), **changes})
    import_classifier(save(SquareValue(slope), folder / "m.ts", SIZE), folder / "b", inputs=INPUTS, answer=answer)
    return load_classifier(folder / "b")


@pytest.fixture(scope="module")
def explainer(tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    box = brightness(tmp_path_factory.mktemp("risk") / "m")
    return Explainer(box, eager_agent(SquareClassifier(box.inputs, version=box.version)))


def test_cases_ask_for_the_other_side_and_know_the_effect_of_each_feature(explainer: Explainer) -> None:
    box = explainer.classifier
    cases = list(prognosis_cases(box, 12, 5))
    for case in cases:
        assert case.target == RISKS[0 if value_of(box, case.image) > KIND.reference else 1]
        assert set(case.places) == set(case.effects) == set(WEIGHTS)
        assert (np.sum([*case.places.values()], axis=0) <= 1).all()
        assert 0 < case.truth.mean() < 0.6
    assert {case.target for case in cases} == set(RISKS)
    again = list(prognosis_cases(box, 12, 5))
    assert [case.effects for case in again] == [case.effects for case in cases]


def test_a_run_writes_its_figures_and_goes_on_where_it_stopped(explainer: Explainer, tmp_path: Path) -> None:
    occlusion = next(method for method in METHODS if method.name == "occlusion")
    peers = [MapMethod(occlusion.name, occlusion.title, occlusion.source, occlusion)]
    cases = list(prognosis_cases(explainer.classifier, 2, 5))
    judge = brightness(tmp_path / "judge", 140.0)
    results = run_values("risk", explainer, judge, peers, cases, 2, tmp_path / "out")
    rows = [json.loads(path.read_text(encoding="utf-8")) for path in sorted((tmp_path / "out" / "rows").iterdir())]
    for row in rows:
        assert row["reached"] == (abs(row["value_after"] - row["target"]) <= KIND.tolerance)
        assert set(row["average_precision"]) == {"ours", "occlusion"}
        assert set(row["effects"]) == set(row["true_edit"]) == set(WEIGHTS)
        # Here the whole image changes and only its middle counts, where the true change is that of the calcification.
        assert row["effects"] != row["true_edit"]
    # The agent changes the whole image, so that a judge that looks at the same place follows.
    assert results["figures"]["verifier_follows"]["mean"] == 1
    assert results["figures"]["reached"]["images"] == 2
    assert "average precision, ours" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")
    changed = tmp_path / "out" / "rows" / f"{cases[0].image.id}.json"
    changed.write_text(json.dumps({**rows[0], "l1": 7.0}), encoding="utf-8")
    assert run_values("risk", explainer, judge, peers, cases, 2, tmp_path / "out")["figures"]["l1"]["mean"] > 3
    other = brightness(tmp_path / "other", 145.0)
    for judges, methods in ((other, peers), (None, peers), (judge, [])):
        with pytest.raises(BenchmarkError, match="holds results of another classifier, agent, verifier or peers"):
            run_values("risk", explainer, judges, methods, cases, 2, tmp_path / "out")
    assert len(list((tmp_path / "out" / "rows").iterdir())) == 2


def test_a_judge_that_sees_nothing_does_not_follow(explainer: Explainer, tmp_path: Path) -> None:
    (case,) = prognosis_cases(explainer.classifier, 1, 5)
    row = measure_case(explainer, brightness(tmp_path / "blind", 1.0), [], case)
    assert row["verifier_follows"] == 0


def test_a_value_that_is_there_already_is_no_explanation_but_reached(tmp_path: Path) -> None:
    box = brightness(tmp_path / "wide", tolerance=60.0)
    wide = Explainer(box, eager_agent(SquareClassifier(box.inputs, version=box.version)))
    (case,) = prognosis_cases(box, 1, 5)
    row = measure_case(wide, None, [], case)
    assert "already" in row["refused"]
    assert row["reached"] == 1
    assert summarised([row])["refused"]["mean"] == 1


def test_effects_are_ranked_over_all_images_and_features() -> None:
    def row(number: int, pairs: dict[str, tuple[float, float]]) -> dict[str, object]:
        return {"case": str(number), "value": 1.0, "effects": pairs}

    rows = [
        row(0, {"a": (1.0, 10.0), "b": (2.0, 20.0), "c": (-3.0, -5.0)}),
        row(1, {"a": (-4.0, -6.0), "b": (0.0, 1.0)}),
    ]
    figures = summarised(rows)
    assert figures["rank correlation of effects"]["mean"] == pytest.approx(1)
    assert figures["rank correlation of effects within an image"]["mean"] == pytest.approx(1)
    assert figures["rank correlation of their sizes"]["mean"] < 1


def test_effects_of_true_counterfactuals_are_the_control_of_effects() -> None:
    """The effects of true counterfactuals show how far the model itself follows the truth."""
    measured = {"a": (9.0, 10.0), "b": (1.0, 20.0), "c": (-3.0, -5.0)}
    rows = [{"case": "0", "value": 1.0, "effects": {"a": (1.0, 3.0), "b": (2.0, 2.0), "c": (3.0, 1.0)}}]
    assert "rank correlation of effects, true counterfactuals" not in summarised(rows)
    figures = summarised([{**rows[0], "true_edit": measured}])
    assert figures["rank correlation of effects"]["mean"] == pytest.approx(-1)
    assert figures["rank correlation of effects, true counterfactuals"]["mean"] == pytest.approx(0.5)


def test_realism_is_told_beside_two_halves_of_the_originals() -> None:
    rng = np.random.default_rng(5)

    def rows(shift: float) -> list[dict[str, object]]:
        made, real = rng.normal(size=(2, 30, 6))
        textures = [{"real": a.tolist(), "made": (b + shift).tolist()} for a, b in zip(real, made, strict=True)]
        return [
            {"case": f"c{n}", "patient": f"p{n // 2}", "reached": 1.0, "textures": each}
            for n, each in enumerate(textures)
        ]

    grainy, alike = summarised(rows(4.0)), summarised(rows(0.0))
    assert grainy["told apart by texture"]["mean"] > 0.95
    assert alike["told apart by texture"]["mean"] < 0.75
    assert grainy["told apart by texture, two halves of the originals"]["images"] == 30
    assert "patient" not in grainy
    assert "told apart by texture" not in summarised(rows(4.0)[:6]), "three patients make no folds"
