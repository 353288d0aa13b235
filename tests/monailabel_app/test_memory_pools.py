"""Memory that a thread frees can be used by all others."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from otherwise.resources import app_folder

PROGRAM = """
import ctypes, sys, threading
from lib.runtime.memory_pools import share_pools

share_pools()
allocate = ctypes.CDLL(None).malloc
together = threading.Barrier(16)

def work():
    together.wait()
    for _ in range(100):
        allocate(10_000)
    together.wait()

threads = [threading.Thread(target=work) for _ in range(16)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
library = ctypes.CDLL(None)
library.fopen.restype = ctypes.c_void_p
file = ctypes.c_void_p(library.fopen(sys.argv[1].encode(), b"w"))
library.malloc_info(0, file)
library.fclose(file)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library is another")
def test_many_threads_share_few_pools(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", PROGRAM, tmp_path / "pools.xml"], cwd=app_folder(), check=True)
    assert 1 <= (tmp_path / "pools.xml").read_text().count("<heap ") <= 2
