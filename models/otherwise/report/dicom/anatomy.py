"""The body part of a source (PS3.3 C.7.6.16.2.8, Frame Anatomy Macro)."""

from __future__ import annotations

from highdicom.sr import CodedConcept, FindingSite
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code

from otherwise.report.dicom.codes import official

BODY_PARTS = {
    "ABDOMEN": Code("818983003", "SCT", "Abdomen"),
    "ANKLE": Code("70258002", "SCT", "Ankle joint"),
    "BRAIN": Code("12738006", "SCT", "Brain"),
    "BREAST": Code("76752008", "SCT", "Breast"),
    "CHEST": Code("816094009", "SCT", "Chest"),
    "ELBOW": Code("16953009", "SCT", "Elbow joint"),
    "EXTREMITY": Code("66019005", "SCT", "Extremity"),
    "FOOT": Code("56459004", "SCT", "Foot"),
    "HAND": Code("85562004", "SCT", "Hand"),
    "HEAD": Code("69536005", "SCT", "Head"),
    "HEART": Code("80891009", "SCT", "Heart"),
    "HIP": Code("24136001", "SCT", "Hip joint"),
    "KIDNEY": Code("64033007", "SCT", "Kidney"),
    "KNEE": Code("72696002", "SCT", "Knee"),
    "LIVER": Code("10200004", "SCT", "Liver"),
    "LUNG": Code("39607008", "SCT", "Lung"),
    "NECK": Code("45048000", "SCT", "Neck"),
    "PELVIS": Code("816092008", "SCT", "Pelvis"),
    "PROSTATE": Code("41216001", "SCT", "Prostate"),
    "SHOULDER": Code("16982005", "SCT", "Shoulder region"),
    "SKULL": Code("89546000", "SCT", "Skull"),
    "SPINE": Code("421060004", "SCT", "Spine"),
    "WRIST": Code("74670003", "SCT", "Wrist joint"),
}
"""Codes of Body Part Examined (PS3.16 Annex L)."""
WHOLE_BODY = Code("38266002", "SCT", "Entire body")
"""Where the source does not say which part it shows."""


def frame_anatomy(header: Dataset) -> Dataset:
    """Return an item of the Frame Anatomy Sequence for objects made of a source.

    Args:
        header: Of the source: its coded anatomic region, else its body part examined, else its modality decides.
    """
    item = Dataset()
    laterality = str(header.get("ImageLaterality") or header.get("Laterality") or "U")
    item.FrameLaterality = laterality if laterality in ("R", "L", "B", "U") else "U"
    item.AnatomicRegionSequence = [_region(header)]
    return item


def side_of(header: Dataset) -> str:
    """Return the side of a paired body part, R or L, which the image or the series says; else nothing."""
    side = str(header.get("ImageLaterality") or header.get("Laterality") or "")
    return side if side in ("R", "L") else ""


def finding_site(header: Dataset) -> FindingSite:
    """Return the body part, and its side where that is known, for a structured report."""
    region = _region(header)
    return FindingSite(Code(region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning), _side_code(header))


def anatomic_region(header: Dataset) -> Dataset:
    """Return the body part, with its side where that is known, for a segment (PS3.3 C.8.20.4)."""
    region, side = _region(header), _side_code(header)
    if side is not None:
        region.AnatomicRegionModifierSequence = [CodedConcept.from_code(side)]
    return region


def _side_code(header: Dataset) -> Code | None:
    return {"R": official("SCT", "Right"), "L": official("SCT", "Left")}.get(side_of(header))


def _region(header: Dataset) -> Dataset:
    coded = header.get("AnatomicRegionSequence") or []
    if coded and all(coded[0].get(name) for name in ("CodeValue", "CodingSchemeDesignator", "CodeMeaning")):
        found = Code(coded[0].CodeValue, coded[0].CodingSchemeDesignator, coded[0].CodeMeaning)
    else:
        part = str(header.get("BodyPartExamined") or "").strip().upper()
        found = BODY_PARTS.get(part) or (BODY_PARTS["BREAST"] if header.get("Modality") == "MG" else WHOLE_BODY)
    region = Dataset()
    region.CodeValue, region.CodingSchemeDesignator, region.CodeMeaning = (
        found.value,
        found.scheme_designator,
        found.meaning,
    )
    return region
