"""The workers of the whole suite share it as ``support.parallel`` says."""

from __future__ import annotations

import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from support.forked_python import SHARED

TESTS = Path(__file__).parent
ROOT = TESTS.parent
FILE = """
import os, pathlib, pytest

@pytest.fixture(scope="module", autouse=True)
def shared():
    with pathlib.Path({log!r}).open("a") as log:
        log.write({name!r} + " " + os.environ["PYTEST_XDIST_WORKER"] + "\\n")

{mark}
@pytest.mark.parametrize("number", range({count}))
def test_it(number):
    pass
"""


def run_files(folder: Path, workers: int, **files: tuple[int, str]) -> list[list[str]]:
    """Run generated files of tests with the options of this project.

    Args:
        folder: For the files.
        workers: How many processes share them.
        files: Name, and how many tests a file has, and a mark of theirs.

    Returns:
        File and worker of each set-up of a fixture of a module, in order.
    """
    log = folder / "log"
    for name, (count, mark) in files.items():
        content = FILE.format(log=str(log), name=name, count=count, mark=f"@pytest.mark.{mark}" if mark else "")
        (folder / f"test_{name}.py").write_text(content)
    command = [sys.executable, "-m", "pytest", "-c", ROOT / "pyproject.toml", "--rootdir", folder, "-n", str(workers)]
    environment = {key: value for key, value in os.environ.items() if not key.startswith("PYTEST_")}
    done = subprocess.run(
        [*command, "-p", "xdist", "-p", "support.parallel", folder],
        env={**environment, SHARED: "not needed", "PYTHONPATH": str(TESTS), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return [line.split() for line in log.read_text().splitlines()]


def test_a_file_stays_on_one_worker_so_that_its_tests_share_what_they_set_up(tmp_path: Path) -> None:
    set_up = run_files(tmp_path, 2, many=(20, ""), some=(12, ""), few=(8, ""))

    workers = defaultdict(list)
    for name, worker in set_up:
        workers[name].append(worker)
    assert {name: len(each) for name, each in workers.items()} == {"many": 1, "some": 1, "few": 1}


@pytest.mark.parametrize("mark", ["long", ""])
def test_files_with_long_tests_begin_and_then_those_with_many(tmp_path: Path, mark: str) -> None:
    set_up = run_files(tmp_path, 1, few=(2, mark), many=(4, ""), some=(3, ""))
    assert [name for name, _ in set_up] == (["few", "many", "some"] if mark else ["many", "some", "few"])
