"""A whole CT of a real archive: searched by a classifier of patches, a find explained in its place and stored back."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pydicom
import pytest

from otherwise.images.reading import read_image
from otherwise.phantoms.dicom import write_dicom
from otherwise.phantoms.whole_ct import WholeCtSettings, whole_cts

if TYPE_CHECKING:
    from conftest import Orthanc, Served

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    phantom = next(whole_cts(seed=0, count=1, settings=WholeCtSettings(size=(160, 160, 72))))
    return sorted(write_dicom(phantom.image, tmp_path_factory.mktemp("ct") / "series").iterdir())


@pytest.fixture(scope="module")
def served(orthanc: Orthanc, series: list[Path], serve: Callable[..., Any]) -> Iterator[Served]:
    orthanc.send(*series)
    with serve(orthanc, "nodule_patch_classifier", "nodule_patch_agent") as running:
        yield running


def test_a_find_is_explained_in_its_place_and_stored(
    served: Served, orthanc: Orthanc, series: list[Path], uid: Any
) -> None:
    id, whole = uid(series[0]), read_image(series[0].parent)
    found = served.job(kind="find", image=id)
    assert found["state"] == "done", found
    first = found["result"]["finds"][0]

    done = served.job(kind="explain", image=id, params={"find": 1})
    assert done["state"] == "done", done
    explanation = done["result"]
    assert explanation["place"]["shape"] == list(whole.geometry.shape)
    low, high = np.array(explanation["place"]["low"]), np.array(explanation["place"]["high"])
    assert (low <= first["low"]).all()
    assert (high >= first["high"]).all()

    reply = served.post(f"/otherwise/explanations/{explanation['id']}/store")
    assert (reply.status_code, reply.json()["failed"]) == (200, []), reply.text
    stored = {one["name"]: orthanc.instance(one["instance"]) for one in reply.json()["stored"]}
    slices = {str(pydicom.dcmread(path).SOPInstanceUID): path for path in series}
    regions = stored["regions"]
    assert (regions.Columns, regions.Rows) == whole.geometry.shape[:2]
    for frame in regions.PerFrameFunctionalGroupsSequence:
        source = frame.DerivationImageSequence[0].SourceImageSequence[0].ReferencedSOPInstanceUID
        place = frame.PlanePositionSequence[0].ImagePositionPatient
        np.testing.assert_allclose(place, pydicom.dcmread(slices[source]).ImagePositionPatient, atol=1e-6)
    change = stored["change"]
    values = np.frombuffer(change.FloatPixelData, "<f4").reshape(-1, change.Rows, change.Columns)
    name = explanation["files"]["difference"]
    (series[0].parent.parent / name).write_bytes(
        served.get(f"/otherwise/explanations/{explanation['id']}/files/{name}").content
    )
    difference = read_image(series[0].parent.parent / name).array[0]
    assert np.abs(values).max() == np.abs(difference).max()
    np.testing.assert_allclose(values.sum(dtype=float), difference.sum(dtype=float), rtol=1e-6)
