"""The kinds of output of a hosted model: classes, labels, a value, a risk, a survival curve.

A value is a log-odds. A model that says a number answers as a classifier of two classes, at most and above its
``reference``: the log-odds of "above" are ``(value - reference) / spread``. Nothing is lost, since the value can be
read back from the answer. So whatever works with the log-odds of a class works with standardised values: the search,
the student and its evidence, measured effects, tables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from scipy.special import expit

from otherwise.blackbox.checked import decision_value
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.survival import AUTO, READINGS, check_times, survival_at, survival_curves
from otherwise.errors import BundleError, ClassifierError

CLASSES, LABELS, VALUE, RISK, SURVIVAL = KINDS = ("classes", "labels", "value", "risk", "survival")
VALUE_KINDS = KINDS[2:]
DIRECTIONS = ("", "worse", "better")
"""What a higher value means to the patient; empty: neither."""
STEPS_OF_SPREAD = 10
"""A tenth of the spread is the tolerance where none is declared."""
MOST_SPREADS = 650.0
"""Distance from the reference, in spreads, up to which a value can be read back from an answer in double precision."""


class FarValueError(ClassifierError):
    """A value lies so far from the reference that it could not be read back.

    Attributes:
        value: The value, in its unit.
    """

    def __init__(self, kind: OutputKind, value: float) -> None:
        self.value = value
        super().__init__(
            f"The model says {value:.4g}, which is {abs(value - kind.reference) / kind.spread:.3g} spreads of "
            f"{kind.spread:.4g} from its reference, {kind.reference:.4g}.",
            "Import it again with --reference and --spread: median and standard deviation over real images.",
        )


def far_sentence(count: int, thing: str) -> str:
    """Return the sentence that some things were left out, since the model's value of them cannot be read back."""
    verb = " was" if count == 1 else "s were"
    return (
        f"{count} {thing}{verb} left out of the search: the model's value lies further than {MOST_SPREADS:g} spreads "
        "away, where it cannot be read back."
    )


def predict_readable(classifier: BlackBox, images: np.ndarray) -> np.ndarray:
    """Return answers ``(batch, classes)``, NaN for an image whose value is too far away to be read back.

    Args:
        classifier: The black box.
        images: See ``BlackBox.predict``.
    """
    try:
        return classifier.predict(images)
    except FarValueError:
        if len(images) == 1:
            return np.full((1, len(classifier.classes)), np.nan)
        halves = np.array_split(images, 2)
        return np.concatenate([predict_readable(classifier, half) for half in halves])


