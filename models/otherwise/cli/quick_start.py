"""Shorten the start of a process with many imports.

MONAI imports all its modules and every installed optional package. Meanwhile Python collects garbage in a growing heap
that contains none.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType

UNUSED_BY_SERVERS = frozenset(
    {"ignite", "mlflow", "pandas", "itk", "matplotlib", "sklearn", "tensorboard", "tensorboardX", "transformers"}
)
"""Optional packages that MONAI uses in training loops, loggers and readers of files; a server uses none of these."""


def import_monai_without(packages: Collection[str]) -> None:
    """Import MONAI without optional packages.

    MONAI treats them as not installed until the process ends. Other code can import them afterwards.

    Args:
        packages: Full names of packages or modules.
    """
    finder = _Absent(packages)
    sys.meta_path.insert(0, finder)
    try:
        import monai  # noqa: F401
    finally:
        sys.meta_path.remove(finder)


@contextmanager
def garbage_collection_paused() -> Iterator[None]:
    """Pause garbage collection; exempt the objects that exist at the end from later collections."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()


class _Absent(MetaPathFinder):
    """Import hook that raises ImportError for the named modules, as if they were not installed."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in self._names:
            raise ModuleNotFoundError(f"{name} is not imported here.", name=name)
        return None
