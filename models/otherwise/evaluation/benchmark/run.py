"""Run every method on every case, once: what is done is kept, and a later run adds what is missing."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from otherwise.agent.bundle import Agent
from otherwise.agent.editing.search import Progress
from otherwise.agent.training.validation import reconstruction_error
from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.protocol import BlackBox
from otherwise.errors import OtherwiseError
from otherwise.evaluation.benchmark import distances, faithfulness, localisation
from otherwise.evaluation.benchmark.cases import Case
from otherwise.evaluation.benchmark.judges import judged
from otherwise.evaluation.benchmark.methods.method import Edit, EditMethod, MapMethod
from otherwise.evaluation.costs import resident_gib, timed
from otherwise.images.atomic import atomic_path

Row = dict[str, float | str | None]
"""One method on one image: ``method``, ``case`` and figures by name; None where there is none. Of what an agent made
also its version, ``agent``, and those of the judges, ``judges``."""
NO_FIGURES = ("method", "case", "target", "agent", "judges")


class BenchmarkError(OtherwiseError):
    """A comparison cannot be run."""

    code = "benchmark"


@dataclass(frozen=True, eq=False)
class Comparison:
    """What is compared on what.

    Attributes:
        classifier: The black box that is explained.
        agent: Its agent.
        verifier: Another classifier of the same classes, another architecture from another seed; None: no figure.
        maps: Methods that draw maps.
        edits: Methods that make counterfactuals.
        floor: What the agent changes without any edit: smaller changes do not count as changed.
        judges: Further verifiers, of other makes.
    """

    classifier: BlackBox
    agent: Agent
    verifier: BlackBox | None
    maps: Sequence[MapMethod]
    edits: Sequence[EditMethod]
    floor: float
    judges: Sequence[BlackBox] = ()

    @property
    def all_judges(self) -> list[BlackBox]:
        """Return the verifier, if there is one, and the judges of other makes."""
        return [*([self.verifier] if self.verifier is not None else []), *self.judges]

    @property
    def versions_of_judges(self) -> str:
        """Return the versions of all judges, to tell by whom a counterfactual was judged."""
        return " ".join(judge.version for judge in self.all_judges)


def reconstruction_floor(agent: Agent, classifier: BlackBox, cases: Sequence[Case]) -> float:
    """Return the mean absolute error of the autoencoder on the cases, which stands beside every distance."""
    return reconstruction_error(agent, classifier, np.stack([case.image for case in cases]))


def run(
    comparison: Comparison, cases: Iterable[Case], count: int, out: Path, progress: Progress = lambda stage, part: None
) -> list[Row]:
    """Measure every method on every case.

    Args:
        comparison: What is compared.
        cases: The images; an interrupted run has to be given the same again.
        count: How many there are.
        out: Folder; ``rows/`` holds what is done, one file for each case, ``edits/`` the images made, and
            ``effects/`` their measured effects. What is in it is not measured again, but for what another agent made;
            what other judges have judged is only judged again.
        progress: Called with the stage and the share done.

    Returns:
        All rows, case by case.

    Raises:
        BenchmarkError: if the folder holds results of another classifier.
    """
    rows: list[Row] = []
    refuse_others_rows(out, {"classifier": comparison.classifier.version}, "classifier")
    (out / "rows").mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(cases, start=1):
        path = out / "rows" / f"{case.id}.json"
        before = _read(path)
        known = [row for row in (_judged_anew(comparison, row, case, out) for row in _known(comparison, before)) if row]
        new = _measure(comparison, case, out, number % 2 == 1, {str(row["method"]) for row in known})
        if known + new != before:
            with atomic_path(path) as temporary:
                temporary.write_text(json.dumps(known + new), encoding="utf-8")
        rows += known + new
        progress(case.id, number / count)
    return rows


def refuse_others_rows(out: Path, own: Mapping[str, Any], models: str) -> None:
    """Keep beside the rows whose they are, in ``contest.json``, and refuse to add those of others.

    Args:
        out: Folder of the rows; it is made.
        own: Versions of the models, by what they are.
        models: What they are, in words.

    Raises:
        BenchmarkError: if the folder holds results of others.
    """
    path = out / "contest.json"
    if not path.is_file():
        out.mkdir(parents=True, exist_ok=True)
        with atomic_path(path) as temporary:
            temporary.write_text(json.dumps(own), encoding="utf-8")
        return
    found = json.loads(path.read_text(encoding="utf-8"))
    if any(found.get(key) != value for key, value in own.items()):
        raise BenchmarkError(
            f"{out.name} holds results of another {models}.", "Give --out a new folder, or the same models."
        )


def _read(path: Path) -> list[Row]:
    return json.loads(path.read_text(encoding="utf-8")) if path.is_file() else []


def _known(comparison: Comparison, rows: Sequence[Row]) -> list[Row]:
    """Return the rows of an earlier run, without those of another agent."""
    return [row for row in rows if row.get("agent", comparison.agent.version) == comparison.agent.version]


def _judged_anew(comparison: Comparison, row: Row, case: Case, out: Path) -> Row | None:
    """Return a row with the figures of these judges; None if others judged a counterfactual that is gone."""
    path = out / "edits" / str(row["method"]) / f"{case.id}.npy"
    if "validity" not in row or row.get("judges") == comparison.versions_of_judges:
        return row
    if not path.is_file():
        return None
    made = np.load(path)
    kept = {key: value for key, value in row.items() if key != "perceptual" and not key.startswith("validity_of_")}
    return kept | _judgement(comparison, case.image, made, int(float(row["target"] or 0)))


def _judgement(comparison: Comparison, image: np.ndarray, made: np.ndarray, target: int) -> Row:
    return {**judged(comparison.all_judges, image, made, target), "judges": comparison.versions_of_judges}


def _measure(comparison: Comparison, case: Case, out: Path, everything: bool, known: Collection[str]) -> list[Row]:
    """Return the rows of one case that are not known; without ``everything``, slow methods are left out."""
    maps = [m for m in comparison.maps if m.name not in known and m.suits(comparison.classifier)]
    edits = [m for m in comparison.edits if m.name not in known]
    if not everything:
        maps, edits = [m for m in maps if not m.slow], [m for m in edits if not m.slow]
    if not maps and not edits:
        return []
    asked = _Asked(comparison.classifier, case, int(comparison.classifier.predict(case.image[None])[0].argmax()))
    rows = [_map_row(asked, method) for method in maps]
    for method in edits:
        more, edit = _edit_rows(comparison, asked, method)
        rows += more
        for folder, made in (("edits", edit.image), ("effects", edit.effect)):
            if made is not None:
                with atomic_path(out / folder / method.name / f"{case.id}.npy") as draft, draft.open("wb") as stream:
                    np.save(stream, made)
    return rows


@dataclass(frozen=True, eq=False)
class _Asked:
    """A case and what the black box says of it.

    Attributes:
        label: Index of the class that it says, which is what maps are about.
    """

    classifier: BlackBox
    case: Case
    label: int

    @property
    def right(self) -> bool:
        """Return whether it is right; True if the true class is unknown."""
        return self.case.label is None or self.classifier.classes[self.label] == self.case.label

    def map_figures(self, drawn: np.ndarray) -> Row:
        """Return what a map is worth: where it points, and whether the black box confirms it."""
        image = self.case.image
        baseline = np.full_like(image, image.mean())
        return {
            **(localisation_figures(drawn, self.case) if self.right else {}),
            "insertion_auc": faithfulness.insertion_auc(self.classifier, image, drawn, self.label, baseline),
            "deletion_auc": faithfulness.deletion_auc(self.classifier, image, drawn, self.label, baseline),
        }

    def edit_figures(self, edit: Edit, floor: float) -> Row:
        """Return validity, distances, and similarity to the true counterfactual.

        The truth counts only for images about which the black box is right: a wrong answer's counterfactual goes where
        the truth is already.
        """
        case, image = self.case, self.case.image
        changed = distances.changed_fraction(image, edit.image, floor)
        row: Row = {
            "target": float(edit.target),
            "validity": float(edit.valid),
            "l1": distances.l1(image, edit.image),
            "changed_fraction": changed,
            "cout": faithfulness.cout(self.classifier, image, edit.image, self.label, edit.target),
        }
        if self.right and case.truth is not None and case.truth.any():
            row["ssim_outside"] = distances.similarity(image, edit.image, ~case.truth)
            row["changed_to_true_area"] = changed / float(case.truth.mean())
            if case.counterfactual is not None:
                true = case.counterfactual
                if (truly := distances.changed_fraction(image, true, floor)) > 0:
                    row["changed_to_true_change"] = changed / truly
                row["ssim_inside"] = distances.similarity(true, edit.image, case.truth)
                row["psnr_inside"] = distances.peak_signal_to_noise(true, edit.image, case.truth)
                row["effect_correlation"] = faithfulness.effect_correlation(
                    self.classifier, image, edit.image, true, edit.target
                )
        return row


def _map_row(asked: _Asked, method: MapMethod) -> Row:
    counted = CountingBlackBox(asked.classifier)
    drawn, seconds = timed(lambda: method.draw(counted, asked.case.image, asked.label))
    row: Row = {"method": method.name, "case": asked.case.id, "seconds": seconds, "queries": counted.queries}
    return row | asked.map_figures(drawn) | {"peak_gib": round(resident_gib(), 2)}


def _edit_rows(comparison: Comparison, asked: _Asked, method: EditMethod) -> tuple[list[Row], Edit]:
    """Return one row for the counterfactual, with the figures of its effect, and one for each further map."""
    case = asked.case
    counted = CountingBlackBox(comparison.classifier)
    edit, seconds = timed(lambda: method.make(comparison.agent, counted, case.image))
    made_by: Row = {"case": case.id, "agent": comparison.agent.version}
    seconds, queries = seconds + edit.shared_seconds, counted.queries + edit.shared_queries
    row: Row = {"method": method.name, **made_by, "seconds": seconds, "queries": queries}
    row |= asked.edit_figures(edit, comparison.floor) | _judgement(comparison, case.image, edit.image, edit.target)
    if edit.effect is not None:
        row |= asked.map_figures(edit.effect)
    more = [{"method": name, **made_by, **asked.map_figures(drawn)} for name, drawn in edit.maps.items()]
    return [row | {"peak_gib": round(resident_gib(), 2)}, *more], edit


def localisation_figures(drawn: np.ndarray, case: Case) -> Row:
    """Return how well a map points at the truth, signed and by its magnitude, and whether it points at the marker.

    Only for images about which the black box is right: what decides a wrong answer is not what should have decided.
    """
    row: Row = {}
    if case.truth is not None and case.truth.any():
        row["average_precision"] = localisation.average_precision(drawn, case.truth)
        row["average_precision_of_magnitude"] = localisation.average_precision(np.abs(drawn), case.truth)
        row["pointing_game"] = localisation.pointing_game(drawn, case.truth)
        row["energy_inside"] = localisation.energy_inside(drawn, case.truth)
    if case.lesion is not None and case.lesion.any():
        row["average_precision_lesion"] = localisation.average_precision(drawn, case.lesion)
        row["average_precision_lesion_of_magnitude"] = localisation.average_precision(np.abs(drawn), case.lesion)
    if case.marker is not None:
        row["strongest_on_marker"] = localisation.pointing_game(drawn, case.marker)
    return row


def resampled_means(values: np.ndarray, seed: int = 0, draws: int = 1000) -> np.ndarray:
    """Return means ``(draws, ...)`` of bootstrap samples of ``values (images, ...)``; whole images are drawn."""
    drawn = np.random.default_rng(seed).integers(len(values), size=(draws, len(values)))
    return np.asarray(values[drawn].mean(axis=1))


def summary(rows: Sequence[Mapping[str, float | str | None]], seed: int = 0) -> dict[str, dict[str, dict[str, float]]]:
    """Return the mean and 95 % interval (bootstrap over images) of every figure of every method.

    Returns:
        ``{method: {figure: {mean, low, high, images}}}`` in the order of the rows.
    """
    summaries: dict[str, dict[str, dict[str, float]]] = {}
    for method in dict.fromkeys(str(row["method"]) for row in rows):
        own = [row for row in rows if row["method"] == method]
        figures = dict.fromkeys(key for row in own for key in row if key not in NO_FIGURES)
        summaries[method] = {}
        for figure in figures:
            values = np.array([row[figure] for row in own if row.get(figure) is not None], dtype=np.float64)
            low, high = np.quantile(resampled_means(values, seed), [0.025, 0.975])
            summaries[method][figure] = {
                "mean": round(float(values.mean()), 5),
                "low": round(float(low), 5),
                "high": round(float(high), 5),
                "images": len(values),
            }
    return summaries
