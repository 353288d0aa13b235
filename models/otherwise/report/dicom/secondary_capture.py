"""The report's pages as pictures (PS3.3 A.8.1), which every archive stores and every viewer shows."""

from __future__ import annotations

from highdicom.sc import SCImage
from pydicom.valuerep import DA, TM

from otherwise.explain.explanation import Explanation
from otherwise.report.dicom.anatomy import side_of
from otherwise.report.dicom.creation import Creation, equipment, finish
from otherwise.report.dicom.headers import decimals, references
from otherwise.report.dicom.source import SourceSeries
from otherwise.report.pdf import draw_pages

SERIES_NUMBER = 9905
DOTS_PER_INCH = 110.0
"""Of the pages: letters of 7.5 points are 11 pixels high. A page takes 3.5 MiB."""
MILLIMETRES_PER_INCH = 25.4


def report_pages(explanation: Explanation, source: SourceSeries, creation: Creation | None = None) -> list[SCImage]:
    """Draw the pages of the report, in colour, as a series of Secondary Capture images.

    Args:
        explanation: What to show.
        source: Its source, whose patient and study the pages belong to.
        creation: Identifiers and time; by default new ones.

    Returns:
        One image for each page, in their order.
    """
    creation = creation or Creation()
    header = references(source, source.slices[:1])[0]
    about = equipment(explanation, creation, SERIES_NUMBER, "Otherwise: report pages")
    pages = []
    for number, pixels in enumerate(draw_pages(explanation, DOTS_PER_INCH), start=1):
        page = SCImage.from_ref_dataset(
            ref_dataset=header,
            pixel_array=pixels,
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            patient_orientation=("L", "F"),
            transfer_syntax_uid="1.2.840.10008.1.2.1",
            **{**about, "sop_instance_uid": creation.uid(), "instance_number": number},
        )
        page.Modality = "OT"
        page.DateOfSecondaryCapture, page.TimeOfSecondaryCapture = DA(creation.time.date()), TM(creation.time.time())
        page.ConversionType = "WSD"
        page.ImageType = ["DERIVED", "SECONDARY"]
        # The id of the image is on the page, and some archives make it of the patient's.
        page.BurnedInAnnotation = "YES"
        page.NominalScannedPixelSpacing = decimals([MILLIMETRES_PER_INCH / DOTS_PER_INCH] * 2)
        page.PatientOrientation = None  # type: ignore[assignment]  # a page of text lies nowhere in the patient
        page.Laterality = side_of(header) or None  # type: ignore[assignment]
        finish(page, source, creation)
        pages.append(page)
    return pages
