"""Terms: presets have real codes, hierarchies hold, and the message about a wrong file names file and entry."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydicom.sr._concepts_dict import concepts

from otherwise.annotations.vocabulary import (
    PRESETS,
    PRIVATE,
    Term,
    Vocabulary,
    VocabularyError,
    load_vocabulary,
    local_term,
)

Write = Callable[..., Path]


@pytest.fixture(scope="module")
def shipped() -> Vocabulary:
    return load_vocabulary()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a vocabulary of entries ``CODE MEANING [PARENT]`` of one scheme."""

    def file(*entries: str, name: str = "own.yaml") -> Path:
        lines = []
        for entry in entries:
            code, meaning, *parent = entry.split()
            lines.append(f'- {{scheme: 99X, code: "{code}", meaning: {meaning}')
            lines[-1] += f', parent: "{parent[0]}"}}' if parent else "}"
        (tmp_path / name).write_text("\n".join(lines), encoding="utf-8")
        return tmp_path / name

    return file


def test_every_official_code_of_the_presets_is_one_of_dicom_with_that_meaning(shipped: Vocabulary) -> None:
    known = {
        (scheme, code, meaning)
        for scheme, keywords in concepts.items()
        for codes in keywords.values()
        for code, (meaning, _) in codes.items()
    }
    official = [term for term in shipped if term.scheme != PRIVATE]
    assert len(official) > 70
    for term in official:
        assert (*term.key, term.meaning) in known, term


@pytest.mark.parametrize("preset", PRESETS)
def test_each_preset_stands_alone_and_its_codes_fit_into_dicom(preset: str) -> None:
    vocabulary = load_vocabulary([preset])
    assert len(vocabulary) > 20
    assert all(len(term.code) <= 16 for term in vocabulary), "a code value has at most 16 characters"


def test_a_spiculated_margin_is_a_kind_of_mass_and_a_marker_is_spurious(shipped: Vocabulary) -> None:
    mass, spiculated = shipped.find("SCT", "129788004"), shipped.find("SCT", "129742005")
    assert shipped.is_a(spiculated, mass)
    assert not shipped.is_a(mass, spiculated)
    assert not shipped.spurious(spiculated)
    assert shipped.spurious(shipped.find("SCT", "262301009"))
    assert shipped.spurious(shipped.find(PRIVATE, "text"))
    assert not load_vocabulary(["birads"]).spurious(shipped.find("SCT", "262301009")), "who does not know it cannot say"


def test_children_parents_ancestors_and_roots_agree(shipped: Vocabulary) -> None:
    for term in shipped:
        above = shipped.ancestors(term)
        assert shipped.parent(term) == (above[0] if above else None)
        assert (term in shipped.roots()) == (not above)
        assert all(shipped.is_a(term, ancestor) for ancestor in (term, *above))
        assert all(shipped.parent(child) == term for child in shipped.children(term))
    below = [child for term in shipped for child in shipped.children(term)]
    assert sorted([*below, *shipped.roots()]) == sorted(shipped)


@given(st.permutations(range(8)), st.lists(st.integers(0, 100), min_size=8, max_size=8))
def test_any_tree_is_read_whatever_the_order_of_its_entries(order: list[int], draws: list[int]) -> None:
    parents = {str(n): str(draws[n] % n) for n in range(1, 8)}  # every one a kind of an earlier one
    terms = {("99X", str(n)): Term("99X", str(n), f"term {n}") for n in order}
    vocabulary = Vocabulary(terms, {("99X", a): ("99X", b) for a, b in parents.items()})
    root = vocabulary.find("99X", "0")
    assert vocabulary.roots() == (root,)
    assert all(vocabulary.is_a(term, root) for term in vocabulary)
    assert sum(len(vocabulary.children(term)) for term in vocabulary) == 7


