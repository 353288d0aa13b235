"""What a network is trained for: classes, a value, or survival. Loss, figures, and which epoch is best."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np
import torch
from monai.metrics.rocauc import compute_roc_auc
from torch import Tensor, nn
from torch.nn import functional

from otherwise.blackbox.hosted import probabilities
from otherwise.blackbox.output_kind import NO_VALUE, OutputKind, describe_kind
from otherwise.blackbox.training.concordance import concordance_index
from otherwise.errors import BundleError


class Objective(Protocol):
    """What a network is trained for."""

    @property
    def outputs(self) -> int:
        """Return the number of the network's outputs."""
        ...

    @property
    def answer(self) -> OutputKind:
        """Return the kind of output, for the bundle."""
        ...

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of the classes as which the trained model answers."""
        ...

    @property
    def activation(self) -> str:
        """Return how its outputs become probabilities; see ``outputs.ACTIVATIONS``."""
        ...

    @property
    def shown(self) -> tuple[str, ...]:
        """Return the figures for the model card and the command line, the one that ranks epochs first."""
        ...

    @property
    def chosen_by(self) -> str:
        """Return how the epoch is chosen, for the model card."""
        ...

    @property
    def title(self) -> str:
        """Return what the model does, in one sentence."""
        ...

    @property
    def reading(self) -> str:
        """Return how the answers are read, in one sentence."""
        ...

    def check(self, what: str, truth: np.ndarray) -> None:
        """Refuse truth that nothing can be learned from.

        Raises:
            BundleError: naming what is missing in the ``what`` images.
        """
        ...

    def loss(self, outputs: Tensor, truth: Tensor) -> Tensor:
        """Return the loss of a batch of outputs ``(batch, outputs)``."""
        ...

    def figures(self, outputs: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        """Measure how well outputs ``(count, outputs)`` fit the truth."""
        ...

    def rank(self, figures: dict[str, float]) -> tuple[float, float]:
        """Return the order of epochs; the largest is the best."""
        ...

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        """Return ``(count, classes)`` probabilities, as the hosted model will."""
        ...

    def finished(self, network: nn.Module, outputs: Callable[[], np.ndarray]) -> Objective:
        """Fit the outputs of a trained network to the bundle's declaration, and return that declaration.

        Args:
            network: Its last layer may be changed.
            outputs: Asks it for its outputs to the training images.
        """
        ...


def validation_figures(answers: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Measure how well probabilities fit labels.

    Args:
        answers: ``(count, classes)`` probabilities.
        labels: ``(count,)`` integers.

    Returns:
        ``auc`` (area under the ROC curve; mean of one-against-rest for more than two classes), ``accuracy``, and
        ``brier`` (mean squared distance of probabilities from the truth, 0 to 2).
    """
    truth = np.eye(answers.shape[1])[labels]
    auc = compute_roc_auc(torch.from_numpy(answers), torch.from_numpy(truth), average="macro")
    return {
        "auc": float(np.mean(np.asarray(auc))),
        "accuracy": float((answers.argmax(axis=1) == labels).mean()),
        "brier": float(((answers - truth) ** 2).sum(axis=1).mean()),
    }


