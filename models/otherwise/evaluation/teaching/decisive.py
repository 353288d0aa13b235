"""Explain real nodules, and rate each decisive region as readers do.

A region belongs to the nodule where half of it lies in the nodule, or it holds half of the nodule. It is
ordinary tissue where neither comes to a tenth. Of what is between the two readers cannot tell,
and nothing is scored.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from otherwise.annotations.vocabulary import Term, Vocabulary
from otherwise.blackbox.view import view_on
from otherwise.concepts.activations import activations_of_explanation
from otherwise.concepts.attributes import TISSUE
from otherwise.concepts.feature_store import FeatureEntry
from otherwise.concepts.places import places_of
from otherwise.concepts.region_features import RegionFeatures, features_of_explanation
from otherwise.concepts.statistics import UnitStatistics, UnitTable
from otherwise.concepts.units import UnitReader, unit_reader
from otherwise.datasets.lidc import LidcNodule, all_nodules, ratings
from otherwise.errors import ImageError
from otherwise.evaluation.teaching.readers import RatedRegion, words_of
from otherwise.explain.explainer import Explainer
from otherwise.explain.explanation import Explanation
from otherwise.explain.request import ExplainRequest, explain_request
from otherwise.images.image import Image
from otherwise.images.reading import image_name, read_image
from otherwise.report.folder import read_explanation, write_explanation

WITHIN, OUTSIDE = 0.5, 0.1
"""Share of the region in the nodule, or of the nodule in the region, from which on they belong together; below the
second one they have nothing to do with each other."""


@dataclass(frozen=True, eq=False)
class ExplainedNodules:
    """The decisive regions of explained nodules, with what is true of them.

    Attributes:
        entries: Features, one for each explanation.
        regions: What is known of each region that belongs to a nodule or to ordinary tissue.
        lung: Descriptions of places outside all regions, by explanation; only those that keep clear of the nodule.
        patients: Of each explanation.
        table: Of the units.
        nodules: How many were explained.
        in_folder: How many the folder holds.
    """

    entries: tuple[FeatureEntry, ...]
    regions: tuple[RatedRegion, ...]
    lung: Mapping[str, np.ndarray]
    patients: Mapping[str, str]
    table: UnitTable
    nodules: int
    in_folder: int


def explain_nodules(
    folder: Path,
    out: Path,
    explainer: Explainer,
    vocabulary: Vocabulary,
    count: int,
    seed: int = 0,
    progress: Callable[[float], None] = lambda fraction: None,
) -> ExplainedNodules:
    """Explain nodules of a folder; what is finished is kept, and an interrupted run goes on.

    Args:
        folder: With ``nodules.csv``, ``image/`` and ``mask/``.
        out: Gets a folder for each explanation.
        explainer: The classifier and its agent. A classifier of pictures is shown the slice with most of the nodule.
        vocabulary: Has the words.
        count: Most nodules; which ones, the seed says.
        seed: Of the choice; more nodules are the same ones and others.
        progress: Called with the share done.

    Raises:
        ImageError: if the folder holds no nodule.
    """
    listed = [n for n in all_nodules(folder) if (folder / "image" / n.file).is_file()]
    if not listed:
        raise ImageError(f"There is no nodule in {folder.name}.", "Give the folder with nodules.csv, image/ and mask/.")
    chosen = [listed[n] for n in np.random.default_rng(seed).permutation(len(listed))[:count].tolist()]
    for number, nodule in enumerate(chosen):
        progress(number / len(chosen))
        place = out / image_name(Path(nodule.file))
        if not place.is_dir():
            image, _ = _explained_part(folder, nodule, explainer.classifier.inputs.spatial_dims)
            write_explanation(explain_request(explainer, image, ExplainRequest()), place)
    return _read(folder, out, chosen, explainer, vocabulary, len(listed))


def _explained_part(folder: Path, nodule: LidcNodule, dims: int) -> tuple[Image, np.ndarray]:
    """Return what is explained of a nodule, and the nodule's mask on its grid."""
    image = read_image(folder / "image" / nodule.file)
    mask = read_image(folder / "mask" / nodule.file).array[0] > 0
    if dims == 3:
        return image, mask
    fullest = int(mask.sum(axis=(0, 1)).argmax())
    return replace(image.slice(fullest), id=f"{image.id}-slice-{fullest:03d}"), mask[..., fullest : fullest + 1]


def _read(
    folder: Path,
    out: Path,
    chosen: Sequence[LidcNodule],
    explainer: Explainer,
    vocabulary: Vocabulary,
    in_folder: int,
) -> ExplainedNodules:
    classifier = explainer.classifier
    reader = unit_reader(classifier, explainer.agent)
    if reader is None:
        raise ImageError("Neither the classifier nor the agent has units.", "Give an agent of otherwise train agent.")
    explained = [(nodule, read_explanation(out / image_name(Path(nodule.file)))) for nodule in chosen]
    table = _table(explainer, reader, [explanation for _, explanation in explained])
    rated = ratings(folder)
    entries, regions, lung = [], [], {}
    for nodule, explanation in explained:
        look = activations_of_explanation(classifier, reader, table, explanation)
        if look is None:
            continue
        features = features_of_explanation(look, explanation)
        entries.append(FeatureEntry(explanation.id, explanation.image_id, features))
        _, mask = _explained_part(folder, nodule, classifier.inputs.spatial_dims)
        lung[explanation.id] = features.tissue[[not (place & mask).any() for place in places_of(explanation)]]
        words = words_of(rated[image_name(Path(nodule.file))], vocabulary)
        regions += _rated(explanation, features, mask, words, nodule.patient)
    patients = {explanation.id: nodule.patient for nodule, explanation in explained}
    return ExplainedNodules(tuple(entries), tuple(regions), lung, patients, table, len(chosen), in_folder)


def _table(explainer: Explainer, reader: UnitReader, explained: Sequence[Explanation]) -> UnitTable:
    statistics: UnitStatistics | None = None
    for explanation in explained:
        assert explanation.grid is not None
        seen = view_on(explanation.volumes.original, explanation.grid, explainer.classifier.inputs).array
        maps = reader.read(seen[None])
        statistics = statistics or UnitStatistics(reader.version, maps.names)
        statistics.add([explanation.id], maps)
    assert statistics is not None
    return statistics.table()


def _rated(
    explanation: Explanation, features: RegionFeatures, mask: np.ndarray, words: Sequence[Term], patient: str
) -> list[RatedRegion]:
    labels = explanation.volumes.regions.array[0]
    found = []
    for place, (label, share) in enumerate(zip(features.labels.tolist(), features.shares.tolist(), strict=True)):
        region = labels == label
        both = np.count_nonzero(region & mask)
        part = max(both / max(np.count_nonzero(region), 1), both / max(np.count_nonzero(mask), 1))
        if OUTSIDE <= part < WITHIN:
            continue
        known = words if part >= WITHIN else [TISSUE]
        own = known[0] if known else None
        key = (explanation.id, label)
        found.append(RatedRegion(patient, features.descriptions[place], frozenset(known), own, float(share), key))
    return found
