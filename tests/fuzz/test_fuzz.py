"""Whatever parsers are given: an answer, or one line that says why not, in little memory and little time.

A few hundred inputs each, the same ones on every run. Many, which go on where they were stopped, with::

    OTHERWISE_FUZZ=100000 OTHERWISE_FUZZ_STATE=fuzzed.json pytest -m fuzz
"""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from fuzz.running import run
from fuzz.targets import NAMES, WEIGHTS

pytestmark = pytest.mark.fuzz

TOGETHER = int(os.environ.get("OTHERWISE_FUZZ", "0"))
STATE = os.environ.get("OTHERWISE_FUZZ_STATE")
BLOCK = 1000
SHORT = 240
SHORTER = {"encapsulated": 30, "series": 40}


@pytest.mark.parametrize("name", NAMES)
def test_any_input_ends_in_an_answer_or_one_line(name: str) -> None:
    share = TOGETHER * WEIGHTS[name] // sum(WEIGHTS.values()) + 1
    count = share if TOGETHER else SHORTER.get(name, SHORT)
    done = _read(name)
    while done["tried"] < count:
        faults, good = run(name, done["tried"], min(BLOCK, count - done["tried"]))
        done["good"] += good
        done["tried"] += min(BLOCK, count - done["tried"])
        done["faults"] += [f"{fault.number}: {fault.what}" for fault in faults]
        _write(name, done)
    assert not done["faults"]
    assert done["good"], "no input was valid still, so nothing behind the first check was tried"


def _read(name: str) -> dict[str, int | list[str]]:
    known = json.loads(Path(STATE).read_text(encoding="utf-8")) if STATE and Path(STATE).is_file() else {}
    return known.get(name, {"tried": 0, "good": 0, "faults": []})


def _write(name: str, done: dict[str, int | list[str]]) -> None:
    if STATE:
        path = Path(STATE)
        known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
        path.write_text(json.dumps({**known, name: done}, indent=1), encoding="utf-8")