class ClassObjective:
    """Classes that exclude each other; the truth is ``(count,)`` integers.

    Args:
        classes: Class names.
        smoothing: Label smoothing; keeps probabilities off 0 and 1.
    """

    answer = NO_VALUE
    activation = "softmax"
    shown = ("auc", "accuracy", "brier")
    chosen_by = "AUC, then Brier score"
    reading = "The probabilities are those of the training images' class balance."

    def __init__(self, classes: Sequence[str], smoothing: float = 0.0) -> None:
        self.classes, self.outputs, self.smoothing = tuple(classes), len(classes), smoothing
        self.title = f"A small network that tells {' from '.join(classes)}."

    def check(self, what: str, truth: np.ndarray) -> None:
        """Refuse a set in which a class is absent."""
        absent = [str(label) for index, label in enumerate(self.classes) if not (np.asarray(truth) == index).any()]
        if absent or len(self.classes) < 2:
            raise BundleError(
                f"The {what} images hold none of class {', '.join(absent)}.", "Give images of each class."
            )

    def loss(self, outputs: Tensor, truth: Tensor) -> Tensor:
        """Return the cross entropy."""
        return functional.cross_entropy(outputs, truth, label_smoothing=self.smoothing)

    def figures(self, outputs: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        """Return ``auc``, ``accuracy`` and ``brier``; see ``validation_figures``."""
        return validation_figures(self.answers(outputs), truth)

    def rank(self, figures: dict[str, float]) -> tuple[float, float]:
        """Return the area; where that is a tie, how true the probabilities are.

        The area ignores where the boundary lies, but a counterfactual is about crossing it.
        """
        return (round(figures["auc"], 2), -figures["brier"])

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        """Return the softmax."""
        return probabilities(outputs, self.activation, self.outputs)

    def finished(self, network: nn.Module, outputs: Callable[[], np.ndarray]) -> ClassObjective:
        """Leave everything as it is."""
        return self


class _NumberObjective:
    """What a value and survival have in common."""

    activation = "none"
    answer: OutputKind

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the two sides of the reference."""
        return self.answer.classes

    @property
    def title(self) -> str:
        """Return the output of the network in words."""
        return f"A small network that says the {self.answer.name} in {self.answer.unit}."

    @property
    def reading(self) -> str:
        """Return how its answers are read."""
        return f"It says {describe_kind(self.answer)}."

    def answers(self, outputs: np.ndarray) -> np.ndarray:
        """Return the answer as two classes."""
        return self.answer.answer(self.answer.values(outputs))


class ValueObjective(_NumberObjective):
    """A value; the truth is ``(count,)`` numbers in the unit of ``answer``.

    While it learns, the network says the standardised value, ``(value - reference) / spread``; ``finished`` writes the
    unit into its last layer.

    Args:
        answer: The kind, with reference and spread of the training images.
    """

    outputs = 1
    shown = ("mae", "correlation")
    chosen_by = "mean absolute error"

    def __init__(self, answer: OutputKind) -> None:
        self.answer = answer

    def check(self, what: str, truth: np.ndarray) -> None:
        """Refuse values that are all the same."""
        if len(truth) < 2 or np.ptp(truth) == 0:
            raise BundleError(f"The {what} images all have the same {self.answer.name}.", "Give images of several.")

    def loss(self, outputs: Tensor, truth: Tensor) -> Tensor:
        """Return Huber's loss of the standardised value, so that outliers count less than by their square."""
        return functional.huber_loss(outputs[:, 0], ((truth - self.answer.reference) / self.answer.spread).float())

    def figures(self, outputs: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        """Return ``mae`` in the unit and the ``correlation`` (Pearson) of outputs of a network that is not finished."""
        values = self.answer.reference + self.answer.spread * outputs[:, 0]
        return {"mae": float(np.abs(values - truth).mean()), "correlation": _correlation(values, truth)}

    def rank(self, figures: dict[str, float]) -> tuple[float, float]:
        """Return the negative mean absolute error."""
        return (-figures["mae"], figures["correlation"])

    def finished(self, network: nn.Module, outputs: Callable[[], np.ndarray]) -> ValueObjective:
        """Write reference and spread into the last layer."""
        last = [module for module in network.modules() if isinstance(module, nn.Linear)][-1]
        with torch.no_grad():
            last.weight.mul_(self.answer.spread)
            last.bias.mul_(self.answer.spread).add_(self.answer.reference)
        return self


class SurvivalObjective(_NumberObjective):
    """Survival by discrete hazards; the truth is ``(count, 2)``: time, and whether the event was observed.

    The network returns the logit of the hazard of each interval; the loss is the negative log-likelihood of
    nnet-survival (Gensheimer & Narasimhan, PeerJ 7:e6257, 2019; arXiv 1805.00917, equations 3 to 5).

    Args:
        answer: The kind, read from ``hazard-logits``.
    """

    shown = ("c_index", "likelihood")
    chosen_by = "concordance index, then likelihood"

    def __init__(self, answer: OutputKind) -> None:
        self.answer, self.outputs = answer, len(answer.times) - 1
        self.starts, self.ends = torch.tensor(answer.times[:-1]), torch.tensor(answer.times[1:])

    def check(self, what: str, truth: np.ndarray) -> None:
        """Refuse a set without events or with times that are none."""
        times, events = truth[:, 0], truth[:, 1]
        if not (times > 0).all() or not np.isin(events, (0, 1)).all():
            raise BundleError(
                f"The {what} images have times or events that are none.", "Give times > 0, events 0 or 1."
            )
        within = int(((events == 1) & (times <= self.answer.times[-1])).sum())
        if within < 2:
            raise BundleError(
                f"The {what} images have {within} events up to {self.answer.times[-1]:g} {self.answer.time_unit}.",
                "Give images of patients with the event, or other --times.",
            )

    def loss(self, outputs: Tensor, truth: Tensor) -> Tensor:
        """Return the negative log-likelihood, per patient.

        An interval counts as survived if the event came after it, or if follow-up lasted to the middle of it at least.
        """
        survived, failed = self._targets(truth.float())
        return -(survived * functional.logsigmoid(-outputs) + failed * functional.logsigmoid(outputs)).sum(1).mean()

    def figures(self, outputs: np.ndarray, truth: np.ndarray) -> dict[str, float]:
        """Return ``c_index`` of the risk at the horizon, and the log ``likelihood`` per patient."""
        risks = self.answer.values(outputs)
        likelihood = -float(self.loss(torch.from_numpy(outputs).float(), torch.from_numpy(truth)))
        return {"c_index": concordance_index(risks, truth[:, 0], truth[:, 1] > 0), "likelihood": likelihood}

    def rank(self, figures: dict[str, float]) -> tuple[float, float]:
        """Return the concordance index; where that is a tie, the likelihood."""
        return (round(figures["c_index"], 2), figures["likelihood"])

    def finished(self, network: nn.Module, outputs: Callable[[], np.ndarray]) -> SurvivalObjective:
        """Take median and deviation of the risks of the training images as reference and spread."""
        risks = self.answer.values(outputs())
        spread = float(risks.std()) or 1.0
        return SurvivalObjective(dataclasses.replace(self.answer, reference=float(np.median(risks)), spread=spread))

    def _targets(self, truth: Tensor) -> tuple[Tensor, Tensor]:
        """Return which intervals were survived and in which the event was, each ``(batch, intervals)``."""
        times, events = truth[:, :1], truth[:, 1:] > 0
        middle = (self.starts + self.ends) / 2
        survived = torch.where(events, times > self.ends, times >= middle)
        failed = events & (times > self.starts) & (times <= self.ends)
        return survived.float(), failed.float()


def fitted_to(answer: dict[str, Any], values: np.ndarray) -> OutputKind:
    """Return a kind of output with the median of training values as its reference, their deviation as its spread.

    Where the median is an end of the range, as of a score that is mostly 0, the mean takes its place.

    Args:
        answer: Fields of ``OutputKind``; what is given stays.
        values: ``(count,)`` in its unit.
    """
    low, high = float(values.min()), float(values.max())
    margin = 0.1 * (high - low)
    usual = {
        "reference": float(np.median(values)),
        "spread": float(values.std()) or 1.0,
        "range": (low - margin, high + margin),
    }
    fields = {**usual, **answer}
    if "reference" not in answer and fields["reference"] in fields["range"]:
        fields["reference"] = float(values.mean())
    return OutputKind(**fields)


def _correlation(a: np.ndarray, b: np.ndarray) -> float:
    return float(np.corrcoef(a, b)[0, 1]) if np.ptp(a) > 0 and np.ptp(b) > 0 else 0.0
