"""Figures of whole sets of counterfactuals: how far they are from real images, and whether texture tells them apart."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from otherwise.agent.conditioning import Conditioning, clipped_log_odds
from otherwise.agent.editing.rendering import as_images
from otherwise.agent.flow import draw, invert, noised, render
from otherwise.blackbox.decision import DecisionRule
from otherwise.evaluation.benchmark.cases import Case
from otherwise.evaluation.benchmark.distances import frechet_distance, kernel_distance
from otherwise.evaluation.benchmark.features import penultimate
from otherwise.evaluation.benchmark.methods.method import EditMethod
from otherwise.evaluation.benchmark.realism import ToldApart, texture_features, told_apart
from otherwise.evaluation.benchmark.run import Comparison, Row

LEAST_IMAGES = 10
"""Fewer than this of a class make no set to compare with."""
REDRAW_START = 0.75
"""Time of the flow from which images are drawn anew, in the class that they are."""
REDRAW_STEPS = 6
SEED = 0

Figures = dict[str, dict[str, float]]
"""``{figure: {mean, low, high}}``"""


@dataclass(frozen=True, eq=False)
class MadeSets:
    """The counterfactuals that each method made of the cases.

    Attributes:
        comparison: What was compared.
        rows: See ``run``.
        cases: The images.
        out: Folder of the run, which holds the images made.
    """

    comparison: Comparison
    rows: Sequence[Row]
    cases: Sequence[Case]
    out: Path

    def of(self, method: EditMethod) -> tuple[np.ndarray, np.ndarray, list[Case]]:
        """Return images ``(n, channels, *size)``, their targets ``(n,)`` and the cases that they were made of."""
        own = {str(row["case"]): row for row in self.rows if row["method"] == method.name}
        cases = [case for case in self.cases if case.id in own]
        made = np.stack([np.load(self.out / "edits" / method.name / f"{case.id}.npy") for case in cases])
        return made, np.array([own[case.id]["target"] for case in cases], dtype=int), cases


def set_distances(sets: MadeSets, reference: np.ndarray) -> dict[str, Figures]:
    """Return the distance of each method's counterfactuals from real images of their target class.

    Args:
        sets: The counterfactuals.
        reference: ``(n, channels, *size)`` other unseen images.

    Returns:
        ``{method: {"fid": ..., "kid": ...}}``: means over the classes that have enough images; nothing without a
        verifier that can be looked into.
    """
    comparison = sets.comparison
    module = getattr(comparison.verifier, "module", None)
    if module is None:
        return {}
    rule, answers = DecisionRule.of(comparison.classifier), comparison.classifier.predict(reference)
    real = penultimate(module, reference)
    measured: dict[str, Figures] = {}
    for method in comparison.edits:
        made, targets, _ = sets.of(method)
        features, fid, kid = penultimate(module, made), [], []
        for target in np.unique(targets):
            theirs, ours = real[rule.predicts(answers, int(target))], features[targets == target]
            if min(len(ours), len(theirs)) >= LEAST_IMAGES:
                fid.append(frechet_distance(ours, theirs))
                kid.append(kernel_distance(ours, theirs))
        if fid:
            measured[method.name] = {"fid": _over_classes(fid), "kid": _over_classes(kid)}
    return measured


def realism_of(sets: MadeSets) -> dict[str, Figures]:
    """Measure how well texture tells each method's counterfactuals from the images they were made of.

    Returns:
        ``{method: {"told_apart": ..., "told_apart_<class>": ...}}``: of all images, and of those made for a class from
        the images that are called so. Nothing where there are too few patients.
    """
    comparison, cases = sets.comparison, sets.cases
    originals = _features([case.image for case in cases])
    rule = DecisionRule.of(comparison.classifier)
    answers = comparison.classifier.predict(np.stack([case.image for case in cases]))
    patients = [case.patient or case.id for case in cases]
    measured: dict[str, Figures] = {}
    for method in comparison.edits:
        made, targets, of = sets.of(method)
        features, own = _features(list(made)), [case.patient or case.id for case in of]
        pairs = {"told_apart": (originals, features, patients, own)}
        for target in np.unique(targets):
            called = rule.predicts(answers, int(target))
            chosen = targets == target
            if min(called.sum(), chosen.sum()) >= LEAST_IMAGES:
                pairs[f"told_apart_{comparison.classifier.classes[target]}"] = (
                    originals[called],
                    features[chosen],
                    [name for name, one in zip(patients, called, strict=True) if one],
                    [name for name, one in zip(own, chosen, strict=True) if one],
                )
        found = {name: told_apart(*pair, seed=SEED) for name, pair in pairs.items()}
        figures = {name: each.to_dict() for name, each in found.items() if each is not None}
        if figures:
            measured[method.name] = figures
    return measured


def realism_controls(comparison: Comparison, cases: Sequence[Case]) -> dict[str, ToldApart]:
    """Measure the realism of sets whose realism is known.

    Returns:
        By name: two halves of the real images by patient; their reconstructions by the autoencoder; what the decoder
        draws in the class that each image is; and real images of the two classes. Nothing where there are too few
        patients.
    """
    images = np.stack([case.image for case in cases])
    patients = np.array([case.patient or case.id for case in cases])
    real = _features(list(images))
    first = np.isin(patients, np.unique(patients)[::2])
    answers = comparison.classifier.predict(images)
    called = DecisionRule.of(comparison.classifier).predicts(answers, 0)
    pairs = {
        "two halves of real images": (real[first], real[~first], patients[first], patients[~first]),
        "reconstructions": (real, _features(_drawn(comparison, images, answers, False)), patients, patients),
        "own class drawn anew": (real, _features(_drawn(comparison, images, answers, True)), patients, patients),
        "real images of two classes": (real[called], real[~called], patients[called], patients[~called]),
    }
    enough = {name: pair for name, pair in pairs.items() if min(len(pair[0]), len(pair[1])) >= LEAST_IMAGES}
    found = {
        name: told_apart(ours, theirs, list(own), list(their), seed=SEED)
        for name, (ours, theirs, own, their) in enough.items()
    }
    return {name: each for name, each in found.items() if each is not None}


def controls_sentence(controls: Mapping[str, ToldApart]) -> str:
    """Return the controls in words, to be read beside the column of realism."""
    each = ", ".join(
        f"{name} {found.auc:.2f} ({found.low:.2f} to {found.high:.2f})" for name, found in controls.items()
    )
    return f"Told apart by texture (0.5: not at all): {each}."


def _drawn(comparison: Comparison, images: np.ndarray, answers: np.ndarray, anew: bool) -> list[np.ndarray]:
    """Return reconstructions; with ``anew``, images drawn from almost pure noise, without the originals' latents."""
    agent, drawn = comparison.agent, []
    generator = torch.Generator().manual_seed(SEED)
    with torch.inference_mode():
        for image, answer in zip(images, answers, strict=True):
            pixels = 2 * torch.from_numpy(image)[None].to(agent.device) - 1
            evidence = clipped_log_odds(torch.from_numpy(np.asarray(answer, np.float32))[None].to(pixels))
            condition = Conditioning.of(agent.model.encode((pixels + 1) / 2), evidence)
            condition = condition.withheld() if anew else condition

            def velocity(x: torch.Tensor, time: torch.Tensor, given: Conditioning = condition) -> torch.Tensor:
                return agent.model.velocity(x, time, given)

            if anew:
                noise = torch.randn(pixels.shape, generator=generator).to(pixels)
                start = noised(pixels, noise, torch.full((1,), REDRAW_START).to(pixels))
                made = draw(velocity, start, REDRAW_START, REDRAW_STEPS)
            else:
                start = invert(velocity, pixels, REDRAW_START, REDRAW_STEPS)
                made = render(velocity, start, REDRAW_START, REDRAW_STEPS)
            drawn.append(as_images(made)[0])
    return drawn


def _features(images: Sequence[np.ndarray]) -> np.ndarray:
    return np.stack([texture_features(image) for image in images])


def _over_classes(values: Sequence[float]) -> dict[str, float]:
    return {
        "mean": round(float(np.mean(values)), 4),
        "low": round(min(values), 4),
        "high": round(max(values), 4),
    }
