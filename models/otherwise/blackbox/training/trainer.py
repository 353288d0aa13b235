"""Train a small network, to have something to explain: phantoms, demonstrations, a first try at new data.

What it is trained for is an ``Objective``: classes, a value, or survival.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save
from torch import nn
from torch.optim.swa_utils import AveragedModel

from otherwise.blackbox.bundle import Bundle, refuse_existing, write_bundle
from otherwise.blackbox.hosts.networks import build_network
from otherwise.blackbox.hosts.pytorch import check_device
from otherwise.blackbox.model_card import classifier_card, machine_class
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.robustness import Predict, Robustness, measure_robustness
from otherwise.blackbox.spec import classifier_metadata
from otherwise.blackbox.training.augmentation import Augmentation
from otherwise.blackbox.training.objectives import ClassObjective, Objective
from otherwise.blackbox.training.small_networks import plain_state, small_network
from otherwise.blackbox.training.starting_network import StartingNetwork
from otherwise.blackbox.value_robustness import Move, ValueRobustness, measure_value_robustness
from otherwise.errors import BundleError

WEIGHTS = "models/model.safetensors"

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each epoch with its number (from 1), the number of epochs, and the figures so far; the best one yet of
the figure that comes first is ``best_...``."""
Set = tuple[np.ndarray, np.ndarray]
"""Images ``(count, channels, *size)`` float32 in [0, 1], and their truth as the objective wants it."""


