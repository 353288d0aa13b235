"""``otherwise serve`` and ``otherwise demo`` as a user types them."""

from __future__ import annotations

import json
import re
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import requests
from rich.console import Console

from otherwise.cli.demo import DemoOptionError, chosen_source
from otherwise.cli.options.network import ServeError, listen, refuse_open_door
from otherwise.cli.serve import limits
from otherwise.datasets import lidc
from otherwise.demo.images import images_of_folder, write_studies
from otherwise.demo.server import server
from otherwise.demo.setup import DemoError, Setup, claim
from otherwise.demo.story import choose, run_demo
from otherwise.images.image import Geometry, Image
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image
from otherwise.report.folder import read_explanation
from support import forked_python

pytestmark = pytest.mark.long

LIDC = Path(__file__).parents[2].parent / "shared" / "data" / "lidc_nodules"

Run = Callable[..., subprocess.CompletedProcess[str]]


def one_line(result: subprocess.CompletedProcess[str]) -> str:
    assert result.returncode != 0
    assert "Traceback" not in result.stderr
    (line,) = result.stderr.strip().splitlines()
    return line


def test_the_demo_does_the_whole_job(otherwise: Run, tmp_path: Path) -> None:
    out = tmp_path / "demo"

    result = otherwise("demo", "--once", "--out", out, "--device", "cpu")

    assert result.returncode == 0, result.stderr + (out / "server.log").read_text(errors="replace")[-2000:]
    (folder,) = (out / "explanations").iterdir()
    content = json.loads((folder / "explanation.json").read_text(encoding="utf-8"))
    target = content["counterfactual"]["probabilities"][content["target"]]
    assert target > content["prediction"]["probabilities"][content["target"]], "the agent moves towards the target"
    assert content["counterfactual"]["valid"]
    assert target > 0.5
    assert (folder / "report.html").stat().st_size > 10_000
    for names in content["files"].values():
        for name in [names] if isinstance(names, str) else names:
            assert (folder / name).stat().st_size
    assert len(list((out / "studies" / "phantoms").glob("*.nrrd"))) == 8
    (url,) = set(re.findall(r"http://127\.0\.0\.1:\d+", result.stdout))
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/info/", timeout=5)


def test_the_demo_explains_ones_own_volumes_with_ones_own_2d_models_slice_by_slice(tmp_path: Path) -> None:
    images = tmp_path / "mine"
    for seed in (1, 2):
        noise = np.random.default_rng(seed).uniform(size=(1, 96, 96, 5)).astype(np.float32)
        write_image(Image(noise, Geometry((96, 96, 5), np.eye(4))), images / f"case {seed}.nii.gz")
    (images / "notes.txt").write_text("no image")
    setup = Setup(tmp_path / "out", "folder", images, "mammogram_classifier", "mammogram_agent", "cpu", once=True)

    report = run_demo(setup, Console(quiet=True))

    assert report.is_file()
    assert {path.name for path in (tmp_path / "out" / "studies" / "folder").glob("*.nrrd")} == {
        "case-1.nrrd",
        "case-2.nrrd",
    }
    explanation = read_explanation(report.parent)
    assert explanation.slice_index == 2
    difference = explanation.volumes.difference
    assert difference.geometry.shape == (96, 96, 5)
    assert {int(k) for k in np.flatnonzero(np.abs(difference.array[0]).sum(axis=(0, 1)))} <= {2}


@pytest.mark.skipif(not LIDC.is_dir(), reason="real CT nodules (shared/data/lidc_nodules) are not here")
def test_the_demo_explains_real_ct_nodules_in_their_own_geometry(otherwise: Run, tmp_path: Path) -> None:
    out = tmp_path / "demo"

    result = otherwise("demo", "--once", "--data", "lidc", "--path", LIDC, "--out", out, "--device", "cpu")

    assert result.returncode == 0, result.stderr
    (folder,) = (out / "explanations").iterdir()
    explanation = read_explanation(folder)
    source = read_image(LIDC / "image" / f"{explanation.image_id}.nii.gz")
    np.testing.assert_allclose(explanation.volumes.difference.geometry.affine, source.geometry.affine, atol=1e-4)
    np.testing.assert_array_equal(explanation.volumes.original.array, source.array)
    assert explanation.slice_index == source.geometry.shape[2] // 2
    changed = np.abs(explanation.volumes.difference.array[0]).sum(axis=(0, 1)) > 0
    assert np.flatnonzero(changed).tolist() in ([], [explanation.slice_index])
    assert lidc.split_of(explanation.image_id[:14]) == "test"


