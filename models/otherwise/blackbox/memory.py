"""Split a batch that does not fit into the device's memory."""

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
    """Return whether CUDA has failed for a reason other than memory, so that this process has lost the GPU.

    After such an error the process's context is lost for good (CUDA Runtime API, ``cudaErrorIllegalAddress`` and its
    like: "the process must be terminated and relaunched").
    """
    return not out_of_memory(error) and any(_CUDA.search(message) for message in _messages(error))


def out_of_memory(error: BaseException) -> bool:
    """Return whether memory was short: PyTorch's own error, that of other libraries on a GPU, or Python's."""
    if any(isinstance(each, MemoryError) or type(each).__name__ == "OutOfMemoryError" for each in _behind(error)):
        return True
    return any(_MEMORY.search(message) for message in _messages(error))


def _messages(error: BaseException) -> Iterator[str]:
    """Yield the messages of a numerical library; errors of onnxruntime share no base class with others."""
    for each in _behind(error):
        if isinstance(each, RuntimeError) or type(each).__module__.startswith("onnxruntime"):
            yield str(each)


def _behind(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and its causes: hosts wrap the errors of a network."""
    while error is not None:
        yield error
        error = error.__cause__


def free_memory() -> None:
    """Release the GPU memory that PyTorch caches, if CUDA is in use."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        torch.cuda.empty_cache()


class BatchSplitter:
    """Function that classifies as many images at once as fit into memory.

    A batch that does not fit is halved. The size that fits is remembered, since every failure takes time.

    Attributes:
        size: Largest batch; None while every batch has fitted.
    """

    def __init__(self) -> None:
        self.size: int | None = None

    def __call__(self, predict: Predict, images: np.ndarray) -> np.ndarray:
        """Classify images.

        Args:
            predict: Returns one row of answers for each image.
            images: ``(batch, ...)``, at least one.

        Raises:
            Exception: any error of ``predict``, also if a single image does not fit.
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
                # Outside the error handler, which keeps the memory of the failed batch.
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
