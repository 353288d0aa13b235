"""The value of an explanation, to and from plain values: ``explanation.json``, field ``value``."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from otherwise.blackbox.output_kind import OutputKind
from otherwise.blackbox.question import Question
from otherwise.explain.value import SurvivalCurves, ValueAnswer


def value_json(value: ValueAnswer) -> dict[str, Any]:
    """Return what is said of a value: before, after, the target, the tolerance and survival curves."""
    kind, question = value.kind, value.question
    return {
        "kind": kind.kind,
        "name": kind.name,
        "unit": kind.unit,
        "original": value.original,
        "counterfactual": value.counterfactual,
        "target": {
            "text": question.text,
            "low": _finite(question.low),
            "high": _finite(question.high),
            "cut": question.cut,
            "aim": question.aim,
            "upwards": question.upwards,
            "exact": question.exact,
        },
        "tolerance": question.tolerance,
        "spread": question.spread,
        "reached": value.reached,
        "category": _both(value, kind.category_of) if kind.categories else None,
        "percent_at_horizon": _both(value, kind.percent_at_horizon) if kind.baseline is not None else None,
        "curves": asdict(value.curves) if value.curves else None,
        "declared": kind.to_dict(),
    }


def value_from_json(content: dict[str, Any]) -> ValueAnswer:
    """Return what ``value_json`` described.

    Raises:
        BundleError, KeyError, TypeError, ValueError: if the content is damaged.
    """
    kind, target = OutputKind.from_dict(content["declared"]), content["target"]
    question = Question.of(
        kind,
        text=str(target["text"]),
        low=-math.inf if target["low"] is None else float(target["low"]),
        high=math.inf if target["high"] is None else float(target["high"]),
        upwards=bool(target["upwards"]),
        tolerance=float(content["tolerance"]),
    )
    curves = content.get("curves")
    return ValueAnswer(
        kind,
        question,
        float(content["original"]),
        float(content["counterfactual"]),
        _curves(curves) if curves else None,
    )


def _curves(content: dict[str, Any]) -> SurvivalCurves:
    times, before, after = (tuple(float(number) for number in content[key]) for key in ("times", "before", "after"))
    return SurvivalCurves(times, before, after, str(content["unit"]))


def _both(value: ValueAnswer, say: Callable[[float], Any]) -> dict[str, Any]:
    return {"original": say(value.original), "counterfactual": say(value.counterfactual)}


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