@dataclass(frozen=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images per step.
        learning_rate: Highest rate of AdamW; a cosine leads it to zero.
        weight_decay: Of AdamW.
        label_smoothing: Of classes: keeps the probabilities off 0 and 1, so that decision values spread.
        average: Decay of the running average of the weights, which is kept; 0: the weights themselves.
        coarse: Keep the first layer smooth, so that the network sees half the images' resolution.
        augmentation: Disturbances of the images, so that the classifier does not depend on grain.
        seed: Seed of weights, order and disturbances.
    """

    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.02
    average: float = 0.99
    coarse: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)
    seed: int = 0


def train_classifier(
    images: np.ndarray,
    labels: np.ndarray,
    classes: Sequence[str],
    inputs: InputSpec,
    out: str | Path,
    *,
    validation: Set,
    epochs: int = 20,
    seed: int = 0,
    recipe: Recipe | None = None,
    **more: Any,
) -> dict[str, float]:
    """Train a classifier of classes that exclude each other; see ``train_network``.

    Args:
        images: See ``Set``.
        labels: ``(count,)`` integers, index into ``classes``.
        classes: Class names.
        inputs: See ``train_network``.
        out: See ``train_network``.
        validation: Images and labels that choose the epoch.
        epochs: Passes over the images (overridden by ``recipe``).
        seed: Seed of everything random (overridden by ``recipe``).
        recipe: All settings.
        more: See ``train_network``.
    """
    recipe = recipe or Recipe(epochs=epochs, seed=seed)
    objective = ClassObjective(classes, recipe.label_smoothing)
    return train_network((images, labels), objective, inputs, out, validation=validation, recipe=recipe, **more)


def train_network(
    training: Set,
    objective: Objective,
    inputs: InputSpec,
    out: str | Path,
    *,
    validation: Set,
    recipe: Recipe,
    device: str = "cpu",
    name: str | None = None,
    network: StartingNetwork | None = None,
    progress: Progress | None = None,
    command: str = "",
    replace: bool = False,
) -> dict[str, float]:
    """Train a network and write it as a bundle, with the weights of the epoch that the objective ranks first.

    Ctrl-C keeps the best epoch so far as a complete bundle, then raises ``KeyboardInterrupt`` again.

    Args:
        training: Images and truth to learn from.
        objective: What to learn.
        inputs: Specification of the images; written into the bundle.
        out: The bundle to write.
        validation: Images and truth to choose the epoch by.
        recipe: All settings.
        device: Device of the training.
        name: Name for people; default: the bundle's folder.
        network: Network to begin with; default: ``small_network``.
        progress: Called after each epoch.
        command: Command line, for the model card.
        replace: Whether an existing bundle may be replaced.

    Returns:
        The objective's figures on the validation images, ``grain`` (share of the answers there that the worst noise of
        0.1 changes; of a value, the median distance by which it moves them), ``epoch``, ``minutes``, ``parameters``.

    Raises:
        BundleError: if the images do not fit the description, nothing can be learned from the truth, or ``out`` cannot
            be written.
    """
    started = time.monotonic()
    where, cpu = check_device(device), torch.device("cpu")
    refuse_existing(out, replace)
    for what, (images, truth) in (("training", training), ("validation", validation)):
        _check_images(what, images, truth, inputs)
        objective.check(what, truth)
    network = network or StartingNetwork(small_network(inputs, objective.outputs))
    # Networks draw initial weights and dropout from the global generator; a fork leaves the caller's unchanged.
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        torch.manual_seed(recipe.seed)
        best, weights, stopped = _learn(training, validation, objective, network, recipe, where, progress)
        chosen = build_network(network.definition)
    chosen.load_state_dict(weights)
    objective = objective.finished(chosen, lambda: _outputs(chosen, training[0], cpu))
    trained = _Trained(
        network.definition, plain_state(chosen), objective, inputs, recipe, name or Path(out).name, command
    )
    best["minutes"] = round((time.monotonic() - started) / 60, 2)
    best["parameters"] = float(sum(value.numel() for value in trained.weights.values()))

    def answers(asked: np.ndarray) -> np.ndarray:
        return objective.answers(_outputs(chosen, asked, cpu))

    robustness = _robustness(objective, answers, validation[0], recipe)
    worst = robustness.worst_grain
    best["grain"] = worst.median if isinstance(worst, Move) else worst.share
    _write(Path(out), trained, best, robustness, str(where), len(training[0]), replace)
    if stopped is not None:
        raise stopped
    return best


@dataclass(frozen=True, eq=False)
class _Trained:
    """A trained network and what is written about it."""

    definition: dict[str, Any]
    weights: dict[str, torch.Tensor]
    objective: Objective
    inputs: InputSpec
    recipe: Recipe
    name: str
    command: str


def _learn(
    training: Set,
    validation: Set,
    objective: Objective,
    network: StartingNetwork,
    recipe: Recipe,
    device: torch.device,
    progress: Progress | None,
) -> tuple[dict[str, float], dict[str, torch.Tensor], KeyboardInterrupt | None]:
    """Return the best epoch's figures and weights, and the interrupt that ended the training early, if any."""
    best: dict[str, float] = {}
    weights: dict[str, torch.Tensor] = {}
    first = objective.shown[0]
    try:
        for epoch, figures, model in _epochs(training, validation, objective, network, recipe, device):
            if not best or objective.rank(figures) >= objective.rank(best):
                best, weights = {**figures, "epoch": float(epoch)}, plain_state(model)
            if progress is not None:
                progress(epoch, recipe.epochs, {**figures, f"best_{first}": best[first]})
    except KeyboardInterrupt as interrupt:
        if not best:
            raise
        return best, weights, interrupt
    return best, weights, None


