"""Train a small classifier, to have something to explain: phantoms, demonstrations, a first try at new data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.metrics.rocauc import compute_roc_auc
from safetensors.torch import save
from torch import nn
from torch.optim.swa_utils import AveragedModel

from otherwise.blackbox.bundle import Bundle, refuse_existing, write_bundle
from otherwise.blackbox.hosted import probabilities
from otherwise.blackbox.hosts.networks import build_network
from otherwise.blackbox.hosts.pytorch import check_device
from otherwise.blackbox.model_card import classifier_card, machine_class
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.robustness import Robustness, measure_robustness
from otherwise.blackbox.spec import classifier_metadata
from otherwise.blackbox.training.augmentation import Augmentation
from otherwise.blackbox.training.small_networks import plain_state, small_network, smooth_first_layer
from otherwise.errors import BundleError

WEIGHTS = "models/model.safetensors"

Progress = Callable[[int, int, dict[str, float]], None]
"""Called after each epoch with its number (from 1), the number of epochs, and the figures so far."""


@dataclass(frozen=True)
class Recipe:
    """How a classifier is trained.

    Attributes:
        epochs: Passes over the training images.
        batch_size: Images per step.
        learning_rate: Highest rate of AdamW; a cosine leads it to zero.
        weight_decay: Of AdamW.
        label_smoothing: Keeps the probabilities off 0 and 1, so that decision values spread.
        average: Decay of the running average of the weights, which is what is kept; 0: the weights themselves.
        coarse: The first layer is kept smooth, so that the network looks at half the images' resolution.
        augmentation: How the images are disturbed, so that the classifier does not go by grain.
        seed: Decides weights, order and disturbances.
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
    validation: tuple[np.ndarray, np.ndarray],
    epochs: int = 20,
    seed: int = 0,
    device: str = "cpu",
    name: str | None = None,
    recipe: Recipe | None = None,
    network: dict[str, Any] | None = None,
    progress: Progress | None = None,
    command: str = "",
    replace: bool = False,
) -> dict[str, float]:
    """Train a classifier and write it as a bundle, with the weights of the epoch of best validation AUC (then Brier).

    Ctrl-C keeps the best epoch so far as a complete bundle, then raises ``KeyboardInterrupt`` again.

    Args:
        images: ``(count, channels, *size)`` float32 in [0, 1].
        labels: ``(count,)`` integers, index into ``classes``.
        classes: Class names.
        inputs: What the images are; goes into the bundle.
        out: The bundle to write.
        validation: Images and labels to choose the epoch by.
        epochs: Passes over the images (overridden by ``recipe``).
        seed: Decides everything random (overridden by ``recipe``).
        device: Where to train.
        name: Name for people; default: the bundle's folder.
        recipe: All of the settings.
        network: ``network_def`` of another network; default: ``small_network``.
        progress: Called after each epoch.
        command: What was typed, for the model card.
        replace: Whether an existing bundle may be replaced.

    Returns:
        ``auc``, ``accuracy`` and ``brier`` on the validation images, ``grain`` (share of the answers there that the
        worst noise of 0.1 changes), ``epoch``, ``minutes``, ``parameters``.

    Raises:
        BundleError: if the images do not fit the description, a class is absent, or ``out`` cannot be written.
    """
    started = time.monotonic()
    where = check_device(device)
    refuse_existing(out, replace)
    for what, pair in (("training", (images, labels)), ("validation", validation)):
        _check_data(what, *pair, classes, inputs)
    recipe = recipe or Recipe(epochs=epochs, seed=seed)
    definition = network or small_network(inputs, len(classes))
    # Networks draw first weights and dropout from the global generator: fork it, so that the caller's stays as it was.
    with torch.random.fork_rng(devices=[where] if where.type == "cuda" else []):
        torch.manual_seed(recipe.seed)
        best, weights, stopped = _learn(images, labels, validation, definition, recipe, where, progress)
        chosen = build_network(definition)
    chosen.load_state_dict(weights)
    best["minutes"] = round((time.monotonic() - started) / 60, 2)
    best["parameters"] = float(sum(value.numel() for value in weights.values()))
    robustness = measure_robustness(
        lambda asked: _answers(chosen, asked, torch.device("cpu")), validation[0], classes, seed=recipe.seed
    )
    best["grain"] = robustness.worst_grain.share
    _write(
        Path(out),
        definition,
        weights,
        classes,
        inputs,
        recipe,
        best,
        robustness,
        name,
        command,
        str(where),
        len(images),
        replace,
    )
    if stopped is not None:
        raise stopped
    return best


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


def _rank(figures: dict[str, float]) -> tuple[float, float]:
    """Order of epochs: by AUC; where that is a tie, by how true the probabilities are.

    The area ignores where the boundary lies, but a counterfactual is about crossing it.
    """
    return (round(figures["auc"], 2), -figures["brier"])


def _learn(
    images: np.ndarray,
    labels: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray],
    definition: dict[str, Any],
    recipe: Recipe,
    device: torch.device,
    progress: Progress | None,
) -> tuple[dict[str, float], dict[str, torch.Tensor], KeyboardInterrupt | None]:
    """Return the best epoch's figures and weights, and the interrupt that ended the training early, if any."""
    best: dict[str, float] = {}
    weights: dict[str, torch.Tensor] = {}
    try:
        for epoch, figures, model in _epochs(images, labels, validation, definition, recipe, device):
            if not best or _rank(figures) >= _rank(best):
                best, weights = {**figures, "epoch": float(epoch)}, plain_state(model)
            if progress is not None:
                progress(epoch, recipe.epochs, {**figures, "best_auc": best["auc"]})
    except KeyboardInterrupt as interrupt:
        if not best:
            raise
        return best, weights, interrupt
    return best, weights, None


