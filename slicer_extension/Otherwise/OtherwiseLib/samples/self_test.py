"""The self test that users run inside Slicer: needs no server, network or data."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from ..files import nrrd
from ..files.explanation_files import SCHEMA
from ..mrml import colours, explanations, layouts, region_names, segments
from ..mrml.nodes import UpdateProxies
from ..mrml.snapshot import snapshot
from ..mrml.volumes import geometry_of
from . import phantoms


def run(scene: Any, update_proxies: UpdateProxies | None = None) -> None:
    """Draw a phantom, make up an explanation of it, show it, walk through it and remove it.

    Args:
        scene: Where to.
        update_proxies: Lets a browser's node follow it. In Slicer it is the Sequences module's own: a second logic on
            the scene registers the module's nodes again, of which MRML warns.

    Raises:
        AssertionError: if anything is not where it should be.
    """
    volume = phantoms.add_sample(scene, phantoms.NODULE, *phantoms.nodule())
    sent = snapshot(volume)
    with tempfile.TemporaryDirectory(prefix="otherwise-") as folder:
        path = write_synthetic_explanation(Path(folder), sent.voxels, sent.affine)
        # The layout makes views, which stay.
        layouts.set_layout(scene, layouts.FOUR)
        before = nodes_of(scene)
        shown = explanations.show(scene, path, volume, update_proxies)
        layouts.fill(scene, shown)
        shape, affine = geometry_of(shown.get("difference"))
        check(shape == tuple(reversed(sent.voxels.shape)), "shape")
        check(bool(np.allclose(affine, sent.affine, atol=1e-6)), "place")
        check(shown.get("browser").GetNumberOfItems() == len(shown.path), "path")
        check([found.id for found in explanations.all_shown(scene)] == [shown.id], "found again")
        layouts.jump_to(scene, tuple(shown.regions[0]["centroid_ras"]))
        regions = shown.get("regions")
        ((segment, _),) = segments.segments_of(regions)
        drawn = segments.region_of(regions, segment, volume)
        low, high = np.array(shape) // 3, 2 * np.array(shape) // 3 + [0, 0, 1]
        check(drawn["shape"] == (high - low).tolist(), "region's shape")
        corner = affine[:3, :3] @ low + affine[:3, 3]
        check(bool(np.allclose(np.array(drawn["affine"])[:3, 3], corner, atol=1e-6)), "region's place")
        named = [{**region, "concept": {"name": "nodule"}} for region in shown.regions]
        region_names.rename(shown, {**shown.content, "regions": named})
        check(segments.segments_of(regions) == [(segment, "region 1: nodule")], "name")
        explanations.remove(scene, shown)
        check(not nodes_of(scene) - before, "removed")


def nodes_of(scene: Any) -> set[str]:
    """Return the ids of all nodes but the subject hierarchy, which the scene makes when it is first needed."""
    nodes = [scene.GetNthNode(number) for number in range(scene.GetNumberOfNodes())]
    return {node.GetID() for node in nodes if not node.IsA("vtkMRMLSubjectHierarchyNode")}


def check(good: bool, what: str) -> None:
    """Raise an AssertionError that names what is wrong."""
    if not good:
        raise AssertionError(f"Otherwise self test: {what}")


def write_synthetic_explanation(folder: Path, voxels: np.ndarray, affine: np.ndarray) -> Path:
    """Write an explanation in which the middle of the volume decides; return its folder."""
    k, j, i = voxels.shape
    labels = np.zeros(voxels.shape, np.uint8)
    labels[k // 3 : 2 * k // 3 + 1, j // 3 : 2 * j // 3, i // 3 : 2 * i // 3] = 1
    original = voxels.astype(np.float32)
    change = np.where(labels > 0, -0.3 * np.ptp(original), 0).astype(np.float32)
    steps = [0.0, 1.0, 2.0]
    volumes = {
        "original": original,
        "counterfactual": original + change,
        "difference": change,
        "effect": labels.astype(np.float32),
        "floor": np.full(voxels.shape, 0.01 * np.ptp(original), np.float32),
        "minimal": original + change,
    }
    for name, array in volumes.items():
        nrrd.write(folder / f"{name}.nrrd", array, affine)
    nrrd.write_segments(folder / "regions.seg.nrrd", labels, affine, {1: "region 1"}, colours.SERIES)
    nrrd.write_sequence(folder / "path.seq.nrrd", [original + step / 2 * change for step in steps], affine, steps)
    (folder / "report.html").write_text("<p>made up</p>", encoding="utf-8")
    ras = affine[:3, :3] @ [(edge - 1) / 2 for edge in (i, j, k)] + affine[:3, 3]
    answers = [{"benign": 0.1, "malignant": 0.9}, {"benign": 0.5, "malignant": 0.5}, {"benign": 0.8, "malignant": 0.2}]
    region = {"label": 1, "centroid_ras": ras.tolist(), "volume_mm3": float((labels > 0).sum()), "effect": 2.0}
    region.update(sufficient=True, necessary=True, above_floor=True, concept=None)
    content = {
        "schema": SCHEMA,
        "id": "made-up",
        "image": {"id": "phantom"},
        "prediction": {"label": "malignant", "probabilities": answers[0]},
        "target": "benign",
        "counterfactual": {
            "valid": True,
            "probabilities": answers[2],
            "changed_fraction": float((labels > 0).mean()),
            "l1": 0.01,
            "reconstruction_l1": 0.01,
            "path": [{"strength": step, "probabilities": answer} for step, answer in zip(steps, answers)],
        },
        "regions": [region],
        "notes": [],
        "files": {**{name: f"{name}.nrrd" for name in volumes}, "regions": "regions.seg.nrrd", "path": "path.seq.nrrd"},
    }
    (folder / "explanation.json").write_text(json.dumps(content), encoding="utf-8")
    return folder
