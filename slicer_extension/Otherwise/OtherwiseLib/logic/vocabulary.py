"""The terms that regions are called by: a hierarchy to choose from, and words of one's own."""

from __future__ import annotations

from dataclasses import dataclass

INDENT = "    "


@dataclass(frozen=True)
class Entry:
    """A term where it stands in the hierarchy.

    Attributes:
        scheme: Coding scheme.
        code: Within the scheme.
        meaning: For people.
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


def in_order(terms: list[dict]) -> list[Entry]:
    """Put the server's terms in the order of the hierarchy: each one before those below it.

    Args:
        terms: ``{scheme, code, meaning, parent: {scheme, code} | None, spurious}``; one whose parent is not among them
            is a root.
    """
    known = {_key(term): term for term in terms}
    below: dict = {}
    for term in known.values():
        parent = _key(term["parent"]) if term.get("parent") else None
        below.setdefault(parent if parent in known else None, []).append(term)
    found: list[Entry] = []
    waiting = [(term, 0) for term in reversed(below.get(None, []))]
    while waiting:
        term, depth = waiting.pop()
        key = _key(term)
        found.append(Entry(*key, str(term["meaning"]), depth, bool(term.get("spurious"))))
        waiting += [(child, depth + 1) for child in reversed(below.get(key, []))]
    return found


def term_for(text: str, entries: list[Entry], index: int = -1) -> dict | None:
    """The term that somebody chose or typed.

    Args:
        text: What stands there.
        entries: The vocabulary.
        index: Of the entry that was chosen from the list, where its meaning still stands there.

    Returns:
        ``{scheme, code, meaning}``, or ``{meaning}`` for words of one's own; None: nothing stands there.
    """
    words = " ".join(text.split())
    chosen = entries[index : index + 1] if index >= 0 else []
    for entry in (*chosen, *entries):
        if entry.meaning.casefold() == words.casefold():
            return {"scheme": entry.scheme, "code": entry.code, "meaning": entry.meaning}
    return {"meaning": words} if words else None


def _key(term: dict) -> tuple[str, str]:
    return str(term["scheme"]), str(term["code"])
