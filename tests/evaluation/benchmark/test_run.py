"""A comparison on a tiny suite, end to end: figures for every method, resumed after an interrupt, told as a table."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image as Picture

from otherwise.blackbox.protocol import BlackBox, InputSpec
from otherwise.evaluation.benchmark.cases import Case
from otherwise.evaluation.benchmark.features import penultimate, perceptual_distance
from otherwise.evaluation.benchmark.gallery import ranked
from otherwise.evaluation.benchmark.lead import lead_over_peers
from otherwise.evaluation.benchmark.methods.method import Edit, EditMethod, MapMethod
from otherwise.evaluation.benchmark.run import BenchmarkError, Comparison, reconstruction_floor, run, summary
from otherwise.evaluation.benchmark.suites import choose, refuse_unconfounded, run_suite
from otherwise.evaluation.benchmark.table import table
from support.square_models import SquareClassifier, eager_agent

SIZE = (16, 16)
CENTRE = np.zeros(SIZE, bool)
CENTRE[4:12, 4:12] = True


def case(number: int) -> Case:
    image = np.full((1, *SIZE), 0.3 + 0.01 * number, np.float32)
    image[0, 0, 0] = 0.4
    marker = np.zeros(SIZE, bool)
    marker[0, 0] = True
    return Case(f"case-{number}", image, CENTRE, "dark", (image + 0.5 * CENTRE).astype(np.float32), marker)


def perfect_map(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    classifier.predict(np.repeat(image[None], 3, axis=0))
    return CENTRE.astype(np.float32)


def random_map(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
    return np.random.default_rng(0).random(SIZE).astype(np.float32)


def perfect_edit(agent: object, classifier: BlackBox, image: np.ndarray) -> Edit:
    edited = (image + 0.5 * CENTRE).astype(np.float32)
    return Edit(edited, 1, bool(classifier.predict(edited[None])[0].argmax() == 1), CENTRE.astype(np.float32))


def contest(**changes: object) -> Comparison:
    classifier = SquareClassifier(InputSpec(SIZE))
    parts: dict = {
        "classifier": classifier,
        "agent": eager_agent(classifier),
        "verifier": SquareClassifier(InputSpec(SIZE), name="verifier"),
        "maps": [
            MapMethod("perfect", "Perfect", "a test", perfect_map),
            MapMethod("random", "Random", "a test", random_map),
            MapMethod("absent", "Absent", "a test", random_map, lambda classifier: False),
        ],
        "edits": [EditMethod("planted", "Planted", "a test", perfect_edit)],
        "floor": 0.01,
    }
    return Comparison(**{**parts, **changes})


def test_a_planted_perfect_explainer_scores_one_and_a_random_one_chance(tmp_path: Path) -> None:
    figures = summary(run(contest(), (case(n) for n in range(4)), 4, tmp_path))
    assert list(figures) == ["perfect", "random", "planted"]
    for method in ("perfect", "planted"):
        assert figures[method]["average_precision"]["mean"] == pytest.approx(1.0)
        assert figures[method]["pointing_game"]["mean"] == 1.0
        assert figures[method]["energy_inside"]["mean"] == pytest.approx(1.0)
    assert figures["random"]["average_precision"]["mean"] == pytest.approx(0.25, abs=0.1)
    planted = figures["planted"]
    assert planted["validity"]["mean"] == planted["validity_of_verifier"]["mean"] == 1.0
    assert planted["ssim_inside"]["mean"] == pytest.approx(1.0)
    assert planted["psnr_inside"]["mean"] == 100.0
    assert planted["changed_to_true_area"]["mean"] == pytest.approx(1.0)
    assert planted["changed_to_true_change"]["mean"] == pytest.approx(1.0)
    assert planted["strongest_on_marker"]["mean"] == 0.0
    assert figures["perfect"]["queries"]["mean"] == 3.0


def test_truth_counts_only_where_the_black_box_is_right(tmp_path: Path) -> None:
    """It says "dark" of these images; one of them is called bright by whoever labelled it."""
    cases = [case(0), replace(case(1), label="bright")]
    figures = summary(run(contest(), cases, 2, tmp_path))
    assert figures["perfect"]["average_precision"]["images"] == 1
    assert figures["planted"]["ssim_inside"]["images"] == 1
    assert figures["planted"]["validity"]["images"] == figures["perfect"]["insertion_auc"]["images"] == 2


def test_the_map_of_a_change_that_acts_as_the_true_one_correlates_with_it(tmp_path: Path) -> None:
    figures = summary(run(contest(), (case(n) for n in range(2)), 2, tmp_path))
    assert figures["planted"]["effect_correlation"]["mean"] == pytest.approx(1.0)
    elsewhere = EditMethod(
        "elsewhere",
        "Elsewhere",
        "a test",
        lambda agent, classifier, image: Edit((image + 0.5 * ~CENTRE).astype(np.float32), 1, False),
    )
    figures = summary(run(contest(edits=[elsewhere]), [case(0)], 1, tmp_path / "other"))
    assert figures["elsewhere"]["effect_correlation"]["mean"] < 0.5


def test_a_slow_method_is_given_every_second_image(tmp_path: Path) -> None:
    own = contest()
    slow = contest(maps=[replace(own.maps[0], slow=True)], edits=[replace(own.edits[0], slow=True)])
    rows = run(slow, (case(n) for n in range(4)), 4, tmp_path)
    assert [(row["method"], row["case"]) for row in rows] == [
        ("perfect", "case-0"),
        ("planted", "case-0"),
        ("perfect", "case-2"),
        ("planted", "case-2"),
    ]


def test_an_interrupted_run_goes_on_where_it_was(tmp_path: Path) -> None:
    asked: list[str] = []

    def counted(classifier: BlackBox, image: np.ndarray, label: int) -> np.ndarray:
        asked.append("map")
        if len(asked) == 3:
            raise KeyboardInterrupt
        return CENTRE.astype(np.float32)

    once = contest(maps=[MapMethod("counted", "Counted", "a test", counted)])
    with pytest.raises(KeyboardInterrupt):
        run(once, (case(n) for n in range(4)), 4, tmp_path)
    rows = run(once, (case(n) for n in range(4)), 4, tmp_path)
    assert len(asked) == 5, "the first two are not done again"
    assert [row["case"] for row in rows if row["method"] == "counted"] == [f"case-{n}" for n in range(4)]
    assert len(list((tmp_path / "edits" / "planted").iterdir())) == 4


def test_a_method_that_is_added_later_is_all_that_is_measured(tmp_path: Path) -> None:
    own = contest()
    first = run(replace(own, maps=own.maps[:1], edits=[]), [case(0), case(1)], 2, tmp_path)
    dead = MapMethod("perfect", "Perfect", "a test", lambda *_: pytest.fail("it is known"))
    later = run(replace(own, maps=[dead, own.maps[1]]), [case(0), case(1)], 2, tmp_path)
    assert [row["method"] for row in later] == 2 * ["perfect", "random", "planted"]
    assert [row for row in later if row["method"] == "perfect"] == first


def test_what_another_agent_made_is_made_anew_and_the_peers_stay(tmp_path: Path) -> None:
    own = contest()
    before = run(own, [case(0)], 1, tmp_path)
    dead = [replace(method, draw=lambda *_: pytest.fail("maps need no agent")) for method in own.maps]
    other = replace(own.agent, version="3" * 64)
    after = run(replace(own, agent=other, maps=dead), [case(0)], 1, tmp_path)
    assert [row["method"] for row in after] == [row["method"] for row in before]
    assert [row.get("agent") for row in after] == [None, None, other.version]
    assert "agent" not in summary(after)["planted"]


def test_results_of_another_classifier_are_not_mixed_with_these(tmp_path: Path) -> None:
    own = contest()
    run(own, [case(0)], 1, tmp_path)
    other = SquareClassifier(InputSpec(SIZE), version="3" * 64)
    with pytest.raises(BenchmarkError, match="another classifier"):
        run(replace(own, classifier=other), [case(0)], 1, tmp_path)


class AlwaysDark(SquareClassifier):
    """A judge that calls every image dark."""

    def predict(self, images: np.ndarray) -> np.ndarray:
        return np.tile([1.0, 0.0], (len(images), 1))


def test_counterfactuals_are_made_once_and_judged_by_others_later(tmp_path: Path) -> None:
    """A second run with other judges explains nothing again, and replaces the figures of the former judges."""
    made: list[str] = []

    def counted(agent: object, classifier: BlackBox, image: np.ndarray) -> Edit:
        made.append("edit")
        return perfect_edit(agent, classifier, image)

    cases = [case(0), case(1)]
    own = contest(edits=[EditMethod("planted", "Planted", "a test", counted)])
    first = run(replace(own, judges=[own.verifier]), cases, 2, tmp_path)
    assert all(row["validity_of_judge_1"] == 1.0 for row in first if row["method"] == "planted")
    doubting = AlwaysDark(InputSpec(SIZE), version="4" * 64, name="doubting")
    for verifier, believed in ((doubting, 0.0), (None, None), (own.verifier, 1.0)):
        rows = run(replace(own, verifier=verifier), cases, 2, tmp_path)
        planted = [row for row in rows if row["method"] == "planted"]
        assert [row.get("validity_of_verifier") for row in planted] == 2 * [believed]
        assert not any("validity_of_judge_1" in row for row in planted)
        assert [row["l1"] for row in planted] == [row["l1"] for row in first if row["method"] == "planted"]
    assert len(made) == 2
    (tmp_path / "edits" / "planted" / "case-0.npy").unlink()
    run(replace(own, verifier=doubting), cases, 2, tmp_path)
    assert len(made) == 3, "what is gone is made anew"


class Seeing(SquareClassifier):
    """A verifier that can be looked into."""

    module = torch.nn.Sequential(
        torch.nn.Conv2d(1, 3, 3), torch.nn.Flatten(), torch.nn.Linear(3 * 14 * 14, 4), torch.nn.Linear(4, 2)
    ).eval()


def test_every_judge_says_what_it_believes_and_what_grain_makes_of_it(tmp_path: Path) -> None:
    class Grainy(SquareClassifier):
        """Says bright of whatever is rough."""

        def predict(self, images: np.ndarray) -> np.ndarray:
            rough = np.abs(np.diff(images, axis=-1)).mean(axis=tuple(range(1, images.ndim)))
            second = (rough > 0.08).astype(float)
            return np.stack([1 - second, second], axis=1)

    steady, grainy = SquareClassifier(InputSpec(SIZE), name="steady"), Grainy(InputSpec(SIZE), name="grainy")
    own = replace(contest(), judges=[steady, grainy])
    results = run_suite("tiny", own, [case(n) for n in range(4)], np.zeros((1, 1, *SIZE), np.float32), tmp_path)
    assert results["methods"]["planted"]["validity_of_judge_1"]["mean"] == 1.0
    judges = {judge["name"]: judge for judge in results["judges"]}
    assert list(judges) == ["verifier", "steady", "grainy"]
    assert judges["steady"]["agreement"] == 1.0
    assert not judges["steady"]["robustness"]["goes_by_grain"]
    assert judges["grainy"]["robustness"]["goes_by_grain"]
    assert "grainy decides as the classifier does on" in (tmp_path / "table.md").read_text(encoding="utf-8")


def test_a_suite_writes_results_and_a_table(tmp_path: Path) -> None:
    seeing = contest(verifier=Seeing(InputSpec(SIZE)))
    rng = np.random.default_rng(0)
    reference = rng.uniform(0.2, 0.9, (60, 1, 1, 1)) + rng.uniform(0, 0.1, (60, 1, *SIZE))
    results = run_suite("tiny", seeing, [case(n) for n in range(12)], reference.astype(np.float32), tmp_path)
    assert json.loads((tmp_path / "results.json").read_text()) == results
    planted = results["methods"]["planted"]
    assert planted["fid"]["mean"] >= 0
    assert "kid" in planted
    assert planted["perceptual"]["mean"] > 0
    assert "fid" not in results["methods"]["perfect"], "a map is no image"
    assert results["images"] == 12
    assert results["lead"] == {}, "none of the methods is ours"
    assert "Planted" in (tmp_path / "table.md").read_text()
    with Picture.open(tmp_path / "planted-worst.png") as picture:
        assert min(picture.size) > 500


def test_a_suite_tells_how_far_we_lead(tmp_path: Path) -> None:
    own = EditMethod("ours", "Ours", "a test", perfect_edit)
    results = run_suite("tiny", contest(edits=[own]), [case(n) for n in range(3)], np.zeros((2, 1, *SIZE)), tmp_path)
    assert results["lead"]["average_precision"]["peer"] == "perfect"
    assert results["lead"]["average_precision"]["ratio"] == 1
    assert "Average precision: 1.00 x the best peer (1.00 to 1.00)" in (tmp_path / "table.md").read_text()


def test_the_lead_is_a_ratio_on_the_images_that_both_have() -> None:
    def row(method: str, case: str, signed: float, magnitude: float) -> dict[str, float | str | None]:
        return {
            "method": method,
            "case": case,
            "average_precision": signed,
            "average_precision_of_magnitude": magnitude,
        }

    rows = [
        row("ours", "a", 0.6, 0.6),
        row("ours", "b", 0.8, 0.8),
        row("ours", "c", 0.1, 0.1),  # not given to the slow peer
        row("slow", "a", 0.2, 0.3),
        row("slow", "b", 0.1, 0.4),
        row("weak", "a", 0.1, 0.1),
        {"method": "weak", "case": "b"},  # the black box was wrong: no figure
    ]
    lead = lead_over_peers(rows, "average_precision", ["slow", "weak"])
    assert lead is not None
    assert (lead.peer, lead.figure, lead.images) == ("slow", "average_precision_of_magnitude", 2)
    assert (lead.ours, lead.theirs, lead.ratio) == (0.7, 0.35, 2.0)
    assert (lead.low, lead.high) == (2.0, 2.0), "both are twice as good on either image: drawn together, nothing varies"
    assert lead_over_peers(rows, "average_precision", ["nobody"]) is None


def test_equal_images_are_at_no_perceptual_distance_and_different_ones_are() -> None:
    image = case(0).image
    assert perceptual_distance(Seeing.module, image, image) == 0.0
    assert perceptual_distance(Seeing.module, image, 1 - image) > 0
    assert penultimate(Seeing.module, np.stack([image, image])).shape == (2, 4)
    with pytest.raises(ValueError, match="no linear layer"):
        penultimate(torch.nn.Conv2d(1, 1, 3), np.stack([image]))


def test_intervals_hold_the_mean_and_missing_figures_are_left_out(tmp_path: Path) -> None:
    rows = [{"method": "m", "case": str(n), "l1": float(n), "cout": None if n else 0.5} for n in range(20)]
    figures = summary(rows)["m"]
    assert figures["l1"]["low"] < figures["l1"]["mean"] == 9.5 < figures["l1"]["high"]
    assert figures["cout"] == {"mean": 0.5, "low": 0.5, "high": 0.5, "images": 1}
    json.dumps(figures)


def test_maps_and_counterfactuals_have_tables_of_their_own_without_empty_columns() -> None:
    def one(value: float) -> dict[str, float]:
        return {"mean": value, "low": value, "high": value, "images": 9}

    figures = {
        "a": {"validity": {"mean": 1.0, "low": 0.98, "high": 1.0, "images": 9}, "seconds": one(123.4)},
        "b": {"average_precision": one(0.5), "seconds": one(0.25)},
        "c": {"average_precision": one(0.75), "validity": one(0.9)},
    }
    maps, edits = table(figures, {"a": "Method A"}).split("\n\n")[1::2]
    assert maps.splitlines()[:1] == ["| method | average precision | seconds |"]
    assert maps.splitlines()[2:4] == ["| b | 0.500 | 0.250 |", "| c | 0.750 |  |"]
    assert edits.splitlines()[0] == "| method | validity | seconds |"
    assert edits.splitlines()[2:] == ["| Method A | 1.000 (0.980 to 1.000) | 123 |", "| c | 0.900 |  |"]


def test_the_floor_is_the_agents_own_error() -> None:
    classifier = SquareClassifier(InputSpec(SIZE))
    assert reconstruction_floor(eager_agent(classifier), classifier, [case(0), case(1)]) < 1e-3


def test_the_worst_images_come_first() -> None:
    rows = [
        {"method": "ours", "case": "good", "validity": 1.0, "average_precision": 0.9},
        {"method": "ours", "case": "lost", "validity": 0.0, "average_precision": 0.9},
        {"method": "ours", "case": "astray", "validity": 1.0, "average_precision": 0.1},
        {"method": "ours", "case": "nobody knows", "validity": 1.0},
        {"method": "other", "case": "good", "validity": 0.0},
    ]
    assert ranked(rows, "ours") == ["lost", "astray", "good", "nobody knows"]


def test_methods_are_chosen_by_name_and_an_unknown_one_is_told() -> None:
    own = contest()
    maps, edits = choose("random, planted", own.maps, own.edits)
    assert ([m.name for m in maps], [e.name for e in edits]) == (["random"], ["planted"])
    assert len(choose(None, own.maps, own.edits)[0]) == 3
    with pytest.raises(BenchmarkError, match="no method 'magic'"):
        choose("magic", own.maps, own.edits)


def test_a_classifier_that_does_not_go_by_the_marker_makes_the_suite_void() -> None:
    with_marker = [case(n) for n in range(10)]
    without = [replace(case(n), marker=None) for n in range(10)]

    class ByMarker(SquareClassifier):
        def predict(self, images: np.ndarray) -> np.ndarray:
            marked = (images[:, 0, 0, 0] == np.float32(0.4)).astype(float)
            return np.stack([1 - marked, marked], axis=1)

    plain = [replace(c, image=c.image * 0) for c in without]
    names = ("benign", "malignant")
    assert refuse_unconfounded(ByMarker(InputSpec(SIZE), classes=names), with_marker + plain) == 1.0
    with pytest.raises(BenchmarkError, match="void"):
        refuse_unconfounded(SquareClassifier(InputSpec(SIZE), classes=names), with_marker + plain)
