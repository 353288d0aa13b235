"""Building blocks of a phantom: textures, lines and outlines, all in millimetres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Stroke:
    """A line that bends, thins out and fades: a spicule, a vessel, a ligament.

    Attributes:
        start: ``(x, y)`` of its first point.
        angle: Direction in radians at its start.
        length: How far it reaches.
        bend: Sideways offset per squared length (1/mm).
        width: Standard deviation of its cross-section.
        strength: Brightness at its start, in units of the image.
        fade: Exponent of the decrease towards its end; 0 does not fade.
    """

    start: tuple[float, float]
    angle: float
    length: float
    bend: float
    width: float
    strength: float
    fade: float


def pixel_places(size: tuple[int, int], spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the pixels' centres along i ``(i, 1)`` and j ``(1, j)`` in millimetres from the image's corner."""
    x, y = ((np.arange(n, dtype=np.float32) + 0.5) * np.float32(spacing) for n in size)
    return x[:, None], y[None, :]


def power_law_noise(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: tuple[float, ...], exponent: float, longest: float
) -> np.ndarray:
    """Draw a random field whose power falls as ``1 / frequency ** exponent``.

    Breast parenchyma in mammograms follows an exponent of about 3 (Burgess, Medical Physics 28:419, 2001).

    Args:
        rng: Source of randomness.
        shape: Samples along each axis, 2-D or 3-D.
        spacing: Distance of samples along each axis (mm).
        exponent: Fall of the power with the frequency.
        longest: Wavelength (mm) above which the power stays constant.

    Returns:
        float32 field of the given shape with mean 0 and standard deviation 1.
    """
    # A Fourier series is periodic: draw it larger and cut, so that opposite borders do not match.
    larger = tuple(length + length // 2 for length in shape)
    spectrum = np.fft.rfftn(rng.standard_normal(larger, dtype=np.float32))
    axes = [np.fft.fftfreq(n, step) for n, step in zip(larger[:-1], spacing[:-1], strict=True)]
    axes.append(np.fft.rfftfreq(larger[-1], spacing[-1]))
    squared = sum(np.square(axis) for axis in np.meshgrid(*axes, indexing="ij", sparse=True))
    spectrum *= (squared + longest**-2) ** (-exponent / 4)
    field = np.fft.irfftn(spectrum, larger)[tuple(slice(n) for n in shape)]
    return ((field - field.mean()) / field.std()).astype(np.float32)


def draw_strokes(strokes: list[Stroke], x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Draw lines; where several cross, the brightest shows.

    Args:
        strokes: The lines, in the same coordinates as the grid.
        x: Millimetres along i, broadcastable with ``y``.
        y: Millimetres along j.

    Returns:
        float32 brightness on the grid.
    """
    drawn = np.zeros(np.broadcast_shapes(x.shape, y.shape), dtype=np.float32)
    for stroke in strokes:
        right, down = x - stroke.start[0], y - stroke.start[1]
        along = right * np.float32(np.cos(stroke.angle)) + down * np.float32(np.sin(stroke.angle))
        across = down * np.float32(np.cos(stroke.angle)) - right * np.float32(np.sin(stroke.angle))
        across = across - np.float32(stroke.bend) * np.square(along)
        position = along / np.float32(stroke.length)
        remaining = np.clip(1 - position, 0, 1) ** np.float32(stroke.fade) * (position >= 0) * (position <= 1)
        profile = np.exp(np.square(across) / np.float32(-2 * stroke.width**2))
        np.maximum(drawn, np.float32(stroke.strength) * remaining * profile, out=drawn)
    return drawn


def lobed_radius(angle: np.ndarray, radius: float, amplitudes: np.ndarray, phases: np.ndarray) -> np.ndarray:
    """Return the radius of a slightly irregular outline in every direction.

    Args:
        angle: Directions in radians.
        radius: Mean radius (mm).
        amplitudes: Relative depth of 2, 3, 4 ... lobes.
        phases: Rotation of each of them in radians.
    """
    waves = [a * np.cos(order * angle + p) for order, (a, p) in enumerate(zip(amplitudes, phases, strict=True), 2)]
    return np.asarray(radius * (1 + sum(waves)), dtype=np.float32)


def smooth_step(value: np.ndarray) -> np.ndarray:
    """Rise smoothly from 0 (at 0 and below) to 1 (at 1 and above)."""
    clipped = np.clip(value, 0, 1)
    return clipped * clipped * (3 - 2 * clipped)
