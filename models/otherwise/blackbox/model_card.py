"""Write the model card of a bundle: inputs, training, figures."""

from __future__ import annotations

import os
import platform
from collections.abc import Mapping, Sequence

from otherwise.blackbox.protocol import InputSpec


def classifier_card(
    name: str, classes: Sequence[str], inputs: InputSpec, activation: str, rows: Mapping[str, str], notes: str = ""
) -> str:
    """Write the model card of a classifier, in Markdown.

    Args:
        name: Name for people.
        classes: Class names.
        inputs: The input specification.
        activation: How its outputs become probabilities.
        rows: Further rows of the table: text by title.
        notes: Remarks below the table.
    """
    size = " x ".join(str(edge) for edge in inputs.size)
    spacing = (
        " x ".join(f"{step:g}" for step in inputs.spacing) + " mm" if inputs.spacing else "the whole field of view"
    )
    low, high = inputs.intensity
    table = {
        "Input": f"{size}, {inputs.channels} channel(s), {spacing}, intensity {low:g} to {high:g}",
        "Output": f"{len(classes)} classes ({', '.join(classes)}), activation {activation}",
        **rows,
    }
    lines = [
        f"# {name}",
        "",
        f"A classifier of {inputs.modality} images. For research only; not for clinical use.",
        "",
        "| | |",
        "|---|---|",
        *(f"| {title} | {text} |" for title, text in table.items()),
        "",
        notes,
    ]
    return "\n".join(lines).rstrip() + "\n"


def machine_class(device: str) -> str:
    """Return the name of the GPU, or the number and architecture of the CPU cores."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(torch.device(device))
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"
