"""A trained agent: load it from its bundle, write it as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import safetensors.torch
import torch

from otherwise.agent.calibration import UNCALIBRATED, Calibration
from otherwise.agent.guidance_style import EVERYWHERE, SMOOTH, STRONGEST_VOXELS, GuidanceStyle
from otherwise.agent.networks import Architecture, DiffusionAutoencoder
from otherwise.agent.precision import Precision, compute_in_bf16
from otherwise.blackbox.bundle import Bundle, bundle_version, common_metadata, read_bundle, write_bundle
from otherwise.blackbox.hosts.networks import read_weights
from otherwise.blackbox.hosts.pytorch import check_device
from otherwise.blackbox.loading import find_bundle
from otherwise.blackbox.protocol import BlackBox
from otherwise.errors import BundleError

WEIGHTS = "models/model.safetensors"


@dataclass(frozen=True)
class Agent:
    """A trained agent, ready to search.

    Attributes:
        model: The networks, in evaluation mode on ``device``.
        name: Name for people.
        version: Content version of its bundle.
        classifier_version: Version of the black box that taught it.
        device: Where it computes.
        student_noise: How far the student has learned in noise, see ``TrainingSettings``.
        guidance_override: How the student's gradient is followed; None: as usual for its kind of training.
        calibration: What was measured of it, see ``Calibration``.
        precision: In which it draws: ``FP32`` or ``BF16``.
    """

    model: DiffusionAutoencoder
    name: str
    version: str
    classifier_version: str
    device: torch.device
    student_noise: float = 0.0
    guidance_override: GuidanceStyle | None = None
    calibration: Calibration = UNCALIBRATED
    precision: Precision = Precision.FP32

    @property
    def guidance_style(self) -> GuidanceStyle:
        """Return how the student's gradient is followed."""
        if self.guidance_override is not None:
            return self.guidance_override
        if self.student_noise:
            return STRONGEST_VOXELS
        return SMOOTH if self.model.architecture.spatial_dims == 3 else EVERYWHERE


def load_agent(reference: str | Path, *, device: str = "cpu", precision: Precision | str = Precision.AUTO) -> Agent:
    """Load an agent from a bundle folder or by the name of a shipped bundle.

    Args:
        reference: The folder or the name.
        device: Where it computes, such as ``cpu``, ``cuda:0`` or ``auto``.
        precision: In which it draws, see ``Precision``.

    Raises:
        BundleError: if the bundle is missing, broken, of another kind, or its weights do not fit its architecture.
    """
    bundle = read_bundle(find_bundle(reference), kind="agent")
    try:
        model = DiffusionAutoencoder(Architecture.from_dict(bundle.own["architecture"]))
        if bundle.weights is None:
            raise BundleError(f"{bundle.folder} holds no weights.", "Copy the bundle again.")
        model.load_state_dict(read_weights(bundle.weights))
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise BundleError(
            f"The agent {bundle.name} does not fit its own architecture.", "Copy the bundle again, or train it again."
        ) from error
    place = check_device(device)
    model.eval().requires_grad_(False).to(place)
    if model.architecture.spatial_dims == 2:
        # Measured on a CPU: a tenth faster; 3-D gains nothing. (PyTorch's own stubs lack it.)
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    taught_by = str(bundle.own.get("classifier", {}).get("version", ""))
    noise = float(bundle.own.get("student_noise", 0.0))
    calibration = Calibration.from_dict(bundle.own.get("calibration", {}))
    agent = Agent(model, bundle.name, bundle_version(bundle), taught_by, place, noise, calibration=calibration)
    drawn_in = Precision(precision).on(place, agent.guidance_style.shrinkage > 0)
    if drawn_in is Precision.BF16:
        compute_in_bf16(model.denoiser)
    return replace(agent, precision=drawn_in)


def round_weights(model: DiffusionAutoencoder) -> None:
    """Round the weights to what a bundle keeps of them (half precision), so that what is validated is what is kept."""
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(parameter.half())


def write_agent(
    folder: str | Path,
    model: DiffusionAutoencoder,
    classifier: BlackBox,
    *,
    name: str,
    card: str,
    figures: Mapping[str, Any],
    student_noise: float = 0.0,
    calibration: Calibration | None = None,
    replace: bool = False,
) -> Bundle:
    """Write a trained agent as a MONAI bundle, all of it or nothing; weights in half precision, see ``round_weights``.

    Args:
        folder: Where.
        model: The networks.
        classifier: The black box that taught it.
        name: Name for people.
        card: Model card, Markdown.
        figures: Validation figures by name.
        student_noise: See ``Agent``.
        calibration: See ``Agent``.
        replace: Whether an existing bundle may be replaced.
    """
    architecture = model.architecture
    image = {
        "type": "image",
        "format": "magnitude",
        "modality": classifier.inputs.modality,
        "num_channels": architecture.image_channels,
        "spatial_shape": list(architecture.size),
        "dtype": "float32",
        "value_range": [0, 1],
        "is_patch_data": False,
        "channel_def": {str(index): "image" for index in range(architecture.image_channels)},
    }
    metadata = common_metadata(
        name=name,
        task="Counterfactual images of a black-box classifier",
        description=f"Diffusion autoencoder and student of {classifier.name}, taught by its probabilities alone.",
        network_data_format={"inputs": {"image": image}, "outputs": {"pred": image}},
        own={
            "kind": "agent",
            "weights": WEIGHTS,
            "architecture": architecture.to_dict(),
            "student_noise": student_noise,
            "calibration": (calibration or UNCALIBRATED).to_dict(),
            "classifier": {"name": classifier.name, "version": classifier.version},
        },
        eval_metrics=dict(figures),
    )
    definition = {
        "network_def": {
            "_target_": "otherwise.agent.networks.DiffusionAutoencoder",
            "architecture": architecture.to_dict(),
        }
    }

    def write_weights(path: Path) -> None:
        learned = {name for name, _ in model.named_parameters()}
        state = {
            key: (value.half() if key in learned else value).detach().cpu().contiguous()
            for key, value in model.state_dict().items()
        }
        path.write_bytes(safetensors.torch.save(state))

    return write_bundle(folder, metadata, definition, write_weights, card, replace=replace)
