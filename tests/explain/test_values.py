"""What would make the value another one? Asked and answered in the value's own unit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from otherwise.agent.bundle import Agent
from otherwise.agent.calibration import Calibration
from otherwise.agent.editing.search_settings import SearchSettings
from otherwise.blackbox.importing import import_classifier
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.output_kind import OutputKind, curves_of, output_kind, with_unit
from otherwise.blackbox.protocol import BlackBox, InputSpec, PatchSpec
from otherwise.blackbox.question import TargetError
from otherwise.errors import ClassifierError
from otherwise.explain.explainer import Explainer
from otherwise.explain.explanation import Explanation
from otherwise.explain.request import ExplainRequest, explain_request
from otherwise.finding.finder import Finder
from otherwise.images.image import Geometry, Image
from otherwise.report import headline
from otherwise.report.cards import cards as report_cards
from otherwise.report.explanation_json import explanation_json
from otherwise.report.panels import Panels
from otherwise.report.provenance import provenance
from support.gaussian_flow import GaussianFlow
from support.square_models import SquareClassifier, eager_agent
from support.value_models import SquareHazards, SquareValue, central, save

SIZE = (16, 12)
MONTHS = OutputKind("value", unit="months", range=(0, 100), reference=50, spread=10, tolerance=2, name="bone age")
DAYS = OutputKind("survival", times=(0, 180, 365, 730), horizon=730, reading="hazard-logits", spread=15)


def grey(level: float, size: tuple[int, int] = (33, 26)) -> Image:
    array = level + 0.02 * np.random.default_rng(0).random((1, *size, 1)).astype(np.float32)
    return Image(array.astype(np.float32), Geometry((*size, 1), np.diag([0.5, 0.5, 2, 1])), "grey", 2)


def hosted(module: SquareValue | SquareHazards, kind: OutputKind, folder: Path) -> BlackBox:
    import_classifier(save(module, folder / "m.ts", SIZE), folder / "bundle", inputs=InputSpec(SIZE), answer=kind)
    return load_classifier(folder / "bundle")


def agent_of(box: BlackBox) -> Agent:
    return eager_agent(SquareClassifier(box.inputs, version=box.version))


@pytest.fixture(scope="module")
def months(tmp_path_factory: pytest.TempPathFactory) -> Explainer:
    box = hosted(SquareValue(), MONTHS, tmp_path_factory.mktemp("months"))
    return Explainer(box, agent_of(box))


def value_of(explainer: Explainer, image: Image) -> float:
    answer = explainer.classify(image).probabilities
    return float(output_kind(explainer.classifier).value_of(np.array(list(answer.values()))))


@pytest.mark.parametrize(
    ("target", "low", "high"),
    [
        (None, 54.0, 58.0),
        ("<50", 0.0, 50.0),
        (">=75", 75.0, 100.0),
        ("-20", 44.0, 48.0),
        ("+10 months", 74.0, 78.0),
        ("=40", 38.0, 42.0),
        ("30 more", 94.0, 98.0),
    ],
)
def test_the_value_that_is_asked_for_is_reached_within_the_tolerance(
    months: Explainer, target: str | None, low: float, high: float
) -> None:
    image = grey(0.65)
    found = months.explain(image, target=target)
    value = found.value
    assert value is not None
    assert value.original == pytest.approx(66, abs=0.5)
    assert value.reached, found.notes
    assert found.counterfactual.valid
    assert low - 0.1 <= value.counterfactual <= high + 0.1
    # Whoever shows the counterfactual to the model gets the value that the explanation states.
    assert value_of(months, found.volumes.counterfactual) == pytest.approx(value.counterfactual, abs=1e-3)
    assert value.of(found.prediction.probabilities) == pytest.approx(value.original)
    along = [value.of(point.probabilities) for point in found.path]
    assert along[0] == pytest.approx(value.original)
    assert value.counterfactual == pytest.approx(min(along, key=lambda each: abs(each - value.counterfactual)), abs=0.2)
    assert any(point.flipped for point in found.path)


def drawing_agent(box: BlackBox, small_changes_convince: bool) -> Agent:
    """Return an agent whose decoder draws images of a grey level that follows the value: 50 months are 0.5."""
    agent = agent_of(box)
    level = GaussianFlow(slope=0.8, spread=0.05)
    agent.model.velocity = level.velocity  # type: ignore[method-assign]
    change = 0.001 if small_changes_convince else 0.1
    return replace(agent, calibration=Calibration(evidence_validity=1.0, student_change=change))


@pytest.mark.parametrize("small_changes_convince", [True, False])
@pytest.mark.parametrize(("target", "shift"), [("=40", -0.26), ("+10", 0.1), (">=80", 0.145)])
def test_an_image_of_the_value_is_drawn_and_no_piece_of_it(
    tmp_path: Path, target: str, shift: float, small_changes_convince: bool
) -> None:
    """The model looks at the central square alone; an image of another value is another one everywhere."""
    box = hosted(SquareValue(), MONTHS, tmp_path)
    image = grey(0.65)
    found = Explainer(box, drawing_agent(box, small_changes_convince)).explain(image, target=target)
    assert found.value is not None
    assert found.value.reached, found.notes
    change = found.volumes.counterfactual.array - image.array
    assert change.mean() == pytest.approx(shift, abs=0.03)
    assert change.std() < 0.02


class Bursting(SquareValue):
    """A value that is beyond all measure where the square is bright."""

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        mean = central(images)
        return torch.where(mean > 0.8, 1e6, 100 * mean)


@pytest.mark.parametrize("target", [">=75", "=78", "+10"])
def test_a_candidate_whose_value_cannot_be_read_back_is_left_out_and_said(tmp_path: Path, target: str) -> None:
    box = hosted(Bursting(), MONTHS, tmp_path)
    explainer = Explainer(box, agent_of(box))
    found = explainer.explain(grey(0.65), target=target)
    assert found.value is not None
    assert found.value.reached, found.notes
    assert 74 <= value_of(explainer, found.volumes.counterfactual) <= 80
    assert any("left out of the search" in note and "650 spreads" in note for note in found.notes)
    with pytest.raises(ClassifierError, match="spreads of 10 from its reference"):
        explainer.explain(grey(0.9), target=target)


def test_a_threshold_is_crossed_by_no_more_than_needed(months: Explainer) -> None:
    found = months.explain(grey(0.65), target="<50")
    assert found.value is not None
    assert 50 - MONTHS.tolerance <= found.value.counterfactual < 50


def test_a_finer_tolerance_is_kept(months: Explainer) -> None:
    found = months.explain(grey(0.65), target="=40", tolerance=0.2)
    assert found.value is not None
    assert abs(found.value.counterfactual - 40) <= 0.2
    assert found.value.question.tolerance == 0.2


@pytest.mark.parametrize("target", ["<50", "-20", "=72", ">=75"])
def test_alternatives_reach_the_target_too_and_go_no_further(months: Explainer, target: str) -> None:
    found = months.explain(grey(0.65), target=target, seed=3)
    assert found.value is not None
    assert found.alternatives, "there are several answers"
    question = found.value.question
    for answer, image in zip(found.alternatives, found.volumes.alternatives, strict=True):
        value = value_of(months, image)
        assert answer.valid
        assert question.reached(value)
        assert abs(value - question.aim) <= question.tolerance
        assert np.abs(image.array - found.volumes.counterfactual.array).max() > 0, "another answer"


def test_effects_are_in_the_unit_and_equal_to_a_direct_question(months: Explainer) -> None:
    """The model is linear, so that the effects of all places add up to the change of the value."""
    image = grey(0.65)
    found = months.explain(image, target="-20")
    assert found.value is not None
    change = found.volumes.counterfactual.array - image.array
    assert found.volumes.effect.array.sum() > 0
    whole = sum(region.effect for region in found.regions)
    assert whole == pytest.approx(-found.value.change, rel=0.1)
    for region in found.regions:
        inside = found.volumes.regions.array == region.label
        alone = image.with_array((image.array + np.where(inside, change, 0)).astype(np.float32))
        assert value_of(months, image) - value_of(months, alone) == pytest.approx(region.effect, rel=0.15)


def test_a_survival_network_is_explained_with_its_curves(tmp_path: Path) -> None:
    box = hosted(SquareHazards(), DAYS, tmp_path)
    explainer = Explainer(box, agent_of(box))
    image = grey(0.5)
    found = explainer.explain(image, target="<25")
    value = found.value
    assert value is not None
    assert value.kind.unit == "%"
    assert value.reached
    assert 25 - DAYS.tolerance <= value.counterfactual < 25 < value.original
    assert value.curves is not None
    assert value.curves.times == DAYS.times
    assert 100 * (1 - value.curves.before[-1]) == pytest.approx(value.original)
    assert 100 * (1 - value.curves.after[-1]) == pytest.approx(value.counterfactual)
    assert all(after >= before for before, after in zip(value.curves.before, value.curves.after, strict=True))
    assert curves_of(box, np.zeros((1, 1, *SIZE), np.float32)) is not None


@pytest.mark.parametrize("target", ["<120", "nonsense", "=66", "5 mm"])
def test_a_target_that_cannot_be_is_refused(months: Explainer, target: str) -> None:
    with pytest.raises(TargetError):
        months.explain(grey(0.65), target=target)


def test_a_tolerance_is_refused_for_classes() -> None:
    classifier = SquareClassifier(InputSpec(SIZE))
    with pytest.raises(TargetError, match="no value"):
        Explainer(classifier, eager_agent(classifier)).explain(grey(0.3), tolerance=1.0)


def test_a_confidence_is_refused_for_values(months: Explainer) -> None:
    sure = Explainer(months.classifier, months.agent, SearchSettings(confidence=0.9))
    with pytest.raises(TargetError, match="a confidence is asked of classes") as refused:
        sure.explain(grey(0.65), target="<50")
    assert "--tolerance" in refused.value.hint


def test_a_value_of_patches_does_not_flip_a_whole_image(tmp_path: Path) -> None:
    save(SquareValue(), tmp_path / "m.ts", SIZE)
    inputs = InputSpec(SIZE, spacing=(0.5, 0.5), patches=PatchSpec(("higher",)))
    import_classifier(tmp_path / "m.ts", tmp_path / "bundle", inputs=inputs, answer=MONTHS)
    box = load_classifier(tmp_path / "bundle")
    with pytest.raises(ClassifierError, match="says a value, which does not flip") as refused:
        explain_request(Explainer(box, agent_of(box)), grey(0.65), ExplainRequest(whole=True))
    assert "--find" in refused.value.hint


def test_a_find_of_a_value_speaks_in_the_unit(tmp_path: Path) -> None:
    save(SquareValue(), tmp_path / "m.ts", SIZE)
    inputs = InputSpec(SIZE, spacing=(0.5, 0.5), patches=PatchSpec(("higher",)))
    import_classifier(tmp_path / "m.ts", tmp_path / "bundle", inputs=inputs, answer=MONTHS)
    box = load_classifier(tmp_path / "bundle")
    image = grey(0.65)
    first = Finder(box).find(image, most=1)[0]
    says = with_unit(float(MONTHS.value_of(np.array(list(first.probabilities.values())))), "months")
    found = explain_request(Explainer(box, agent_of(box)), image, ExplainRequest(target="<62"))
    assert found.place is not None
    question_asked = headline.question(found)
    assert question_asked.startswith(
        f"The model puts the bone age of the whole image at {says}, by its most suspicious patch"
    )
    assert question_asked.endswith("that of this patch likewise.")
    after = with_unit(float(MONTHS.value_of(np.array(list(found.place.after.values())))), "months")
    assert f"it would say {after} for the whole image" in headline.answer(found)
    cards = " ".join(card.text for card in report_cards(found, Panels(found)))
    where_from = dict(provenance(found))
    assert where_from["Its most suspicious patch, before"] == f"bone age {says}"
    assert where_from["Its most suspicious patch, after"] == f"bone age {after}"
    assert explanation_json(found)["place"]["values"]["before"] == pytest.approx(first.value)
    for sentence in (question_asked, headline.answer(found), cards, *where_from.values()):
        assert "at most" not in sentence
        assert "above" not in sentence


def test_what_is_not_reached_is_said(months: Explainer) -> None:
    weak = replace(months.settings, strengths=(0.01,), farther=(), rounds=1, flow=None)
    lazy = Explainer(months.classifier, months.agent, weak)
    found = lazy.explain(grey(0.9), target="<5")
    assert isinstance(found, Explanation)
    assert found.value is not None
    assert not found.value.reached
    assert not found.counterfactual.valid
    assert any("below 5 months" in note for note in found.notes)