def _epochs(
    training: Set,
    validation: Set,
    objective: Objective,
    network: StartingNetwork,
    recipe: Recipe,
    device: torch.device,
) -> Iterator[tuple[int, dict[str, float], nn.Module]]:
    """Yield ``(epoch, figures, network)`` after each epoch."""
    model = network.build(recipe.coarse).to(device)
    average = AveragedModel(model, avg_fn=_average_rule(recipe.average), use_buffers=True)
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    pixels, truth = torch.from_numpy(np.asarray(training[0], np.float32)), torch.from_numpy(np.asarray(training[1]))
    steps = recipe.epochs * math.ceil(len(pixels) / recipe.batch_size)
    warmup = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        total = 0.0
        for chosen in torch.randperm(len(pixels), generator=generator).split(recipe.batch_size):
            if len(chosen) == 1 and len(pixels) > 1:
                continue  # Batch normalisation cannot learn from one image.
            batch = recipe.augmentation.apply(pixels[chosen], generator).to(device)
            loss = objective.loss(model(batch), truth[chosen].to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            total += loss.item() * len(chosen)
        outputs = _outputs(average.module, validation[0], device)
        yield epoch, {"loss": total / len(pixels), **objective.figures(outputs, validation[1])}, average.module


def _average_rule(decay: float) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor | int], torch.Tensor]:
    """Return the rule of a running average that forgets the first steps more quickly."""

    def rule(kept: torch.Tensor, new: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
        return kept + (new - kept) * (1 - min(decay, (1 + int(count)) / (10 + int(count))))

    return rule


def _outputs(model: nn.Module, images: np.ndarray, device: torch.device) -> np.ndarray:
    """Return the network's outputs ``(count, outputs)`` float64."""
    model.eval()
    with torch.inference_mode():
        batches = [
            model(torch.from_numpy(np.asarray(images[start : start + 64], np.float32)).to(device)).cpu().numpy()
            for start in range(0, len(images), 64)
        ]
    return np.concatenate(batches).astype(np.float64)


def _check_images(what: str, images: np.ndarray, truth: np.ndarray, inputs: InputSpec) -> None:
    wanted = (inputs.channels, *inputs.size)
    if images.shape[1:] != wanted or len(images) != len(truth):
        raise BundleError(
            f"The {what} images have shape {images.shape} for {len(truth)} labels.", f"Give (count, {wanted}) images."
        )


def _robustness(
    objective: Objective, answers: Predict, images: np.ndarray, recipe: Recipe
) -> Robustness | ValueRobustness:
    """Measure how robust the trained network is: by flips of its classes, or by moves of its value."""
    if objective.answer.is_value:
        return measure_value_robustness(answers, images, objective.answer, seed=recipe.seed)
    return measure_robustness(answers, images, objective.classes, seed=recipe.seed)


def _write(
    out: Path,
    trained: _Trained,
    figures: dict[str, float],
    robustness: Robustness | ValueRobustness,
    device: str,
    count: int,
    replace: bool,
) -> Bundle:
    objective, definition, inputs = trained.objective, trained.definition, trained.inputs
    metadata = classifier_metadata(
        name=trained.name,
        classes=objective.classes,
        inputs=inputs,
        weights=WEIGHTS,
        activation=objective.activation,
        answer=objective.answer,
        outputs=objective.outputs,
        description=objective.title,
        eval_metrics={key: round(figures[key], 4) for key in (*objective.shown, "grain")},
    )

    def write_weights(path: Path) -> None:
        path.write_bytes(save({key: value.contiguous() for key, value in trained.weights.items()}))

    settings = asdict(trained.recipe)
    settings |= settings.pop("augmentation")
    if objective.answer.is_value:
        settings.pop("label_smoothing")
    rows = {
        "Network": f"`{definition['_target_']}`, {figures['parameters'] / 1e6:.2f} million parameters",
        "Command": f"`{trained.command or 'otherwise.blackbox.training.trainer.train_network'}`",
        "Training": f"{count} images, " + ", ".join(f"{key} {value:g}" for key, value in settings.items()),
        "Time": f"{figures['minutes']:g} minutes on {machine_class(device)}",
        "Chosen": f"epoch {figures['epoch']:.0f}, by validation {objective.chosen_by}",
        "Validation": ", ".join(f"{key} {figures[key]:.3f}" for key in objective.shown),
        "Robustness": (
            f"median distance in {objective.answer.unit} by which {robustness.images} validation images move: "
            if isinstance(robustness, ValueRobustness)
            else f"share of {robustness.images} validation images on which the answer changes: "
        )
        + robustness.table,
    }
    notes = f"{robustness.sentence} {objective.reading}"
    card = classifier_card(trained.name, objective.classes, inputs, objective.activation, rows, notes)
    return write_bundle(out, metadata, {"network_def": definition}, write_weights, card, replace=replace)
