"""Sharing of the machine by tests: workers, tests that run alone, and a limit of time for each test.

The whole suite is spread over workers of pytest-xdist; a part of it, named on the command line, runs in one process
and so begins at once. A file's tests stay together, since they share servers and models. A test marked ``timing``
runs while no other test does.
"""

from __future__ import annotations

import gc
import os
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil
import pytest

from support import forked_python

try:
    import fcntl
except ImportError:  # Windows: tests that measure time have company there
    fcntl = None  # type: ignore[assignment]

GIB_A_WORKER = 4
MOST_WORKERS = 8
WORKERS_A_CORE = 1.5
"""More than one, since tests wait for archives, streams and locks."""
SECONDS = 8.0
"""CPU time that a test may take on a quick machine if it is not marked ``long`` or ``slow``."""
ALLOWANCE = 4.0
"""A test fails when it takes so many times longer, since machines differ in speed."""

_LOCKS = "OTHERWISE_TESTS_LOCKS"
_TAKEN = pytest.StashKey[float]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Return how many workers ``-n auto`` means: none for a part of the suite."""
    if config.args_source is not pytest.Config.ArgsSource.TESTPATHS or config.option.usepdb:
        return 0
    memory = psutil.virtual_memory().available / 2**30
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min(int(WORKERS_A_CORE * cores), int(memory / GIB_A_WORKER), MOST_WORKERS))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_setupnodes(config: pytest.Config, specs: list[Any]) -> None:
    """Set up what all workers share: one thread each for numerical work, the locks, and the fork server."""
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ[_LOCKS] = str(config._tmp_path_factory.getbasetemp())  # type: ignore[attr-defined]
    forked_python.share_fork_server()


@pytest.hookimpl(wrapper=True)
def pytest_collection(session: pytest.Session) -> Generator[None, Any, Any]:
    """Collect no garbage while modules are imported, and never look at them again.

    A million and a half objects of PyTorch, MONAI and all tests live as long as the process. Looking through them time
    and again takes a quarter of the time of the imports.
    """
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the files that have long tests, then with those that have many tests.

    If a long file came last, one worker would run it while the others have nothing to do.
    """
    if hasattr(config, "workerinput"):
        counts = Counter(item.path for item in items)
        long = {item.path for item in items if item.get_closest_marker("long")}
        items.sort(key=lambda item: (item.path not in long, -counts[item.path], item.path))


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, Any, Any]:
    """Set up in company, also for a test that measures time: fixtures start servers and train models."""
    with _room(alone=False):
        return (yield)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, Any, Any]:
    """Tear down in company."""
    with _room(alone=False):
        return (yield)


@contextmanager
def _room(alone: bool) -> Iterator[None]:
    """Hold the lock of running tests, shared or exclusive; a single process has no lock."""
    if fcntl is None or _LOCKS not in os.environ:
        yield
        return
    folder = Path(os.environ[_LOCKS])
    with (folder / "entrance.lock").open("a") as entrance, (folder / "room.lock").open("a") as room:
        with _held(entrance, fcntl.LOCK_EX):  # whoever waits to be alone keeps others from entering
            fcntl.flock(room, fcntl.LOCK_EX if alone else fcntl.LOCK_SH)
        try:
            yield
        finally:
            fcntl.flock(room, fcntl.LOCK_UN)


@contextmanager
def _held(file: IO[str], how: int) -> Iterator[None]:
    fcntl.flock(file, how)
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, Any, Any]:
    """Run a test that measures time alone. Note how much CPU time a test takes; others do not change that."""
    with _room(alone=item.get_closest_marker("timing") is not None):
        begun = _cpu_seconds()
        try:
            return (yield)
        finally:
            item.stash[_TAKEN] = _cpu_seconds() - begun


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Generator[None, Any, Any]:
    """Fail a test that takes long and is not marked so; only in CI."""
    report = yield
    marked = any(item.get_closest_marker(name) for name in ("long", "slow", "fuzz"))
    taken, limit = item.stash.get(_TAKEN, 0.0), ALLOWANCE * SECONDS
    if report.when == "call" and report.passed and not marked and "CI" in os.environ and taken > limit:
        report.outcome = "failed"
        report.longrepr = (
            f"{item.nodeid} took {taken:.1f} s of CPU time; {limit:.0f} s are allowed. "
            "Make it faster, or mark it long or slow; what is slow runs on demand only."
        )
    return report


def _cpu_seconds() -> float:
    """Return the CPU time of this process and of the children that have ended, in seconds."""
    return sum(os.times()[:4])
