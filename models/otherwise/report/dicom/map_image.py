"""Effect and change of images that lie nowhere in the patient, such as radiographs, as Secondary Capture images.

A Parametric Map must have a frame of reference, and its frames a position and an orientation (PS3.3 A.75). A projection
has none of these, and none is invented. A Secondary Capture image needs none: it lies pixel for pixel on its source.
"""

from __future__ import annotations

import numpy as np
from highdicom.sc import SCImage
from pydicom.valuerep import DA, TM

from otherwise.explain.explanation import Explanation
from otherwise.images.image import Image
from otherwise.report.dicom.anatomy import side_of
from otherwise.report.dicom.creation import Creation, equipment, finish
from otherwise.report.dicom.headers import decimals, references
from otherwise.report.dicom.parametric_map import Quantity
from otherwise.report.dicom.source import SourceSeries

LEVELS = 2**16 - 1


def map_image(
    image: Image, quantity: Quantity, explanation: Explanation, source: SourceSeries, creation: Creation
) -> SCImage:
    """Return a map of the source's own rows and columns, zero where nothing was explained.

    Stored values become the quantity's by rescale slope and intercept, to half a 65535th of the range.

    Args:
        image: The map, on the part of the source that was explained; of several channels the mean is taken.
        quantity: What it shows.
        explanation: What it is of.
        source: Of one slice without a place in the patient.
        creation: Identifiers and time.
    """
    columns, rows, _ = source.stack.shape
    values = np.zeros((rows, columns))
    (left, top, _), (right, bottom, _) = source.low, source.high
    values[top:bottom, left:right] = image.array[..., 0].mean(axis=0).T
    largest = float(np.abs(values).max()) or 1.0
    slope, middle = float(f"{2 * largest / (LEVELS - 1):.6g}"), LEVELS // 2  # its product fits a decimal string
    stored = np.rint(values / slope + middle).clip(0, LEVELS).astype(np.uint16)
    header = references(source, source.slices[:1])[0]
    orientation = source.stack.slices[0].header.get("PatientOrientation")
    made = SCImage.from_ref_dataset(
        ref_dataset=header,
        pixel_array=stored,
        photometric_interpretation="MONOCHROME2",
        bits_allocated=16,
        coordinate_system="PATIENT",
        patient_orientation=("L", "F"),
        transfer_syntax_uid="1.2.840.10008.1.2.1",
        **equipment(explanation, creation, quantity.series_number, f"Otherwise: {quantity.label.lower()}"),
    )
    made.PatientOrientation = orientation or None  # type: ignore[assignment]
    made.Laterality = side_of(header) or None  # type: ignore[assignment]
    made.RescaleSlope, made.RescaleIntercept = decimals([slope, -slope * middle])
    made.RescaleType = "US"
    made.WindowCenter, made.WindowWidth = decimals([0.0, 2 * largest])
    made.WindowCenterWidthExplanation = quantity.label
    made.VOILUTFunction = "LINEAR_EXACT"
    made.ImageComments = quantity.description
    made.Modality, made.ConversionType = "OT", "WSD"
    made.ImageType = ["DERIVED", "SECONDARY", "", quantity.label]
    made.DateOfSecondaryCapture, made.TimeOfSecondaryCapture = DA(creation.time.date()), TM(creation.time.time())
    if source.measured:
        across, down = source.slices[0].plane.spacing
        made.NominalScannedPixelSpacing = decimals([down, across])
    finish(made, source, creation)
    return made