def _epochs(
    images: np.ndarray,
    labels: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray],
    definition: dict[str, Any],
    recipe: Recipe,
    device: torch.device,
) -> Any:
    """Yield ``(epoch, figures, network)`` after each epoch."""
    model = build_network(definition).to(device)
    if recipe.coarse:
        smooth_first_layer(model)
    average = AveragedModel(model, avg_fn=_running(recipe.average), use_buffers=True)
    generator = torch.Generator().manual_seed(recipe.seed)
    optimizer = torch.optim.AdamW(model.parameters(), recipe.learning_rate, weight_decay=recipe.weight_decay)
    steps = recipe.epochs * math.ceil(len(images) / recipe.batch_size)
    warmup = max(1, steps // 20)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / warmup, 0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    criterion = nn.CrossEntropyLoss(label_smoothing=recipe.label_smoothing)
    pixels, truth = torch.from_numpy(np.asarray(images, np.float32)), torch.from_numpy(np.asarray(labels, np.int64))
    for epoch in range(1, recipe.epochs + 1):
        model.train()
        total = 0.0
        for chosen in torch.randperm(len(pixels), generator=generator).split(recipe.batch_size):
            if len(chosen) == 1 and len(pixels) > 1:
                continue  # Batch normalisation cannot learn from one image.
            batch = recipe.augmentation.apply(pixels[chosen], generator).to(device)
            loss = criterion(model(batch), truth[chosen].to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            average.update_parameters(model)
            total += loss.item() * len(chosen)
        figures = validation_figures(_answers(average.module, validation[0], device), np.asarray(validation[1]))
        yield epoch, {"loss": total / len(pixels), **figures}, average.module


def _running(decay: float) -> Callable[[torch.Tensor, torch.Tensor, torch.Tensor | int], torch.Tensor]:
    """Return the rule of a running average that forgets the first steps more quickly."""

    def rule(kept: torch.Tensor, new: torch.Tensor, count: torch.Tensor | int) -> torch.Tensor:
        return kept + (new - kept) * (1 - min(decay, (1 + int(count)) / (10 + int(count))))

    return rule


def _answers(model: nn.Module, images: np.ndarray, device: torch.device) -> np.ndarray:
    model.eval()
    with torch.inference_mode():
        batches = [
            model(torch.from_numpy(np.asarray(images[start : start + 64], np.float32)).to(device)).cpu().numpy()
            for start in range(0, len(images), 64)
        ]
    scores = np.concatenate(batches).astype(np.float64)
    return probabilities(scores, "softmax", scores.shape[1])


def _check_data(what: str, images: np.ndarray, labels: np.ndarray, classes: Sequence[str], inputs: InputSpec) -> None:
    wanted = (inputs.channels, *inputs.size)
    if images.shape[1:] != wanted or len(images) != len(labels):
        raise BundleError(
            f"The {what} images have shape {images.shape} for {len(labels)} labels.", f"Give (count, {wanted}) images."
        )
    absent = [str(label) for index, label in enumerate(classes) if not (np.asarray(labels) == index).any()]
    if absent or len(classes) < 2:
        raise BundleError(f"The {what} images hold none of class {', '.join(absent)}.", "Give images of each class.")


def _write(
    out: Path,
    definition: dict[str, Any],
    weights: dict[str, torch.Tensor],
    classes: Sequence[str],
    inputs: InputSpec,
    recipe: Recipe,
    figures: dict[str, float],
    robustness: Robustness,
    name: str | None,
    command: str,
    device: str,
    count: int,
    replace: bool,
) -> Bundle:
    name = name or out.name
    metadata = classifier_metadata(
        name=name,
        classes=classes,
        inputs=inputs,
        weights=WEIGHTS,
        description=f"A small network that tells {' from '.join(classes)}.",
        eval_metrics={key: round(figures[key], 4) for key in ("auc", "accuracy", "brier", "grain")},
    )

    def write_weights(path: Path) -> None:
        path.write_bytes(save({key: value.contiguous() for key, value in weights.items()}))

    settings = asdict(recipe)
    settings |= settings.pop("augmentation")
    rows = {
        "Network": f"`{definition['_target_']}`, {figures['parameters'] / 1e6:.2f} million parameters",
        "Command": f"`{command or 'otherwise.blackbox.training.trainer.train_classifier'}`",
        "Training": f"{count} images, " + ", ".join(f"{key} {value:g}" for key, value in settings.items()),
        "Time": f"{figures['minutes']:g} minutes on {machine_class(device)}",
        "Chosen": f"epoch {figures['epoch']:.0f}, by validation AUC, then Brier score",
        "Validation": ", ".join(f"{key} {figures[key]:.3f}" for key in ("auc", "accuracy", "brier")),
        "Robustness": f"share of {robustness.images} validation images on which the answer changes: {robustness.table}",
    }
    notes = f"{robustness.sentence} The probabilities are those of the training images' class balance."
    card = classifier_card(name, classes, inputs, "softmax", rows, notes)
    return write_bundle(out, metadata, {"network_def": definition}, write_weights, card, replace=replace)
