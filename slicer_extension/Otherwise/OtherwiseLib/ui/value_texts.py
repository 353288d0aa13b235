"""Sentences about a model that says a value instead of a class."""

from __future__ import annotations

from typing import Any, Callable

Translate = Callable[[str], str]


def with_unit(value: float, unit: str) -> str:
    """Return a value for people, with its unit."""
    size = abs(value)
    text = f"{value:.0f}" if size >= 100 else f"{value:.1f}" if size >= 10 else f"{value:.3g}"
    return text if unit in ("", "1") else f"{text} {unit}"


def effect_header(content: dict, tr: Translate) -> tuple[str, str]:
    """Return the header of a column of effects, and its tooltip: of classes log-odds, of a value its unit."""
    value = content.get("value")
    if not value:
        return tr("Effect"), tr("Measured effect towards the target, in log-odds")
    short, unit = (tr("points"), tr("percentage points")) if value["unit"] == "%" else (value["unit"], value["unit"])
    if unit in ("", "1"):
        return tr("Effect"), tr("Measured effect towards the target")
    tip = tr("Measured effect towards the target, in {unit}").format(unit=unit)
    return tr("Effect, {unit}").format(unit=short), tip


def verdict(content: dict, tr: Translate) -> str:
    """Return the value of the image, and the value of the changed image."""
    value, found = content["value"], content["counterfactual"]
    if content.get("place"):
        first = tr("The model puts the {name} of this patch at {amount}.")
        reached = tr("It would say {amount}{asked} if {share:.1%} of the patch were changed.")
        missed = tr("The target, {target}, was not reached: with {share:.1%} of the patch changed it says {amount}.")
    else:
        first = tr("The model puts the {name} at {amount}.")
        reached = tr("It would say {amount}{asked} if {share:.1%} of the image were changed.")
        missed = tr("The target, {target}, was not reached: with {share:.1%} of the image changed it says {amount}.")
    text = first.format(name=value["name"], amount=with_unit(value["original"], value["unit"]))
    text += " " + (reached if value["reached"] else missed).format(
        amount=with_unit(value["counterfactual"], value["unit"]),
        target=value["target"]["text"],
        asked=_asked(value, tr),
        share=found["changed_fraction"],
    )
    return f"{_whole(content, tr)} {text}" if _whole(content, tr) else text


def _asked(value: dict, tr: Translate) -> str:
    """Return what was asked for: one value with its tolerance, or a threshold or category, which the value is in."""
    target = value["target"]
    low, high = target["low"], target["high"]
    if not target["exact"] or low is None or high is None or high - low > 2.001 * value["tolerance"]:
        return tr(", that is {target},").format(target=target["text"])
    within = with_unit(value["tolerance"], "")
    return tr(" (asked for: {target}, within {tolerance})").format(target=target["text"], tolerance=within)


def _whole(content: dict, tr: Translate) -> str:
    """Return the value of the whole image before and after a patch of it was changed; empty where it is not known."""
    whole = (content.get("place") or {}).get("values")
    if not whole:
        return ""
    value = content["value"]
    before, after = (with_unit(whole[key], value["unit"]) for key in ("before", "after"))
    if before == after:
        text = tr("The {name} of the whole image, read off its most suspicious patch, stays {before}.")
    else:
        text = tr(
            "With this patch changed, the {name} of the whole image, read off its most suspicious patch, would be "
            "{after} instead of {before}."
        )
    return text.format(name=value["name"], before=before, after=after)


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
    """Return the output of a hosted model in words."""
    if value["unit"] in ("1", value["name"]):
        return tr("Says: {name}").format(name=value["name"])
    return tr("Says: {name} in {unit}").format(name=value["name"], unit=value["unit"])
