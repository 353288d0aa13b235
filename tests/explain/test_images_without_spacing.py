"""A picture that does not say how large its pixels are is measured in pixels: no millimetre is made up."""

from __future__ import annotations

import json
import re
from pathlib import Path

import jsonschema
import numpy as np
import PIL.Image
import pydicom
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset

from otherwise.blackbox.protocol import InputSpec
from otherwise.explain.explainer import Explainer
from otherwise.explain.explanation import Explanation
from otherwise.images.image import Geometry, Image
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image
from otherwise.report.explanation_json import schema
from otherwise.report.folder import read_explanation, write_explanation
from support.square_models import SquareClassifier, eager_agent

PIXELS = np.random.default_rng(0).integers(0, 60, (40, 30), dtype=np.uint8)


def picture(path: Path, **options: object) -> Image:
    PIL.Image.fromarray(PIXELS).save(path, **options)
    return read_image(path)


def radiograph(path: Path, spacing: list[float] | None) -> Image:
    meta = FileMetaDataset()
    meta.TransferSyntaxUID, meta.MediaStorageSOPInstanceUID = (
        pydicom.uid.ExplicitVRLittleEndian,
        pydicom.uid.generate_uid(),
    )
    meta.MediaStorageSOPClassUID = pydicom.uid.DigitalXRayImageStorageForPresentation
    data = FileDataset(str(path), {}, file_meta=meta, preamble=bytes(128))
    data.SOPClassUID, data.SOPInstanceUID, data.Modality = (
        meta.MediaStorageSOPClassUID,
        meta.MediaStorageSOPInstanceUID,
        "DX",
    )
    data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 40, 30, 1, "MONOCHROME2"
    data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 8, 8, 7, 0
    data.PixelData = PIXELS.tobytes()
    if spacing:
        data.ImagerPixelSpacing = spacing
    data.save_as(path)
    return read_image(path)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.tif", "a.bmp.png"])
def test_a_picture_without_a_resolution_counts_pixels(tmp_path: Path, name: str) -> None:
    assert picture(tmp_path / name).unit == "px"


@pytest.mark.parametrize("dpi", [300, 25.4])
def test_a_tiff_with_a_resolution_counts_millimetres(tmp_path: Path, dpi: float) -> None:
    image = picture(tmp_path / "a.tif", dpi=(dpi, dpi))
    assert image.unit == "mm"
    assert image.geometry.spacing[0] == pytest.approx(25.4 / dpi, rel=1e-3)


def test_a_png_with_a_resolution_counts_pixels_since_slicer_shows_it_so(tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png", dpi=(300, 300))
    assert image.geometry.spacing[:2] == (1.0, 1.0)
    assert image.unit == "px"


def test_a_radiograph_counts_millimetres_only_where_it_says_how_large_its_pixels_are(tmp_path: Path) -> None:
    assert radiograph(tmp_path / "none.dcm", None).unit == "px"
    assert radiograph(tmp_path / "zero.dcm", [0.0, 0.0]).unit == "px"
    assert radiograph(tmp_path / "one.dcm", [1.0, 1.0]).unit == "mm"


def test_the_unit_outlives_a_file_of_ours(tmp_path: Path) -> None:
    image = picture(tmp_path / "a.png")
    assert read_image(write_image(image, tmp_path / "a.nrrd")).unit == "px"
    assert image.crop((1, 1, 0), (9, 9, 1)).unit == image.slice(0).unit == "px"


@pytest.fixture
def explanation(tmp_path: Path) -> Explanation:
    classifier = SquareClassifier(InputSpec((16, 16), intensity=(0.0, 255.0)))
    return Explainer(classifier, eager_agent(classifier)).explain(picture(tmp_path / "a.png"))


def test_its_regions_have_pixels_and_no_millimetres(explanation: Explanation, tmp_path: Path) -> None:
    folder = write_explanation(explanation, tmp_path / "explanation")
    content = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, schema())
    assert content["geometry"]["unit"] == "px"
    assert content["regions"]
    labels = explanation.volumes.regions.array[0]
    for region in content["regions"]:
        assert region["centroid_ras"] is None
        assert region["volume_mm3"] is None
        inside = np.argwhere(labels == region["label"])
        assert region["voxels"] == len(inside)
        assert region["centroid_index"] == pytest.approx(inside.mean(axis=0).tolist())
    again = read_explanation(folder)
    assert again.regions == explanation.regions
    assert again.volumes.original.unit == again.volumes.path[0].unit == "px"


@pytest.mark.parametrize("spacing", [(0.5, 0.8, 3.0), (2.0, 2.0, 1.0)])
def test_a_region_of_a_plane_has_an_area_and_is_shown_by_it(
    tmp_path: Path, spacing: tuple[float, float, float]
) -> None:
    classifier = SquareClassifier(InputSpec((16, 16), intensity=(0.0, 255.0)))
    array = PIXELS.T[None, ..., None].astype(np.float32)
    turned = np.array([[0, 1, 0], [0.6, 0, 0.8], [0.8, 0, -0.6]]) @ np.diag(spacing)
    affine = np.vstack([np.column_stack([turned, [3, 4, 5]]), [0, 0, 0, 1]])
    plane = Image(array, Geometry((30, 40, 1), affine), "plane", 2)
    explanation = Explainer(classifier, eager_agent(classifier)).explain(plane)
    folder = write_explanation(explanation, tmp_path / "explanation")
    content = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    jsonschema.validate(content, schema())
    assert content["regions"]
    for region in content["regions"]:
        assert region["volume_mm3"] == pytest.approx(region["voxels"] * np.prod(spacing))
        assert region["area_mm2"] == pytest.approx(region["voxels"] * spacing[0] * spacing[1])
    assert read_explanation(folder).regions == explanation.regions
    page = (folder / "report.html").read_text(encoding="utf-8")
    assert " mm²" in page
    assert ">Area<" in page
    assert " mm³" not in page


def test_its_report_speaks_of_pixels(explanation: Explanation, tmp_path: Path) -> None:
    page = (write_explanation(explanation, tmp_path / "explanation") / "report.html").read_text(encoding="utf-8")
    words = re.sub(r'"data:[^"]*"', "", page[page.index("<main") :] if "<main" in page else page)
    assert f"{explanation.regions[0].voxels} pixels" in words
    assert "Centroid (column, row)" in words
    assert "30 × 40 pixels of unknown size" in words
    for made_up in (" mm<", " mm³", "RAS"):
        assert made_up not in words
