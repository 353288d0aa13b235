"""Which of the prepared images are held out of the training, and what a person should know of both parts."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from otherwise.agent.training.data import PreparedImages
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.protocol import BlackBox
from otherwise.errors import AgentError

SHARE = 0.05
"""Share of the images that is held out; at least ``LEAST`` of them and, where no class is rare, at most ``MOST``."""
LEAST, MOST = 16, 64
ENOUGH = 10
"""Held-out images that are called a class, from which on figures of that class say something."""
MOST_FOR_RARE = 0.25
"""Share of the images that is held out at most, where a class is rare."""
BATCH = 64


@dataclass(frozen=True)
class TrainingImages:
    """Images for training and held-out ones for validation: ``(n, channels, *size)`` float32 in [0, 1].

    Attributes:
        train: To learn from.
        held_out: Ordered so that images called each class take turns: any first part of them is balanced. Usual views.
        usual: Which images of ``train`` are the usual views, and no variants: ``(n,)`` bool.
        skipped: Images that could not be used, and why.
        notes: Sentences for the log: what is drawn from where, and what is missing.
    """

    train: np.ndarray
    held_out: np.ndarray
    usual: np.ndarray
    skipped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def usually_seen(self) -> np.ndarray:
        """Return the training images without variants; they are copied only if there are variants."""
        return self.train if self.usual.all() else self.train[self.usual]


def hold_out(prepared: PreparedImages, classifier: BlackBox) -> TrainingImages:
    """Divide images by patient, so that enough of each class is held out where that is possible.

    Which patients are held out is decided by a hash of their names, so that further images hardly change which. More
    are held out while fewer than ``ENOUGH`` held-out images are called some class, up to ``MOST_FOR_RARE`` of all.
    Variants of views are learned from, but neither counted nor held out.

    Args:
        prepared: See ``prepare_images``.
        classifier: The black box, whose own answers tell the classes; no label is read.

    Raises:
        AgentError: if all images are of one patient.
    """
    views = prepared.views
    parts = [np.array(views[n : n + BATCH], np.float32) for n in range(0, len(views), BATCH)]
    rule = DecisionRule.of(classifier)
    answers = np.concatenate([classifier.predict(part) for part in parts])
    predicted = rule.predicted(answers)
    usual, groups = prepared.usual, np.array(prepared.groups)
    chosen = np.isin(groups, list(_chosen(groups[usual], predicted[usual])))
    if chosen.all():
        raise AgentError(
            "All views are of one image or patient, so that none can be held out.", "Give images of more patients."
        )
    held = np.flatnonzero(chosen & usual)
    order = held[in_turns([rule.label(answer) for answer in answers[held]])]
    notes = _notes(prepared, classifier.classes, predicted, chosen, usual)
    return TrainingImages(views[~chosen], np.array(views[order]), usual[~chosen], prepared.skipped, notes)


def in_turns(labels: Sequence[int]) -> np.ndarray:
    """Return an order of items in which their labels take turns, as long as there are some of each."""
    seen: Counter[int] = Counter()
    turns = []
    for label in labels:
        turns.append(seen[label])
        seen[label] += 1
    return np.argsort(np.array(turns), kind="stable")


def _chosen(names: np.ndarray, predicted: np.ndarray) -> set[str]:
    """Return the groups that are held out, of the group ``(n,)`` of each image and the classes it is called."""
    held: set[str] = set()
    ordered = sorted(set(names.tolist()), key=lambda name: hashlib.sha256(name.encode()).hexdigest())
    wanted = max(LEAST, min(MOST, round(SHARE * len(names))))
    most = max(wanted, round(MOST_FOR_RARE * len(names)))
    chosen = np.zeros(len(names), bool)
    for name in ordered:
        group = names == name
        lacking = predicted[chosen].sum(axis=0) < ENOUGH
        helps = bool(predicted[group][:, lacking].any()) and int((chosen | group).sum()) <= most
        if int(chosen.sum()) < wanted or helps:
            chosen |= group
            held.add(name)
    return held


def _notes(
    prepared: PreparedImages, classes: Sequence[str], predicted: np.ndarray, chosen: np.ndarray, usual: np.ndarray
) -> tuple[str, ...]:
    of_each = list(Counter(prepared.sources).values())
    several = max(of_each) > 1
    what = "views" if several else "images"
    groups = np.array(prepared.groups)
    held, patients = chosen & usual, len(set(groups[chosen]))
    first = f"{len(groups)} {what}"
    if several:
        mean = f"{np.mean(of_each):.1f} on average"
        first += f" of {len(of_each)} images ({min(of_each)} to {max(of_each)} of each, {mean})"
    notes = [f"{first}; {held.sum()} are held out, of {patients} of {len(set(groups))} patients, studies or images."]
    if prepared.variants:
        notes.append("Views with the field moved are learned from only.")
    if prepared.alike:
        notes.append(f"{prepared.alike} images are near duplicates of others and stay on the same side as these.")
    for index, name in enumerate(classes):
        learned, kept = predicted[~chosen, index], predicted[held, index]
        notes.append(
            f"Called {name}: {learned.sum()} of {len(learned)} {what} to learn from ({learned.mean():.2f}), "
            f"{kept.sum()} of {len(kept)} held out."
        )
    rare = [name for index, name in enumerate(classes) if predicted[held, index].sum() < ENOUGH]
    if rare:
        notes.append(
            f"Fewer than {ENOUGH} held-out {what} are called {' or '.join(rare)}: figures of that are hardly more "
            "than chance. Give images of more patients that the classifier calls so."
        )
    return tuple(notes)
