"""Sentences about a model that says a value instead of a class."""

from __future__ import annotations

from typing import Any, Callable

Translate = Callable[[str], str]


def with_unit(value: float, unit: str) -> str:
    """Return a value for people, with its unit."""
    size = abs(value)
    text = f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.3g}"
    return text if unit in ("", "1") else f"{text} {unit}"


def verdict(content: dict, tr: Translate) -> str:
    """Return what the model says, and what it would say of the changed image."""
    value, found = content["value"], content["counterfactual"]
    first = tr("The model says a {name} of {amount}.").format(
        name=value["name"], amount=with_unit(value["original"], value["unit"])
    )
    if value["reached"]:
        second = tr("It would say {amount}, that is {target}, if {share:.1%} of the image were changed.")
    else:
        second = tr("The target, {target}, was not reached: with {share:.1%} of the image changed it says {amount}.")
    return f"{first} " + second.format(
        amount=with_unit(value["counterfactual"], value["unit"]),
        target=value["target"]["text"],
        share=found["changed_fraction"],
    )


def on_path(content: dict, point: dict, tr: Translate) -> str:
    """Return the value at a step of the path."""
    line = tr("Strength {strength:.2f}: {text}").format(
        strength=point["strength"], text=with_unit(point["value"], content["value"]["unit"])
    )
    if point.get("flipped"):
        line += " " + tr("({target}: reached)").format(target=content["value"]["target"]["text"])
    return line


def target_name(content: dict) -> str:
    """Return the class, or the value, that an explanation goes for."""
    value: Any = content.get("value")
    return str(value["target"]["text"] if value else content["target"])


def hosted(value: dict, tr: Translate) -> str:
    """Return what a hosted model says."""
    if value["unit"] == "1":
        return tr("Says: {name}").format(name=value["name"])
    return tr("Says: {name} in {unit}").format(name=value["name"], unit=value["unit"])
