"""Run numbered inputs in a process of its own, with little memory and little time for each.

``python -m fuzz.running TARGET FIRST COUNT FOLDER`` writes the number it is at into ``FOLDER/at``, and one line of JSON
per fault to its standard output. Where it dies, ``run`` starts it again behind the input that killed it.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MEMORY = 768 * 2**20
"""Bytes that the parsers may take beyond what the process has when it is ready."""
SECONDS = 10
"""For one input, on a machine that is busy with other things."""
SECONDS_ON_AVERAGE = 1.0
"""For each input of a block; a block that takes longer hangs where no signal ends it."""
TESTS = Path(__file__).resolve().parents[1]


@dataclass(frozen=True)
class Fault:
    """What came of one input that should not.

    Attributes:
        target: Name of the parser.
        number: Of the input.
        what: Kind of the fault.
    """

    target: str
    number: int
    what: str


def run(name: str, first: int, count: int) -> tuple[list[Fault], int]:
    """Try inputs ``first`` up to ``first + count``.

    Returns:
        Faults, by number, and how many inputs were valid still: where it is none, little was tried.
    """
    faults, at, end, good = [], first, first + count, 0
    path = [TESTS, TESTS.parent / "models", TESTS.parent / "monailabel_app"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1"}
    while at < end:
        with tempfile.TemporaryDirectory(prefix="otherwise-fuzz-", dir=_memory_disk()) as folder:
            command = [sys.executable, "-m", "fuzz.running", name, str(at), str(end - at), folder]
            limit = 120 + SECONDS + SECONDS_ON_AVERAGE * (end - at)
            try:
                done = subprocess.run(
                    command,
                    capture_output=True,
                    text=True,
                    timeout=limit,
                    check=False,
                    env=environment,
                    errors="replace",
                )
                code, output, printed = done.returncode, done.stdout, done.stderr
            except subprocess.TimeoutExpired as late:
                code, output, printed = 1, (late.stdout or b"").decode(), "late"
            faults += [Fault(**json.loads(line)) for line in output.splitlines() if line.startswith("{")]
            where = Path(folder) / "at"
            good += sum(int(line) for line in output.splitlines() if line.isdecimal())
            if code == 0:
                break
            if not where.is_file():
                raise RuntimeError(f"The target {name} cannot be prepared: {printed[-2000:]}")
            at = int(where.read_text() or at)
            faults.append(Fault(name, at, f"the process ended with {code}: {printed[-300:]}"))
            at += 1
    return faults, good


def _memory_disk() -> str | None:
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _main(name: str, first: int, count: int, folder: Path) -> None:
    from fuzz.targets import target
    from otherwise.errors import OtherwiseError

    warnings.simplefilter("ignore")
    here = folder / "files"
    here.mkdir()
    aim = target(name, here)
    signal.signal(signal.SIGALRM, _too_late)
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + MEMORY,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    good = 0
    with (folder / "at").open("w") as at:
        for number in range(first, first + count):
            at.seek(0)
            at.write(str(number))
            at.flush()
            given = aim.make(random.Random(f"{name} {number}"))
            what = _try(aim.ask, given, OtherwiseError)
            if what == "good":
                good += 1
            elif what:
                print(json.dumps({"target": name, "number": number, "what": what}), flush=True)
    print(good)


def _try(ask: Any, given: Any, expected: type[Exception]) -> str:
    signal.alarm(SECONDS)
    try:
        ask(given)
        return "good"
    except expected as error:
        text = str(error)
        if not getattr(error, "hint", "") or "\n" in text:
            return f"no hint or several lines: {text[:200]}"
        if "does not fit into memory" in text:
            return "memory"
        text.encode()
    except BaseException as error:
        return f"{type(error).__name__}: {str(error)[:200]}"
    finally:
        signal.alarm(0)
    return ""


def _too_late(number: int, frame: Any) -> None:
    raise SystemExit("too late")


if __name__ == "__main__":
    _main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4]))
