"""DICOM codes: official ones if there are any, else our own in a private coding scheme."""

from __future__ import annotations

import hashlib

from highdicom.coding_schemes import CodingSchemeIdentificationItem
from highdicom.sr import CodedConcept
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from otherwise.explain.explanation import Region
from otherwise.report.words import concept_name

SCHEME = "99OTHERWISE"
"""Designators of private coding schemes begin with 99 (PS3.16 8.2)."""
_LONGEST_VALUE, _LONGEST_MEANING = 16, 64
_UNNAMED = "DECISIVE_REGION"


def official(scheme: str, keyword: str) -> Code:
    """Return a code from the DICOM standard's dictionary.

    Args:
        scheme: ``DCM``, ``SCT``, ``UCUM``, or a context group such as ``cid230``.
        keyword: Its meaning in CamelCase.

    Raises:
        AttributeError: if there is none.
    """
    code: Code = getattr(getattr(codes, scheme), keyword)
    return code


def private(value: str, meaning: str) -> CodedConcept:
    """Return a code of our own scheme; a value that is too long for highdicom is cut and ends in a digest."""
    if len(value) > _LONGEST_VALUE:
        value = f"{value[:9]}-{hashlib.sha256(value.encode()).hexdigest()[:6]}"
    return CodedConcept(_plain(value), SCHEME, _plain(meaning)[:_LONGEST_MEANING])


def region_code(region: Region) -> CodedConcept:
    """Return the code of a region's concept, in its coding scheme or in ours; "not named" for a region without one."""
    name = concept_name(region)
    if name is None:
        return private(_UNNAMED, "Decisive region, not named")
    concept = region.concept or {}
    value, scheme = str(concept.get("code") or name), str(concept.get("scheme") or SCHEME)
    if scheme == SCHEME or max(len(value), len(scheme)) > _LONGEST_VALUE:
        return private(value, name)
    return CodedConcept(_plain(value), _plain(scheme), _plain(name)[:_LONGEST_MEANING])


def region_name(region: Region) -> str:
    """Return what people call a region, at most 64 letters."""
    return _plain(concept_name(region) or f"Decisive region {region.label}")[:_LONGEST_MEANING]


def class_code(name: str) -> CodedConcept:
    """Return the classifier's own name of a class."""
    return private(name, name)


def probability_code(name: str) -> CodedConcept:
    """Return the probability of a class."""
    return private(f"P {name}", f"Probability of {name}")


def value_code(name: str) -> CodedConcept:
    """Return the code of a value that a model predicts."""
    return private(f"VALUE {name}", name)


UCUM = {
    "1": "1", "%": "%", "mm": "mm", "cm": "cm", "m": "m", "mm2": "mm2", "cm2": "cm2", "mm3": "mm3", "cm3": "cm3",
    "ml": "mL", "mL": "mL", "days": "d", "weeks": "wk", "months": "mo", "years": "a", "hours": "h", "HU": "[hnsf'U]",
    "mg": "mg", "g": "g", "kg": "kg", "g/cm2": "g/cm2", "mmHg": "mm[Hg]", "log hazard": "1",
}  # fmt: skip
"""Units as people write them -> the Unified Code for Units of Measure."""


def unit_code(unit: str) -> CodedConcept:
    """Return the UCUM code of a unit; one that is unknown becomes an annotation of UCUM's unity, in braces."""
    plain = "".join(letter if letter.isalnum() or letter in "/._-" else "_" for letter in unit)
    code = UCUM.get(unit, "{" + plain[: _LONGEST_VALUE - 2] + "}")
    meaning = "no units" if code == "1" else unit
    return CodedConcept(code, "UCUM", _plain(meaning)[:_LONGEST_MEANING])


def coding_schemes() -> list[CodingSchemeIdentificationItem]:
    """Return who is responsible for the private coding scheme (PS3.3 C.12.1.1.1)."""
    return [
        CodingSchemeIdentificationItem(SCHEME, name="Codes of Otherwise", responsible_organization="Otherwise project")
    ]


def _plain(text: str) -> str:
    """Remove DICOM's separators and line ends."""
    return " ".join(text.replace("\\", "/").split())


EFFECT = private("EFFECT", "Measured effect on the log-odds")
VALUE_EFFECT = private("VALUE_EFFECT", "Measured effect on the value")
"""Of a region, and of every voxel in the map."""
