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
from otherwise.evaluation.benchmark.contact_sheet import write_contact_sheet
from otherwise.evaluation.benchmark.gallery import SHOWN, ranked, write_gallery
from otherwise.evaluation.benchmark.image_folders import write_image_folders
from otherwise.evaluation.benchmark.judges import measure_judges
from otherwise.evaluation.benchmark.lead import LeadOverPeers, lead_over_peers
from otherwise.evaluation.benchmark.methods.method import EditMethod, MapMethod
from otherwise.evaluation.benchmark.run import BenchmarkError, Comparison, reconstruction_floor, run, summary
from otherwise.evaluation.benchmark.sets import MadeSets, controls_sentence, realism_controls, realism_of, set_distances
from otherwise.evaluation.benchmark.table import table
from otherwise.images.atomic import atomic_path
from otherwise.phantoms.phantom import MALIGNANT

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
    """Run a suite; write ``results.json``, ``table.md``, ``images/`` and pictures of typical and of the worst images.

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
    sets = MadeSets(comparison, rows, cases, out)
    for figures_of_sets in (set_distances(sets, reference), realism_of(sets)):
        for method, figures in figures_of_sets.items():
            summaries[method].update(figures)
    controls = realism_controls(comparison, cases)
    methods: list[MapMethod | EditMethod] = [*comparison.maps, *comparison.edits]
    peers = [method.name for method in comparison.maps if not method.control]
    leads = {figure: found for figure in LEADING if (found := lead_over_peers(rows, figure, peers)) is not None}
    asked = comparison.all_judges
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
        "realism_controls": {name: found.to_dict() for name, found in controls.items()},
        "lead": {figure: lead.to_dict() for figure, lead in leads.items()},
        "sources": {method.name: method.source for method in methods},
    }
    titles = {method.name: method.title for method in methods}
    for edit in comparison.edits:
        titles |= edit.maps
    sentences = [f"{judge.sentence}\n" for judge in judges]
    if controls:
        sentences.append(controls_sentence(controls) + "\n")
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
    write_image_folders(sets, reference, out / "images")
    for edit in comparison.edits:
        made = out / "edits" / edit.name
        write_contact_sheet(cases, comparison.classifier, asked, made, out / f"{edit.name}-drawn.png")
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
    called = DecisionRule.of(classifier).predicts(answers, classifier.classes.index(MALIGNANT))
    share = float(np.mean([bool(one) == (case.marker is not None) for one, case in zip(called, cases, strict=True)]))
    if share < CONFOUNDED:
        raise BenchmarkError(
            f"{classifier.name} goes by the marker in {share:.0%} of the images only, so this suite is void.",
            "Train it where the marker always follows the class: otherwise phantoms mammogram --confound 1.",
        )
    return share
