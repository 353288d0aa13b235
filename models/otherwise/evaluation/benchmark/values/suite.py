"""A suite of values: every image explained, what came out judged by others, and effects beside those of peers."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import spearmanr

from otherwise.agent.editing.search import Progress
from otherwise.blackbox.output_kind import output_kind
from otherwise.blackbox.protocol import BlackBox, InputSpec
from otherwise.blackbox.view import grid_seen, show
from otherwise.errors import OtherwiseError
from otherwise.evaluation.benchmark.localisation import average_precision
from otherwise.evaluation.benchmark.methods.method import MapMethod
from otherwise.evaluation.benchmark.realism import texture_features, told_apart
from otherwise.evaluation.benchmark.run import Row, refuse_others_rows, summary
from otherwise.evaluation.benchmark.values.cases import ValueCase, value_of
from otherwise.evaluation.costs import timed
from otherwise.explain.explainer import Explainer
from otherwise.images.atomic import atomic_path
from otherwise.images.image import Image
from otherwise.images.resampling import resample
from otherwise.influence.parts import composite

PEERS = ("occlusion", "integrated-gradients", "kernel-shap")
"""Names of the maps that stand beside the measured effect; each attributes the value itself."""
NO_FIGURES = ("refused", "case", "patient")
"""Entries of a row that are no figures."""
HALF = 0.5
"""A verifier follows if its value moves by at least this share of the model's own change."""


def run_values(
    name: str,
    explainer: Explainer,
    verifier: BlackBox | None,
    peers: Sequence[MapMethod],
    cases: Iterable[ValueCase],
    count: int,
    out: Path,
    progress: Progress = lambda stage, part: None,
) -> dict[str, Any]:
    """Explain every image, and write ``results.json`` and ``table.md``.

    Args:
        name: Of the suite.
        explainer: Of the model and its agent.
        verifier: Another model of the same value; None: no figure.
        peers: Methods that draw maps.
        cases: The images, unseen in any training.
        count: How many there are.
        out: Folder; ``rows/`` keeps what is done, so that an interrupted run goes on.
        progress: Called with the stage and the share done.

    Returns:
        What ``results.json`` holds.

    Raises:
        BenchmarkError: if the folder holds results of other models or peers.
    """
    versions = {
        "classifier": explainer.classifier.version,
        "agent": explainer.agent.version,
        "verifier": verifier.version if verifier is not None else None,
    }
    refuse_others_rows(
        out, {**versions, "peers": [peer.name for peer in peers]}, "classifier, agent, verifier or peers"
    )
    (out / "rows").mkdir(parents=True, exist_ok=True)
    rows = []
    for number, case in enumerate(cases, start=1):
        kept = out / "rows" / f"{case.image.id}.json"
        if not kept.is_file():
            with atomic_path(kept) as draft:
                draft.write_text(json.dumps(measure_case(explainer, verifier, peers, case)), encoding="utf-8")
        rows.append(json.loads(kept.read_text(encoding="utf-8")))
        progress(case.image.id, number / count)
    figures = summarised(rows)
    results = {
        "suite": name,
        "images": len(rows),
        **versions,
        "unit": output_kind(explainer.classifier).unit,
        "figures": figures,
    }
    page = "\n".join(
        ["| figure | mean | 95 % | images |", "|---|---|---|---|"]
        + [
            f"| {key} | {each['mean']:.3f} | {each['low']:.3f} to {each['high']:.3f} | {each['images']} |"
            for key, each in figures.items()
        ]
    )
    for file, text in (("results.json", json.dumps(results, indent=2) + "\n"), ("table.md", page + "\n")):
        with atomic_path(out / file) as draft:
            draft.write_text(text, encoding="utf-8")
    return results


def measure_case(
    explainer: Explainer, verifier: BlackBox | None, peers: Sequence[MapMethod], case: ValueCase
) -> dict[str, Any]:
    """Explain one image, and judge what came out.

    Returns:
        ``value`` before, ``target`` and ``value_after``; ``reached`` (1 or 0, within the model's tolerance), ``l1``,
        ``seconds``; ``verifier_follows``; ``average_precision`` by method; ``effects`` of features: measured and true
        ones; ``true_edit``: the same effects, measured of the true counterfactual; ``measured_error``: distance of the
        target from what another method measures in the counterfactual, and ``measured_before``: of what the model says
        from what that method measures in the original. ``textures``: features of the original (``real``) and of the
        counterfactual (``made``), and the ``patient``. ``refused``: the reason for which there is no explanation.
    """
    classifier, kind = explainer.classifier, output_kind(explainer.classifier)
    before = value_of(classifier, case.image)
    row: dict[str, Any] = {"case": case.image.id, "value": before, "target": case.target}
    try:
        found, seconds = timed(lambda: explainer.explain(case.image, target=f"={case.target:g}"))
    except OtherwiseError as error:
        return {**row, "refused": error.detail, "reached": float(abs(before - case.target) <= kind.tolerance)}
    made = found.volumes.counterfactual
    after = value_of(classifier, made)
    image, changed = show(case.image, classifier.inputs), show(made, classifier.inputs)
    row |= {
        "value_after": after,
        "reached": float(abs(after - case.target) <= kind.tolerance),
        "l1": float(np.abs(changed - image).mean()),
        "seconds": seconds,
        "queries": found.queries,
    }
    row["textures"] = {name: texture_features(each).tolist() for name, each in (("real", image), ("made", changed))}
    row["patient"] = case.patient or case.image.id
    if verifier is not None:
        moved = value_of(verifier, made) - value_of(verifier, case.image)
        row["verifier_follows"] = float(moved / (after - before) >= HALF) if after != before else 0.0
    effect = np.abs(_on_grid(found.volumes.effect, found.volumes.original, classifier.inputs))
    row["average_precision"] = {"ours": average_precision(effect, case.truth)}
    for peer in peers:
        drawn = np.abs(peer.draw(classifier, image, 1))
        row["average_precision"][peer.name] = average_precision(drawn, case.truth)
    row["effects"] = _effects(classifier, image, changed, case, before)
    if case.counterfactual is not None:
        true = show(case.counterfactual, classifier.inputs)
        row["true_edit"] = _effects(classifier, image, true, case, before)
    if case.measured is not None:
        first, then = case.measured(case.image), case.measured(made)
        row["measured_error"] = abs(then - case.target) if then is not None else None
        row["measured_before"] = abs(first - before) if first is not None else None
        row["measured_within_6"] = float(then is not None and abs(then - case.target) <= 6)
    return row