@dataclass(frozen=True)
class OutputKind:
    """What a model says.

    Attributes:
        kind: One of ``KINDS``. The other fields are for ``value``, ``risk`` and ``survival`` alone.
        name: What the value is, such as ``head circumference``.
        unit: Its unit, such as ``mm``. Of a risk: ``log hazard``; of survival: ``%``, an event up to the horizon.
        range: Lowest and highest value that make sense; None: any, for a risk. Survival: 0 to 100.
        higher_is: ``worse``, ``better`` or empty.
        reference: Value that separates the two classes as which the model answers; an agent is taught at it. The best
            is the median of real images. Default: the middle of the range; of a risk: 0, the reference population.
        spread: Value of one log-odds, best the standard deviation over real images. Default: a sixth of the range; of
            a risk: 1.
        tolerance: Distance within which a target value counts as reached. Default: a tenth of the spread.
        categories: Clinical categories, each a name and its lowest value, ascending.
        times: Of survival: boundaries of the intervals, 0 first.
        horizon: Of survival: the time by which an event counts. Of a risk: likewise, of ``baseline``.
        time_unit: Their unit.
        reading: Of survival: what the outputs are, see ``survival.READINGS``; ``auto`` until a model was asked.
        population: Of a risk: the population that has log hazard 0.
        baseline: Of a risk: survival of that population at the horizon, in (0, 1).

    Raises:
        BundleError: if a field is missing or impossible.
    """

    kind: str = CLASSES
    name: str = ""
    unit: str = ""
    range: tuple[float, float] | None = None
    higher_is: str = ""
    reference: float = math.nan
    spread: float = math.nan
    tolerance: float = math.nan
    categories: tuple[tuple[str, float], ...] = ()
    times: tuple[float, ...] = ()
    horizon: float | None = None
    time_unit: str = "days"
    reading: str = ""
    population: str = ""
    baseline: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise BundleError(f"The kind of output {self.kind!r} is unknown.", f"Give one of {', '.join(KINDS)}.")
        if not self.is_value:
            return
        self._fill_in()
        self._check_value()
        self._check_categories()
        self._check_time()

    @property
    def is_value(self) -> bool:
        """Return whether the model says a number: a value, a risk or a survival curve."""
        return self.kind in VALUE_KINDS

    @property
    def classes(self) -> tuple[str, str]:
        """Return the two classes as which the model answers."""
        return two_sides(self.unit, self.reference)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> OutputKind:
        """Read what ``to_dict`` wrote.

        Raises:
            BundleError: if a field is unknown or impossible.
        """
        known = {item.name for item in fields(cls)}
        strange = sorted(set(content) - known)
        if strange:
            raise BundleError(f"The answer has an unknown field {strange[0]!r}.", f"Known are {', '.join(known)}.")
        given = {key: value for key, value in content.items() if value is not None}
        try:
            for key, value in given.items():
                if key in ("range", "times"):
                    given[key] = tuple(float(number) for number in value)
                elif key == "categories":
                    given[key] = tuple((str(name), float(low)) for name, low in value)
                elif key in ("reference", "spread", "tolerance", "horizon", "baseline"):
                    given[key] = float(value)
                else:
                    given[key] = str(value)
        except (TypeError, ValueError) as error:
            raise BundleError(f"The answer's field {key!r} is {value!r}.", "Correct it.") from error
        return cls(**given)

    def to_dict(self) -> dict[str, Any]:
        """Return plain values for JSON, without fields that say nothing."""
        found = {key: value for key, value in asdict(self).items() if value not in ("", (), None)}
        return {key: list(value) if isinstance(value, tuple) else value for key, value in found.items()}

    def values(self, outputs: np.ndarray) -> np.ndarray:
        """Return the decision value of each image, in ``unit``.

        A value and a risk are taken as they are; survival is the probability of an event up to the horizon.

        Args:
            outputs: ``(batch, outputs)`` or, for one output, ``(batch,)``.

        Returns:
            ``(batch,)`` float64, finite.

        Raises:
            ClassifierError: if the outputs do not fit, are NaN or infinite, or make no survival curve.
        """
        outputs = np.asarray(outputs, np.float64)
        if outputs.ndim == 0:
            raise ClassifierError(
                "The model returned one number for all images.", "It should return one number an image, (batch, 1)."
            )
        broken = int((~np.isfinite(outputs.reshape(len(outputs), -1))).any(axis=1).sum())
        if broken:
            raise ClassifierError(
                f"The model returned NaN or infinity for {broken} of {len(outputs)} images.", "Check its value range."
            )
        if self.kind == SURVIVAL:
            return 100 * (1 - survival_at(self.curves(outputs), self.times, float(self.horizon or 0)))
        if outputs.ndim > 2 or (outputs.ndim == 2 and outputs.shape[1] != 1):
            raise ClassifierError(
                f"The model returned shape {outputs.shape} for a {self.kind}.", "It should return one number an image."
            )
        return outputs.reshape(len(outputs))

    def curves(self, outputs: np.ndarray) -> np.ndarray:
        """Return survival ``(batch, len(times))``; see ``survival.survival_curves``."""
        return survival_curves(outputs, self.reading, self.times)

    def answer(self, values: np.ndarray) -> np.ndarray:
        """Return the answer as two classes for values ``(batch,)``: ``(batch, 2)`` probabilities, each by itself.

        Raises:
            FarValueError: if a value lies so far from the reference that it could not be read back.
        """
        log_odds = (np.asarray(values, np.float64) - self.reference) / self.spread
        if np.abs(log_odds).max(initial=0) > MOST_SPREADS:
            raise FarValueError(self, float(np.asarray(values).flat[int(np.abs(log_odds).argmax())]))
        return two_classes(log_odds)

    def value_of(self, probabilities: np.ndarray) -> np.ndarray:
        """Return the values that answers ``(..., 2)`` stand for, the reverse of ``answer``: ``(...)`` float64."""
        return np.asarray(self.reference + self.spread * decision_value(probabilities, 1))

    def category_of(self, value: float) -> str:
        """Return the name of a value's category; empty where none is named."""
        return next((name for name, low in reversed(self.categories) if value >= low), "")

    def percent_at_horizon(self, value: float) -> float | None:
        """Return, of a log hazard, the probability of an event up to the horizon in percent; None without baseline.

        Proportional hazards: ``1 - S0(horizon) ** exp(value)`` (Cox 1972).
        """
        if self.kind != RISK or not self.baseline:
            return None
        return 100 * (1 - self.baseline ** math.exp(min(value, 700.0)))  # exp(710) overflows

    def _fill_in(self) -> None:
        filled: dict[str, Any] = {}
        if self.kind == SURVIVAL:
            filled.update(unit="%", range=(0.0, 100.0), higher_is=self.higher_is or "worse", name=self.name)
        elif self.kind == RISK:
            filled.update(unit=self.unit or "log hazard", higher_is=self.higher_is or "worse")
        low, high = filled.get("range") or self.range or (-3.0, 3.0)
        spread = (high - low) / 6 if math.isnan(self.spread) else self.spread
        filled["reference"] = (low + high) / 2 if math.isnan(self.reference) else self.reference
        filled["spread"] = spread
        filled["tolerance"] = spread / STEPS_OF_SPREAD if math.isnan(self.tolerance) else self.tolerance
        if not self.name:
            until = "" if self.horizon is None else f" within {self.horizon:g} {self.time_unit}"
            filled["name"] = {VALUE: "value", RISK: "log hazard", SURVIVAL: f"risk of an event{until}"}[self.kind]
        for key, value in filled.items():
            object.__setattr__(self, key, value)

    def _check_value(self) -> None:
        if not self.unit.strip():
            raise BundleError("The unit of the value is missing.", "Give --unit, such as months; 1 if it has none.")
        if self.range is None and self.kind == VALUE:
            raise BundleError("The range of the value is missing.", "Give --range low,high, such as 0,228.")
        low, high = self.range or (-math.inf, math.inf)
        if not low < high:
            raise BundleError(f"The range {low:g} to {high:g} is empty.", "Give --range low,high with low < high.")
        if self.range is not None and not np.isfinite(self.range).all():
            raise BundleError(f"The range {low:g} to {high:g} has no end.", "Give two numbers: --range low,high.")
        if self.higher_is not in DIRECTIONS:
            raise BundleError(f"A higher value cannot be {self.higher_is!r}.", "Give worse or better (--higher-is).")
        if not low < self.reference < high:
            raise BundleError(
                f"The reference {self.reference:g} lies outside of the range {low:g} to {high:g}.",
                "Give the median of real images (--reference).",
            )
        for option, size in (("spread", self.spread), ("tolerance", self.tolerance)):
            if not 0 < size < math.inf:
                raise BundleError(f"The {option} {size:g} is no size.", f"Give one above 0 (--{option}).")

    def _check_categories(self) -> None:
        lows = [low for _, low in self.categories]
        names = [name for name, _ in self.categories]
        least, most = self.range or (-math.inf, math.inf)
        ascending = np.isfinite(lows).all() and lows == sorted(set(lows))
        if not ascending or len(set(names)) < len(names) or not all(names):
            raise BundleError(
                "The categories do not ascend, or a name comes twice.", "Give --category low=0 --category high=10."
            )
        outside = [low for low in lows if not least <= low < most]
        if outside:
            raise BundleError(f"A category begins at {outside[0]:g}, outside of the range.", "Correct --category.")

    def _check_time(self) -> None:
        if self.horizon is not None and not math.isfinite(self.horizon):
            raise BundleError(f"The horizon {self.horizon:g} is no time.", "Give a number (--horizon).")
        if self.kind == SURVIVAL:
            if self.horizon is None:
                raise BundleError("The horizon is missing.", "Give the time by which an event counts (--horizon 730).")
            check_times(self.times, self.horizon)
            if self.reading not in (AUTO, *READINGS):
                raise BundleError(
                    f"Survival is not read from {self.reading or 'nothing'!r}.", f"Give one of {', '.join(READINGS)}."
                )
        if self.baseline is not None and not (0 < self.baseline < 1 and self.horizon):
            raise BundleError(
                f"A baseline survival of {self.baseline:g} does not say a risk.",
                "Give one between 0 and 1, and its --horizon.",
            )


