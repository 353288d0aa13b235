"""Repeat a job on the CPU if the device's memory is too small."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TypeVar

from lib.runtime.host import ExplainerLike, Host
from lib.runtime.model_switcher import load_version
from otherwise.blackbox.memory import DeviceError, MemoryShortError, device_failed, free_memory, out_of_memory
from otherwise.errors import OtherwiseError
from otherwise.registry.registry import Registry, pair_id

logger = logging.getLogger(__name__)

T = TypeVar("T")
Load = Callable[[str, str], ExplainerLike]
"""Loads the classifier and the agent of these versions onto the CPU."""


def registered_pair_loader(registry: Registry, trust_code: bool, precision: str = "auto") -> Load:
    """Return a loader of registered pairs; the server registers every pair that it uses."""

    def load(classifier: str, agent: str) -> ExplainerLike:
        return load_version(registry, registry.get(pair_id(classifier, agent)), "cpu", trust_code, precision)

    return load


class CpuFallback:
    """A copy of the pair of models on the CPU.

    Used by the worker's thread alone.

    Args:
        host: Hosts the pair.
        load: See ``Load``.
    """

    def __init__(self, host: Host, load: Load) -> None:
        self._host, self._load = host, load
        self._kept: ExplainerLike | None = None

    def run(self, work: Callable[[], T]) -> T:
        """Do a job on the device and, if its memory is too small, on the CPU.

        The black box has been asked in smaller batches by then (``otherwise.blackbox.memory``).

        Raises:
            MemoryShortError: if the CPU's memory is too small, too, or the models cannot be loaded there.
            DeviceError: if the device has failed, now or before.
        """
        if self._host.device_failed:
            raise _failed()
        try:
            return work()
        except Exception as error:
            if device_failed(error):
                self._host.device_failed = True
                logger.exception("%s has failed; the server has to be started anew", self._host.device)
                raise _failed() from error
            if not out_of_memory(error):
                raise
            if self._host.device == "cpu":
                raise _short() from error
        free_memory()
        logger.warning("The memory of %s is too small for a job; it is done on the CPU", self._host.device)
        former = self._host.explainer
        self._host.explainer = self._pair(former)
        try:
            return work()
        except Exception as error:
            if not out_of_memory(error):
                raise
            raise _short() from error
        finally:
            self._host.explainer = former

    def _pair(self, used: ExplainerLike) -> ExplainerLike:
        wanted = (used.classifier.version, used.agent.version)
        kept = self._kept
        if kept is None or (kept.classifier.version, kept.agent.version) != wanted:
            self._kept = None  # both would not fit either
            try:
                self._kept = kept = self._load(*wanted)
            except OtherwiseError as error:
                raise _short() from error
            except Exception as error:
                if not out_of_memory(error):
                    raise
                raise _short() from error
        return kept


def _failed() -> DeviceError:
    return DeviceError(
        "The server's GPU has failed.", "Tell whoever runs the server: it has to be started anew (otherwise doctor)."
    )


def _short() -> MemoryShortError:
    return MemoryShortError(
        "There is not enough memory for this.", "Stop other programs on the device, or explain a part of the image."
    )
