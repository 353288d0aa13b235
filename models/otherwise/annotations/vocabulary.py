"""Terms with codes and a hierarchy, from YAML files."""

from __future__ import annotations

import hashlib
import re
import unicodedata
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

import yaml

from otherwise.errors import OtherwiseError

PRIVATE = "99OTHERWISE"
"""Our own coding scheme; designators of private schemes start with 99 (DICOM PS3.16, section 8.2)."""
SPURIOUS = "spurious"
"""Code, in the private scheme, of the root of everything that is no feature of a disease."""
PRESETS = ("birads", "nodule", "spurious")
"""Vocabularies that travel with the package."""
GROUPS = ("exclusive", "several")
"""What a group of terms may be: a region shows at most one of them, or any number."""

_SCHEME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,15}")
_CODE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST_MEANING = 64
_LARGEST_FILE = 2**20

Key = tuple[str, str]
"""Scheme and code of a term."""


class VocabularyError(OtherwiseError):
    """A term is unknown or malformed, or a vocabulary file is damaged."""

    code = "vocabulary"
    status = 422


@dataclass(frozen=True, order=True)
class Term:
    """A coded concept, as in DICOM's basic coded entry (PS3.3, section 8.8).

    Attributes:
        scheme: Coding scheme designator, such as ``SCT``, ``DCM`` or ``RADLEX``, at most 16 characters.
        code: Code value within the scheme.
        meaning: Words for people, one line of at most 64 characters.

    Raises:
        VocabularyError: if one of them is empty, too long, or holds characters that it must not.
    """

    scheme: str
    code: str
    meaning: str

    def __post_init__(self) -> None:
        for name, grammar in (("scheme", _SCHEME), ("code", _CODE)):
            value = getattr(self, name)
            if not isinstance(value, str) or not grammar.fullmatch(value):
                raise VocabularyError(
                    f"{value!r} is no {name} of a term."[:120], "Use letters, digits, dots, dashes and underscores."
                )
        meaning = self.meaning
        if not isinstance(meaning, str) or not meaning.strip() or not meaning.isprintable():
            raise VocabularyError("A term has no meaning, or one of several lines.", "Give a few words.")
        if meaning != meaning.strip() or len(meaning) > _LONGEST_MEANING:
            raise VocabularyError(
                f"The meaning {meaning[:40]!r} has more than {_LONGEST_MEANING} characters, or spaces around it.",
                "Shorten it.",
            )

    @property
    def key(self) -> Key:
        """Return the scheme and the code, which identify the term."""
        return self.scheme, self.code

    def __str__(self) -> str:
        return f"{self.meaning} ({self.scheme} {self.code})"


def local_term(meaning: str) -> Term:
    """Make the term of free words: who writes the same words, but for case and spaces, means the same term.

    Raises:
        VocabularyError: if the words are no meaning of a term.
    """
    words = " ".join(unicodedata.normalize("NFC", str(meaning)).split())
    digest = hashlib.sha256(words.casefold().encode("utf-8", "replace")).hexdigest()
    return Term(PRIVATE, f"L{digest[:12].upper()}", words)


@dataclass(frozen=True)
class Vocabulary:
    """Terms and their broader terms.

    Attributes:
        terms: By scheme and code, in the order of the files.
        parents: Scheme and code of the term that one is a kind of; roots are absent.
        groups: Terms that only group others and are no finding themselves, such as "Nodule by margin"; true where the
            terms of the group exclude each other.
    """

    terms: Mapping[Key, Term] = field(default_factory=dict)
    parents: Mapping[Key, Key] = field(default_factory=dict)
    groups: Mapping[Key, bool] = field(default_factory=dict)

    def __iter__(self) -> Iterator[Term]:
        return iter(self.terms.values())

    def __len__(self) -> int:
        return len(self.terms)

    def __contains__(self, term: Term) -> bool:
        return self.terms.get(term.key) == term

    def find(self, scheme: str, code: str) -> Term:
        """Look a term up.

        Raises:
            VocabularyError: if there is none.
        """
        try:
            return self.terms[scheme, code]
        except KeyError:
            raise VocabularyError(
                f"The vocabulary has no term {scheme}:{code}."[:160], "Choose a listed one, or give free words."
            ) from None

    def roots(self) -> tuple[Term, ...]:
        """Return the terms without a broader term."""
        return tuple(term for key, term in self.terms.items() if key not in self.parents)

    def parent(self, term: Term) -> Term | None:
        """Return the broader term; None for roots and for terms that the vocabulary lacks."""
        key = self.parents.get(term.key)
        return None if key is None else self.terms[key]

    def children(self, term: Term) -> tuple[Term, ...]:
        """Return the terms one step finer."""
        return self._children.get(term.key, ())

    def ancestors(self, term: Term) -> tuple[Term, ...]:
        """Return all broader terms, nearest first."""
        found = []
        above = self.parent(term)
        while above is not None:
            found.append(above)
            above = self.parent(above)
        return tuple(found)

    def is_a(self, term: Term, ancestor: Term) -> bool:
        """Return whether a term is another one or finer than it."""
        return ancestor.key in (term.key, *(above.key for above in self.ancestors(term)))

    def is_group(self, term: Term) -> bool:
        """Return whether a term only groups others and is no finding itself."""
        return term.key in self.groups

    def exclusive(self, term: Term) -> bool:
        """Return whether a term is a group whose terms exclude each other."""
        return self.groups.get(term.key, False)

    def spurious(self, term: Term) -> bool:
        """Return whether a term means something that is no feature of a disease: a marker, a device, a border."""
        return (PRIVATE, SPURIOUS) in (term.key, *(above.key for above in self.ancestors(term)))

    @cached_property
    def _children(self) -> dict[Key, tuple[Term, ...]]:
        found: dict[Key, tuple[Term, ...]] = {}
        for key, above in self.parents.items():
            found[above] = (*found.get(above, ()), self.terms[key])
        return found