NO_VALUE = OutputKind()
"""The kind of a classifier of classes that exclude each other."""


def two_classes(log_odds: np.ndarray) -> np.ndarray:
    """Return probabilities ``(batch, 2)`` for log-odds ``(batch,)`` of the second class, each computed by itself."""
    log_odds = np.asarray(log_odds, np.float64)
    return np.stack([expit(-log_odds), expit(log_odds)], axis=-1)


def two_sides(unit: str, cut: float) -> tuple[str, str]:
    """Return names of the two sides of a cut, such as ``at most 10 %`` and ``above 10 %``."""
    boundary = with_unit(cut, unit)
    return f"at most {boundary}", f"above {boundary}"


def with_unit(value: float, unit: str) -> str:
    """Return a number for people, with its unit."""
    size = abs(value)
    value = value if size >= np.finfo(float).tiny else 0.0  # next to 0, see question._before
    text = f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.3g}"
    text = text.removesuffix(".0")
    return text if unit in ("", "1") else f"{text} {unit}"


def describe_kind(kind: OutputKind) -> str:
    """Return the kind of output in one sentence."""
    measure = f"{kind.name} in {kind.unit}" if kind.unit not in ("1", kind.name) else kind.name
    parts = [f"{kind.range[0]:g} to {kind.range[1]:g}"] if kind.range else []
    parts += [f"higher is {kind.higher_is}"] if kind.higher_is else []
    parts += [f"reference {kind.reference:.4g}, spread {kind.spread:.4g}, reached within {kind.tolerance:.3g}"]
    if kind.kind == SURVIVAL:
        until = ", ".join(f"{time:g}" for time in kind.times)
        parts.append(f"survival at {until} {kind.time_unit} from {kind.reading}")
    if kind.population:
        parts.append(f"0 is {kind.population}")
    if kind.categories:
        parts.append(", ".join(f"{name} from {low:g}" for name, low in kind.categories))
    return f"{measure}; {'; '.join(parts)}"


def output_kind(classifier: BlackBox) -> OutputKind:
    """Return the kind of output of a black box, also of a wrapped one."""
    declared = getattr(classifier, "answer", None) or getattr(getattr(classifier, "spec", None), "answer", None)
    if isinstance(declared, OutputKind):
        return declared
    inner = getattr(classifier, "inner", None)
    return NO_VALUE if inner is None else output_kind(inner)


def curves_of(classifier: BlackBox, images: np.ndarray) -> np.ndarray | None:
    """Return the survival curves of images ``(batch, channels, *size)``; None where the model says none."""
    kind = output_kind(classifier)
    outputs = getattr(classifier, "outputs", None)
    if kind.kind != SURVIVAL:
        return None
    mean = getattr(classifier, "mean_curves", None)  # under noise
    if mean is not None:
        found: np.ndarray | None = mean(images)
        return found
    if outputs is not None:
        return kind.curves(outputs(images))
    inner = getattr(classifier, "inner", None)
    return None if inner is None else curves_of(inner, images)
