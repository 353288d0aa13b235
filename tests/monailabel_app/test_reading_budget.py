"""Images of any user, and however compressed, never take more memory together than the server gives to images."""

from __future__ import annotations

import gc
import gzip
import importlib
import os
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import psutil
import pytest
from fastapi.testclient import TestClient

from otherwise.errors import ImageError, OtherwiseError
from otherwise.images.formats.limits import check_size, peak_bytes
from otherwise.images.image import Geometry, Image
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image
from otherwise.resources import app_folder
from support.app_in_process import open_app

if TYPE_CHECKING:
    from conftest import Running

MIB = 2**20


def nifti(shape: tuple[int, int, int], slope: float = 0.0, code: int = 2, bits: int = 8, noise: bool = False) -> bytes:
    """A gzipped NIfTI of zeros (or noise), which takes far more memory than bytes on the wire."""
    header = bytearray(352)
    header[:4] = (348).to_bytes(4, "little")
    header[40:56] = np.array([3, *shape, 1, 1, 1, 1], "<i2").tobytes()
    header[70:74] = np.array([code, bits], "<i2").tobytes()
    header[76:108] = np.ones(8, "<f4").tobytes()
    header[108:112] = np.float32(352).tobytes()
    header[112:116] = np.float32(slope).tobytes()
    header[344:348] = b"n+1\0"
    size = int(np.prod(shape)) * bits // 8
    voxels = np.random.default_rng(0).integers(0, 2, size, np.uint8).tobytes() if noise else bytes(size)
    return gzip.compress(bytes(header) + voxels, 1)


@pytest.fixture
def budgets(app_class: Any) -> Any:
    return importlib.import_module("lib.storage.reading_budget")


def image_of(size: int) -> Image:
    """Announce and make an image as a reader does, with a peak of ``peak_bytes(size, 1)``."""
    check_size((size,), 1, 2**40)
    return Image(np.zeros((1, size, 1, 1), np.uint8), Geometry((size, 1, 1), np.eye(4)))


def test_an_image_holds_its_memory_until_nobody_refers_to_it(budgets: Any) -> None:
    budget = budgets.ReadingBudget(100 * MIB)
    image = budget.read(lambda: image_of(MIB))
    assert budget.used == MIB
    del image
    gc.collect()
    assert budget.used == 0


def test_what_takes_more_than_all_memory_is_refused_before_a_voxel_is_read(budgets: Any) -> None:
    budget = budgets.ReadingBudget(10 * MIB)
    with pytest.raises(ImageError, match="memory"):
        budget.read(lambda: image_of(5 * MIB))
    assert budget.used == 0


def test_reads_wait_for_each_other_and_give_up_after_a_while(budgets: Any) -> None:
    budget = budgets.ReadingBudget(2 * peak_bytes(MIB, 1), patience=0.2)
    inside, go_on = threading.Event(), threading.Event()

    def slow() -> Image:
        image = image_of(MIB)
        inside.set()
        assert go_on.wait(20)
        return image

    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(budget.read, slow, "anna")
        assert inside.wait(20)
        second = budget.read(lambda: image_of(MIB), "ben")
        with pytest.raises(OtherwiseError) as caught:
            budget.read(lambda: image_of(MIB), "cleo")
        assert (caught.value.status, caught.value.code) == (429, "busy")
        waiting = threading.Thread(target=lambda: budget.read(lambda: image_of(MIB), "cleo", 20))
        waiting.start()
        go_on.set()
        first.result(20)
        waiting.join(20)
        assert not waiting.is_alive(), "it was let in as soon as there was memory"
    assert second is not None


def test_one_user_cannot_hold_all_memory(budgets: Any) -> None:
    budget = budgets.ReadingBudget(4 * peak_bytes(MIB, 1), patience=0)
    held: list[Image] = []

    def hoard() -> None:
        while True:
            held.append(budget.read(lambda: image_of(MIB), "greedy"))

    with pytest.raises(OtherwiseError, match="Other images"):
        hoard()
    assert budget.used <= budget.total / 2
    assert budget.read(lambda: image_of(MIB), "modest") is not None


@pytest.mark.parametrize("shape", [(64, 64, 64), (300, 200, 7)])
@pytest.mark.parametrize(
    ("slope", "code", "bits"), [(0.0, 2, 8), (0.01, 2, 8), (0.01, 4, 16), (0.0, 16, 32), (0.5, 64, 64)]
)
def test_reading_never_takes_more_than_was_announced(
    tmp_path: Path, shape: tuple[int, int, int], slope: float, code: int, bits: int
) -> None:
    import tracemalloc

    from otherwise.images.formats.limits import reading_size_checked_by

    path = tmp_path / "a.nii.gz"
    path.write_bytes(nifti(shape, slope, code, bits, noise=code == 2))
    announced: list[int] = []
    tracemalloc.start()
    try:
        with reading_size_checked_by(lambda declared: announced.append(declared.peak_bytes)):
            image = read_image(path)
        np.isfinite(image.array).all()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak <= max(announced) + 40 * MIB, "pieces of the stream and tables of codecs are no voxels"


