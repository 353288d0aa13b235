"""Draw ultrasound-like images, to try Otherwise on data that none of its shipped models has seen.

``python examples/ultrasound_like.py OUT`` writes 700 images for training and 120 for testing, each with ``labels.csv``.
Tissue has layers, depth attenuation and speckle. A benign lesion is smooth and wider than tall, and often brightens
what lies below it; a malignant one is irregular and taller, and often casts a shadow.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter

EDGE = 256
SETS = {"train": (700, 1), "test": (120, 2)}
"""Number of images and seed of each set."""


def tissue(rng: np.random.Generator, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the reflectivity of layered tissue at coordinates in [0, 1]; ``y`` is the depth."""
    base = 0.45 + 1.44 * gaussian_filter(rng.standard_normal(x.shape), 12)
    for _ in range(rng.integers(3, 7)):
        depth, width, height = rng.uniform(0, 1), rng.uniform(0.008, 0.03), rng.uniform(-0.15, 0.3)
        bent = 0.04 * np.sin(2 * np.pi * (x * rng.uniform(0.5, 2) + rng.uniform()))
        base += height * np.exp(-(((y - depth - bent) / width) ** 2))
    return np.asarray(base * np.exp(-0.8 * y * rng.uniform(0.5, 1.2)))


def with_lesion(
    rng: np.random.Generator, base: np.ndarray, x: np.ndarray, y: np.ndarray, malignant: bool
) -> np.ndarray:
    """Add a lesion to tissue, and the shadow or enhancement below it."""
    middle, depth, radius = rng.uniform(0.35, 0.65), rng.uniform(0.3, 0.6), rng.uniform(0.07, 0.17)
    aspect = rng.uniform(0.9, 1.3) if malignant else rng.uniform(0.55, 0.85)
    angle, phase = np.arctan2((y - depth) / aspect, x - middle), rng.uniform(0, 2 * np.pi, 6)
    waves = sum(np.sin((n + 3) * angle + phase[n]) / (1 + 0.3 * n) for n in range(6))
    edge = radius * (1 + (0.18 if malignant else 0.03) * rng.uniform(0.6, 1.3) * waves)
    outside = (np.hypot(x - middle, (y - depth) / aspect) - edge) / (0.012 if malignant else 0.004)
    base = base * (1 - rng.uniform(0.6, 0.85) / (1 + np.exp(outside.clip(-50, 50))))
    column = np.exp(-(((x - middle) / (0.7 * radius)) ** 4))
    if malignant and rng.random() < 0.8:
        shadow = column * (y > depth + 0.3 * radius) * rng.uniform(0.3, 0.6)
        base = base * (1 - gaussian_filter(shadow, 4))
    elif not malignant and rng.random() < 0.6:
        brighter = column * (y > depth + radius * aspect) * rng.uniform(0.2, 0.5)
        base = base * (1 + gaussian_filter(brighter, 4))
    return np.asarray(base)


def draw(seed: int, number: int) -> tuple[np.ndarray, bool]:
    """Return an image, uint8 ``(rows, columns)``, and whether its lesion is malignant."""
    rng = np.random.default_rng((seed, number))
    y, x = np.mgrid[:EDGE, :EDGE] / EDGE
    malignant = bool(rng.integers(2))
    base = with_lesion(rng, tissue(rng, x, y), x, y, malignant)
    speckle = np.hypot(*(gaussian_filter(rng.standard_normal(x.shape), (1.0, 1.8)) for _ in range(2)))
    echo = base.clip(min=0.01) * speckle / speckle.mean()
    shown = np.log1p(20 * echo) / np.log1p(30)  # as the log compression of a scanner
    return (255 * shown.clip(0, 1)).astype(np.uint8), malignant


def main(out: Path, sets: dict[str, tuple[int, int]]) -> None:
    """Write every set of images with its table."""
    for name, (count, seed) in sets.items():
        (out / name / "images").mkdir(parents=True, exist_ok=True)
        with (out / name / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
            table = csv.writer(stream)
            table.writerow(("file", "label"))
            for number in range(count):
                image, malignant = draw(seed, number)
                file = f"images/us-{seed}-{number:04d}.png"
                Image.fromarray(image).save(out / name / file)
                table.writerow((file, "malignant" if malignant else "benign"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path, help="Folder to write to.")
    main(parser.parse_args().out, SETS)
