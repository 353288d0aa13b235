"""A target of a value, as people write it: understood, or refused in one line."""

from __future__ import annotations

from dataclasses import replace

import pytest

from otherwise.blackbox.output_kind import OutputKind
from otherwise.blackbox.question import TargetError, ask

MONTHS = OutputKind("value", unit="months", range=(0, 228), name="bone age")
PERCENT = OutputKind(
    "value",
    unit="%",
    range=(0, 100),
    reference=40,
    spread=20,
    tolerance=2,
    name="risk",
    higher_is="worse",
    categories=(("low", 0), ("intermediate", 10), ("high", 20)),
)


@pytest.mark.parametrize(
    ("target", "reached", "missed", "text"),
    [
        ("<10", (9.9, 0.0), (10.0, 42.0), "below 10 %"),
        ("<= 10 %", (10.0, 3.0), (10.1,), "at most 10 %"),
        ("below 10", (9.0,), (11.0,), "below 10 %"),
        (">=50", (50.0, 99.0), (49.9,), "at least 50 %"),
        ("-20", (20.1, 22.0, 23.9), (19.9, 24.1), "20 percentage points less"),
        ("20 % less", (22.0,), (24.5,), "20 percentage points less"),
        ("20 points less", (22.0,), (24.5,), "20 percentage points less"),
        ("20 percentage points less", (22.0,), (24.5,), "20 percentage points less"),
        ("+20", (62.0, 60.1), (59.9, 64.1), "20 percentage points more"),
        ("=30", (30.0, 28.0, 32.0), (27.9, 32.1), "30 %"),
        ("30", (30.0,), (33.0,), "30 %"),
        ("low", (9.0, 0.0), (10.0,), "low (below 10 %)"),
        ("intermediate", (10.0, 19.9), (9.9, 20.0), "intermediate (from 10 %, below 20 %)"),
        (None, (10.0, 19.9), (20.1, 9.0), "intermediate (from 10 %, below 20 %)"),
    ],
)
def test_a_target_is_a_threshold_an_amount_a_value_or_a_category(
    target: str | None, reached: tuple[float, ...], missed: tuple[float, ...], text: str
) -> None:
    question = ask(PERCENT, 42.0, target)
    assert question.text == text
    assert all(question.reached(value) for value in reached)
    assert not any(question.reached(value) for value in missed)
    assert not question.reached(42.0)
    assert question.upwards == (reached[0] > 42)
    assert question.reached(question.aim)


@pytest.mark.parametrize(
    ("target", "fault"),
    [
        ("<120", "outside of 0 to 100"),
        ("+80", "122"),
        ("nan", "no value"),
        ("<inf", "no value"),
        ("lots", "no value"),
        ("<10 mm", "not in %"),
        ("=42", "already"),
        ("<50", "already"),
        ("high", "already"),
        ("<0", "it lies within 0 to 100"),
        (">100", "it lies within 0 to 100"),
        ("-20 less", "twice"),
        ("<20 less", "twice"),
    ],
)
def test_a_target_that_cannot_be_is_refused_in_one_line(target: str, fault: str) -> None:
    with pytest.raises(TargetError, match=fault) as refused:
        ask(PERCENT, 42.0, target)
    assert refused.value.hint


def test_a_category_begins_at_its_lowest_value_also_where_none_lies_below_it() -> None:
    kind = replace(PERCENT, categories=(("high", 20),))
    for target in ("high", None):
        question = ask(kind, 5.0, target)
        assert question.text == "high (from 20 %)"
        assert not question.reached(19.9)
    with pytest.raises(TargetError, match="already"):
        ask(kind, 42.0, "high")


def test_the_search_does_not_aim_beyond_the_range() -> None:
    question = ask(PERCENT, 42.0, "<0.5")
    assert 0 < question.aim < 0.5


def test_a_value_near_the_end_of_the_range_has_a_usual_target_too() -> None:
    question = ask(replace(PERCENT, categories=(), reference=0.5), 0.8)
    assert question.text == "20 percentage points more"


def test_a_threshold_of_zero_is_told_as_zero() -> None:
    kind = OutputKind("risk", reference=1.0)
    assert ask(kind, 0.5, "<0").classes == ("at most 0 log hazard", "above 0 log hazard")


def test_an_extreme_log_hazard_has_a_percentage() -> None:
    assert OutputKind("risk", baseline=0.8, horizon=730).percent_at_horizon(1000.0) == 100