def summarised(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return mean and 95 % interval of each figure, the rank correlation of effects, and how well texture tells.

    The rank correlation is over images and features. That of true counterfactuals is its control: no edit of the same
    model is expected to have a higher one. ``told apart by texture`` is the area under the ROC curve of all
    originals against all counterfactuals, its control that of half of the patients' originals against the others'.
    """
    flat: list[Row] = []
    for row in rows:
        plain = {key: value for key, value in row.items() if not isinstance(value, dict) and key not in NO_FIGURES}
        maps = {f"average precision, {name}": each for name, each in row.get("average_precision", {}).items()}
        flat.append({"method": "values", "case": row["case"], **plain, **maps, "refused": float("refused" in row)})
    figures = summary(flat).get("values", {})
    pairs = _pairs(rows, "effects")
    if sum(len(each) for each in pairs) > 2:
        within = [_rank_correlation([each]) for each in pairs if np.ptp(each, axis=0).min() > 0]
        alone: list[Row] = [
            {"method": "values", "rank correlation of effects within an image": each} for each in within
        ]
        figures |= summary(alone).get("values", {})
        figures["rank correlation of effects"] = _ranked(pairs)
        figures["rank correlation of their sizes"] = _ranked([np.abs(each) for each in pairs])
    if true := _pairs(rows, "true_edit"):
        figures["rank correlation of effects, true counterfactuals"] = _ranked(true)
    return figures | _realism([row for row in rows if "textures" in row])


def _realism(rows: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Return how well originals are told from counterfactuals, and halves of the originals from each other."""
    real, made = (np.array([row["textures"][name] for row in rows]) for name in ("real", "made"))
    patients = [row["patient"] for row in rows]
    known = sorted(set(patients))
    second = np.array([known.index(patient) % 2 for patient in patients], dtype=bool)
    halves = [[name for name, there in zip(patients, second, strict=True) if there == half] for half in (False, True)]
    pairs = {
        "told apart by texture": (real, made, patients, patients),
        "told apart by texture, two halves of the originals": (real[~second], real[second], *halves),
    }
    found = {name: told_apart(*pair) for name, pair in pairs.items()}
    return {name: each.to_dict() for name, each in found.items() if each is not None}


def _pairs(rows: Sequence[dict[str, Any]], name: str) -> list[np.ndarray]:
    """Return the measured and true effects ``(features, 2)`` of every image that has them."""
    return [np.array(list(row[name].values())) for row in rows if row.get(name)]


def _ranked(pairs: Sequence[np.ndarray], draws: int = 300) -> dict[str, float]:
    """Return the rank correlation over all images and features, with a 95 % interval by drawing whole images."""
    rng = np.random.default_rng(0)
    drawn = [_rank_correlation([pairs[n] for n in rng.integers(len(pairs), size=len(pairs))]) for _ in range(draws)]
    low, high = np.nanquantile(drawn, [0.025, 0.975])
    found = _rank_correlation(pairs)
    return {"mean": round(found, 5), "low": round(float(low), 5), "high": round(float(high), 5), "images": len(pairs)}


def _rank_correlation(pairs: Sequence[np.ndarray]) -> float:
    """Return Spearman's correlation of measured and true effects ``(features, 2)`` of several images."""
    return float(spearmanr(*np.concatenate(pairs).T).statistic)


def _on_grid(volume: Image, image: Image, inputs: InputSpec) -> np.ndarray:
    """Return a map of an image on the classifier's grid, ``size``."""
    resampled = resample(volume, grid_seen(image, inputs)).array[0]
    return np.asarray(resampled[..., 0] if inputs.spatial_dims == 2 else resampled)


def _effects(
    classifier: BlackBox, image: np.ndarray, changed: np.ndarray, case: ValueCase, before: float
) -> dict[str, tuple[float, float]]:
    """Return what the change within the place of each feature alone does to the value, and what it truly does."""
    if not case.places:
        return {}
    parts = np.stack([composite(image, changed, place.astype(np.float32)) for place in case.places.values()])
    moved = output_kind(classifier).value_of(classifier.predict(parts)) - before
    return {name: (float(each), case.effects[name]) for name, each in zip(case.places, moved, strict=True)}