def test_free_words_become_a_term_that_does_not_depend_on_who_writes_them(shipped: Vocabulary) -> None:
    term = local_term("  Feathery   margin ")
    assert term.meaning == "Feathery margin"
    assert term.key == local_term("FEATHERY MARGIN").key
    assert term not in shipped
    assert len(term.code) <= 16


@given(st.text(max_size=80))
def test_any_words_are_a_term_or_refused_in_one_line(words: str) -> None:
    try:
        term = local_term(words)
    except VocabularyError as error:
        lines = str(error).splitlines()
    else:
        lines = [term.meaning]
        assert local_term(term.meaning) == term
        assert term.meaning.encode()
    assert len(lines) == 1


def test_an_unknown_term_is_refused_with_a_hint(shipped: Vocabulary) -> None:
    with pytest.raises(VocabularyError, match="SCT:1234567") as refused:
        shipped.find("SCT", "1234567")
    assert refused.value.status == 422
    assert refused.value.hint


def test_own_files_build_upon_presets(write: Write) -> None:
    vocabulary = load_vocabulary(["birads", write("1 Feathery SCT:129788004", "2 Soft 1")])
    soft = vocabulary.find("99X", "2")
    assert vocabulary.is_a(soft, vocabulary.find("SCT", "129788004"))


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        (["1 One", "1 Two"], "own.yaml, entry 2: 99X:1 is there already (own.yaml, entry 1)"),
        (["1 One", "2 one"], "own.yaml, entry 2: 99X has the meaning 'one' already (own.yaml, entry 1)"),
        (["1 One", "2 Two 3"], "own.yaml, entry 2: the parent 99X:3 is unknown"),
        (["1 One 2", "2 Two 3", "3 Three 1"], "own.yaml, entry 1: 99X:1 is a kind of itself"),
        (["1 One 1"], "own.yaml, entry 1: 99X:1 is a kind of itself"),
    ],
)
def test_a_hierarchy_that_is_none_names_the_file_and_the_entry(write: Write, entries: list[str], message: str) -> None:
    with pytest.raises(VocabularyError) as refused:
        load_vocabulary([write(*entries)])
    assert message in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_two_files_with_the_same_code_are_refused(write: Write) -> None:
    with pytest.raises(VocabularyError, match=r"b\.yaml, entry 2: 99X:1 is there already \(a\.yaml, entry 1\)"):
        load_vocabulary([write("1 One", name="a.yaml"), write("2 Two", "1 Three", name="b.yaml")])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("terms: 3", "no list"),
        ("- 3", "entry 1"),
        ("- {scheme: SCT, code: 129742005, meaning: x}", "in quotes"),
        ("- {scheme: SCT, code: '1', meaning: x, colour: red}", "entry 1"),
        ("- {scheme: SCT, code: '1'}", "entry 1"),
        ("- {scheme: SCT, code: '1 2', meaning: x}", "entry 1"),
        ("- {scheme: SCT, code: '1', meaning: ' '}", "entry 1"),
        (f"- {{scheme: SCT, code: '1', meaning: {'x' * 65}}}", "entry 1"),
        ('- {scheme: SCT, code: "1", meaning: "two\\nlines"}', "entry 1"),
        ("- {scheme: [", "no YAML"),
        ("- !!python/object/apply:os.getcwd []", "no YAML"),
        ("[" * 5000, "no YAML"),
        ("\xff", "no YAML"),
        ("x" * (2**20 + 1), "1 MiB"),
    ],
)
def test_a_damaged_file_is_refused_in_one_line(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "own.yaml"
    file.write_bytes(text.encode("latin-1"))
    with pytest.raises(VocabularyError, match=message) as refused:
        load_vocabulary([file])
    assert "own.yaml" in str(refused.value)
    assert len(str(refused.value).splitlines()) == 1


def test_an_absent_file_is_refused_with_the_names_of_the_presets(tmp_path: Path) -> None:
    with pytest.raises(VocabularyError, match="birads, nodule, spurious"):
        load_vocabulary([tmp_path / "absent.yaml"])