def load_vocabulary(sources: Iterable[str | Path] = PRESETS) -> Vocabulary:
    """Read vocabulary files into one vocabulary.

    A file is a YAML list of entries ``{scheme, code, meaning, parent, group}``; the last two may be absent. ``parent``
    is a code of the same scheme, or ``SCHEME:code``, in any of the files. ``group`` marks what only groups other terms:
    ``exclusive`` where a region shows at most one of them, else ``several``.

    Args:
        sources: Names of presets, and paths of files.

    Raises:
        VocabularyError: if a file cannot be read or is no such list, a code, or a meaning within a scheme, occurs
            twice, a parent is unknown, or terms are kinds of each other in a circle.
    """
    terms: dict[Key, Term] = {}
    parents: dict[Key, Key] = {}
    groups: dict[Key, bool] = {}
    places: dict[Key, str] = {}
    meanings: dict[tuple[str, str], str] = {}
    for source in dict.fromkeys(sources):
        name, content = _read(source)
        for number, entry in enumerate(_entries(name, content), 1):
            place = f"{name}, entry {number}"
            term, above = _entry(place, entry)
            if "group" in entry:
                groups[term.key] = entry["group"] == GROUPS[0]
            meaning = (term.scheme, term.meaning.casefold())
            if term.key in terms:
                raise _wrong(place, f"{term.scheme}:{term.code} is there already ({places[term.key]})")
            if meaning in meanings:
                raise _wrong(place, f"{term.scheme} has the meaning {term.meaning!r} already ({meanings[meaning]})")
            terms[term.key], places[term.key], meanings[meaning] = term, place, place
            if above is not None:
                parents[term.key] = above
    for key, above in parents.items():
        if above not in terms:
            raise _wrong(places[key], f"the parent {':'.join(above)} is unknown")
        _refuse_circle(key, parents, places)
    return Vocabulary(terms, parents, groups)


def _read(source: str | Path) -> tuple[str, Any]:
    """Return the name of a file and its content."""
    return _preset(source) if isinstance(source, str) and source in PRESETS else _content(Path(source))


@cache
def _preset(name: str) -> tuple[str, Any]:
    """Read a preset, once in each process; callers must not change the result."""
    return _content(files("otherwise.annotations") / "presets" / f"{name}.yaml")


def _content(place: Traversable) -> tuple[str, Any]:
    """Read a file and return its name and its content."""
    name = place.name
    try:
        data = place.read_bytes()
    except OSError as error:
        raise VocabularyError(
            f"The vocabulary {name} cannot be read: {error.strerror}.",
            f"Give a YAML file or a preset ({', '.join(PRESETS)}).",
        ) from error
    if len(data) > _LARGEST_FILE:
        raise VocabularyError(f"The vocabulary {name} is larger than 1 MiB.", "Split it.")
    try:
        return name, yaml.safe_load(data.decode("utf-8"))
    except (ValueError, RecursionError, yaml.YAMLError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        raise VocabularyError(f"The vocabulary {name}{line} is no YAML in UTF-8.", "Correct the file.") from error


def _entries(name: str, content: Any) -> list[Any]:
    if not isinstance(content, list):
        raise VocabularyError(f"The vocabulary {name} is no list of entries.", "Start every entry with a dash.")
    return content


def _entry(place: str, entry: Any) -> tuple[Term, Key | None]:
    keys = {"scheme", "code", "meaning"}
    if not isinstance(entry, dict) or not keys <= set(entry) <= keys | {"parent", "group"}:
        raise _wrong(place, "an entry has scheme, code, meaning and, if need be, parent and group")
    if not all(isinstance(value, str) for value in entry.values()):
        raise _wrong(place, "a value is no text (put codes of digits in quotes)")
    if entry.get("group", GROUPS[0]) not in GROUPS:
        raise _wrong(place, f"group is {' or '.join(GROUPS)}")
    try:
        term = Term(entry["scheme"], entry["code"], entry["meaning"])
    except VocabularyError as error:
        raise VocabularyError(f"{place}: {error.detail}", error.hint) from None
    if "parent" not in entry:
        return term, None
    scheme, _, code = entry["parent"].rpartition(":")
    return term, (scheme or term.scheme, code)


def _refuse_circle(key: Key, parents: Mapping[Key, Key], places: Mapping[Key, str]) -> None:
    seen = {key}
    above = parents.get(key)
    while above is not None:
        if above in seen:
            raise _wrong(places[key], f"{':'.join(key)} is a kind of itself")
        seen.add(above)
        above = parents.get(above)


def _wrong(place: str, what: str) -> VocabularyError:
    return VocabularyError(f"{place}: {what}."[:300], "Correct the vocabulary file.")
