"""Texts about the models, from the server's answers."""

from __future__ import annotations

import re
from typing import Any, Callable

from ..logic.models import TrainingOutcome

Translate = Callable[[str], str]

PREFIX = re.compile(r"\[.*?\) - ")
"""Prefix of each line of MONAI Label's log: time, process, level, place."""
RAISED = re.compile(r"(?:\w+[.])*\w+Error: ")
"""Name of an exception before its message."""
DRAWN = re.compile(r"[\s\u2500-\u257f]+")
"""Spaces, and the characters of a progress bar."""
STEP = re.compile(r"\bstep (\d+)")
"""Step of a training in a line of its log; the rest of the line is for administrators."""
LONGEST_LINE = 200
SHORT = 8
"""Digits of an id that are shown; the tool tip has the whole id."""


def state(models: Any, tr: Translate) -> str:
    """Return which version is in use, and why."""
    if not models.reachable:
        return tr("The server does not answer at the moment. It is asked again.")
    if models.listing is None:
        return tr("Asking the server for its models …")
    used = models.in_use
    if used is None:
        return tr("The models in use are none of these versions.")
    text = tr("Version {id} is in use.").format(id=short(used["id"]))
    if models.problem:
        return f"{text} ⚠ {tr('The version that was chosen is not:')} {models.problem}"
    if models.active and models.active != used["id"]:
        return f"{text} {tr('The server changes over to {id} …').format(id=short(models.active))}"
    return f"{text} {models.listing.get('reason') or ''}".strip()


def row(version: dict, tr: Translate) -> tuple[str, str, str, str, str]:
    """Return version, date, validity, agent and note."""
    id = short(version["id"])
    return (
        tr("{id} (in use)").format(id=id) if version.get("in_use") else id,
        str(version.get("created", ""))[:16].replace("T", " "),
        validity(version),
        agent(version),
        str(version.get("note", "")),
    )


def tip(version: dict, tr: Translate) -> str:
    """Return everything about a version, one line each."""
    lines = [tr("Version {id}").format(id=version["id"])]
    for title, model in ((tr("Classifier"), version.get("classifier")), (tr("Agent"), version["agent"])):
        if isinstance(model, dict):
            lines.append(f"{title}: {model.get('name', '')} ({model.get('version', '')})")
    if version.get("parent"):
        lines.append(tr("Trained on from {id}").format(id=short(version["parent"])))
    if isinstance(version.get("images"), int):
        lines.append(tr("On {count} images").format(count=version["images"]))
    return "\n".join([*lines, *filter(None, [str(version.get("note", ""))])])


def agent(version: dict) -> str:
    """Return the agent of a version, with the beginning of the agent's own version."""
    model = version["agent"]
    return f"{model.get('name', '')} ({str(model.get('version', ''))[:SHORT]})"


def validity(version: dict) -> str:
    """Return the validity of the agent before and of this one, on the same held-out images."""
    values = [(version.get(when) or {}).get("validity") for when in ("before", "after")]
    if not any(_is_number(value) for value in values):
        return "–"
    return " → ".join(f"{value:.3f}" if _is_number(value) else "–" for value in values)


def training(models: Any, tr: Translate) -> str:
    """Return the state of the training; empty: there is none."""
    if models.changing:
        return tr("Asking the server …")
    if not models.running:
        return ""
    if models.stopping:
        return tr("Stopping …")
    if not models.stoppable:
        return tr("The training is done; the server takes over what came of it …")
    if (models.training or {}).get("status") == "SUBMITTED":
        return tr("Waiting to begin …")
    if models.time_is_up:
        return tr("The time is up; the server finishes and measures what came of it.")
    if not models.line:
        return tr("The training begins …")
    step = STEP.search(models.line)
    return tr("The training runs: step {step}.").format(step=step.group(1)) if step else tr("The training runs …")


def outcome(ended: TrainingOutcome, models: Any, tr: Translate) -> str:
    """Return how a training ended, and whether and why the new version is in use."""
    if ended.state == "failed":
        text = tr("The training failed: {line}").format(line=line(ended.line))
        return text if ended.line else tr("The training failed. The server's log tells why.")
    if ended.state == "stopped":
        return tr("The training was stopped. Nothing has changed.")
    if ended.state == "lost":
        return tr("The server knows nothing of the training any more; it was perhaps started anew.")
    version = ended.version
    if version is None:
        return tr("The training is done. The table shows what there is.")
    if version.get("in_use"):
        text = tr("The training is done, and its version {id} is in use.")
    elif version["id"] != models.active:
        text = tr("The training is done. Its version {id} is kept, but not in use.")
    elif models.problem:
        text = tr("The training is done. Its version {id} was chosen, but the server cannot use it: {problem}")
    else:
        text = tr("The training is done. Its version {id} was chosen, but is not in use yet.")
    note = str(version.get("note", ""))
    return f"{text.format(id=short(version['id']), problem=models.problem)} {note}".strip()


def chosen(models: Any, tr: Translate) -> str:
    """Return the result of the user's choice of a version."""
    used = models.in_use
    if used is not None and used["id"] == models.active:
        return tr("Version {id} is in use now.").format(id=short(used["id"]))
    return tr("Version {id} was chosen. {problem}").format(id=short(models.active), problem=models.problem).strip()


def line(message: str) -> str:
    """Return a line of a log without the parts for administrators."""
    text = PREFIX.sub("", message, count=1) if message.startswith("[") else message
    raised = RAISED.match(text)
    text = DRAWN.sub(" ", text[raised.end() :] if raised else text).strip()
    return text if len(text) <= LONGEST_LINE else text[: LONGEST_LINE - 1] + "…"


def short(id: object) -> str:
    """Return the beginning of an id."""
    return str(id)[:SHORT]


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
