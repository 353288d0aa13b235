"""Creator, time and identifiers of a DICOM object."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from typing import Any

from highdicom import UID, AlgorithmIdentificationSequence
from highdicom.base import SOPClass
from pydicom.uid import generate_uid
from pydicom.valuerep import DA, TM

from otherwise import __version__
from otherwise.explain.explanation import Explanation
from otherwise.report.dicom import MANUFACTURER, NAME
from otherwise.report.dicom.codes import coding_schemes, official
from otherwise.report.dicom.source import SourceSeries


@dataclass(frozen=True)
class Creation:
    """Creator, time and identifiers, which differ between two writings of an explanation.

    Attributes:
        uid: Makes identifiers; each call another one.
        time: When the objects were made.
    """

    uid: Callable[[], str] = UID
    time: datetime = field(default_factory=datetime.now)

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Creation:
        """Derive identifiers and time from an explanation, so that an archive stores it only once.

        Args:
            content: Of its ``explanation.json``, with the names that its regions have by now.
        """
        digest, numbers = digest_of(content), count(1)
        time = datetime.fromisoformat(content["created"]).astimezone().replace(tzinfo=None)
        return cls(lambda: str(generate_uid(entropy_srcs=[digest, str(next(numbers))])), time)


def digest_of(content: Mapping[str, Any]) -> str:
    """Return the SHA-256 of an explanation's content in DICOM objects: with the names of regions, without confidences.

    Args:
        content: See ``Creation.of``.
    """
    described = {key: value for key, value in content.items() if key not in ("concepts", "regions")}
    regions = [
        {**region, "concept": _called(region["concept"]), "findings": [_called(f) for f in region.get("findings", ())]}
        for region in content["regions"]
    ]
    text = json.dumps([NAME, __version__, described, regions], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def _called(concept: Mapping[str, Any] | None) -> list[Any] | None:
    return [concept.get(key) for key in ("name", "scheme", "code")] if concept else None


def equipment(explanation: Explanation, creation: Creation, series_number: int, description: str) -> dict[str, Any]:
    """Return what highdicom wants to know of any object: a series of its own, and which software made it."""
    return {
        "series_instance_uid": creation.uid(),
        "series_number": series_number,
        "sop_instance_uid": creation.uid(),
        "instance_number": 1,
        "series_description": description,
        "manufacturer": MANUFACTURER,
        "manufacturer_model_name": NAME,
        "software_versions": __version__,
        "device_serial_number": explanation.agent.version[:16] or "0",
        "coding_schemes": coding_schemes(),
    }


def algorithm(explanation: Explanation) -> AlgorithmIdentificationSequence:
    """Return the agent that explained and the classifier that was asked."""
    return AlgorithmIdentificationSequence(
        name=explanation.agent.name[:64],
        family=official("DCM", "ArtificialIntelligence"),
        version=explanation.agent.version[:64],
        source=NAME,
        parameters={
            "classifier": explanation.classifier.name,
            "classifier version": explanation.classifier.version,
        },
    )


def finish(dataset: SOPClass, source: SourceSeries, creation: Creation) -> None:
    """Set what highdicom cannot be told: time, patient's name, letters of all alphabets, who numbers dimensions."""
    dataset.SpecificCharacterSet = "ISO_IR 192"
    dataset.PatientName = source.stack.slices[0].header.get("PatientName")
    dataset.ContentDate = dataset.SeriesDate = DA(creation.time.date())
    dataset.ContentTime = dataset.SeriesTime = TM(creation.time.time())
    if "DimensionOrganizationSequence" in dataset:
        organization = creation.uid()
        for item in (*dataset.DimensionOrganizationSequence, *dataset.DimensionIndexSequence):
            item.DimensionOrganizationUID = organization
