"""A suite from beginning to end: every method on every image, distances of the sets, results as JSON and as a table."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from otherwise.agent.editing.search import Progress
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.model_card import machine_class
from otherwise.blackbox.protocol import BlackBox
from otherwise.evaluation.benchmark.cases import Case
from otherwise.evaluation.benchmark.distances import frechet_distance, kernel_distance
from otherwise.evaluation.benchmark.features import penultimate
from otherwise.evaluation.benchmark.gallery import SHOWN, ranked, write_gallery
from otherwise.evaluation.benchmark.judges import measure_judges
from otherwise.evaluation.benchmark.lead import LeadOverPeers, lead_over_peers
from otherwise.evaluation.benchmark.methods.method import EditMethod, MapMethod
from otherwise.evaluation.benchmark.run import BenchmarkError, Comparison, Row, reconstruction_floor, run, summary
from otherwise.evaluation.benchmark.table import table
from otherwise.images.atomic import atomic_path
from otherwise.phantoms.phantom import MALIGNANT

LEAST_IMAGES = 10
"""Fewer than this of a class make no set to compare with."""
LEADING = {"average_precision": "Average precision", "average_precision_lesion": "Average precision on the lesion"}
"""Figures in which our map is compared with the best peer's."""
CONFOUNDED = 0.9
"""Least agreement with the marker of a classifier that is said to go by it."""


