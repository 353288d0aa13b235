"""The model card of a bundle: what it is, how it was made, how good it is."""

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
        inputs: The images it wants.
        activation: How its outputs become probabilities.
        rows: Further rows of the table: what to say, by title.
        notes: What else a reader should know.
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
    """Return what kind of machine a device is, without saying which one."""
    if device.startswith("cuda"):
        import torch

        return torch.cuda.get_device_name(torch.device(device))
    return f"{os.cpu_count()} CPU cores ({platform.machine()})"
