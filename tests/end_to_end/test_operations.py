"""A server in a process of its own: what its log never says, and how it ends."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path

import numpy as np
import pydicom
import pytest
import requests
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from support.serve_process import SECONDS, Process, serving

pytestmark = pytest.mark.long

SENTINEL = "Sentinel"
"""Stands in every place where a patient's name can stand."""


def write_dicom(path: Path) -> None:
    """A mammogram of a patient whose name is known, with a date and a unique identifier that are not valid."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = "1.2.840.10008.5.1.4.1.1.1.2"
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    found = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    found.is_little_endian, found.is_implicit_VR = True, False
    found.SOPClassUID, found.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    found.StudyInstanceUID, found.SeriesInstanceUID, found.Modality = generate_uid(), generate_uid(), "MG"
    found.PatientName, found.PatientID = f"{SENTINEL}^Anna", SENTINEL
    found.ReferringPhysicianName = found.InstitutionName = found.StudyDescription = SENTINEL
    array = next(mammograms(seed=5, count=1, settings=MammogramSettings())).image.array[0, :, :, 0].T
    found.Rows, found.Columns = array.shape
    found.SamplesPerPixel, found.PhotometricInterpretation, found.PixelRepresentation = 1, "MONOCHROME2", 0
    found.BitsAllocated, found.BitsStored, found.HighBit = 16, 16, 15
    found.RescaleSlope, found.RescaleIntercept = 0.001, 0
    found.ImagerPixelSpacing = found.PixelSpacing = [0.5, 0.5]
    found.PixelData = np.round(1000 * array).astype(np.uint16).tobytes()
    with pydicom.config.disable_value_validation():
        found.PatientBirthDate, found.StudyTime, found.FrameOfReferenceUID = SENTINEL, SENTINEL, SENTINEL
        found.save_as(path)


@pytest.fixture
def studies(tmp_path: Path) -> Path:
    folder = tmp_path / "studies"
    folder.mkdir()
    write_dicom(folder / f"{SENTINEL}.dcm")
    (folder / f"{SENTINEL} broken.dcm").write_bytes((folder / f"{SENTINEL}.dcm").read_bytes()[:3000])
    (folder / f"{SENTINEL} broken.nii.gz").write_bytes(SENTINEL.encode())
    write_image(next(mammograms(seed=6, count=1, settings=MammogramSettings())).image, folder / f"{SENTINEL} 2.nrrd")
    return folder


def ask_everything(server: Process, studies: Path) -> dict[str, int]:
    """Name the patient wherever a client can; returns what was answered."""
    session = requests.Session()
    url, answered = server.url, {}

    def ask(method: str, address: str, **more: object) -> requests.Response:
        reply = session.request(method, url + address, timeout=SECONDS, **more)  # type: ignore[arg-type]
        answered.setdefault(f"{method} {address}", reply.status_code)
        return reply

    files = sorted(studies.glob(f"{SENTINEL}*"))
    for model in ("classify", "explain"):
        for name in (file.name.split(".")[0] for file in files):
            ask("POST", f"/infer/{model}?image={name}")
        ask("POST", f"/infer/{model}?image=../{SENTINEL}", data={"params": json.dumps({"image": SENTINEL})})
        ask("POST", f"/infer/{model}?image={SENTINEL}", data={"params": "{" + SENTINEL})
    for file in files:
        with file.open("rb") as content:
            ask("POST", "/infer/classify", files={"file": (file.name, content)})
        with file.open("rb") as content:
            put = ask("PUT", "/session/", files={"files": (file.name, content)})
        if put.ok:
            ask("POST", f"/infer/classify?session_id={put.json()['session_id']}")
            ask("DELETE", f"/session/{put.json()['session_id']}")
    for address in ("/datastore/", "/datastore/?output=all", "/info/", "/otherwise/studies", "/otherwise/jobs"):
        ask("GET", address)
    for address in ("/datastore/image", "/datastore/image/info", "/datastore/label", "/datastore/label/info"):
        ask("GET", f"{address}?image={SENTINEL}&label={SENTINEL}&tag={SENTINEL}")
        ask("GET", f"{address}?image={SENTINEL}/..&label={SENTINEL}&tag=final")
    ask("PUT", f"/datastore/image/info?image={SENTINEL}", data={"info": json.dumps({"name": SENTINEL})})
    ask("PUT", f"/datastore/label?image={SENTINEL}", files={"label": (f"{SENTINEL}.nrrd", files[0].read_bytes())})
    ask("POST", "/activelearning/random", json={"client_id": SENTINEL})
    ask("POST", "/otherwise/jobs", json={"kind": "classify", "image": SENTINEL})
    ask("POST", "/otherwise/annotations", json={"image": SENTINEL, "comment": SENTINEL})
    ask("GET", f"/{SENTINEL}?{SENTINEL}={SENTINEL}", headers={SENTINEL: SENTINEL})
    ask("POST", "/train/agent", data=SENTINEL)
    return answered


def test_no_patient_is_ever_named_in_the_log(studies: Path, tmp_path: Path) -> None:
    options = ("--studies", studies, "--state", tmp_path / "state", "--log", "json", "--device", "cpu")
    with serving(tmp_path, *options) as server:
        answered = ask_everything(server, studies)
        server.terminate()
        printed = server.process.communicate(timeout=SECONDS)[0]

    log = server.log.read_text()
    assert answered[f"POST /infer/classify?image={SENTINEL}"] == 200
    assert answered[f"POST /infer/explain?image={SENTINEL} 2"] == 200
    assert [line for line in (printed + log).splitlines() if SENTINEL in line] == []
    assert "/infer/{model} 200" in log
    lines = [json.loads(line) for line in log.splitlines()]
    assert {"time", "level", "logger", "message"} <= set.intersection(*(set(line) for line in lines))


def test_the_running_job_ends_well_and_the_next_one_does_not_begin(studies: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    with serving(tmp_path, "--studies", studies, "--state", state, "--device", "cpu", "--grace", 60) as server:
        job = {"kind": "explain", "image": f"{SENTINEL} 2"}
        running, waiting = (
            requests.post(
                f"{server.url}/otherwise/jobs", json={**job, "params": {"seed": seed}}, timeout=SECONDS
            ).json()
            for seed in (1, 2)
        )
        until(lambda: server.get(f"/otherwise/jobs/{running['id']}").json()["state"] == "running")
        assert server.get(f"/otherwise/jobs/{waiting['id']}").json()["state"] == "queued"

        server.terminate()

        assert server.process.wait(SECONDS) == 0
        with pytest.raises(requests.ConnectionError):
            server.get("/otherwise/health")
    assert len(list((state / "explanations").glob("*/explanation.json"))) == 1
    assert "Traceback" not in server.log.read_text()


def test_without_grace_or_by_ctrl_c_the_server_ends_at_once(studies: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    write_large(studies / "large.nrrd")
    with serving(tmp_path, "--studies", studies, "--state", state, "--device", "cpu") as server:
        job = {"kind": "explain", "image": "large"}
        id = requests.post(f"{server.url}/otherwise/jobs", json=job, timeout=SECONDS).json()["id"]
        until(lambda: server.get(f"/otherwise/jobs/{id}").json()["state"] == "running")

        server.terminate(signal.SIGINT)

        assert server.process.wait(SECONDS) == 0
    assert list((state / "explanations").glob("*/explanation.json")) == []


def write_large(path: Path) -> None:
    """An image whose explanation takes much longer than a signal does."""
    small = next(mammograms(seed=6, count=1, settings=MammogramSettings())).image.array
    array = small.repeat(30, axis=1).repeat(30, axis=2)
    geometry = Geometry((array.shape[1], array.shape[2], array.shape[3]), np.diag([0.1, 0.1, 1.0, 1.0]))
    write_image(Image(array, geometry, dimension=2), path)


def until(true: object) -> None:
    """Ask until it is so."""
    end = time.monotonic() + SECONDS
    while not true():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)
