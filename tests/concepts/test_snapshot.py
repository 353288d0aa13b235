"""From annotations to names: who wins, what is kept, what a summary says."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from otherwise.annotations.annotation import Annotation
from otherwise.annotations.region import RegionMask
from otherwise.annotations.vocabulary import Term, Vocabulary, local_term
from otherwise.concepts.annotated_regions import reader_agreement
from otherwise.concepts.description import FEATURES
from otherwise.concepts.feature_store import LAYOUT, FeatureEntry, FeatureStore
from otherwise.concepts.region_features import RegionFeatures
from otherwise.concepts.snapshot import ConceptSnapshot, fit_snapshot
from otherwise.concepts.statistics import UnitTable
from otherwise.images.image import Geometry

UNITS = 6


def unit_table() -> UnitTable:
    names = tuple(f"layer4/{n}" for n in range(UNITS))
    one = np.ones(UNITS, np.float32)
    return UnitTable("1", 10, names, one, 0 * one, 2 * one, np.zeros((UNITS, 2), np.float32), ((),) * UNITS)


def facts(labels: list[int], effects: list[float], overlaps: list[float], kind: int = 0) -> RegionFeatures:
    rng = np.random.default_rng(len(labels))
    embeddings = rng.normal(3 * kind, 0.1, (len(labels), 2 * UNITS)).astype(np.float32)
    each = np.tile(np.array(overlaps, np.float32), (len(labels), 1))
    return RegionFeatures(
        np.array(labels), np.array(effects, np.float32), embeddings, each, each[0], np.arange(UNITS) * 1.0
    )


def note(author: str, term: Term, id: str, explanation: str = "", certain: bool = True, **more: object) -> Annotation:
    return Annotation(
        author,
        "name",
        "image",
        term=term,
        id=id * 32,
        explanation=explanation,
        certain=certain,
        units=more.get("units", ("layer4/5",)),
    )  # type: ignore[arg-type]


@pytest.fixture
def explained() -> list[FeatureEntry]:
    strong = facts([1, 2], [3.0, 1.0], [0.5, 0.3, 0.1, 0, 0, 0])
    other = facts([1], [2.0], [0.5, 0.3, 0.1, 0, 0, 0], kind=5)
    return [FeatureEntry("explanation-1", "image", strong), FeatureEntry("explanation-2", "other", other)]


def taught(
    notes: list[Annotation], explained: list[FeatureEntry], named: dict[str, FeatureEntry], vocabulary: Vocabulary
) -> ConceptSnapshot:
    return fit_snapshot(notes, explained, named, unit_table(), vocabulary, "1", np.random.default_rng(0))


def test_a_better_overlap_wins_over_a_worse_one_and_both_are_kept(
    vocabulary: Vocabulary, explained: list[FeatureEntry]
) -> None:
    one, two = local_term("one"), local_term("two")
    notes = [
        Annotation("Ada", "name", "image", term=one, id="a" * 32, units=("layer4/0", "layer4/2")),
        Annotation("Grace", "name", "image", term=two, id="b" * 32, units=("layer4/0",)),
    ]
    named = {
        "a" * 32: FeatureEntry("a" * 32, "image", facts([0], [0.0], [0.3, 0.0, 0.6, 0, 0, 0])),
        "b" * 32: FeatureEntry("b" * 32, "image", facts([0], [0.0], [0.7, 0.0, 0.0, 0, 0, 0])),
    }
    found = taught(notes, explained, named, vocabulary).units
    assert found["layer4/0"].term == two
    assert [(vote.author, vote.overlap) for vote in found["layer4/0"].votes] == [
        ("Grace", pytest.approx(0.7)),
        ("Ada", pytest.approx(0.3)),
    ]
    assert found["layer4/0"].disputed
    assert found["layer4/2"].term == one
    assert not found["layer4/2"].disputed
    assert set(found) == {"layer4/0", "layer4/2"}


def test_without_a_choice_all_units_above_the_threshold_are_named(
    vocabulary: Vocabulary, explained: list[FeatureEntry]
) -> None:
    region = RegionMask(np.ones((2, 2, 1), bool), Geometry((2, 2, 1), np.eye(4)))
    named = {"a" * 32: FeatureEntry("a" * 32, "image", facts([0], [0.0], [0.21, 0.19, 0.6, 0, 0, 0]))}
    notes = [Annotation("Ada", "name", "image", term=local_term("one"), id="a" * 32, region=region)]
    assert set(taught(notes, explained, named, vocabulary).units) == {"layer4/0", "layer4/2"}


def test_a_kind_and_its_parent_are_no_dispute(vocabulary: Vocabulary, explained: list[FeatureEntry]) -> None:
    mass, spiculated = vocabulary.find("SCT", "129788004"), vocabulary.find("SCT", "129742005")
    notes = [note("Ada", mass, "a"), note("Grace", spiculated, "b")]
    assert not taught(notes, explained, {}, vocabulary).units["layer4/5"].disputed


def test_an_uncertain_word_never_beats_a_certain_one(vocabulary: Vocabulary, explained: list[FeatureEntry]) -> None:
    sure, unsure = local_term("sure"), local_term("unsure")
    notes = [note("Ada", sure, "a"), note("Ada", unsure, "b", certain=False)]
    assert taught(notes, explained, {}, vocabulary).units["layer4/5"].term == sure


def test_what_somebody_called_that_very_region_is_its_name(
    vocabulary: Vocabulary, explained: list[FeatureEntry]
) -> None:
    odd = local_term("odd")
    entry = FeatureEntry("a" * 32, "image", facts([2], [0.0], [0.0] * UNITS))
    found = taught([note("Ada", odd, "a", "explanation-1")], explained, {"a" * 32: entry}, vocabulary)
    first, second = found.names("explanation-1", explained[0].features)
    assert second is not None
    assert (second.term, second.confidence) == (odd, 1.0)
    assert found.pool.labelled.tolist() == [False, True, False]
    assert first is None or first.confidence < 1


def test_the_summary_adds_up(vocabulary: Vocabulary, explained: list[FeatureEntry]) -> None:
    odd = local_term("odd")
    entry = FeatureEntry("a" * 32, "image", facts([2], [0.0], [0.0] * UNITS))
    found = taught([note("Ada", odd, "a", "explanation-1")], explained, {"a" * 32: entry}, vocabulary)
    concepts = found.concepts("explanation-1", explained[0].features)
    assert sum(e.units for e in concepts.entries) == UNITS
    assert sum(e.share for e in concepts.entries) == pytest.approx(1)
    assert sum(e.effect for e in concepts.entries) == pytest.approx(4.0)
    assert sorted(label for e in concepts.entries for label in e.regions) == [1, 2]
    assert concepts.entries[-1].term is None
    named = next(e for e in concepts.entries if e.term == odd)
    assert named.activation == pytest.approx(5 / 2)  # unit 5 at 5, mean 0, deviation 2
    assert concepts.named_share == pytest.approx(sum(e.share for e in concepts.entries if e.term))


def test_accuracy_needs_enough_labels(vocabulary: Vocabulary, explained: list[FeatureEntry]) -> None:
    assert taught([note("Ada", local_term("odd"), "a")], explained, {}, vocabulary).accuracy() is None


def test_facts_come_back_from_the_catalogue_and_other_versions_are_not_seen(
    tmp_path: Path, explained: list[FeatureEntry]
) -> None:
    catalogue = FeatureStore(tmp_path / "features.sqlite", "1")
    for entry in explained:
        catalogue.put(entry)
    catalogue.close()
    again = FeatureStore(tmp_path / "features.sqlite", "1")
    assert [entry.source for entry in again.all()] == ["explanation-1", "explanation-2"]
    for name in ("labels", "effects", "embeddings", "overlaps", "together", "peaks"):
        one, other = (getattr(entry.features, name) for entry in (explained[0], again.all()[0]))
        assert np.array_equal(one, other)
        assert one.dtype == other.dtype
    again.close()
    assert FeatureStore(tmp_path / "features.sqlite", "2").all() == []


def test_facts_that_nobody_will_read_again_are_deleted(tmp_path: Path, explained: list[FeatureEntry]) -> None:
    """Those of an earlier layout, and of fewer images of the same units; other units may come back into use."""
    path = tmp_path / "features.sqlite"
    for version in ("units#8", "others#8"):
        catalogue = FeatureStore(path, version)
        catalogue.put(explained[0])
        catalogue.close()
    with closing(sqlite3.connect(path)) as connection, connection:
        connection.execute(
            "INSERT INTO facts SELECT 'units#8/3', source, image, content FROM facts WHERE version LIKE 'u%'"
        )
        connection.execute(
            "INSERT INTO facts SELECT 'others#8/1', source, image, content FROM facts WHERE version LIKE 'o%'"
        )

    def versions() -> set[str]:
        with closing(sqlite3.connect(path)) as connection:
            return {version for (version,) in connection.execute("SELECT version FROM facts")}

    assert len(versions()) == 4
    same = FeatureStore(path, "units#8")
    assert [entry.source for entry in same.all()] == [explained[0].source]
    same.close()
    assert versions() == {f"units#8/{LAYOUT}", f"others#8/{LAYOUT}"}
    grown = FeatureStore(path, "units#10")
    assert grown.all() == []
    grown.put(explained[0])
    grown.close()
    assert versions() == {f"units#10/{LAYOUT}", f"others#8/{LAYOUT}"}


def test_a_damaged_catalogue_is_made_anew(tmp_path: Path, explained: list[FeatureEntry]) -> None:
    (tmp_path / "features.sqlite").write_bytes(b"nothing of the kind" * 100)
    catalogue = FeatureStore(tmp_path / "features.sqlite", "1")
    catalogue.put(explained[0])
    assert len(catalogue.all()) == 1


def described(count: int, intensity: float, seed: int) -> np.ndarray:
    """Return descriptions of regions that differ in their intensity."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(0, 1, (count, len(FEATURES)))
    rows[:, :8] += intensity
    return rows.astype(np.float32)


