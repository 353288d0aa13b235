"""Start a process of many imports in less time.

MONAI imports each of its modules with the package, and with them every optional package that is installed. Python
looks for garbage all the while, in a growing heap in which there is none.
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
"""Optional packages that MONAI uses in training loops, loggers and readers of files, none of which a server runs."""


def import_monai_without(packages: Collection[str]) -> None:
    """Import MONAI without optional packages.

    MONAI takes them for not installed until the process ends. All other code can import them afterwards.

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
    """Raises ImportError for the named modules, as for those that are not installed."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = names

    def find_spec(
        self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if name in self._names:
            raise ModuleNotFoundError(f"{name} is not imported here.", name=name)
        return None
