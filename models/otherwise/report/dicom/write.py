"""Write an explanation as DICOM objects that belong to the study of its source."""

from __future__ import annotations

import warnings
from pathlib import Path

from highdicom.base import SOPClass

from otherwise.explain.explanation import Explanation
from otherwise.images.atomic import atomic_folder
from otherwise.report.dicom.creation import Creation
from otherwise.report.dicom.links import link_images
from otherwise.report.dicom.map_image import map_image
from otherwise.report.dicom.parametric_map import change_quantity, effect_quantity, parametric_map
from otherwise.report.dicom.secondary_capture import report_pages
from otherwise.report.dicom.segmentation import explanation_segmentation
from otherwise.report.dicom.source import DicomError, SourceSeries, match_source
from otherwise.report.dicom.structured_report import explanation_report

FOLDER = "dicom"
"""Where the objects lie in an explanation's folder."""


def write_dicom(
    explanation: Explanation,
    source_path: Path,
    folder: Path,
    *,
    part: str | None = None,
    creation: Creation | None = None,
) -> dict[str, Path]:
    """Write an explanation's objects as a folder, whole or not at all.

    Regions are a Segmentation, effect and change Parametric Maps, the report a Structured Report, and its pages
    Secondary Captures for archives and viewers that know nothing else. The maps of an image that lies nowhere in the
    patient, such as a radiograph, are Secondary Captures, too, see ``map_image``. The objects share patient and study
    with the source, those with a place in the patient also its frame of reference. They refer to its instances and to
    each other. All but identifiers and times depends on the explanation and its source alone.

    Args:
        explanation: What to write.
        source_path: The DICOM file, or folder of a series, that was explained.
        folder: The folder to make; an older one is replaced.
        part: For a folder of several images: the id of the one that is meant, see ``images.studies``.
        creation: Identifiers and time; by default new ones.

    Returns:
        The files by name: ``regions`` (absent where no region decides), ``effect``, ``change``, ``report``, and
        ``page-1``, ``page-2`` and so on.

    Raises:
        DicomError: if the source is no DICOM, is another image, or lacks what cannot be left out.
        ImageError: if the source cannot be read.
        WriteError: if the disk refuses.
    """
    creation = creation or Creation()
    folder = Path(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of pydicom, about values of the source, which may be a patient's
        source = match_source(explanation, source_path, part)
        with atomic_folder(folder) as temporary:
            names = _write(explanation, source, temporary, creation)
    return {name: folder / f"{name}.dcm" for name in names}


def _write(explanation: Explanation, source: SourceSeries, folder: Path, creation: Creation) -> list[str]:
    invented = creation.uid()
    try:
        images: dict[str, SOPClass] = {}
        regions = explanation_segmentation(explanation, source, creation, invented)
        if regions is not None:
            images["regions"] = regions
        draw = parametric_map if source.placed else map_image
        for name, map_of, quantity in (
            ("effect", explanation.volumes.effect, effect_quantity(explanation)),
            ("change", explanation.volumes.difference, change_quantity(explanation, source)),
        ):
            images[name] = draw(map_of, quantity, explanation, source, creation)
        for number, page in enumerate(report_pages(explanation, source, creation), start=1):
            images[f"page-{number}"] = page
        link_images(images, source)
        for name, image in images.items():
            image.save_as(folder / f"{name}.dcm", write_like_original=False)
            for pixels in ("PixelData", "FloatPixelData"):
                if pixels in image:  # a map may be as large as the image, and the report does not look at it
                    delattr(image, pixels)
        others = [image for name, image in images.items() if name != "regions"]
        report = explanation_report(explanation, source, regions, others, creation)
        report.save_as(folder / "report.dcm", write_like_original=False)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as error:
        # What highdicom says may quote the patient's data.
        raise DicomError(
            f"The source's header lacks something, or has it wrong ({type(error).__name__}).",
            "Check it with dciodvfy, or export it again.",
        ) from error
    return [*images, "report"]