@pytest.fixture
def server(running: Running, app_class: Any, tmp_path: Path) -> Iterator[tuple[TestClient, Any]]:
    noise = np.random.default_rng(1).uniform(0, 0.2, (1, 8, 6, 1)).astype(np.float32)
    write_image(Image(noise, Geometry((8, 6, 1), np.eye(4)), dimension=2), tmp_path / "studies" / "dark.nrrd")
    conf = {"state": str(tmp_path / "state"), "device": "cpu", "reading_mib": "64"}
    with open_app(app_class, tmp_path / "studies", conf, type(running.explainer)()) as made:
        yield made


def post(client: TestClient, content: bytes) -> Any:
    return client.post("/infer/classify", files={"file": ("a.nii.gz", content)}, data={"params": "{}"})


def test_bombs_of_a_few_bytes_are_refused_and_leave_nothing_behind(server: tuple[TestClient, Any]) -> None:
    client, app = server
    too_large, constant = nifti((256, 256, 512), 0.01), nifti((128, 128, 300), 0.01)
    assert len(too_large) < MIB
    process = psutil.Process()
    post(client, constant)
    gc.collect()
    before = process.memory_info().rss
    for content in [too_large, constant] * 6:
        reply = post(client, content)
        assert reply.status_code == 422, reply.text
        assert set(reply.json()) == {"error", "detail", "hint"}
    assert app.host.reading.used == 0
    assert process.memory_info().rss - before < 60 * MIB, "twelve refused files took 400 MiB when they were kept"


def test_many_at_once_are_answered_or_told_when_to_come_back(server: tuple[TestClient, Any]) -> None:
    client, app = server
    app.host.reading.patience = 1.0  # those that have to wait are refused sooner
    content = nifti((128, 128, 200), 0.01, noise=True)
    most, stop = [0], threading.Event()

    def watch() -> None:
        while not stop.wait(0.001):
            most[0] = max(most[0], app.host.reading.used)

    watching = threading.Thread(target=watch)
    watching.start()
    with ThreadPoolExecutor(6) as pool:
        replies = list(pool.map(lambda _: post(client, content), range(6)))
    stop.set()
    watching.join()
    for reply in replies:
        assert reply.status_code in (200, 429), reply.text
        assert reply.status_code == 200 or "Retry-After" in reply.headers
    assert any(reply.status_code == 200 for reply in replies)
    assert most[0] <= app.host.reading.total
    assert client.get("/otherwise/health/ready").status_code == 200


def test_within_limited_memory_a_bomb_is_an_error_and_not_the_end_of_the_process(tmp_path: Path) -> None:
    """With the address space of a small container, as the kernel would enforce it."""
    (tmp_path / "bomb.nii.gz").write_bytes(nifti((512, 512, 512), 0.01))
    script = f"""
        import resource, sys
        sys.path.insert(0, {str(app_folder())!r})
        from concurrent.futures import ThreadPoolExecutor
        from pathlib import Path
        from lib.storage.reading_budget import ReadingBudget
        from otherwise.errors import ImageError
        from otherwise.images.reading import read_image
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + 768 * 2**20,) * 2)
        budget = ReadingBudget(256 * 2**20)
        def read(number):
            try:
                budget.read(lambda: read_image(Path({str(tmp_path / "bomb.nii.gz")!r})), str(number))
            except ImageError as error:
                return error.detail
        with ThreadPoolExecutor(2) as pool:
            print(*pool.map(read, range(6)), sep="\\n")
    """
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count("and this server has") == 6, done.stdout


def test_the_memory_of_a_container_or_a_service_counts(budgets: Any, tmp_path: Path) -> None:
    machine, root, own = psutil.virtual_memory().total, tmp_path / "cgroup", tmp_path / "own"
    service = root / "system.slice" / "otherwise.service"
    service.mkdir(parents=True)
    own.write_text("0::/system.slice/otherwise.service\n")
    assert budgets.memory_limit(root, own) == machine
    (service / "memory.max").write_text("max\n")
    (root / "system.slice" / "memory.max").write_text(f"{2 * 2**30}\n")
    assert budgets.memory_limit(root, own) == min(2 * 2**30, machine)
    (root / "memory.max").write_text(f"{2**30}\n")
    assert budgets.memory_limit(root, own) == 2**30
    assert budgets.memory_limit(root, tmp_path / "absent") == 2**30
    (root / "memory.max").unlink()
    (root / "memory" / "docker").mkdir(parents=True)
    (root / "memory" / "docker" / "memory.limit_in_bytes").write_text(f"{2**29}\n")
    own.write_text("9:memory:/docker\n0::/\n")
    assert budgets.memory_limit(root, own) == 2**29
