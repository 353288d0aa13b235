"""Train a small classifier, to have something to explain: phantoms, demonstrations, a first try at new data."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.metrics.rocauc import compute_roc_auc
from safetensors.torch import save
from torch import nn
from torch.nn import functional

from otherwise.blackbox.bundle import Bundle, refuse_existing, write_bundle
from otherwise.blackbox.hosted import probabilities
from otherwise.blackbox.model_card import classifier_card, machine_class
from otherwise.blackbox.networks import build_network
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.spec import classifier_metadata
from otherwise.blackbox.torch_host import check_device
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
        shift: Images are moved at random along each axis, by up to this share of its edge. Without it a small network
            may change its mind when an image moves by a pixel.
        seed: Decides weights, order, flips and shifts.
    """

    epochs: int = 20
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    label_smoothing: float = 0.02
    shift: float = 0.0
    seed: int = 0


def small_network(inputs: InputSpec, classes: int) -> dict[str, Any]:
    """Configuration of a residual network of 0.3 (2-D) or 0.9 (3-D) million parameters, quick on a CPU.

    Group normalisation in front makes it indifferent to an image's overall brightness, and keeps its answers moderate
    for images unlike any it was taught.
    """
    return {
        "_target_": "monai.networks.nets.ResNet",
        "block": "basic",
        "layers": [1, 1, 1, 1],
        "block_inplanes": [16, 32, 64, 128],
        "spatial_dims": inputs.spatial_dims,
        "n_input_channels": inputs.channels,
        "num_classes": classes,
        "conv1_t_size": 3,
        "conv1_t_stride": 2,
        "no_max_pool": True,
        "norm": ["group", {"num_groups": 8}],
    }


def dense_network(inputs: InputSpec, classes: int) -> dict[str, Any]:
    """Configuration of a densely connected network of another build, to verify what was found with the small one."""
    return {
        "_target_": "monai.networks.nets.DenseNet",
        "spatial_dims": inputs.spatial_dims,
        "in_channels": inputs.channels,
        "out_channels": classes,
        "init_features": 32,
        "growth_rate": 16,
        "block_config": [4, 4, 4],
        "norm": "batch",
    }


NETWORKS = {"small": small_network, "dense": dense_network}
"""Networks by the name that people type."""


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
        ``auc``, ``accuracy`` and ``brier`` on the validation images, ``epoch``, ``minutes``, ``parameters``.

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
    best: dict[str, float] = {}
    weights: dict[str, torch.Tensor] = {}
    stopped: KeyboardInterrupt | None = None
    try:
        for epoch, figures, model in _epochs(images, labels, validation, definition, recipe, where):
            if not best or _rank(figures) >= _rank(best):
                best = {**figures, "epoch": float(epoch)}
                weights = {key: value.detach().cpu().clone() for key, value in model.state_dict().items()}
            if progress is not None:
                progress(epoch, recipe.epochs, {**figures, "best_auc": best["auc"]})
    except KeyboardInterrupt as interrupt:
        if not best:
            raise
        stopped = interrupt
    best["minutes"] = round((time.monotonic() - started) / 60, 2)
    best["parameters"] = float(sum(value.numel() for value in weights.values()))
    _write(
        Path(out), definition, weights, classes, inputs, recipe, best, name, command, str(where), len(images), replace
    )
    if stopped is not None:
        raise stopped
    return best


def validation_figures(answers: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """How well probabilities fit labels.

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


def _epochs(
    images: np.ndarray,
    labels: np.ndarray,
    validation: tuple[np.ndarray, np.ndarray],
    definition: dict[str, Any],
    recipe: Recipe,
    device: torch.device,
) -> Any:
    """Yield ``(epoch, figures, network)`` after each epoch."""
    # Networks draw their first weights from the global generator: fork it, so that the caller's stays as it was.
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        torch.manual_seed(recipe.seed)
        model = build_network(definition).to(device)
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
            batch = _shift(_flip(pixels[chosen], generator), recipe.shift, generator).to(device)
            loss = criterion(model(batch), truth[chosen].to(device))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item() * len(chosen)
        figures = validation_figures(_answers(model, validation[0], device), np.asarray(validation[1]))
        yield epoch, {"loss": total / len(pixels), **figures}, model


def _flip(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Mirror each image of ``(batch, channels, *size)`` along each axis with probability one half."""
    for axis in range(1, batch.ndim - 1):
        chosen = torch.rand(len(batch), generator=generator) < 0.5
        batch = torch.where(chosen.view(-1, *[1] * (batch.ndim - 1)), batch.flip(axis + 1), batch)
    return batch


def _shift(batch: torch.Tensor, share: float, generator: torch.Generator) -> torch.Tensor:
    """Move each image of ``(batch, channels, *size)`` by whole voxels; what comes in repeats the border."""
    size = batch.shape[2:]
    reach = [int(share * edge) for edge in size]
    if not any(reach):
        return batch
    wider = functional.pad(batch, [edge for edge in reversed(reach) for _ in range(2)], mode="replicate")
    starts = torch.stack([torch.randint(2 * edge + 1, (len(batch),), generator=generator) for edge in reach], dim=1)
    windows = [[slice(int(a), int(a) + edge) for a, edge in zip(start, size, strict=True)] for start in starts]
    return torch.stack([image[(slice(None), *window)] for image, window in zip(wider, windows, strict=True)])


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
        description=f"A small residual network that tells {' from '.join(classes)}.",
        eval_metrics={key: round(figures[key], 4) for key in ("auc", "accuracy", "brier")},
    )

    def write_weights(path: Path) -> None:
        path.write_bytes(save({key: value.contiguous() for key, value in weights.items()}))

    rows = {
        "Network": f"`{definition['_target_']}`, {figures['parameters'] / 1e6:.2f} million parameters",
        "Command": f"`{command or 'otherwise.blackbox.training.train_classifier'}`",
        "Training": f"{count} images, " + ", ".join(f"{key} {value:g}" for key, value in asdict(recipe).items()),
        "Time": f"{figures['minutes']:g} minutes on {machine_class(device)}",
        "Chosen": f"epoch {figures['epoch']:.0f}, by validation AUC, then Brier score",
        "Validation": ", ".join(f"{key} {figures[key]:.3f}" for key in ("auc", "accuracy", "brier")),
    }
    notes = "The probabilities are those of the training images' class balance."
    card = classifier_card(name, classes, inputs, "softmax", rows, notes)
    return write_bundle(out, metadata, {"network_def": definition}, write_weights, card, replace=replace)
