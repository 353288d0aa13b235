"""A server starts without what it does not use, and everything else of the process can still use it."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from otherwise.cli.quick_start import garbage_collection_paused

PROGRAM = """
import sys
from otherwise.cli.quick_start import UNUSED_BY_SERVERS, import_monai_without
import_monai_without(UNUSED_BY_SERVERS)
loaded = {name for name in UNUSED_BY_SERVERS if name in sys.modules}
assert not loaded, loaded
from monai.networks.nets import DiffusionModelUNet
from monai.transforms import Compose, NormalizeIntensityd, Spacingd
import pandas
assert not [finder for finder in sys.meta_path if type(finder).__module__ == "otherwise.cli.quick_start"]
"""


@pytest.mark.long
def test_monai_works_without_what_it_could_use_and_others_can_import_it() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)

    assert done.returncode == 0, done.stderr


def test_garbage_is_collected_again_afterwards_also_after_an_error() -> None:
    try:
        with garbage_collection_paused():
            assert not gc.isenabled()
        assert gc.isenabled()
        with pytest.raises(ValueError, match="x"), garbage_collection_paused():
            raise ValueError("x")
        assert gc.isenabled()
    finally:
        gc.enable()
        gc.unfreeze()
