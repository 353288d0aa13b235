"""Figures for Prometheus, in a registry of the app's own."""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from lib.infers.task import HostedTask, Report, TaskAnswer
from lib.runtime.host import Host
from lib.runtime.worker import Cancelled
from otherwise.errors import CancelledError, OtherwiseError
from otherwise.images.image import Image

REQUEST_SECONDS = (0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100)
TEXT_SECONDS = 0.2
"""Age at which the text is generated anew, which takes tens of milliseconds."""
JOB_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000)

Figures = Callable[[], dict[str, float]]


class Metrics:
    """Metrics of a running server.

    Args:
        host: The worker, the device and the store, which are read at each request.
        figures: Returns the numbers of jobs by state, and of jobs that needed no run.
    """

    def __init__(self, host: Host, figures: Figures) -> None:
        self.registry = CollectorRegistry()
        self._text, self._looked, self._lock = b"", -TEXT_SECONDS, threading.Lock()
        self._requests = Histogram(
            "otherwise_request_seconds",
            "Seconds until the end of the answer, by template of the route.",
            ("method", "route", "status"),
            buckets=REQUEST_SECONDS,
            registry=self.registry,
        )
        self._stages = Histogram(
            "otherwise_job_stage_seconds",
            "Seconds that a stage of a job took.",
            ("kind", "stage"),
            buckets=JOB_SECONDS,
            registry=self.registry,
        )
        self._jobs = Histogram(
            "otherwise_job_seconds",
            "Seconds that a job took on the worker, and how it ended.",
            ("kind", "outcome"),
            buckets=JOB_SECONDS,
            registry=self.registry,
        )
        self._explanations = Counter(
            "otherwise_explanations",
            "Explanations made, by whether the classifier does decide otherwise.",
            ("valid",),
            registry=self.registry,
        )
        ProcessCollector(registry=self.registry)
        self.registry.register(_Gauges(host, figures))

    def request(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count an answered request."""
        self._requests.labels(method, route, str(status)).observe(seconds)

    def watch(self, kind: str, task: HostedTask) -> None:
        """Time the work of a task; tasks themselves do not know of metrics.

        Args:
            kind: Name of the task.
            task: Its ``answer`` is replaced by one that is timed.
        """
        answer = task.answer

        def timed(image: Image, arguments: dict[str, Any], cancelled: Cancelled, report: Report) -> TaskAnswer:
            with self._timed(kind, report) as timed_report:
                made = answer(image, arguments, cancelled, timed_report)
            if "counterfactual" in made.json:
                self._explanations.labels(str(bool(made.json["counterfactual"].get("valid"))).lower()).inc()
            return made

        task.__dict__["answer"] = timed

    @contextmanager
    def _timed(self, kind: str, report: Report) -> Iterator[Report]:
        begun = last = time.perf_counter()
        current, outcome = "", "done"

        def timed_report(stage: str, fraction: float) -> None:
            nonlocal current, last
            if stage != current:
                now = time.perf_counter()
                self._stages.labels(kind, current or "begin").observe(now - last)
                current, last = stage, now
            report(stage, fraction)

        try:
            yield timed_report
        except CancelledError:
            outcome = "cancelled"
            raise
        except OtherwiseError as error:
            outcome = error.code
            raise
        except BaseException:
            outcome = "internal"
            raise
        finally:
            now = time.perf_counter()
            self._stages.labels(kind, current or "begin").observe(now - last)
            self._jobs.labels(kind, outcome).observe(now - begun)

    def text(self) -> bytes:
        """Return everything in Prometheus's text format, at most ``TEXT_SECONDS`` old."""
        with self._lock:
            if time.monotonic() - self._looked >= TEXT_SECONDS:
                self._text, self._looked = generate_latest(self.registry), time.monotonic()
            return self._text


class _Gauges(Collector):
    """Values that are read when Prometheus asks."""

    def __init__(self, host: Host, figures: Figures) -> None:
        self.host = host
        self.figures = figures

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return []

    def collect(self) -> Iterator[GaugeMetricFamily]:
        worker = self.host.worker
        yield GaugeMetricFamily("otherwise_worker_alive", "Whether jobs are taken.", float(worker.alive))
        yield GaugeMetricFamily("otherwise_worker_running", "Whether the worker is busy.", float(worker.running))
        yield GaugeMetricFamily("otherwise_worker_waiting", "How much waits for the worker.", float(worker.waiting))
        jobs = GaugeMetricFamily("otherwise_jobs", "Jobs, by what became of them since the start.", labels=("state",))
        for name, value in self.figures().items():
            jobs.add_metric((name,), value)
        yield jobs
        try:
            free = shutil.disk_usage(self.host.store.root).free
            yield GaugeMetricFamily("otherwise_state_free_bytes", "Room on the disk of the state.", float(free))
        except OSError:
            pass  # the readiness reports it
        if "cuda" in self.host.device:
            yield from _gpu(self.host.device)


def _gpu(device: str) -> Iterator[GaugeMetricFamily]:
    import torch

    free, total = torch.cuda.mem_get_info(device)
    used = GaugeMetricFamily("otherwise_gpu_memory_bytes", "Memory of the GPU.", labels=("kind",))
    used.add_metric(("total",), total)
    used.add_metric(("free",), free)
    used.add_metric(("allocated",), torch.cuda.memory_allocated(device))
    used.add_metric(("reserved",), torch.cuda.memory_reserved(device))
    yield used
