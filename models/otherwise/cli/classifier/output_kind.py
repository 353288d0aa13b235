"""Options of ``otherwise classifier import`` for models of a value, a risk or a survival curve."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

import typer

from otherwise.cli.options.input_contract import UsageError, read_numbers

if TYPE_CHECKING:
    from otherwise.blackbox.output_kind import OutputKind

Reference = Annotated[
    float | None, typer.Option(help="Median of the value on real images. Default: the middle of the range.")
]
Spread = Annotated[
    float | None, typer.Option(help="Standard deviation of the value on real images. Default: a sixth of the range.")
]
Categories = Annotated[
    list[str] | None, typer.Option("--category", help="NAME=LOWEST of a clinical category; repeatable.")
]
ReadingOption = Annotated[
    str | None,
    typer.Option(
        "--reading",
        help="With --output survival: hazards, hazard-logits, interval-survival, event-probabilities, event-logits or "
        "curve. Default: found by its answers.",
    ),
]
Population = Annotated[str | None, typer.Option(help="With --output risk: the population that has log hazard 0.")]
Baseline = Annotated[
    float | None, typer.Option(help="With --output risk: survival of that population at the horizon, in (0, 1).")
]


def read_output_kind(
    output: str | None,
    classes: Sequence[str],
    *,
    unit: str | None,
    value_range: str | None,
    higher_is: str | None,
    reference: float | None,
    spread: float | None,
    tolerance: float | None,
    categories: Sequence[str],
    measures: str | None,
    times: str | None,
    horizon: float | None,
    time_unit: str | None,
    reading: str | None,
    population: str | None,
    baseline: float | None,
) -> OutputKind:
    """Return the kind of a model's output; options are as they were typed, None where they were not given.

    ``--output`` may name an output instead; it is a kind if no classes are given.

    Raises:
        UsageError: if an option is needed, or does not belong to the kind.
        BundleError: if a value is impossible.
    """
    from otherwise.blackbox.output_kind import NO_VALUE, RISK, SURVIVAL, VALUE, VALUE_KINDS, OutputKind
    from otherwise.blackbox.survival import AUTO

    kind = (output or "").rpartition(":")[2]
    given = {
        "--unit": (unit, (VALUE, RISK)),
        "--range": (value_range, (VALUE, RISK)),
        "--higher-is": (higher_is, VALUE_KINDS),
        "--reference": (reference, VALUE_KINDS),
        "--spread": (spread, VALUE_KINDS),
        "--tolerance": (tolerance, VALUE_KINDS),
        "--category": (categories or None, VALUE_KINDS),
        "--measures": (measures, VALUE_KINDS),
        "--times": (times, (SURVIVAL,)),
        "--horizon": (horizon, (SURVIVAL, RISK)),
        "--time-unit": (time_unit, (SURVIVAL, RISK)),
        "--reading": (reading, (SURVIVAL,)),
        "--population": (population, (RISK,)),
        "--baseline": (baseline, (RISK,)),
    }
    used = [(option, kinds) for option, (value, kinds) in given.items() if value is not None]
    if kind not in VALUE_KINDS or (classes and not used):
        if used:
            option, kinds = used[0]
            raise UsageError(f"{option} is for {' and '.join(kinds)}.", f"Give --output {kinds[0]} too.")
        if not classes:
            raise UsageError(
                "--classes is missing.", "Name them, or give --output value, risk or survival for a number."
            )
        return NO_VALUE
    if classes:
        raise UsageError(f"A {kind} has no classes.", "Leave --classes or --output out.")
    wrong = next((option for option, kinds in used if kind not in kinds), None)
    if wrong is not None:
        raise UsageError(f"{wrong} does not belong to a {kind}.", f"Leave {wrong} out.")
    if kind == SURVIVAL and times is None:
        raise UsageError("--times is missing.", "Give the boundaries of the intervals, 0 first: --times 0,180,365,730.")
    numbers = {"reference": reference, "spread": spread, "tolerance": tolerance}
    refuse_no_numbers({f"--{option}": number for option, number in numbers.items()})
    return OutputKind(
        kind,
        name=measures or "",
        unit=unit or "",
        range=_pair("--range", value_range),
        higher_is=higher_is or "",
        categories=tuple(_category(text) for text in categories),
        times=read_times(times) if times else (),
        horizon=horizon,
        time_unit=time_unit or "days",
        reading=(reading or AUTO) if kind == SURVIVAL else "",
        population=population or "",
        baseline=baseline,
        **{key: value for key, value in numbers.items() if value is not None},
    )


def refuse_no_numbers(options: Mapping[str, float | None]) -> None:
    """Refuse numbers that are infinite or none at all; an option that was not given is None.

    Raises:
        UsageError: for the first of them.
    """
    for option, number in options.items():
        if number is not None and not math.isfinite(number):
            raise UsageError(f"{option} {number:g} is no finite number.", f"Give one, or leave {option} out.")


def assumed_of(kind: OutputKind, reference: float | None, spread: float | None) -> tuple[str, ...]:
    """Return a sentence for each assumption about a value, with the option that replaces it."""
    from otherwise.blackbox.output_kind import with_unit

    notes = []
    if kind.is_value and reference is None:
        notes.append(
            f"images have a median of {with_unit(kind.reference, kind.unit)} (--reference; see check --images)."
        )
    if kind.is_value and spread is None:
        notes.append(f"their standard deviation is {with_unit(kind.spread, kind.unit)} (--spread).")
    return tuple(notes)


def _pair(option: str, text: str | None) -> tuple[float, float] | None:
    if text is None:
        return None
    low, high = read_numbers(option, text, 2)
    return low, high


def read_times(text: str) -> tuple[float, ...]:
    """Read the boundaries of the intervals of survival, as they were typed for ``--times``."""
    return read_numbers("--times", text, len(text.split(",")))


def _category(text: str) -> tuple[str, float]:
    name, _, number = text.rpartition("=")
    if not name:
        raise UsageError(f"--category {text!r} is not NAME=LOWEST.", "Such as --category high=20.")
    (low,) = read_numbers("--category", number, 1)
    return name, low
