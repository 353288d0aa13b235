"""What we write is read by programs that others wrote: dcmqi, pydicom-seg, highdicom and dcmjs."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import warnings
from collections.abc import Callable
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
import SimpleITK

from otherwise.report.dicom.write import write_dicom

KINDS = ["oblique CT", "plane in space", "mammogram", "enhanced CT"]
CHANGES = {
    "as it is": {},
    "lossy, not how nor how much": {"LossyImageCompression": "01"},
    "body part": {"BodyPartExamined": "CHEST"},
    "odd body part": {"BodyPartExamined": "SOMETHING ELSE"},
}


def dcmqi(command: str, path: Path, out: Path) -> Path:
    """Convert with dcmqi; a null dereference in it would be a negative exit status."""
    if shutil.which(command) is None and not os.environ.get("CI"):
        pytest.skip("dcmqi is not installed")
    out.mkdir()
    words = [command, "--inputDICOM", str(path), "--outputDirectory", str(out)]
    done = subprocess.run(
        [*words, *(["--outputType", "nrrd"] if command == "segimage2itkimage" else [])],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, f"{done.returncode}: {done.stdout[-800:]}{done.stderr[-800:]}"
    return out


@pytest.mark.usefixtures("blank_pages")
@pytest.mark.parametrize("kind", KINDS)
def test_dcmqi_reads_every_object_in_its_place(
    kind: str, source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source(kind)
    explanation = explained(path)
    files = write_dicom(explanation, path, tmp_path / "out")
    for name in ("effect", "change") if kind != "mammogram" else ():  # whose maps are pictures
        (found,) = dcmqi("paramap2itkimage", files[name], tmp_path / name).glob("*.n*rr*")
        image = SimpleITK.ReadImage(str(found))
        assert np.abs(SimpleITK.GetArrayFromImage(image)).max() > 0
    found = sorted(dcmqi("segimage2itkimage", files["regions"], tmp_path / "regions").glob("*.nrrd"))
    voxels = sum(int((SimpleITK.GetArrayFromImage(SimpleITK.ReadImage(str(file))) > 0).sum()) for file in found)
    assert voxels == int((explanation.volumes.regions.array > 0).sum())


@pytest.mark.usefixtures("blank_pages")
@pytest.mark.parametrize("kind", KINDS)
def test_pydicom_seg_and_highdicom_read_the_regions(
    kind: str, source: Callable, explained: Callable, tmp_path: Path
) -> None:
    pydicom_seg = pytest.importorskip("pydicom_seg")
    path = source(kind)
    explanation = explained(path)
    files = write_dicom(explanation, path, tmp_path / "out")
    expected = int((explanation.volumes.regions.array > 0).sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        read = pydicom_seg.SegmentReader().read(pydicom.dcmread(files["regions"]))
    assert sum(int((read.segment_data(number) > 0).sum()) for number in read.available_segments) == expected
    segmentation = hd.seg.segread(files["regions"])
    assert int((segmentation.pixel_array > 0).sum()) == expected
    first = segmentation.PerFrameFunctionalGroupsSequence[0]
    shared = segmentation.SharedFunctionalGroupsSequence[0]
    for name in ("PixelMeasuresSequence", "PlaneOrientationSequence", "PlanePositionSequence"):
        assert name in first or name in shared, name


@pytest.mark.usefixtures("blank_pages")
@pytest.mark.parametrize("changed", CHANGES)
@pytest.mark.parametrize("kind", ["oblique CT", "mammogram"])
def test_sources_that_leave_things_out_give_objects_that_dcmqi_and_dciodvfy_take(
    kind: str, changed: str, source: Callable, explained: Callable, tmp_path: Path
) -> None:
    path = source(kind)
    for file in [path] if path.is_file() else sorted(path.iterdir()):
        data = pydicom.dcmread(file)
        for name, value in CHANGES[changed].items():
            setattr(data, name, value)
        data.save_as(file)
    files = write_dicom(explained(path), path, tmp_path / "out")
    dcmqi("segimage2itkimage", files["regions"], tmp_path / "regions")
    if shutil.which("dciodvfy"):
        for file in files.values():
            result = subprocess.run(["dciodvfy", str(file)], capture_output=True, text=True, timeout=60, check=False)
            errors = [line for line in (result.stdout + result.stderr).splitlines() if line.startswith("Error")]
            assert errors == []
    if kind == "mammogram":  # whose maps are pictures
        return
    dcmqi("paramap2itkimage", files["effect"], tmp_path / "effect")
    region = pydicom.dcmread(files["effect"]).SharedFunctionalGroupsSequence[0].FrameAnatomySequence[0]
    assert region.AnatomicRegionSequence[0].CodeMeaning
    if changed == "body part":
        assert region.AnatomicRegionSequence[0].CodeMeaning == "Chest"


@pytest.mark.parametrize("kind", ["oblique CT", "mammogram"])
def test_dcmjs_reads_every_object(kind: str, source: Callable, explained: Callable, tmp_path: Path) -> None:
    folder = os.environ.get("OTHERWISE_DCMJS", "")
    if not folder or shutil.which("node") is None:
        pytest.skip("dcmjs is not installed: npm install dcmjs, and OTHERWISE_DCMJS=FOLDER/node_modules")
    path = source(kind)
    files = write_dicom(explained(path), path, tmp_path / "out")
    script = """
        const dcmjs = require("dcmjs"), fs = require("fs");
        const objects = process.argv.slice(1).map((file) => {
          const read = dcmjs.data.DicomMessage.readFile(new Uint8Array(fs.readFileSync(file)).buffer);
          const data = dcmjs.data.DicomMetaDictionary.naturalizeDataset(read.dict);
          return [data.SOPInstanceUID, Number(data.NumberOfFrames || 0)];
        });
        console.log(JSON.stringify(objects));
    """
    done = subprocess.run(
        ["node", "-e", script, *map(str, files.values())],
        capture_output=True, text=True, timeout=120, check=False, env={**os.environ, "NODE_PATH": folder},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    printed = json.loads(done.stdout.strip().splitlines()[-1])
    read = [pydicom.dcmread(file, stop_before_pixels=True) for file in files.values()]
    assert printed == [[str(data.SOPInstanceUID), int(data.get("NumberOfFrames", 0))] for data in read]
