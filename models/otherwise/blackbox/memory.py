"""When a batch does not fit into the device's memory, smaller ones may."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator

import numpy as np

from otherwise.errors import OtherwiseError

_CUDA = re.compile(r"\bCUDA (error(?!: CUBLAS)|failure)\b", re.IGNORECASE)
_MEMORY = re.compile("out of memory|failed to allocate memory|CUBLAS_STATUS_ALLOC_FAILED", re.IGNORECASE)
Predict = Callable[[np.ndarray], np.ndarray]


class MemoryShortError(OtherwiseError):
    """Neither the device nor the machine has the memory for this."""

    code = "memory"
    status = 507


class DeviceError(OtherwiseError):
    """The GPU does not compute any more."""

    code = "device"
    status = 503


def device_failed(error: BaseException) -> bool:
    """Whether CUDA says that something other than memory is wrong; nothing in this process reaches the GPU any more.

    After such an error the process's context is lost for good (CUDA Runtime API, ``cudaErrorIllegalAddress`` and its
    like: "the process must be terminated and relaunched").
    """
    return not out_of_memory(error) and any(_CUDA.search(said) for said in _said(error))


def out_of_memory(error: BaseException) -> bool:
    """Return whether memory was short: PyTorch's own error, that of other libraries on a GPU, or Python's."""
    if any(isinstance(each, MemoryError) or type(each).__name__ == "OutOfMemoryError" for each in _behind(error)):
        return True
    return any(_MEMORY.search(said) for said in _said(error))


def _said(error: BaseException) -> Iterator[str]:
    """Return what libraries that compute said; onnxruntime's errors have no base in common with others."""
    for each in _behind(error):
        if isinstance(each, RuntimeError) or type(each).__module__.startswith("onnxruntime"):
            yield str(each)


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what it came from: hosts turn whatever a network raises into a line of their own."""
    while error is not None:
        yield error
        error = error.__cause__


def free_memory() -> None:
    """Give back what PyTorch keeps of a GPU's memory for later, if it is in use at all."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


class Fitting:
    """Asks for as many images at once as fit into memory.

    A batch that does not fit is halved, and the size that does is remembered: other programs on the device seldom give
    their memory back soon, and every failure costs.

    Attributes:
        size: Most images at once; None while every batch fitted.
    """

    def __init__(self) -> None:
        self.size: int | None = None

    def __call__(self, predict: Predict, images: np.ndarray) -> np.ndarray:
        """Ask.

        Args:
            predict: One row of answers for each image.
            images: ``(batch, ...)``, at least one.

        Raises:
            Exception: whatever ``predict`` raises, also that a single image does not fit.
        """
        answers: list[np.ndarray] = []
        start = 0
        while start < len(images):
            part = images[start : start + (self.size or len(images))]
            answer = self._fitted(predict, part)
            if answer is not None:
                answers.append(answer)
                start += len(part)
            else:
                # Not in the handler of the error, which holds on to what did not fit.
                free_memory()
                self.size = len(part) // 2
        return answers[0] if len(answers) == 1 else np.concatenate(answers)

    @staticmethod
    def _fitted(predict: Predict, part: np.ndarray) -> np.ndarray | None:
        try:
            return np.asarray(predict(part))
        except Exception as error:
            if len(part) == 1 or not out_of_memory(error):
                raise
            return None
