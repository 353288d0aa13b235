"""``explanation.json``: an explanation without its voxels, to and from plain values."""

from __future__ import annotations

import json
from dataclasses import asdict
from importlib.resources import files
from typing import Any

import numpy as np

from otherwise.annotations.vocabulary import Term
from otherwise.blackbox.decision import DecisionRule
from otherwise.explain.explanation import (
    SCHEMA,
    VALUE_SCHEMA,
    ConceptEntry,
    Concepts,
    Counterfactual,
    Deformation,
    Explanation,
    ModelRef,
    PathPoint,
    Place,
    Prediction,
    Probabilities,
    Region,
    Seen,
    Volumes,
    WholeStep,
)
from otherwise.images.image import Geometry
from otherwise.report.value_json import value_from_json, value_json
from otherwise.warning import AnswerWarning

SEEN_NAME = "seen.nrrd"
"""File of what the classifier saw."""
DISPLACEMENT_NAME = "displacement.nrrd"
"""File of the field of a deformation."""
VOLUME_NAMES = ("original", "counterfactual", "difference", "effect", "floor", "minimal")
"""Fields of ``Volumes`` that are one file each, of this name."""


def explanation_json(explanation: Explanation) -> dict[str, Any]:
    """Return the content of ``explanation.json``, as :func:`schema` describes it; nothing in it is numpy's.

    Raises:
        ValueError: if a number is NaN or infinite, which JSON lacks.
    """
    found, geometry = explanation.counterfactual, explanation.volumes.original.geometry
    content = {
        "schema": VALUE_SCHEMA if explanation.value else SCHEMA,
        "id": explanation.id,
        "image": {"id": explanation.image_id, "sha256": explanation.image_sha256},
        "classifier": asdict(explanation.classifier),
        "agent": asdict(explanation.agent),
        "precision": explanation.precision,
        "created": explanation.created,
        "seconds": explanation.seconds,
        "queries": explanation.queries,
        "prediction": asdict(explanation.prediction),
        "target": explanation.target,
        "slice_index": explanation.slice_index,
        "place": _place_json(explanation),
        "counterfactual": {
            **asdict(found),
            "reconstruction_l1": explanation.reconstruction_l1,
            "path": [{**asdict(point), **_value_of(explanation, point.probabilities)} for point in explanation.path],
            **_value_of(explanation, found.probabilities),
        },
        "minimal": {**asdict(explanation.minimal), **_value_of(explanation, explanation.minimal.probabilities)},
        "alternatives": [
            {**asdict(alternative), **_value_of(explanation, alternative.probabilities)}
            for alternative in explanation.alternatives
        ],
        "regions": [asdict(region) for region in explanation.regions],
        "notes": list(explanation.notes),
        "warnings": [asdict(warning) for warning in explanation.warnings],
        "decision": _decision_json(explanation),
        "seen": _seen_json(explanation.seen),
        "geometry": {**_geometry_json(geometry), "unit": explanation.volumes.original.unit},
        "grid": _geometry_json(explanation.grid) if explanation.grid else None,
        "concepts": asdict(explanation.concepts) if explanation.concepts else None,
        "files": {
            **{name: f"{name}.nrrd" for name in VOLUME_NAMES},
            "regions": "regions.seg.nrrd",
            "path": "path.seq.nrrd",
            "alternatives": [f"alternative-{number + 1}.nrrd" for number in range(len(explanation.alternatives))],
            **({"displacement": DISPLACEMENT_NAME} if explanation.displacement is not None else {}),
        },
    }
    if explanation.deformation:
        content["deformation"] = asdict(explanation.deformation)
    if explanation.value:
        content["value"] = value_json(explanation.value)
    plain: dict[str, Any] = json.loads(json.dumps(content, allow_nan=False, default=np.generic.item))
    return plain


def _value_of(explanation: Explanation, probabilities: Probabilities) -> dict[str, float]:
    """Return the value of an answer; of classes nothing."""
    return {"value": explanation.value.of(probabilities)} if explanation.value else {}


def _decision_json(explanation: Explanation) -> dict[str, Any] | None:
    if explanation.rule is None:
        return None
    return {"multi_label": explanation.rule.multi_label, "thresholds": explanation.thresholds}


def _seen_json(seen: Seen | None) -> dict[str, Any] | None:
    if seen is None:
        return None
    return {
        "file": SEEN_NAME,
        "window": list(seen.window),
        "below": seen.below,
        "above": seen.above,
        "contract": seen.contract,
    }


def _geometry_json(geometry: Geometry) -> dict[str, Any]:
    return {"shape": list(geometry.shape), "affine": geometry.affine.tolist()}


