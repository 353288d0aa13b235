"""Regions that people annotated: the annotations of each, and its description."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from otherwise.annotations.annotation import Annotation
from otherwise.annotations.vocabulary import Term, Vocabulary
from otherwise.concepts.attributes import LabelledRegion
from otherwise.concepts.feature_store import FeatureEntry
from otherwise.concepts.label_quality import LabelJudgement, agreement
from otherwise.concepts.own_words import OwnWords, own_words

REGION_KINDS = ("name", "not-this", "cannot-tell")
"""Kinds of annotations that are about a region."""
LEAST_COMMON = 5
"""Regions that two readers must both have named before their agreement is reported."""


@dataclass(frozen=True, eq=False)
class AnnotatedRegion:
    """One annotated region.

    Attributes:
        image: Id of its image.
        key: Explanation and label, where it is a decisive region; None where it was drawn elsewhere.
        notes: Its annotations, the oldest first.
        words: The names that follow from them.
        description: ``(features,)``; None where its image is gone.
    """

    image: str
    key: tuple[str, int] | None
    notes: tuple[Annotation, ...]
    words: OwnWords
    description: np.ndarray | None

    def labelled(self) -> list[LabelledRegion]:
        """Return one training example for each reader, except readers who only answered "cannot tell"."""
        if self.description is None:
            return []
        return [
            LabelledRegion(
                self.description,
                frozenset(term for term, _ in reader.present),
                reader.absent - {term for term, _ in reader.present},
                reader.unknown,
                all(sure for _, sure in reader.present),
            )
            for reader in self.words.readers
            if reader.present or reader.absent
        ]


@dataclass(frozen=True)
class DoubtfulWord:
    """A label that the other labels contradict. It is asked about again.

    Attributes:
        annotation: The label.
        probability: What the other labels give it, in [0, 1].
        key: Of its region, see ``AnnotatedRegion``.
    """

    annotation: Annotation
    probability: float
    key: tuple[str, int] | None


def annotated_regions(
    annotations: Sequence[Annotation],
    features: Mapping[str, FeatureEntry],
    explained: Collection[str],
    vocabulary: Vocabulary,
) -> list[AnnotatedRegion]:
    """Group the annotations of all people by region.

    Args:
        annotations: Valid ones, the oldest first.
        features: Of the regions, by annotation.
        explained: Ids of the explanations that are known.
        vocabulary: Defines which terms exclude each other.
    """
    notes: dict[tuple[object, ...], list[Annotation]] = {}
    for note in annotations:
        if note.kind in REGION_KINDS and (note.region is not None or note.id in features):
            notes.setdefault(_place(note, features, explained), []).append(note)
    found = []
    for place, own in notes.items():
        rows = [features[note.id].features.descriptions for note in own if note.id in features]
        description = next((each[0] for each in rows if len(each)), None)
        key = (str(place[1]), int(str(place[2]))) if place[0] == "decisive" else None
        found.append(AnnotatedRegion(own[0].image, key, tuple(own), own_words(own, vocabulary), description))
    return found


def _place(note: Annotation, features: Mapping[str, FeatureEntry], explained: Collection[str]) -> tuple[object, ...]:
    """Return what identifies the region of an annotation: the decisive region that it is, or else its voxels."""
    entry = features.get(note.id)
    label = int(entry.features.labels[0]) if entry is not None and len(entry.features.labels) else 0
    if label and note.explanation in explained:
        return "decisive", note.explanation, label
    region = note.region
    if region is None:
        return "units", note.id
    voxels = hashlib.sha256(np.packbits(region.mask).tobytes() + region.geometry.affine.round(4).tobytes()).hexdigest()
    return "drawn", note.image, note.slice_index, region.geometry.shape, voxels


def labels_of(regions: Sequence[AnnotatedRegion]) -> list[LabelledRegion]:
    """Return the training examples of all regions."""
    return [label for region in regions for label in region.labelled()]


def doubtful_words(regions: Sequence[AnnotatedRegion], judgement: LabelJudgement) -> list[DoubtfulWord]:
    """Return the labels that the other labels contradict, the least likely first.

    A label that is not the newest annotation of its region is left out.

    Args:
        regions: All annotated regions.
        judgement: Of ``labels_of(regions)``.
    """
    owners = [region for region in regions for _ in region.labelled()]
    found = []
    for doubt in judgement.doubtful:
        region = owners[doubt.region]
        saying = [note for note in region.notes if note.kind == "name" and note.term == doubt.term]
        if len(saying) == 1 and region.notes[-1] is saying[0]:
            found.append(DoubtfulWord(saying[0], doubt.probability, region.key))
    return found


def reader_agreement(regions: Sequence[AnnotatedRegion]) -> list[tuple[str, str, int, dict[Term, float]]]:
    """Return of each two readers how many regions both named, and Cohen's kappa for each term they used."""
    named: dict[str, dict[int, frozenset[Term]]] = {}
    for number, region in enumerate(regions):
        for reader in region.words.readers:
            if reader.present:
                named.setdefault(reader.author, {})[number] = frozenset(term for term, _ in reader.present)
    authors, found = sorted(named), []
    for place, one in enumerate(authors):
        for other in authors[place + 1 :]:
            both = sorted(named[one].keys() & named[other].keys())
            if len(both) >= LEAST_COMMON:
                kappa = agreement([named[one][n] for n in both], [named[other][n] for n in both])
                found.append((one, other, len(both), kappa))
    return found
