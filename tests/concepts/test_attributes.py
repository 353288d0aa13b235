"""Findings of regions: learned from a few labels, told where somebody can tell, and silent elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from otherwise.annotations.vocabulary import Term, Vocabulary, load_vocabulary, local_term
from otherwise.concepts.attributes import (
    LabelledRegion,
    agreement,
    axis_of,
    fit_attributes,
)
from otherwise.concepts.description import FEATURES, DescriptionError, describe_region
from otherwise.evaluation.teaching.attributes import calibration_error, recall_at
from otherwise.images.image import Geometry, Image

VOCABULARY = load_vocabulary()
CALCIFIED = VOCABULARY.find("99OTHERWISE", "nodule-calc")
GROUND_GLASS = VOCABULARY.find("DCM", "112120")
SOLID = VOCABULARY.find("99OTHERWISE", "nodule-solid")
HU = {CALCIFIED: 500.0, GROUND_GLASS: -600.0, SOLID: 40.0}


def ball(
    rng: np.random.Generator, intensity: float, spacing: tuple[float, float, float] = (0.7, 0.7, 1.5)
) -> tuple[Image, np.ndarray]:
    """Draw a ball of 4 to 7 mm in noisy lung."""
    shape = (36, 36, 18)
    places = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1) * spacing
    middle = np.array(shape) * spacing / 2 + rng.uniform(-2, 2, 3)
    mask = np.linalg.norm(places - middle, axis=-1) < rng.uniform(4, 7)
    array = rng.normal(-850, 30, shape) * ~mask + (intensity + rng.normal(0, 30, shape)) * mask
    return Image(array[None].astype(np.float32), Geometry(shape, np.diag([*spacing, 1.0])), "drawn"), mask


def described(rng: np.random.Generator, term: Term, count: int) -> list[np.ndarray]:
    return [describe_region(*ball(rng, HU[term] + rng.normal(0, 40))) for _ in range(count)]


@pytest.fixture(scope="module")
def labelled() -> list[LabelledRegion]:
    rng = np.random.default_rng(1)
    return [LabelledRegion(row, frozenset([term])) for term in HU for row in described(rng, term, 8)]


@pytest.fixture(scope="module")
def tissue() -> np.ndarray:
    rng = np.random.default_rng(2)
    return np.stack([describe_region(*ball(rng, -850.0)) for _ in range(24)])


def test_intensity_is_in_its_unit_and_size_in_mm() -> None:
    image, mask = ball(np.random.default_rng(0), 500.0)
    told = dict(zip(FEATURES, describe_region(image, mask), strict=True))
    assert told["median"] == pytest.approx(500, abs=10)
    assert told["surroundings"] == pytest.approx(-850, abs=10)
    volume = mask.sum() * image.geometry.voxel_volume
    assert 4 / 3 * np.pi * (np.exp(told["log diameter"]) / 2) ** 3 == pytest.approx(volume, rel=1e-4)


@pytest.mark.parametrize("term", [CALCIFIED, GROUND_GLASS], ids=lambda term: term.meaning)
def test_a_few_labels_tell_the_findings_of_other_regions(
    labelled: list[LabelledRegion], tissue: np.ndarray, term: Term
) -> None:
    model = fit_attributes(labelled, VOCABULARY, tissue)
    told = model.findings(np.stack(described(np.random.default_rng(3), term, 10)))
    assert np.mean([term in [finding.term for finding in found] for found in told]) >= 0.8
    assert all(0.6 <= finding.confidence <= 1 for found in told for finding in found)


def test_ordinary_tissue_gets_no_finding(labelled: list[LabelledRegion], tissue: np.ndarray) -> None:
    rng = np.random.default_rng(4)
    fresh = np.stack([describe_region(*ball(rng, -850.0)) for _ in range(12)])
    model = fit_attributes(labelled, VOCABULARY, tissue)
    assert model.findings(fresh) == [[]] * 12


def test_terms_of_one_axis_exclude_each_other(labelled: list[LabelledRegion]) -> None:
    model = fit_attributes(labelled, VOCABULARY)
    for found in model.findings(np.stack([region.description for region in labelled]), sure=0.01):
        axes = [finding.axis for finding in found]
        assert len(axes) == len(set(axes))


def test_not_this_lowers_the_term() -> None:
    rng = np.random.default_rng(7)
    shown = [LabelledRegion(row, frozenset([CALCIFIED])) for row in described(rng, CALCIFIED, 4)]
    other = described(rng, SOLID, 6)
    silent = shown + [LabelledRegion(row, frozenset([local_term("Seen")])) for row in other]
    denied = shown + [LabelledRegion(row, absent=frozenset([CALCIFIED])) for row in other]
    before, after = (
        fit_attributes(each, VOCABULARY).probabilities(np.stack(other))[CALCIFIED] for each in (silent, denied)
    )
    assert after.mean() < before.mean()


def test_one_region_alone_teaches_no_head_and_loses_nothing() -> None:
    region = LabelledRegion(describe_region(*ball(np.random.default_rng(0), 40.0)), frozenset([SOLID]))
    for regions in ([], [region]):
        model = fit_attributes(regions, VOCABULARY)
        assert model.findings(region.description[None]) == [[]]


def test_a_region_cannot_show_a_term_and_not_show_it() -> None:
    with pytest.raises(DescriptionError, match="cannot show 'Solid nodule' and not"):
        LabelledRegion(np.zeros(3), frozenset([SOLID]), frozenset([SOLID]))


def test_a_vocabulary_without_axes_makes_each_term_its_own() -> None:
    assert axis_of(SOLID, Vocabulary()) == SOLID
    assert axis_of(SOLID, VOCABULARY).meaning == "Nodule by texture"
    assert axis_of(CALCIFIED, VOCABULARY) == CALCIFIED


def test_an_empty_region_is_refused_in_one_line() -> None:
    image, mask = ball(np.random.default_rng(0), 40.0)
    with pytest.raises(DescriptionError, match="The region is empty"):
        describe_region(image, np.zeros_like(mask))


def test_agreement_is_cohens_kappa() -> None:
    one = [{SOLID}, {SOLID}, {CALCIFIED}, set()]
    other = [{SOLID}, set(), {CALCIFIED}, set()]
    # Solid: observed 3/4, by chance 1/2 * 1/4 + 1/2 * 3/4 = 1/2.
    assert agreement(one, other) == {SOLID: pytest.approx(0.5), CALCIFIED: 1.0}


def test_recall_and_calibration_by_hand() -> None:
    assert recall_at([0.9, 0.8, 0.7, 0.6], [True, True, False, True], 0.75) == 1.0
    assert recall_at([0.9, 0.8], [False, False]) is None
    assert calibration_error([(0.9, True), (0.9, False)]) == pytest.approx(0.4)
