"""A job that does not fit into the device's memory is done on the CPU, and said to be too large if it fits nowhere."""

from __future__ import annotations

import importlib
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from otherwise.agent.bundle import load_agent
from otherwise.blackbox.loading import load_classifier
from otherwise.errors import BundleError
from otherwise.images.writing import write_image
from otherwise.registry.registry import Model, PairVersion, Registry, RegistryError, now, pair_id
from support.app_in_process import open_app

SHORT = torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")


@pytest.fixture
def server(app_class: Any, new_plane: Any, new_explainer: Any, tmp_path: Path) -> Any:
    """A server that believes to have a GPU, the models there, and the models on the CPU."""
    studies = tmp_path / "studies"
    write_image(new_plane(1, 0.1), studies / "dark.nrrd")
    conf = {"state": str(tmp_path / "state"), "device": "cpu"}
    with open_app(app_class, studies, conf, new_explainer()) as (client, app):
        on_cpu = new_explainer()
        loaded: list[tuple[str, str]] = []

        def load(*versions: str) -> Any:
            loaded.append(versions)
            return on_cpu

        fallback = importlib.import_module("lib.runtime.cpu_fallback").CpuFallback(app.host, load)
        app.host.device, app.host.with_fallback = "cuda", fallback.run
        yield client, app.host.explainer, on_cpu, loaded, app


def explain(client: Any, seed: int) -> Any:
    job = client.post("/otherwise/jobs", json={"image": "dark", "params": {"seed": seed}}).json()
    end = time.monotonic() + 20
    while job["state"] in ("queued", "running") and time.monotonic() < end:
        job = client.get(f"/otherwise/jobs/{job['id']}").json()
    return job


def test_what_does_not_fit_is_done_on_the_cpu_and_the_next_on_the_device_again(server: Any) -> None:
    client, on_gpu, on_cpu, loaded, app = server
    for seed in (1, 2):
        with on_gpu.failing(SHORT):
            assert explain(client, seed)["state"] == "done"
        assert on_cpu.calls[-1]["seed"] == seed
        assert app.host.explainer is on_gpu
    assert loaded == [("c0ffee", "decade")], "the models are loaded once"
    assert explain(client, 3)["state"] == "done"
    assert [call["seed"] for call in on_cpu.calls] == [1, 2]
    with on_gpu.failing(SHORT):
        reply = client.post("/infer/classify", params={"image": "dark"})
        assert (reply.status_code, reply.json()["label"]) == (200, "benign")


def test_the_pair_for_the_cpu_comes_from_the_registry(app_class: Any, tmp_path: Path) -> None:
    classifier, agent = load_classifier("mammogram_classifier"), load_agent("mammogram_agent")
    versions = (classifier.version, agent.version)
    registry = Registry(tmp_path)
    load = importlib.import_module("lib.runtime.cpu_fallback").registered_pair_loader(registry, trust_code=False)
    with pytest.raises(RegistryError):
        load(*versions)
    models = (Model("c", versions[0], "mammogram_classifier"), Model("a", versions[1], "mammogram_agent"))
    registry.add(PairVersion(pair_id(*versions), now(), *models))

    pair = load(*versions)

    assert (pair.classifier.version, pair.agent.version) == versions


def test_what_fits_nowhere_is_said_to_be_too_large(server: Any) -> None:
    client, on_gpu, on_cpu, _, app = server
    with on_gpu.failing(SHORT), on_cpu.failing(MemoryError()):
        job = explain(client, 1)
        reply = client.post("/infer/classify", params={"image": "dark"})
    assert (job["state"], job["error"]["error"], bool(job["error"]["hint"])) == ("failed", "memory", True)
    assert (reply.status_code, reply.json()["error"]) == (507, "memory")
    app.host.device = "cpu"
    with on_gpu.failing(MemoryError()):
        assert explain(client, 1)["error"]["error"] == "memory"


def test_models_that_cannot_be_loaded_on_the_cpu_leave_the_shortage(server: Any, app_class: Any) -> None:
    client, on_gpu, _, _, app = server

    def gone(*versions: str) -> Any:
        raise BundleError("There is no bundle.", "Restore it.")

    app.host.with_fallback = importlib.import_module("lib.runtime.cpu_fallback").CpuFallback(app.host, gone).run
    with on_gpu.failing(SHORT):
        assert explain(client, 1)["error"]["error"] == "memory"
    assert explain(client, 1)["state"] == "done"
    with on_gpu.failing(RuntimeError("something else")):
        assert explain(client, 2)["error"]["error"] == "internal"
