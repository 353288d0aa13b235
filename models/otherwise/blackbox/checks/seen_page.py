"""Write a page of a network's input tensors as pictures, with axes, range and clipped share."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape
from pathlib import Path

import numpy as np
import PIL.Image

from otherwise.blackbox.description import tensor_of
from otherwise.blackbox.protocol import BlackBox
from otherwise.blackbox.tensor import TensorSpec
from otherwise.blackbox.view import View, view
from otherwise.images.atomic import atomic_path
from otherwise.images.image import Image

MOST_SHOWN = 6
_EDGE = 220
_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 60em; color: #222 }
figure { display: inline-block; margin: 0 1.2em 1.6em 0; vertical-align: top }
img { image-rendering: pixelated; border: 1px solid #999; display: block }
figcaption { font-size: 13px; color: #555; max-width: 17em } .bad { color: #b00020; font-weight: 600 }
"""


def write_seen_page(classifier: BlackBox, images: Sequence[Image], path: Path, slice_index: int | None = None) -> Path:
    """Write the page; it appears complete or not at all.

    Args:
        classifier: As loaded.
        images: Images; the first ``MOST_SHOWN`` are shown.
        path: HTML file; an older one is replaced.
        slice_index: For a 2-D classifier and volumes.

    Returns:
        ``path``.
    """
    tensor = tensor_of(classifier)
    figures = "\n".join(
        _figure(image, view(image, classifier.inputs, slice_index), tensor) for image in images[:MOST_SHOWN]
    )
    down, across = _directions(tensor)
    text = f"""<!doctype html><html lang="en"><meta charset="utf-8"><title>What {escape(classifier.name)} sees</title>
<style>{_STYLE}</style><h1>What {escape(classifier.name)} sees</h1>
<p>Each picture is the network's own input: down runs its axis <b>{down}</b>, across its axis <b>{across}</b>. If a
picture lies on its side or upside down, give another --axes or --orientation at import. Grey values are spread from the
smallest to the largest.</p>
{figures}</html>
"""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def _directions(tensor: TensorSpec) -> tuple[str, str]:
    names = [("columns", "rows", "slices")[axis] for axis in tensor.order]
    return (names[0], names[1]) if len(names) == 2 else (names[1], names[2])


def _figure(image: Image, seen: View, tensor: TensorSpec) -> str:
    values = np.asarray(tensor.of(seen.array[None])[0], np.float32)
    planes = np.moveaxis(values, -1, 0) if tensor.channels_last else values
    if planes.ndim == 4:  # the middle along the first axis
        planes = planes[:, planes.shape[1] // 2]
    low, high = float(planes.min()), float(planes.max())
    scaled = ((planes - low) / (high - low or 1.0) * 255).astype(np.uint8)
    picture = PIL.Image.fromarray(np.moveaxis(scaled, 0, -1) if len(scaled) == 3 else scaled[0])
    factor = max(1, round(_EDGE / max(picture.size)))
    picture = picture.resize((picture.width * factor, picture.height * factor), PIL.Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    source = base64.b64encode(buffer.getvalue()).decode()
    shape = " x ".join(str(edge) for edge in values.shape)
    clipped = f'<span class="{"bad" if seen.clipped > 0.05 else ""}">{100 * seen.clipped:.1f} % clipped</span>'
    return (
        f'<figure><img alt="What the network sees of {escape(image.id)}" src="data:image/png;base64,{source}">'
        f"<figcaption><b>{escape(image.id)}</b><br>tensor {shape}, {tensor.dtype}, {low:.4g} to {high:.4g}<br>"
        f"window {seen.window[0]:g} to {seen.window[1]:g}, {clipped}</figcaption></figure>"
    )