def spoken_of(
    vocabulary: Vocabulary, wrong: int = 0, count: int = 12
) -> tuple[list[Annotation], dict[str, FeatureEntry], list[FeatureEntry], tuple[Term, Term]]:
    """Two kinds of regions, each named; the first ``wrong`` of the one kind are called the other."""
    terms = vocabulary.find("SCT", "129742005"), vocabulary.find("SCT", "129738007")
    notes, named, explained = [], {}, []
    for number in range(2 * count):
        kind = number % 2
        row = described(1, 20.0 * kind - 10, number)
        tissue = described(2, 60.0, 100 + number)
        one = replace(facts([1], [1.0], [0.0] * UNITS), descriptions=row, tissue=tissue)
        explained.append(FeatureEntry(f"e{number}", f"image-{number}", one))
        region = RegionMask(np.ones((2, 2, 1), bool), Geometry((2, 2, 1), np.diag([1, 1, 1 + number, 1.0])))
        term = terms[1 - kind] if number // 2 < wrong and kind == 0 else terms[kind]
        note = Annotation("Ada", "name", f"image-{number}", term=term, region=region, explanation=f"e{number}")
        notes.append(note)
        named[note.id] = FeatureEntry(note.id, note.image, one)
    return notes, named, explained, terms


def test_findings_are_predicted_for_regions_that_nobody_named(vocabulary: Vocabulary) -> None:
    notes, named, explained, terms = spoken_of(vocabulary)
    found = taught(notes, explained, named, vocabulary)
    for kind in (0, 1):
        fresh = replace(facts([1], [1.0], [0.0] * UNITS), descriptions=described(1, 20.0 * kind - 10, 999))
        ((name, *_),) = found.findings("new", fresh)
        assert (name.term, name.evidence) == (terms[kind], "finding")
    nothing = replace(facts([1], [1.0], [0.0] * UNITS), descriptions=described(1, 60.0, 998))
    assert found.findings("new", nothing) == [()], "ordinary tissue has no name"
    metal = replace(facts([1], [1.0], [0.0] * UNITS), descriptions=described(1, -9_000.0, 997))
    assert found.findings("new", metal) == [()], "nobody has named anything like it"


