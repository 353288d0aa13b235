"""The terms for regions: a hierarchy to choose from, and the user's own words."""

from __future__ import annotations

from dataclasses import dataclass

INDENT = "    "


@dataclass(frozen=True)
class VocabularyEntry:
    """A term at its place in the hierarchy.

    Attributes:
        scheme: Coding scheme.
        code: Code within the scheme.
        meaning: Meaning in words.
        depth: 0 for a root.
        spurious: Whether it is no feature of a disease: a marker, a device, a border.
    """

    scheme: str
    code: str
    meaning: str
    depth: int
    spurious: bool

    @property
    def title(self) -> str:
        """The meaning, indented."""
        return INDENT * self.depth + self.meaning


def in_order(terms: list[dict]) -> list[VocabularyEntry]:
    """Return the server's terms in the order of the hierarchy, each before those below it.

    Args:
        terms: ``{scheme, code, meaning, parent: {scheme, code} | None, spurious}``; one whose parent is not among them
            is a root.
    """
    known = {_key(term): term for term in terms}
    below: dict = {}
    for term in known.values():
        parent = _key(term["parent"]) if term.get("parent") else None
        below.setdefault(parent if parent in known else None, []).append(term)
    found: list[VocabularyEntry] = []
    waiting = [(term, 0) for term in reversed(below.get(None, []))]
    while waiting:
        term, depth = waiting.pop()
        key = _key(term)
        found.append(VocabularyEntry(*key, str(term["meaning"]), depth, bool(term.get("spurious"))))
        waiting += [(child, depth + 1) for child in reversed(below.get(key, []))]
    return found


def term_for(text: str, entries: list[VocabularyEntry], index: int = -1) -> dict | None:
    """Return the term that the user chose or typed.

    Args:
        text: The text of the box.
        entries: The vocabulary.
        index: Index of the entry that was chosen from the list; it counts where ``text`` is still its meaning.

    Returns:
        ``{scheme, code, meaning}``, or ``{meaning}`` for the user's own words; None: the text is empty.
    """
    words = " ".join(text.split())
    chosen = entries[index : index + 1] if index >= 0 else []
    for entry in (*chosen, *entries):
        if entry.meaning.casefold() == words.casefold():
            return {"scheme": entry.scheme, "code": entry.code, "meaning": entry.meaning}
    return {"meaning": words} if words else None


def _key(term: dict) -> tuple[str, str]:
    return str(term["scheme"]), str(term["code"])
