"""Phantoms with oblique axes, for tests of geometry."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace

import numpy as np
from scipy.spatial.transform import Rotation

from otherwise.images.image import Geometry, Image
from otherwise.phantoms.phantom import Phantom


def turned(phantom: Phantom, rng: np.random.Generator) -> Phantom:
    """Turn a phantom's grid about the patient's origin by a random rotation and shift it; its voxels stay."""
    motion = np.eye(4)
    motion[:3, :3] = Rotation.from_quat(rng.standard_normal(4)).as_matrix()
    motion[:3, 3] = rng.uniform(-100, 100, 3)
    geometry = Geometry(phantom.image.geometry.shape, motion @ phantom.image.geometry.affine)

    def move(image: Image) -> Image:
        return Image(image.array, geometry, image.id, image.dimension)

    return replace(phantom, image=move(phantom.image), counterfactual=move(phantom.counterfactual))


def all_turned(phantoms: Iterable[Phantom], seed: int, start: int = 0) -> Iterator[Phantom]:
    """Turn each phantom of a series by a rotation that depends on ``seed`` and its number alone."""
    for number, phantom in enumerate(phantoms, start):
        yield turned(phantom, np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(number, 1))))
