"""The shipped pair of a survival network: what would make the risk another one, asked of unseen phantoms."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from otherwise import Explainer, load_agent, load_classifier
from otherwise.blackbox.output_kind import output_kind
from otherwise.phantoms.phantom import Phantom
from otherwise.phantoms.prognosis import PrognosisSettings, prognoses
from otherwise.report.html import render_report

UNSEEN = 987_654
pytestmark = pytest.mark.long


@pytest.fixture(scope="module")
def explainer() -> Explainer:
    return Explainer(load_classifier("prognosis_classifier", device="cpu"), load_agent("prognosis_agent", device="cpu"))


@pytest.fixture(scope="module")
def phantoms() -> list[Phantom]:
    return list(prognoses(UNSEEN, 40, PrognosisSettings()))


def test_the_risk_follows_the_known_hazard(explainer: Explainer, phantoms: list[Phantom]) -> None:
    kind = output_kind(explainer.classifier)
    assert kind.unit == "%"
    answers = [list(explainer.classify(phantom.image).probabilities.values()) for phantom in phantoms]
    found = [kind.value_of(np.array(answer)) for answer in answers]
    known = [phantom.outcome.risk for phantom in phantoms if phantom.outcome]
    assert stats.spearmanr(found, known).statistic > 0.7


def test_a_risk_is_changed_to_the_one_that_is_asked_for(explainer: Explainer, phantoms: list[Phantom]) -> None:
    asked = sorted((p for p in phantoms if p.outcome), key=lambda p: p.outcome.risk)  # type: ignore[union-attr]
    low, high = asked[5], asked[-3]
    for phantom, target in ((high, "20 less"), (low, "15 more")):
        found = explainer.explain(phantom.image, target=target)
        value = found.value
        assert value is not None
        assert value.reached, found.notes
        assert np.sign(value.change) == (-1 if target == "20 less" else 1)
        assert value.curves is not None
        assert found.volumes.counterfactual.geometry.same_as(phantom.image.geometry)
        page = render_report(found)
        assert "risk within two years" in page
        assert f"{value.counterfactual:.1f}" in page or f"{value.counterfactual:.0f}" in page
