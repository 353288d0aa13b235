"""Texts about teaching, from the server's answers."""

from __future__ import annotations

from typing import Callable

Translate = Callable[[str], str]


def state(concepts: dict | None, reachable: bool, tr: Translate) -> str:
    """Return the state of teaching in one or two sentences."""
    if not reachable:
        return tr("The server does not answer at the moment. It is asked again.")
    if concepts is None:
        return tr("Asking the server what it was taught …")
    detail = str(concepts.get("detail") or "").strip()
    if concepts["state"] == "learning":
        return tr("Learning … {detail}").format(detail=detail).strip()
    if concepts["state"] == "waiting":
        return tr("Not ready to learn yet. {detail}").format(detail=detail).strip()
    if not concepts.get("labels"):
        return tr("Nothing has been taught yet. Name a region to begin.")
    text = tr("Ready. Version {version} of the names is in use.").format(version=concepts.get("version"))
    if concepts.get("active") is False:
        why = str(concepts.get("held") or "") or tr("Newer labels are kept, and wait for Use latest.")
        text = f"{text} {tr('It is held:')} {why}"
    warnings = [f"⚠ {warning}" for warning in concepts.get("warnings") or []]
    return "\n".join([text, *warnings])


def shortcuts(concepts: dict | None, tr: Translate) -> str:
    """Return the suspected shortcuts of the classifier, one line each."""
    line = tr("Suspected shortcut: {name}, in {images} images ({share:.0%}).")
    found = [
        line.format(name=meaning(s.get("term"), tr), images=s.get("images", 0), share=_number(s, "share_of_images"))
        for s in (concepts or {}).get("shortcuts", [])
    ]
    return "\n".join(f"⚠ {line}" for line in found)


def concept_list(concepts: dict | None, tr: Translate) -> str:
    """Return every concept with its regions and labels, one line each."""
    line = tr("{name}: {regions} regions, {units} units, {labels} labels, {share:.0%} of the decisive change")
    return "\n".join(
        line.format(
            name=meaning(c.get("term"), tr),
            regions=c.get("regions", 0),
            units=c.get("units", 0),
            labels=c.get("labels", 0),
            share=_number(c, "share"),
        )
        for c in (concepts or {}).get("concepts", [])
    )


def answer(reply: dict, threshold: float | None, tr: Translate) -> str:
    """Return the answer to a query in one or two sentences."""
    if threshold is None:
        first = tr("{count} units answer to the region.").format(count=reply.get("answering", 0))
    else:
        first = tr("{count} units overlap the region by more than {threshold:.2f}.").format(
            count=reply.get("answering", 0), threshold=threshold
        )
    name = reply.get("name")
    if not isinstance(name, dict):
        return f"{first} {tr('It has no name yet.')}"
    second = tr("It looks like: {name} ({confidence:.0%}).")
    return f"{first} {second.format(name=meaning(name.get('term'), tr), confidence=_number(name, 'confidence'))}"


def votes(unit: dict, tr: Translate) -> str:
    """Return the names that users gave a unit, one line each."""
    line = tr("{author}: {name}, overlap {overlap:.2f}{doubt}")
    return "\n".join(
        line.format(
            author=vote.get("author", ""),
            name=meaning(vote.get("term"), tr),
            overlap=_number(vote, "overlap"),
            doubt="" if vote.get("certain", True) else tr(", not sure"),
        )
        for vote in unit.get("votes") or []
    )


def saved(reply: dict, tr: Translate) -> str:
    """Return what the server has just recorded."""
    note = reply["annotation"]
    number = reply["number"]
    if note.get("kind") == "withdraw":
        return tr("Taken back (no. {number}).").format(number=number)
    if note.get("kind") == "disagree":
        return tr("Saved as no. {number}: you disagree with the explanation.").format(number=number)
    return tr("Saved as no. {number}: {what}.").format(number=number, what=_annotation_text(note, tr))


def history_row(note: dict, tr: Translate) -> tuple[str, str, str, str]:
    """Return date, author, annotation and image."""
    what = _annotation_text(note, tr)
    if not note.get("certain", True):
        what = tr("{what} (not sure)").format(what=what)
    if note.get("withdrawn"):
        what = tr("{what} (taken back)").format(what=what)
    when = str(note.get("created", ""))[:16].replace("T", " ")
    return when, str(note.get("author", "")), what, str(note.get("image", ""))


def _annotation_text(note: dict, tr: Translate) -> str:
    """Return an annotation in a few words."""
    kind, term = note["kind"], note.get("term")
    if kind == "disagree":
        return tr("disagrees")
    if kind == "cannot-tell":
        return tr("cannot tell: {name}").format(name=meaning(term, tr)) if term else tr("cannot tell")
    if kind == "not-this":
        return tr("not {name}").format(name=meaning(term, tr))
    return meaning(term, tr)


def version_row(version: dict, used: str, tr: Translate) -> tuple[str, str, str, str, str]:
    """Return number, labels, named share, accuracy and changes."""
    number = str(version["version"])
    accuracy = version.get("accuracy")
    return (
        tr("{number} (in use)").format(number=number) if number == used else number,
        str(version.get("labels", "")),
        f"{_number(version, 'named_share'):.0%}",
        f"{accuracy:.0%}" if isinstance(accuracy, (int, float)) else "–",
        str(version.get("changed", "")),
    )


def meaning(term: object, tr: Translate) -> str:
    """Return the meaning of a term."""
    return str(term.get("meaning", "")) if isinstance(term, dict) else tr("not named")


def _number(content: dict, name: str) -> float:
    value = content.get(name)
    return float(value) if isinstance(value, (int, float)) else 0.0
