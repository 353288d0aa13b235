"""Images as they come: each goes through a real archive, and what becomes of it is what becomes of the file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import Dataset
from pydicom.uid import generate_uid

from otherwise.images.reading import read_image
from support.enhanced_dicom import enhanced

if TYPE_CHECKING:
    from conftest import Orthanc

PYDICOM = Path(pydicom.__file__).parent / "data" / "test_files"
INSTALLED = {
    "JPEG 2000": "MR_small_jp2klossless.dcm",
    "JPEG-LS": "MR_small_jpeg_ls_lossless.dcm",
    "RLE": "MR_small_RLE.dcm",
    "big endian": "MR_small_bigendian.dcm",
    "deflated": "image_dfl.dcm",
    "colours": "SC_rgb_jpeg_dcmtk.dcm",
    "ultrasound": "ExplVR_BigEnd.dcm",
}
REAL = {
    "mammogram": "mg/MG1_small_derived.dcm",
    "JPEG 2000, MONOCHROME1": "cr/RG3_J2KR.dcm",
    "CT series": "ct_series",
}


def own(data: Dataset, **values: Any) -> Dataset:
    """An image of its own, with attributes set; None removes one."""
    for name in ("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID"):
        setattr(data, name, generate_uid())
    data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
    for name, value in values.items():
        if value is not None:
            setattr(data, name, value)
        elif name in data:
            delattr(data, name)
    return data


@pytest.fixture
def brought(orthanc: Orthanc, opened: Any, tmp_path: Path) -> Callable[..., tuple[Any, str, Path]]:
    """Bring images to the archive; tells a client, the id that the server gives them, and the files."""

    def bring(*images: Path | Dataset) -> tuple[Any, str, Path]:
        folder = tmp_path / "files"
        folder.mkdir()
        for number, image in enumerate(images):
            if isinstance(image, Path):
                (folder / f"{number}.dcm").write_bytes(image.read_bytes())
            else:
                image.save_as(folder / f"{number}.dcm", write_like_original=False)
        orthanc.send(*sorted(folder.iterdir()))
        client, _ = opened(orthanc.url)
        return client, str(pydicom.dcmread(folder / "0.dcm").SeriesInstanceUID), folder

    return bring


@pytest.fixture
def explained(brought: Any, orthanc: Orthanc) -> Callable[..., dict[str, Any]]:
    """Bring images, have them explained, and what came out stored; tells the explanation and the files' own image."""

    def explain(*images: Path | Dataset) -> dict[str, Any]:
        client, id, folder = brought(*images)
        reply = client.post("/infer/explain", params={"image": id, "output": "json"}, data={"params": "{}"})
        assert reply.status_code == 200, reply.text
        explanation, there = reply.json(), read_image(folder)
        assert explanation["image"] == {"id": id, "sha256": there.sha256}, "voxel for voxel as from the file"
        np.testing.assert_array_equal(explanation["geometry"]["affine"], there.geometry.affine)
        stored = client.post(f"/otherwise/explanations/{explanation['id']}/store")
        assert (stored.status_code, stored.json()["failed"]) == (200, []), stored.text
        objects = {one["name"]: orthanc.instance(one["instance"]) for one in stored.json()["stored"]}
        regions = client.get(f"/otherwise/explanations/{explanation['id']}/files/regions.seg.nrrd").content
        (folder.parent / "regions.nrrd").write_bytes(regions)
        labels = read_image(folder.parent / "regions.nrrd").array[0]
        assert int(objects["regions"].pixel_array.sum()) == int((labels > 0).sum())
        sources = [str(pydicom.dcmread(file).SOPInstanceUID) for file in folder.iterdir()]
        assert all(any(uid in str(made) for uid in sources) for made in objects.values())
        return {"image": there, "objects": objects}

    return explain


@pytest.mark.usefixtures("blank_pages")
@pytest.mark.parametrize("kind", INSTALLED)
@pytest.mark.long
def test_every_way_of_coding_pixels(kind: str, explained: Any) -> None:
    explained(own(pydicom.dcmread(PYDICOM / INSTALLED[kind])))


@pytest.mark.parametrize("kind", REAL)
@pytest.mark.long
def test_real_images(kind: str, explained: Any, real_dicom: Path) -> None:
    path = real_dicom / REAL[kind]
    made = explained(*sorted(path.iterdir()) if path.is_dir() else [path])
    assert made["image"].dimension == (3 if kind == "CT series" else 2)


