"""Texts of the panel, from an explanation's numbers."""

from __future__ import annotations

from typing import Any, Callable

from . import value_texts

Translate = Callable[[str], str]

STAGES = {
    "upload": "Sending the image",
    "queued": "Waiting for the server",
    "running": "Working",
    "find": "Looking at every patch",
    "search": "Searching for a change of mind",
    "alternatives": "Looking for other ways",
    "influence": "Measuring what decides",
    "attribute": "Asking another method",
    "question": "Choosing what to ask",
    "geometry": "Bringing it to the image",
    "download": "Fetching the explanation",
}


def stage(name: str, tr: Translate) -> str:
    """Return the name of a stage of a job."""
    return tr(STAGES.get(name, "Working"))


def hosted(about: dict, tr: Translate) -> str:
    """Return what the server hosts, in a few lines."""
    classifier, agent = about["classifiers"][0], about["agents"][0]
    inputs = classifier["inputs"]
    device = (about.get("devices") or [{}])[0].get("title", "")
    size = " × ".join(str(edge) for edge in inputs.get("size", []))
    return "\n".join(
        [
            tr("Classifier: {name} ({version})").format(
                name=classifier["name"], version=str(classifier["version"])[:8]
            ),
            value_texts.hosted(classifier["value"], tr)
            if classifier.get("value")
            else tr("Tells apart: {classes}").format(classes=", ".join(classifier["classes"])),
            tr("Looks at: {modality} {dims}-D, {size}").format(
                modality=inputs.get("modality", ""), dims=inputs["spatial_dims"], size=size
            ),
            tr("Agent: {name} ({version})").format(name=agent["name"], version=str(agent["version"])[:8]),
            tr("Runs on: {device}, Otherwise {version}").format(device=device, version=about["versions"]["otherwise"]),
        ]
    )


def find_text(find: Any, tr: Translate) -> str:
    """Return the probabilities, or the value, and the position of a find."""
    if find.value is None:
        text = ", ".join(f"{name} {value:.0%}" for name, value in find.probabilities.items())
    else:
        text = value_texts.with_unit(find.value, find.unit)
    r, a, s = find.centre
    return tr("{text}\nR {r:.0f}, A {a:.0f}, S {s:.0f} mm").format(text=text, r=r, a=a, s=s)


def verdict(content: dict, tr: Translate) -> str:
    """Return the verdict with its probabilities."""
    if content.get("value"):
        return value_texts.verdict(content, tr)
    before, found, target = content["prediction"], content["counterfactual"], content["target"]
    first = tr("The classifier says {label} ({probability:.0%}).").format(
        label=before["label"], probability=before["probabilities"][before["label"]]
    )
    threshold = ((content.get("decision") or {}).get("thresholds") or {}).get(before["label"])
    if threshold is not None:
        first += " " + tr("It says so from {threshold:.0%} on.").format(threshold=threshold)
    place = content.get("place")
    if place:
        second = tr("It would say {target} ({probability:.0%}) if {share:.1%} of the patch were changed.")
        failed = tr(
            "It was not brought to say {target}: with {share:.1%} of the patch changed it reaches {probability:.0%}."
        )
    else:
        second = tr("It would say {target} ({probability:.0%}) if {share:.1%} of the image were changed.")
        failed = tr(
            "It was not brought to say {target}: with {share:.1%} of the image changed it reaches {probability:.0%}."
        )
    if not found["valid"]:
        second = failed
    numbers = {"target": target, "probability": found["probabilities"][target], "share": found["changed_fraction"]}
    text = f"{first} {second.format(**numbers)}"
    return f"{_whole(place, tr)} {text}" if place else text


def _whole(place: dict, tr: Translate) -> str:
    """Return what the whole image is called before and after a patch of it was changed."""
    before, after = place["before"], place["after"]
    label, then = max(before, key=before.get), max(after, key=after.get)
    if label == then:
        whole = tr(
            "Only this patch is called otherwise; the whole image stays {label} ({before:.0%} before, {after:.0%} now)."
        )
    else:
        whole = tr("With this patch changed the whole image, {label} ({before:.0%}), would be {then} ({after:.0%}).")
    return whole.format(label=label, then=then, before=before[label], after=after[then])


def warnings(content: dict, tr: Translate) -> list[str]:
    """Return the warnings and notes of an explanation."""
    found = []
    if not content["counterfactual"]["valid"]:
        found.append(tr("Not valid: this is the nearest attempt, not a counterfactual."))
    found += [str(warning["text"]) for warning in content.get("warnings", [])]
    found += [str(note) for note in content.get("notes", [])]
    regions = content["regions"]
    if regions and not any(region["above_floor"] for region in regions):
        found.append(tr("Every change is below the agent's own reconstruction error: no evidence."))
    if content["counterfactual"]["reconstruction_l1"] > 0.05:
        found.append(tr("The agent draws this image badly: it is unlike those it was trained on."))
    return list(dict.fromkeys(found))


def on_path(content: dict, step: int, tr: Translate) -> str:
    """Return the present step of the path, and the probabilities there."""
    point = content["counterfactual"]["path"][step]
    if content.get("value"):
        return value_texts.on_path(content, point, tr)
    text = ", ".join(f"{name} {value:.0%}" for name, value in point["probabilities"].items())
    line = tr("Strength {strength:.2f}: {text}").format(strength=point["strength"], text=text)
    if point.get("flipped"):
        line += " " + tr("({target} is said)").format(target=content["target"])
    return line


def legend(shown: Any, method: str, tr: Translate) -> str:
    """Return what the last view shows."""
    overlay = shown.overlay(method) if method else None
    if overlay is None:
        return tr("Last view: measured effect, towards {target}.").format(target=value_texts.target_name(shown.content))
    return tr("Last view: {title}. For comparison: no plausible image was put to the classifier.").format(
        title=overlay.GetName()
    )


def trouble(error: BaseException, tr: Translate) -> str:
    """Return an error in one or two sentences."""
    detail, hint = getattr(error, "detail", ""), getattr(error, "hint", "")
    if detail:
        return f"{tr(detail)} {tr(hint)}".strip()
    return str(error) or tr("Something went wrong ({kind}).").format(kind=type(error).__name__)
