"""Findings of regions: learned from a few labels, predicted where they are likely, and left out elsewhere."""

from __future__ import annotations

import numpy as np
import pytest

from otherwise.annotations.vocabulary import Term, Vocabulary, load_vocabulary
from otherwise.concepts.attributes import LabelledRegion, axis_of, fit_attributes, needed_probability
from otherwise.concepts.description import FEATURES, DescriptionError, describe_region
from otherwise.concepts.label_quality import agreement, judge_labels
from otherwise.evaluation.teaching.figures import calibration_error, recall_at
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
    features = dict(zip(FEATURES, describe_region(image, mask), strict=True))
    assert features["median"] == pytest.approx(500, abs=10)
    assert features["surroundings"] == pytest.approx(-850, abs=10)
    volume = mask.sum() * image.geometry.voxel_volume
    assert 4 / 3 * np.pi * (np.exp(features["log diameter"]) / 2) ** 3 == pytest.approx(volume, rel=1e-4)


def test_a_description_does_not_depend_on_where_the_region_lies() -> None:
    image, mask = ball(np.random.default_rng(0), 40.0)
    rolled = image.with_array(np.roll(image.array, 2, axis=1))
    again = describe_region(rolled, np.roll(mask, 2, axis=0))
    np.testing.assert_allclose(again, describe_region(image, mask), rtol=0.05, atol=0.5)


@pytest.mark.parametrize("term", list(HU), ids=lambda term: term.meaning)
def test_a_few_labels_predict_the_findings_of_other_regions(
    labelled: list[LabelledRegion], tissue: np.ndarray, term: Term
) -> None:
    model = fit_attributes(labelled, VOCABULARY, tissue)
    predicted = model.findings(np.stack(described(np.random.default_rng(3), term, 10)))
    assert np.mean([term in [finding.term for finding in found] for found in predicted]) >= 0.8
    assert all(model.sure <= finding.confidence <= 1 for found in predicted for finding in found)


def test_a_region_that_is_surely_a_nodule_is_in_doubt_until_its_kind_is_sure(
    labelled: list[LabelledRegion], tissue: np.ndarray
) -> None:
    model = fit_attributes([region for region in labelled if GROUND_GLASS not in region.present], VOCABULARY, tissue)
    rng = np.random.default_rng(9)
    known, between = (
        np.stack(described(rng, CALCIFIED, 6)),
        np.stack([describe_region(*ball(rng, 260.0)) for _ in "123456"]),
    )
    assert model.doubt(known).mean() < 0.2
    assert model.doubt(between).mean() > model.doubt(known).mean() + 0.1, "nodule for sure, calcified or solid"


def test_ordinary_tissue_gets_no_finding(labelled: list[LabelledRegion], tissue: np.ndarray) -> None:
    rng = np.random.default_rng(4)
    fresh = np.stack([describe_region(*ball(rng, -850.0)) for _ in range(12)])
    model = fit_attributes(labelled, VOCABULARY, tissue)
    assert model.findings(fresh) == [[]] * 12


def test_what_is_unlike_everything_labelled_gets_no_finding(labelled: list[LabelledRegion], tissue: np.ndarray) -> None:
    metal = np.stack([describe_region(*ball(np.random.default_rng(5), 12_000.0))])
    assert fit_attributes(labelled, VOCABULARY, tissue).findings(metal) == [[]]


def test_terms_of_one_axis_exclude_each_other(labelled: list[LabelledRegion]) -> None:
    model = fit_attributes(labelled, VOCABULARY)
    for found in model.findings(np.stack([region.description for region in labelled]), sure=0.01):
        axes = [finding.axis for finding in found]
        assert len(axes) == len(set(axes))


def test_a_wrong_label_is_asked_about_again(labelled: list[LabelledRegion]) -> None:
    wrong = LabelledRegion(labelled[0].description, frozenset([GROUND_GLASS]))
    found = judge_labels([wrong, *labelled[1:]], VOCABULARY).doubtful
    assert (found[0].region, found[0].term) == (0, GROUND_GLASS)
    assert len(found) <= 3


def test_labels_that_agree_are_not_asked_about_again(labelled: list[LabelledRegion]) -> None:
    assert judge_labels(labelled, VOCABULARY).doubtful == []