def run_suite(
    name: str,
    comparison: Comparison,
    cases: Sequence[Case],
    reference: np.ndarray,
    out: Path,
    progress: Progress = lambda stage, part: None,
) -> dict[str, Any]:
    """Run a suite and write ``results.json``, ``table.md`` and pictures of typical and of the worst images.

    Args:
        name: Of the suite.
        comparison: What is compared.
        cases: The images, unseen in any training.
        reference: ``(n, channels, *size)`` other unseen images: how images of each class look.
        out: Folder; an interrupted run is resumed from its content.
        progress: See ``run``.

    Returns:
        What ``results.json`` holds.
    """
    rows = run(comparison, cases, len(cases), out, progress)
    summaries = summary(rows)
    for method, figures in set_distances(comparison, rows, reference, out).items():
        summaries[method].update(figures)
    methods: list[MapMethod | EditMethod] = [*comparison.maps, *comparison.edits]
    peers = [method.name for method in comparison.maps]
    leads = {figure: found for figure in LEADING if (found := lead_over_peers(rows, figure, peers)) is not None}
    asked = [judge for judge in (comparison.verifier, *comparison.judges) if judge is not None]
    judges = measure_judges(comparison.classifier, asked, np.stack([case.image for case in cases]))
    results = {
        "suite": name,
        "images": len(cases),
        "classifier": comparison.classifier.version,
        "agent": comparison.agent.version,
        "verifier": comparison.verifier.version if comparison.verifier is not None else None,
        "judges": [judge.to_dict() for judge in judges],
        "machine": machine_class(str(comparison.agent.device)),
        "threads": torch.get_num_threads(),
        "reconstruction_l1": round(reconstruction_floor(comparison.agent, comparison.classifier, cases), 5),
        "methods": summaries,
        "lead": {figure: lead.to_dict() for figure, lead in leads.items()},
        "sources": {method.name: method.source for method in methods},
    }
    titles = {method.name: method.title for method in methods}
    for edit in comparison.edits:
        titles |= edit.maps
    sentences = [f"{judge.sentence}\n" for judge in judges]
    page = "\n".join(
        [
            table(summaries, titles),
            *sentences,
            *(_lead_sentence(figure, lead, titles) for figure, lead in leads.items()),
        ]
    )
    for file, text in (("results.json", json.dumps(results, indent=2) + "\n"), ("table.md", page)):
        with atomic_path(out / file) as temporary:
            temporary.write_text(text, encoding="utf-8")
    for edit in comparison.edits:
        if (out / "effects" / edit.name).is_dir():
            names = ranked(rows, edit.name)
            middle = max(0, (len(names) - SHOWN) // 2)
            for kind, chosen in (("typical", names[middle : middle + SHOWN]), ("worst", names[:SHOWN])):
                picture = out / f"{edit.name}-{kind}.png"
                write_gallery(cases, chosen, comparison.classifier, out, edit.name, picture)
    return results


def _lead_sentence(figure: str, lead: LeadOverPeers, titles: Mapping[str, str]) -> str:
    peer = titles[lead.peer] + ("" if lead.figure == figure else ", magnitude")
    return (
        f"{LEADING[figure]}: {lead.ratio:.2f} x the best peer ({lead.low:.2f} to {lead.high:.2f}): "
        f"ours {lead.ours:.3f}, {peer} {lead.theirs:.3f}, on the same {lead.images} images.\n"
    )


def set_distances(
    comparison: Comparison, rows: Sequence[Row], reference: np.ndarray, out: Path
) -> dict[str, dict[str, dict[str, float]]]:
    """Return the distance of each method's counterfactuals from real images of their target class.

    Returns:
        ``{method: {"fid": {"mean": ...}, "kid": ...}}``: means over the classes that have enough images; nothing
        without a verifier that can be looked into.
    """
    module = getattr(comparison.verifier, "module", None)
    if module is None:
        return {}
    answers = comparison.classifier.predict(reference)
    real = penultimate(module, reference)
    distances = {}
    for method in comparison.edits:
        figures = _of_one(comparison, method, rows, out, module, answers, real)
        if figures:
            distances[method.name] = figures
    return distances


def _of_one(
    comparison: Comparison,
    method: EditMethod,
    rows: Sequence[Row],
    out: Path,
    module: torch.nn.Module,
    answers: np.ndarray,
    real: np.ndarray,
) -> dict[str, dict[str, float]]:
    own = [row for row in rows if row["method"] == method.name]
    made = np.stack([np.load(out / "edits" / method.name / f"{row['case']}.npy") for row in own])
    features, targets = penultimate(module, made), np.array([row["target"] for row in own])
    fid, kid = [], []
    for target in np.unique(targets):
        theirs = real[DecisionRule.of(comparison.classifier).says(answers, int(target))]
        ours = features[targets == target]
        if min(len(ours), len(theirs)) >= LEAST_IMAGES:
            fid.append(frechet_distance(ours, theirs))
            kid.append(kernel_distance(ours, theirs))
    if not fid:
        return {}
    return {
        name: {"mean": round(float(np.mean(values)), 4), "low": round(min(values), 4), "high": round(max(values), 4)}
        for name, values in (("fid", fid), ("kid", kid))
    }


def choose(
    names: str | None, maps: Sequence[MapMethod], edits: Sequence[EditMethod]
) -> tuple[list[MapMethod], list[EditMethod]]:
    """Return the methods of these names, separated by commas; None: all.

    Raises:
        BenchmarkError: if there is none of a name.
    """
    known = [*(method.name for method in maps), *(method.name for method in edits)]
    wanted = [name.strip() for name in names.split(",")] if names else known
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise BenchmarkError(f"There is no method {unknown[0][:64]!r}.", f"Choose of {', '.join(known)}.")
    return [m for m in maps if m.name in wanted], [m for m in edits if m.name in wanted]


def refuse_unconfounded(classifier: BlackBox, cases: Sequence[Case]) -> float:
    """Make sure that a classifier goes by the marker and not by the disease.

    Args:
        classifier: Of "benign" and "malignant".
        cases: Images that carry the marker at random.

    Returns:
        Share of images that it calls malignant exactly if they carry the marker.

    Raises:
        BenchmarkError: if that is below ``CONFOUNDED``: what an explanation should show would be unknown.
    """
    answers = classifier.predict(np.stack([case.image for case in cases]))
    called = DecisionRule.of(classifier).says(answers, classifier.classes.index(MALIGNANT))
    share = float(np.mean([bool(one) == (case.marker is not None) for one, case in zip(called, cases, strict=True)]))
    if share < CONFOUNDED:
        raise BenchmarkError(
            f"{classifier.name} goes by the marker in {share:.0%} of the images only, so this suite is void.",
            "Train it where the marker always follows the class: otherwise phantoms mammogram --confound 1.",
        )
    return share
