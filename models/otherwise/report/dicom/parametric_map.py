"""Measured effect and change as DICOM Parametric Maps of single precision (PS3.3 A.75)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from highdicom.pm import ParametricMap, RealWorldValueMapping
from highdicom.sr import CodedConcept
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from otherwise.explain.explanation import Explanation
from otherwise.images.formats.dicom import Slice
from otherwise.images.image import Image
from otherwise.report import value_words
from otherwise.report.dicom.anatomy import frame_anatomy
from otherwise.report.dicom.codes import EFFECT, VALUE_EFFECT, official, private, unit_code
from otherwise.report.dicom.creation import Creation, equipment, finish
from otherwise.report.dicom.headers import pixel_measures, plane_orientation, plane_position, references
from otherwise.report.dicom.source import SourceSeries


@dataclass(frozen=True)
class Quantity:
    """The quantity that a map shows.

    Attributes:
        label: Of the content, capital letters.
        description: One sentence.
        code: Of the quantity.
        unit: UCUM.
        derivation: How it came from the source (CID 7203).
        series_number: Orders the series of a study.
    """

    label: str
    description: str
    code: CodedConcept
    unit: Code | CodedConcept
    derivation: Code | CodedConcept
    series_number: int


def effect_quantity(explanation: Explanation) -> Quantity:
    """Return the measured effect on the classifier's log-odds, or on its value; positive speaks for the target."""
    value = explanation.value
    return Quantity(
        label="EFFECT",
        description=f"Measured effect on the {value_words.towards(explanation)}",
        code=EFFECT if value is None else VALUE_EFFECT,
        unit=official("UCUM", "NoUnits") if value is None else unit_code(value.kind.unit),
        derivation=private("PERTURBATION", "Parts of the change put in and left out"),
        series_number=9902,
    )


def change_quantity(explanation: Explanation, source: SourceSeries) -> Quantity:
    """Return the change from the image to its counterfactual: HU for CT, else stored values."""
    return Quantity(
        label="CHANGE",
        description=f"Change for which the classifier would say {value_words.target(explanation)}",
        code=private("CHANGE", "Counterfactual minus original"),
        unit=official("UCUM", "HounsfieldUnit") if _is_ct(source) else official("UCUM", "NoUnits"),
        derivation=official("DCM", "PixelByPixelSubtraction"),
        series_number=9903,
    )


def _is_ct(source: SourceSeries) -> bool:
    header = source.slices[0].header
    return str(header.get("Modality", "")) == "CT" and str(header.get("RescaleType", "HU") or "HU") == "HU"


def parametric_map(
    image: Image, quantity: Quantity, explanation: Explanation, source: SourceSeries, creation: Creation
) -> ParametricMap:
    """Return a map whose frames cover the box of all non-zero values, in the map's own geometry.

    Args:
        image: The map, on the part of the source that was explained; of several channels the mean is taken.
        quantity: What it shows.
        explanation: What it is of.
        source: Lies in the patient; see ``map_image`` for one that does not.
        creation: Identifiers and time.
    """
    low, high = _occupied(image.array)
    box = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    # Channels first, then i, j, k, becomes frames, rows, columns.
    values = np.ascontiguousarray(image.array[:, *box].mean(axis=0, dtype=np.float32).T)
    slices = source.slices[low[2] : high[2]]
    headers = references(source, slices)
    # Every slice where its own header says, as the source's viewers have it.
    corner = (source.low[0] + low[0], source.low[1] + low[1])
    least, most = float(values.min()), float(values.max())
    made = ParametricMap(
        source_images=headers,
        pixel_array=values,
        contains_recognizable_visual_features=False,
        real_world_value_mappings=[
            RealWorldValueMapping(
                lut_label=quantity.label,
                lut_explanation=quantity.description[:64],
                unit=quantity.unit,
                value_range=(least, most),
                slope=1.0,
                intercept=0.0,
                quantity_definition=quantity.code,
            )
        ],
        window_center=0.0,
        window_width=2 * max(abs(least), abs(most)) or 1.0,
        content_label=quantity.label,
        content_description=quantity.description[:64],
        pixel_measures=pixel_measures(source),
        plane_orientation=plane_orientation(source),
        plane_positions=[plane_position(one, corner) for one in slices],
        **equipment(explanation, creation, quantity.series_number, f"Otherwise: {quantity.label.lower()}"),
    )
    # dcmqi reads no parametric map without it (PS3.3 C.7.6.16.2.8). It gives the laterality, so the series must not.
    if "Laterality" in made:
        del made.Laterality
    made.SharedFunctionalGroupsSequence[0].FrameAnatomySequence = [frame_anatomy(source.slices[0].header)]
    for frame, one in zip(made.PerFrameFunctionalGroupsSequence, slices, strict=True):
        frame.DerivationImageSequence = [_derivation(one, quantity, source)]
    # The function that highdicom names knows no window narrower than 1 (PS3.3 C.11.2.1.2), and effects are small.
    made.SharedFunctionalGroupsSequence[0].FrameVOILUTSequence[0].VOILUTFunction = "LINEAR_EXACT"
    finish(made, source, creation)
    return made


def _occupied(array: np.ndarray) -> tuple[tuple[int, int, int], tuple[int, int, int]]:
    """Return the first voxel of the box with all non-zero values, and one past the last; else the first slice."""
    occupied = (array != 0).any(axis=0)
    if not occupied.any():
        i, j, _ = occupied.shape
        return (0, 0, 0), (i, j, 1)
    ranges = [np.flatnonzero(occupied.any(axis=other)) for other in ((1, 2), (0, 2), (0, 1))]
    (i, a), (j, b), (k, c) = ((int(found[0]), int(found[-1]) + 1) for found in ranges)
    return (i, j, k), (a, b, c)


def _derivation(one: Slice, quantity: Quantity, source: SourceSeries) -> Dataset:
    """Return the source frame of a frame (PS3.3 C.7.6.16.2.6)."""
    image = Dataset()
    image.ReferencedSOPClassUID, image.ReferencedSOPInstanceUID = one.header.SOPClassUID, one.header.SOPInstanceUID
    if source.multiframe:
        image.ReferencedFrameNumber = one.frame + 1
    image.PurposeOfReferenceCodeSequence = [
        CodedConcept.from_code(official("DCM", "SourceImageForImageProcessingOperation"))
    ]
    derivation = Dataset()
    derivation.DerivationCodeSequence = [CodedConcept.from_code(quantity.derivation)]
    derivation.SourceImageSequence = [image]
    return derivation
