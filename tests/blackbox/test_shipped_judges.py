"""The judges that are shipped for real nodules are of different make, and say how robust they are."""

import numpy as np
import pytest

from otherwise.blackbox.bundle import read_bundle
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.robustness import MOST_FLIPS
from otherwise.resources import shipped_bundle

JUDGES = {
    "lidc_classifier": ("lidc_judge_plain", "lidc_judge_residual", "lidc_verifier"),
    "lidc_volume_classifier": ("lidc_volume_judge", "lidc_volume_verifier"),
}
"""By the classifier whose counterfactuals they judge."""


@pytest.mark.parametrize(("asked", "name"), [(asked, name) for asked, names in JUDGES.items() for name in names])
def test_a_judge_answers_for_what_the_classifier_is_asked(asked, name):
    judge, classifier = load_classifier(name), load_classifier(asked)
    assert judge.inputs == classifier.inputs
    assert judge.classes == classifier.classes
    images = np.random.default_rng(0).random((2, 1, *judge.inputs.size)).astype(np.float32)
    np.testing.assert_allclose(judge.predict(images).sum(axis=1), 1)


@pytest.mark.parametrize("names", JUDGES.values(), ids=JUDGES)
def test_judges_differ_in_make_and_are_not_moved_by_grain(names):
    made = set()
    for name in names:
        bundle = read_bundle(shipped_bundle(name))
        made.add(bundle.inference["network_def"]["_target_"])
        assert bundle.metadata["eval_metrics"]["grain"] <= MOST_FLIPS
        assert "| Robustness | share of 58" in (bundle.folder / "docs" / "README.md").read_text(encoding="utf-8")
    assert len(made) == len(names)
