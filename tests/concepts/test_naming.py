"""Names spread from a few labels: as fine as the labels allow, and to nothing unlike them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from otherwise.annotations.vocabulary import Key, Term, Vocabulary, local_term
from otherwise.concepts.naming import (
    MOST_FITTED,
    ConceptModel,
    Example,
    Space,
    fit_concepts,
    kernel,
    squared_distances,
)
from otherwise.concepts.questions import LabelQuestion, Pool, QuestionError, RegionRef, named_share, next_questions

MASS: Key = ("SCT", "129788004")
SPICULATED: Key = ("SCT", "129742005")
CIRCUMSCRIBED: Key = ("SCT", "129738007")
MARKER: Key = ("99OTHERWISE", "marker")
CENTRES = {SPICULATED: (4.0, 0.0), CIRCUMSCRIBED: (0.0, 4.0), MARKER: (-9.0, -9.0)}
COUNTS = {SPICULATED: 60, CIRCUMSCRIBED: 60, MARKER: 12}

Clouds = dict[Key, np.ndarray]


@pytest.fixture
def clouds() -> Clouds:
    """Regions of three kinds, which differ in two numbers, of which forty units each see something."""
    rng = np.random.default_rng(0)
    seen = rng.normal(size=(2, 40))

    def cloud(kind: Key, count: int) -> np.ndarray:
        drawn = rng.normal(CENTRES[kind], 1.0, (count, 2))
        return (drawn @ seen + rng.normal(0, 0.5, (count, 40))).astype(np.float32)

    return {kind: cloud(kind, count) for kind, count in COUNTS.items()}


def space(clouds: Clouds) -> Space:
    return Space.of(np.concatenate(list(clouds.values())), np.random.default_rng(0))


def taught(clouds: Clouds, vocabulary: Vocabulary, labels: dict[Key, int]) -> ConceptModel:
    examples = [Example(e, vocabulary.find(*kind)) for kind, count in labels.items() for e in clouds[kind][:count]]
    return fit_concepts(space(clouds), examples, vocabulary)


def terms(model: ConceptModel, embeddings: np.ndarray) -> list[Term | None]:
    return [name.term if name else None for name in model.name(embeddings)]


def pool_of(clouds: Clouds, labelled: int = 0) -> Pool:
    embeddings = np.concatenate(list(clouds.values()))
    count = len(embeddings)
    regions = tuple(RegionRef(f"image-{n}", f"explanation-{n}", 1) for n in range(count))
    return Pool(regions, embeddings, np.ones(count), np.arange(count) < labelled)


def number(question: LabelQuestion) -> int:
    return int(question.region.image.removeprefix("image-"))


def kind(question: LabelQuestion) -> Key:
    return [*COUNTS][int(np.searchsorted(np.cumsum([*COUNTS.values()]), number(question), "right"))]


def test_without_labels_nothing_has_a_name(clouds: Clouds, vocabulary: Vocabulary) -> None:
    model = taught(clouds, vocabulary, {})
    assert terms(model, clouds[SPICULATED]) == [None] * 60
    assert not model.familiarity(clouds[SPICULATED]).any()


def test_many_labels_give_the_finest_names(clouds: Clouds, vocabulary: Vocabulary) -> None:
    model = taught(clouds, vocabulary, {SPICULATED: 15, CIRCUMSCRIBED: 15})
    for truth in (SPICULATED, CIRCUMSCRIBED):
        found = terms(model, clouds[truth][15:])
        assert np.mean([term is not None and term.key == truth for term in found]) > 0.8
        wrong = [term is not None and not vocabulary.is_a(vocabulary.find(*truth), term) for term in found]
        assert np.mean(wrong) < 0.05


def test_few_labels_give_coarse_names_rather_than_wrong_ones(clouds: Clouds, vocabulary: Vocabulary) -> None:
    model = taught(clouds, vocabulary, {SPICULATED: 1, CIRCUMSCRIBED: 1})
    named = [term for term in terms(model, np.concatenate([clouds[SPICULATED], clouds[CIRCUMSCRIBED]])) if term]
    assert named
    for truth in (SPICULATED, CIRCUMSCRIBED):
        assert all(vocabulary.is_a(vocabulary.find(*truth), term) for term in named)


def test_what_is_unlike_everything_labelled_stays_unnamed(clouds: Clouds, vocabulary: Vocabulary) -> None:
    model = taught(clouds, vocabulary, {SPICULATED: 15, CIRCUMSCRIBED: 15})
    assert terms(model, clouds[MARKER]) == [None] * 12


def test_a_label_that_is_not_certain_counts_less(clouds: Clouds, vocabulary: Vocabulary) -> None:
    one, term = clouds[SPICULATED][0], vocabulary.find(*MASS)
    sure = fit_concepts(space(clouds), [Example(one, term, True)], vocabulary).familiarity(one[None])
    unsure = fit_concepts(space(clouds), [Example(one, term, False)], vocabulary).familiarity(one[None])
    assert 0 < unsure[0] < sure[0]


def test_free_words_are_names_as_well(clouds: Clouds, vocabulary: Vocabulary) -> None:
    model = fit_concepts(space(clouds), [Example(e, local_term("odd thing")) for e in clouds[MARKER][:3]], vocabulary)
    assert {term.meaning for term in terms(model, clouds[MARKER]) if term} == {"odd thing"}


@settings(max_examples=20, deadline=None)
@given(count=st.integers(1, 6), width=st.integers(1, 9), seed=st.integers(0, 1000))
def test_any_small_pool_has_a_space(count: int, width: int, seed: int) -> None:
    embeddings = np.random.default_rng(seed).normal(size=(count, width)).astype(np.float32)
    places = Space.of(embeddings, np.random.default_rng(0)).place(embeddings)
    alike = kernel(places, places)
    assert np.allclose(np.diag(alike), 1, atol=1e-4)
    assert ((alike >= 0) & (alike <= 1)).all()
    direct = np.square(places[:, None] - places[None]).sum(-1)
    assert np.allclose(squared_distances(places, places), direct, atol=1e-3 * max(1.0, direct.max()))


def test_a_sample_of_many_regions_gives_the_space_of_all() -> None:
    rng = np.random.default_rng(0)
    kinds = rng.normal(size=(8, 40))
    many = (3 * kinds[rng.integers(0, 8, 3 * MOST_FITTED)] + rng.normal(size=(3 * MOST_FITTED, 40))).astype(np.float32)
    one, other, again = (Space.of(many, np.random.default_rng(seed)) for seed in (1, 2, 1))
    alike, otherwise = (kernel(space.place(many[:200]), space.place(many[:200])) for space in (one, other))
    assert np.corrcoef(alike.ravel(), otherwise.ravel())[0, 1] > 0.99
    np.testing.assert_array_equal(one.components, again.components)


@pytest.mark.parametrize("strategy", ["mixed", "random", "uncertainty", "influence", "granularity"])
def test_questions_are_new_and_never_about_what_has_a_name(
    strategy: str, clouds: Clouds, vocabulary: Vocabulary
) -> None:
    model = taught(clouds, vocabulary, {SPICULATED: 3})
    questions = next_questions(strategy, pool_of(clouds, labelled=20), model, 5, np.random.default_rng(0))
    asked = [number(question) for question in questions]
    assert len(set(asked)) == 5
    assert min(asked) >= 20
    assert all(question.reason.endswith(".") for question in questions)


def test_a_batch_by_influence_covers_what_there_is(clouds: Clouds, vocabulary: Vocabulary) -> None:
    model = taught(clouds, vocabulary, {})
    few = replace(pool_of(clouds), shares=np.repeat([1.0, 1.0, 5.0], [*COUNTS.values()]))
    questions = next_questions("influence", few, model, 4, np.random.default_rng(0))
    assert {kind(question) for question in questions} == set(COUNTS)


def test_mixed_asks_about_typical_regions_first_and_soon_about_rare_ones(
    clouds: Clouds, vocabulary: Vocabulary
) -> None:
    model, pool = taught(clouds, vocabulary, {}), pool_of(clouds)
    batches = [next_questions("mixed", pool, model, 8, np.random.default_rng(seed)) for seed in range(20)]
    first = [{kind(question) for question in batch[:2]} for batch in batches]
    assert all(kinds == {SPICULATED, CIRCUMSCRIBED} for kinds in first), "the common kinds come first"
    rare = np.mean([MARKER in {kind(question) for question in batch} for batch in batches])
    by_chance = 1 - np.prod([(120 - n) / (132 - n) for n in range(8)])
    assert rare > by_chance + 0.2


def test_mixed_asks_what_is_least_sure_once_the_variety_is_covered(clouds: Clouds, vocabulary: Vocabulary) -> None:
    doubt = np.zeros(sum(COUNTS.values()))
    doubt[[40, 90]] = 1.0, 0.9
    pool = replace(pool_of(clouds, labelled=30), doubt=doubt)
    questions = next_questions("mixed", pool, taught(clouds, vocabulary, {}), 2, np.random.default_rng(0))
    assert {number(question) for question in questions} == {40, 90}


def test_granularity_asks_about_what_is_named_coarsely(clouds: Clouds, vocabulary: Vocabulary) -> None:
    mass = vocabulary.find(*MASS)
    examples = [Example(e, mass) for e in clouds[SPICULATED][:5]]
    model = fit_concepts(space(clouds), examples, vocabulary)
    (question,) = next_questions("granularity", pool_of(clouds), model, 1, np.random.default_rng(0))
    assert kind(question) != MARKER
    assert mass.meaning in question.reason


def test_uncertainty_asks_about_what_is_least_like_the_known(clouds: Clouds, vocabulary: Vocabulary) -> None:
    model = taught(clouds, vocabulary, {SPICULATED: 10, CIRCUMSCRIBED: 10})
    (question,) = next_questions("uncertainty", pool_of(clouds), model, 1, np.random.default_rng(0))
    assert kind(question) == MARKER


def test_there_may_be_nothing_to_ask(clouds: Clouds, vocabulary: Vocabulary) -> None:
    model, rng = taught(clouds, vocabulary, {}), np.random.default_rng(0)
    with pytest.raises(QuestionError, match="spoken of every region"):
        next_questions("influence", pool_of(clouds, labelled=132), model, 1, rng)
    with pytest.raises(QuestionError, match="No image has been explained"):
        next_questions("influence", Pool((), np.zeros((0, 40)), np.zeros(0), np.zeros(0, bool)), model, 1, rng)
    with pytest.raises(QuestionError, match="no strategy 'best'"):
        next_questions("best", pool_of(clouds), model, 1, rng)


def test_named_share_weighs_by_the_decisive_change(clouds: Clouds, vocabulary: Vocabulary) -> None:
    (name,) = taught(clouds, vocabulary, {SPICULATED: 15}).name(clouds[SPICULATED][:1])
    assert name is not None
    assert named_share([name, None], np.array([0.75, 0.25])) == 0.75
    assert named_share([], np.array([])) == 0.0