def schema() -> dict[str, Any]:
    """Return the JSON Schema (draft 7) of ``explanation.json``."""
    content: dict[str, Any] = json.loads(files("otherwise.report").joinpath("schema.json").read_text(encoding="utf-8"))
    return content


def explanation_from_json(content: dict[str, Any], volumes: Volumes, seen: Seen | None) -> Explanation:
    """Return the explanation that :func:`explanation_json` described.

    Raises:
        ValueError, KeyError, TypeError, AttributeError: if the content is damaged.
    """
    found = _without_value(content["counterfactual"])
    path = tuple(PathPoint(**_without_value(point)) for point in found.pop("path"))
    if len(path) != len(volumes.path) or len(content["alternatives"]) != len(volumes.alternatives):
        raise ValueError("numbers of images and answers differ")
    return Explanation(
        id=content["id"],
        image_id=content["image"]["id"],
        image_sha256=content["image"]["sha256"],
        classifier=ModelRef(**content["classifier"]),
        agent=ModelRef(**content["agent"]),
        created=content["created"],
        seconds=content["seconds"],
        queries=content["queries"],
        prediction=Prediction(**content["prediction"]),
        target=content["target"],
        reconstruction_l1=found.pop("reconstruction_l1"),
        counterfactual=Counterfactual(**found),
        minimal=Counterfactual(**_without_value(content["minimal"])),
        path=path,
        alternatives=tuple(Counterfactual(**_without_value(alternative)) for alternative in content["alternatives"]),
        regions=tuple(
            Region(
                **{
                    **region,
                    **{key: _tuple(region.get(key)) for key in ("centroid_ras", "centroid_index")},
                    "findings": tuple(region.get("findings") or ()),
                }
            )
            for region in content["regions"]
        ),
        notes=tuple(content["notes"]),
        volumes=volumes,
        slice_index=content["slice_index"],
        place=_place(content.get("place")),
        grid=geometry_from_json(content["grid"]) if content.get("grid") else None,
        concepts=_concepts(content.get("concepts")),
        warnings=tuple(AnswerWarning(**warning) for warning in content.get("warnings", ())),
        seen=seen,
        rule=_rule(content.get("decision")),
        value=value_from_json(content["value"]) if content.get("value") else None,
        precision=content.get("precision"),
        deformation=Deformation(**content["deformation"]) if content.get("deformation") else None,
    )


def _without_value(answer: dict[str, Any]) -> dict[str, Any]:
    """Return an answer without its value, which follows from the probabilities."""
    return {key: part for key, part in answer.items() if key != "value"}


def _rule(content: dict[str, Any] | None) -> DecisionRule | None:
    if content is None:
        return None
    thresholds = content["thresholds"]
    return DecisionRule(content["multi_label"], thresholds and tuple(thresholds.values()))


def _concepts(content: dict[str, Any] | None) -> Concepts | None:
    if content is None:
        return None
    entries = (
        ConceptEntry(**{**entry, "term": entry["term"] and Term(**entry["term"]), "regions": tuple(entry["regions"])})
        for entry in content["entries"]
    )
    return Concepts(content["version"], content["named_share"], tuple(entries), content.get("in_regions", 1.0))


def _place_json(explanation: Explanation) -> dict[str, Any] | None:
    """Return the place of a patch; of a model of values with the value of the whole image before and after."""
    place, value = explanation.place, explanation.value
    if place is None:
        return None
    content = asdict(place)
    if value is not None:
        content["values"] = {"before": value.of_whole(place.before), "after": value.of_whole(place.after)}
    return content


def _place(content: dict[str, Any] | None) -> Place | None:
    if content is None:
        return None
    shape, low, high = ((i, j, k) for i, j, k in (content[key] for key in ("shape", "low", "high")))
    more: dict[str, Any] = {key: content.get(key, "") for key in ("label_before", "label_after")}
    more |= {key: _tuple(content.get(key)) for key in ("patch_low", "patch_high", "centre_ras")}
    steps = tuple(WholeStep(**{**step, "centre_ras": tuple(step["centre_ras"])}) for step in content.get("steps", ()))
    return Place(shape, low, high, content["before"], content["after"], **more, steps=steps)


def _tuple(numbers: list[float] | None) -> tuple[float, ...] | None:
    return None if numbers is None else tuple(numbers)


def geometry_from_json(content: dict[str, Any]) -> Geometry:
    """Return a grid from its shape and affine."""
    i, j, k = content["shape"]
    return Geometry((i, j, k), np.array(content["affine"]))