def dealt(seed: int, count: int, shuffled: bool) -> list[LabelledRegion]:
    """Label regions of three kinds that overlap in what they look like, half of them of the first kind."""
    rng = np.random.default_rng(seed)
    kinds = rng.choice(3, count, p=[0.5, 0.3, 0.2])
    looks = 0.7 * np.random.default_rng(0).normal(size=(3, 18))[kinds] + rng.normal(size=(count, 18))
    given = rng.permutation(kinds) if shuffled else kinds
    return [LabelledRegion(look, frozenset([list(HU)[kind]])) for look, kind in zip(looks, given.tolist(), strict=True)]


@pytest.mark.parametrize("count", [40, 80])
def test_labels_that_mean_nothing_are_distinguished_from_those_that_mean_something(count: int) -> None:
    right, shuffled = (
        [judge_labels(dealt(seed, count, each), VOCABULARY).incoherent for seed in range(8)] for each in (False, True)
    )
    assert sum(right) == 0
    assert sum(shuffled) >= 7


def test_with_few_labels_nobody_says_that_they_mean_nothing() -> None:
    assert not any(judge_labels(dealt(seed, 39, True), VOCABULARY).incoherent for seed in range(4))


def test_cannot_tell_teaches_nothing(labelled: list[LabelledRegion]) -> None:
    rng = np.random.default_rng(6)
    unsure = [LabelledRegion(row, unknown=frozenset(HU)) for row in described(rng, SOLID, 5)]
    asked = np.stack(described(rng, CALCIFIED, 3))
    plain, more = (fit_attributes(each, VOCABULARY).probabilities(asked) for each in (labelled, labelled + unsure))
    assert all(abs(plain[term] - more[term]).max() < 0.1 for term in HU)


def test_not_this_lowers_the_term() -> None:
    rng = np.random.default_rng(7)
    known = [LabelledRegion(row, frozenset([CALCIFIED])) for row in described(rng, CALCIFIED, 4)]
    known += [LabelledRegion(row, frozenset([GROUND_GLASS])) for row in described(rng, GROUND_GLASS, 4)]
    denied = known + [LabelledRegion(row, absent=frozenset([CALCIFIED])) for row in described(rng, SOLID, 4)]
    asked = np.stack(described(rng, SOLID, 6))
    before, after = (fit_attributes(each, VOCABULARY).probabilities(asked)[CALCIFIED] for each in (known, denied))
    assert after.mean() < before.mean() - 0.1


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
    cavity, fat = VOCABULARY.find("99OTHERWISE", "nodule-cavity"), VOCABULARY.find("SCT", "256674009")
    assert axis_of(cavity, VOCABULARY) != axis_of(fat, VOCABULARY), "a nodule may show both"


def test_the_fewer_labels_the_surer_a_finding_has_to_be() -> None:
    needed = [needed_probability(count) for count in range(1, 200)]
    assert needed == sorted(needed, reverse=True)
    assert needed[-1] == 0.45


def test_a_group_of_terms_is_no_finding(labelled: list[LabelledRegion], tissue: np.ndarray) -> None:
    model = fit_attributes(labelled, VOCABULARY, tissue)
    predicted = model.findings(np.stack([region.description for region in labelled]), sure=0.0)
    assert not any(VOCABULARY.is_group(finding.term) for found in predicted for finding in found)


def test_what_a_finding_is_a_kind_of_is_not_listed_beside_it() -> None:
    rng = np.random.default_rng(8)
    popcorn = VOCABULARY.find("99OTHERWISE", "nodule-popcorn")
    regions = [LabelledRegion(row, frozenset([popcorn])) for row in described(rng, CALCIFIED, 8)]
    regions += [LabelledRegion(row, frozenset([GROUND_GLASS])) for row in described(rng, GROUND_GLASS, 8)]
    predicted = fit_attributes(regions, VOCABULARY).findings(np.stack(described(rng, CALCIFIED, 6)), sure=0.5)
    assert [[finding.term for finding in found] for found in predicted] == [[popcorn]] * 6


def test_a_region_on_one_slice_of_a_volume_is_described_in_two_dimensions() -> None:
    image, mask = ball(np.random.default_rng(0), 40.0)
    k = 9
    drawn = np.zeros_like(mask)
    drawn[..., k] = mask[..., k]
    alone = Image(image.array[..., k : k + 1], Geometry((36, 36, 1), image.geometry.affine), "slice")
    np.testing.assert_allclose(describe_region(image, drawn), describe_region(alone, drawn[..., k : k + 1]), rtol=1e-5)


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