@pytest.mark.usefixtures("blank_pages")
def test_an_oblique_ct_keeps_its_place(explained: Any, volume: Any) -> None:
    made = explained(*volume(1))
    directions = made["image"].geometry.affine[:3, :3]
    assert (np.abs(directions / np.linalg.norm(directions, axis=0)) < 0.999).all()
    places = [
        frame.PlanePositionSequence[0].ImagePositionPatient
        for frame in made["objects"]["change"].PerFrameFunctionalGroupsSequence
    ]
    ras = [np.array(place, float) * [-1, -1, 1] for place in places]
    expected = [made["image"].geometry.to_ras(np.array([0, 0, k])) for k in range(len(places))]
    np.testing.assert_allclose(ras, expected, rtol=0, atol=1e-6)


@pytest.mark.usefixtures("blank_pages")
def test_frames_of_one_file_are_sorted_by_their_place(explained: Any, volume: Any) -> None:
    files = volume(2)
    made = explained(own(enhanced(files)))
    whole = read_image(files[0].parent)
    np.testing.assert_array_equal(made["image"].array, whole.array)
    np.testing.assert_allclose(made["image"].geometry.affine, whole.geometry.affine, rtol=0, atol=1e-9)


@pytest.mark.usefixtures("blank_pages")
def test_monochrome1_is_dense_where_it_is_bright(explained: Any, plane: Any) -> None:
    data = own(pydicom.dcmread(plane(3)), PhotometricInterpretation="MONOCHROME1")
    stored = data.pixel_array.T.astype(float)
    grey = explained(data)["image"].array[0, :, :, 0]
    np.testing.assert_allclose(grey, 1 - stored / 65535, atol=1e-6)


@pytest.mark.usefixtures("blank_pages")
def test_a_mammogram_without_place_size_and_patient(explained: Any, plane: Any) -> None:
    absent = ("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "PixelSpacing")
    nobody = ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "StudyDate", "StudyID", "Laterality")
    made = explained(own(pydicom.dcmread(plane(4)), **dict.fromkeys((*absent, *nobody, "SliceThickness"))))
    assert made["objects"]["report"].PatientID == ""


def test_a_film_of_many_frames_is_refused_in_words(brought: Any) -> None:
    client, id, _ = brought(own(pydicom.dcmread(PYDICOM / "SC_rgb_rle_2frame.dcm")))
    for address in ("/infer/classify", "/infer/explain"):
        reply = client.post(address, params={"image": id}, data={"params": "{}"})
        assert (reply.status_code, reply.json()["error"]) == (422, "image")
        assert reply.json()["detail"].startswith(f"{id} cannot be used: it has 2 frames")
    reply = client.get("/datastore/image", params={"image": id})
    assert (reply.status_code, reply.json()["detail"][: len(id)]) == (422, id)


@pytest.mark.parametrize(
    ("absent", "reason"),
    [("Rows", "no DICOM images"), ("ImagePositionPatient", "position"), ("PixelData", "no pixels")],
)
def test_slices_that_lack_something_are_refused_in_words(absent: str, reason: str, brought: Any, volume: Any) -> None:
    study, series = generate_uid(), generate_uid()
    slices = [own(pydicom.dcmread(file), StudyInstanceUID=study, SeriesInstanceUID=series) for file in volume(5)]
    for each in slices if absent == "Rows" else slices[:1]:
        delattr(each, absent)
    client, id, folder = brought(*slices)
    reply = client.post("/infer/classify", params={"image": id}, data={"params": "{}"})
    assert (reply.status_code, reply.json()["error"]) == (422, "image"), reply.text
    assert reason in reply.json()["detail"]
    assert str(folder) not in reply.text
    assert client.get("/info/").status_code == 200


def test_a_damaged_image_is_refused_in_words(brought: Any) -> None:
    client, id, _ = brought(own(pydicom.dcmread(PYDICOM / "JPEG2000-embedded-sequence-delimiter.dcm")))
    reply = client.post("/infer/classify", params={"image": id}, data={"params": "{}"})
    assert (reply.status_code, reply.json()["error"]) == (422, "image")
