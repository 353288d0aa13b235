"""What is worth finding in a larger image where a model says a value: its high end, its low end, or a threshold."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from otherwise.blackbox.output_kind import OutputKind, output_kind, with_unit
from otherwise.blackbox.protocol import BlackBox, PatchSpec
from otherwise.blackbox.question import TargetError, wanted_values
from otherwise.errors import BundleError

HIGHER, LOWER = "higher", "lower"
EXAMPLES = 'Give higher, lower, a threshold such as ">=20", or the lowest or highest category (--find).'


@dataclass(frozen=True)
class Concern:
    """Which values of patches are worth finding.

    Attributes:
        kind: What the model says.
        upwards: Whether higher values are the worse finds; else lower ones are.
        threshold: Value from which a patch is suspicious; None: none is named, so that patches are only ranked.
        text: The threshold for people, such as ``at least 20 mm``; empty where none is named.
    """

    kind: OutputKind
    upwards: bool
    threshold: float | None = None
    text: str = ""

    @classmethod
    def of(cls, kind: OutputKind, wanted: tuple[str, ...]) -> Concern:
        """Read what a bundle names as worth finding.

        Args:
            kind: What the model says; a value.
            wanted: ``higher``, ``lower``, a threshold or a category at either end of the range; exactly one of them.

        Raises:
            BundleError: if it is none of these, or several.
        """
        if len(wanted) != 1:
            raise BundleError(f"A {kind.name} has one direction of concern, not {len(wanted)}.", EXAMPLES)
        text = wanted[0].strip()
        if text.casefold() in (HIGHER, LOWER):
            return cls(kind, text.casefold() == HIGHER)
        try:
            low, high, in_words = wanted_values(kind, kind.reference, text, kind.tolerance)
        except TargetError as error:
            raise BundleError(f"{wanted[0]!r} is no direction of concern. {error.detail}", EXAMPLES) from error
        if math.isfinite(low) == math.isfinite(high):
            raise BundleError(f"{wanted[0]!r} has two ends, and so no direction of concern.", EXAMPLES)
        return cls(kind, math.isfinite(low), low if math.isfinite(low) else high, in_words)

    @property
    def extreme(self) -> str:
        """Return the word for the first find: ``highest`` or ``lowest``."""
        return "highest" if self.upwards else "lowest"

    def scores(self, values: np.ndarray) -> np.ndarray:
        """Return scores in (0, 1) of values of the same shape: one half at the threshold, or else at the reference."""
        cut = self.kind.reference if self.threshold is None else self.threshold
        return np.asarray(expit((1 if self.upwards else -1) * (np.asarray(values) - cut) / self.kind.spread))

    def suspicious(self, values: np.ndarray) -> np.ndarray:
        """Return whether values lie beyond the threshold, or else beyond the reference: bool of the same shape."""
        return np.asarray(self.scores(values) >= 0.5)

    def in_words(self, value: float) -> str:
        """Return a value with its unit and, where there is one, its category."""
        category = self.kind.category_of(value)
        return with_unit(value, self.kind.unit) + (f" ({category})" if category else "")


def concern_of(classifier: BlackBox) -> Concern | None:
    """Return which values of patches are worth finding; None for classes, or for a model of whole images."""
    kind, patches = output_kind(classifier), classifier.inputs.patches
    return Concern.of(kind, patches.wanted) if kind.is_value and patches is not None else None


def check_wanted(patches: PatchSpec, classes: Sequence[str], multi_label: bool, kind: OutputKind) -> None:
    """Refuse what a model cannot find: classes that it has not, or of a value what is no direction of concern.

    Raises:
        BundleError: see ``PatchSpec.check`` and ``Concern.of``.
    """
    if kind.is_value:
        Concern.of(kind, patches.wanted)
    else:
        patches.check(classes, multi_label)