def test_a_wrong_label_is_noticed_keeps_its_own_region_and_spoils_no_other(vocabulary: Vocabulary) -> None:
    notes, named, explained, terms = spoken_of(vocabulary, wrong=1)
    found = taught(notes, explained, named, vocabulary)
    assert [word.annotation.id for word in found.doubtful] == [notes[0].id]
    assert found.names("e0", explained[0].features)[0] is not None
    assert found.names("e0", explained[0].features)[0].term == terms[1], "an own word always wins"
    fresh = replace(facts([1], [1.0], [0.0] * UNITS), descriptions=described(1, -10.0, 999))
    assert found.names("new", fresh)[0].term == terms[0]
    again = replace(notes[0], id="f" * 32)
    assert taught([*notes, again], explained, {**named, again.id: named[notes[0].id]}, vocabulary).doubtful == []


def test_shuffled_labels_are_noticed(vocabulary: Vocabulary) -> None:
    notes, named, explained, terms = spoken_of(vocabulary, count=20)
    assert not taught(notes, explained, named, vocabulary).incoherent
    # Half of either kind are called the one, half the other: the labels have nothing to do with the regions.
    dealt = [replace(note, term=terms[number // 2 % 2]) for number, note in enumerate(notes)]
    assert taught(dealt, explained, named, vocabulary).incoherent


def test_two_readers_of_the_same_regions_have_a_kappa(vocabulary: Vocabulary) -> None:
    notes, named, explained, terms = spoken_of(vocabulary)
    other = [replace(note, author="Grace", id=f"{number:032x}") for number, note in enumerate(notes)]
    features = {**named, **{mine.id: named[note.id] for mine, note in zip(other, notes, strict=True)}}
    ((one, two, regions, kappa),) = reader_agreement(
        taught([*notes, *other], explained, features, vocabulary).annotated
    )
    assert (one, two, regions) == ("Ada", "Grace", 24)
    assert kappa == {terms[0]: 1.0, terms[1]: 1.0}