def test_a_server_that_cannot_start_is_one_line_and_leaves_nothing_running(otherwise: Run, tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    write_image(Image(np.eye(8)[None, :, :, None], Geometry((8, 8, 1), np.eye(4))), tmp_path / "images" / "a.nrrd")
    words = ["--images", tmp_path / "images", "--classifier", tmp_path / "missing", "--agent", "mammogram_agent"]

    line = one_line(otherwise("demo", "--once", "--out", tmp_path / "out", *words))

    assert "missing" in line


def test_serve_refuses_what_cannot_work(otherwise: Run, tmp_path: Path) -> None:
    assert "no folder" in one_line(otherwise("serve", "--studies", tmp_path / "nowhere"))
    line = one_line(otherwise("serve", "--studies", tmp_path, "--host", "0.0.0.0"))
    assert "MONAI_LABEL_AUTH_ENABLE" in line


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_may_always_ask(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MONAI_LABEL_AUTH_ENABLE", raising=False)
    refuse_open_door(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_others_may_ask_only_where_somebody_checks_who_they_are(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MONAI_LABEL_AUTH_ENABLE", raising=False)
    with pytest.raises(ServeError):
        refuse_open_door(host)
    monkeypatch.setenv("MONAI_LABEL_AUTH_ENABLE", "true")
    refuse_open_door(host)


def test_limits_are_pairs() -> None:
    assert limits(["keep_days=90", "waiting=8"]) == {"keep_days": "90", "waiting": "8"}
    for wrong in ("keep_days", "keep_days=", "=90"):
        with pytest.raises(ServeError, match="KEY=VALUE"):
            limits([wrong])


def test_a_taken_port_is_told_before_models_are_loaded(taken_port: int) -> None:
    with pytest.raises(ServeError, match=str(taken_port)):
        listen("127.0.0.1", taken_port)


def test_replies_do_not_wait_for_acknowledgements() -> None:
    with listen("127.0.0.1", 0) as door, socket.create_connection(door.getsockname()):
        connection, _ = door.accept()
        with connection:
            assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_options_of_the_demo_that_do_not_go_together() -> None:
    here = Path()
    assert chosen_source(None, None, None, None, None) == ("phantoms", None, "mammogram")
    assert chosen_source(None, None, None, "lidc", here) == ("lidc", here, "lidc")
    assert chosen_source(here, "c", "a", None, None)[:2] == ("folder", here)
    for wrong in ((here, None, None, None, None), (here, "c", "a", "lidc", here), (None, None, None, "lidc", None),
                  (None, None, None, None, here), (None, None, None, "mnist", here)):  # fmt: skip
        with pytest.raises(DemoOptionError):
            chosen_source(*wrong)


def test_the_demo_writes_into_its_own_folders_only(tmp_path: Path) -> None:
    claim(tmp_path / "new")
    (tmp_path / "new" / "more").touch()
    claim(tmp_path / "new")

    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter1.tex").touch()
    with pytest.raises(DemoError, match="thesis"):
        claim(tmp_path / "thesis")
    with pytest.raises(DemoError):
        claim(tmp_path / "thesis" / "chapter1.tex")


def test_a_folder_without_images_is_told(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.raises(DemoError, match="read as an image"):
        list(images_of_folder(tmp_path))


def test_images_of_one_name_stay_apart(tmp_path: Path) -> None:
    images = [Image(np.full((1, 4, 4, 1), value), Geometry((4, 4, 1), np.eye(4)), "A/B 1") for value in (1, 2)]
    assert write_studies(images, tmp_path) == {"A-B-1": 1, "A-B-1-1": 1}
    assert len(list(tmp_path.iterdir())) == 2


def test_the_surest_finding_is_explained() -> None:
    def answer(malignant: float) -> dict[str, object]:
        scores = [{"label": "benign", "score": 1 - malignant}, {"label": "malignant", "score": malignant}]
        return {"label": "malignant" if malignant > 0.5 else "benign", "prediction": scores}

    assert choose({"a": answer(0.01), "b": answer(0.8), "c": answer(0.6)}) == "b"
    assert choose({"a": answer(0.4), "b": answer(0.1)}) == "b"


def test_a_server_that_dies_says_why(tmp_path: Path) -> None:
    setup = Setup(tmp_path, "test", None, str(tmp_path / "no_bundle"), "mammogram_agent", device="cpu")
    with server(setup, tmp_path / "no studies", forked_python.start) as running:
        running.process.wait(60)
        with pytest.raises(DemoError, match="no studies"):
            running.wait_until_ready()
