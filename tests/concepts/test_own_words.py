"""Words of several readers about one region: they stand side by side, and nobody's is lost."""

from __future__ import annotations

import numpy as np
import pytest

from otherwise.annotations.annotation import Annotation
from otherwise.annotations.region import RegionMask
from otherwise.annotations.vocabulary import Term, Vocabulary, load_vocabulary, local_term
from otherwise.concepts.own_words import OwnWords, own_words
from otherwise.images.image import Geometry

VOCABULARY = load_vocabulary()
CALCIFIED = VOCABULARY.find("99OTHERWISE", "nodule-calc")
SPICULATED, SMOOTH = VOCABULARY.find("DCM", "112136"), VOCABULARY.find("99OTHERWISE", "nodule-smooth")
NODULE = VOCABULARY.find("SCT", "27925004")
REGION = RegionMask(np.ones((2, 2, 1), bool), Geometry((2, 2, 1), np.eye(4)))


def note(author: str, term: Term | None, kind: str = "name", certain: bool = True) -> Annotation:
    return Annotation(author, kind, "image", term=term, region=REGION, certain=certain)  # type: ignore[arg-type]


def summed(*notes: Annotation, vocabulary: Vocabulary = VOCABULARY) -> OwnWords:
    return own_words(notes, vocabulary)


def confidences(words: OwnWords) -> dict[str, float]:
    return {name.term.meaning: round(name.confidence, 3) for name in words.names}


def test_one_region_shows_several_findings() -> None:
    words = summed(note("Ada", CALCIFIED), note("Ada", SMOOTH))
    assert confidences(words) == {SMOOTH.meaning: 1.0, CALCIFIED.meaning: 1.0}
    assert not any(name.disputed for name in words.names)


def test_who_changes_their_mind_is_counted_once() -> None:
    assert confidences(summed(note("Ada", SPICULATED), note("Ada", SMOOTH))) == {SMOOTH.meaning: 1.0}
    assert confidences(summed(note("Ada", SPICULATED), note("Ada", SPICULATED, "not-this"))) == {}
    again = summed(note("Ada", SPICULATED, "not-this"), note("Ada", SPICULATED))
    assert confidences(again) == {SPICULATED.meaning: 1.0}
    assert again.denied == frozenset()


def test_readers_who_differ_stand_side_by_side_and_neither_is_certain() -> None:
    words = summed(note("Ada", SPICULATED), note("Grace", SMOOTH))
    assert confidences(words) == {SPICULATED.meaning: 0.5, SMOOTH.meaning: 0.5}
    assert all(name.disputed for name in words.names)


def test_a_coarser_word_is_no_dispute() -> None:
    words = summed(note("Ada", NODULE), note("Grace", SPICULATED))
    assert confidences(words)[SPICULATED.meaning] == 1.0
    assert not any(name.disputed for name in words.names)


def test_the_majority_weighs_more() -> None:
    words = summed(note("Ada", SPICULATED), note("Grace", SMOOTH), note("Lise", SMOOTH))
    assert confidences(words) == {
        SMOOTH.meaning: pytest.approx(2 / 3, abs=1e-3),
        SPICULATED.meaning: pytest.approx(1 / 3, abs=1e-3),
    }


def test_who_denies_a_word_of_another_disputes_it() -> None:
    words = summed(note("Ada", CALCIFIED), note("Grace", CALCIFIED, "not-this"))
    assert confidences(words) == {CALCIFIED.meaning: 0.5}
    assert words.names[0].disputed
    assert words.denied == frozenset(), "somebody says it"


def test_an_uncertain_word_is_shown_and_says_so() -> None:
    assert confidences(summed(note("Ada", SPICULATED, certain=False))) == {SPICULATED.meaning: 0.5}


def test_who_cannot_tell_leaves_the_region_without_a_name_until_somebody_can() -> None:
    doubt = note("Ada", None, "cannot-tell")
    assert summed(doubt).cannot_tell
    assert not summed(doubt, note("Grace", SMOOTH)).cannot_tell
    assert not summed(doubt, note("Ada", SMOOTH)).cannot_tell
    assert confidences(summed(note("Ada", SMOOTH), doubt)) == {}


def test_words_that_no_vocabulary_knows_exclude_nothing() -> None:
    words = summed(note("Ada", local_term("early")), note("Ada", local_term("late")), vocabulary=Vocabulary())
    assert list(confidences(words)) == ["late", "early"]
