"""Decode pixels with GDCM, compressed ones in a separate process.

A damaged JPEG or RLE stream can crash a decoder in C++ (division by zero, reading beyond the end) without an exception,
and the server with it. The process is started for the first compressed file of an image (0.3 s) and ends with it.
"""

from __future__ import annotations

import math
import os
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType

import numpy as np

from otherwise.errors import ImageError
from otherwise.images.itk import quiet_itk

SECONDS = 120.0
"""Time limit for one file; a breast tomosynthesis of 80 frames in JPEG 2000 takes 20 s."""
_HINT = "Convert it to an uncompressed DICOM file, or export it again."
_SOURCES = Path(__file__).resolve().parents[3]


def decode(file: Path, size: int) -> np.ndarray:
    """Decode a file in this process.

    Args:
        file: Secondary capture.
        size: Required number of pixels, all frames together.

    Returns:
        ``(frames, rows, columns, channels)``.

    Raises:
        ImageError: if it has another number of pixels.
        RuntimeError: error of GDCM for a damaged file.
    """
    import SimpleITK as sitk  # noqa: N813  (90 MB: only where it is needed)

    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(file))
    with quiet_itk():
        reader.ReadImageInformation()
        if math.prod(reader.GetSize()) != size:
            raise ImageError("Its pixels do not fit its header.", "Export it again.")
        image = reader.Execute()
    array = sitk.GetArrayFromImage(image)
    return array[..., None] if image.GetNumberOfComponentsPerPixel() == 1 else array


class Decoder:
    """Decoder process, which lives as long as the block.

    Args:
        seconds: Time limit for one file.
    """

    def __init__(self, seconds: float = SECONDS) -> None:
        self.seconds = seconds
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Decoder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._end()

    def decode(self, file: Path, size: int) -> np.ndarray:
        """Decode a file in the other process; see the function ``decode``.

        Raises:
            ImageError: if it cannot be decoded.
        """
        process = self._process = self._process or _start()
        assert process.stdin is not None
        assert process.stdout is not None
        result = file.with_suffix(".npy")
        try:
            process.stdin.write(f"{size} {file}\n".encode())
            process.stdin.flush()
            alarm = threading.Timer(self.seconds, process.kill)
            alarm.start()
            answer = process.stdout.readline()
            alarm.cancel()
        except BrokenPipeError:
            answer = b""
        if answer != b"done\n":
            self._end()
            raise ImageError("Its compressed pixels are damaged or of an unusual kind.", _HINT)
        array: np.ndarray = np.load(result, allow_pickle=False)
        return array

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _start() -> subprocess.Popen[bytes]:
    path = os.pathsep.join(filter(None, [str(_SOURCES), os.environ.get("PYTHONPATH")]))
    command = [sys.executable, "-m", __name__]
    environment = {**os.environ, "PYTHONPATH": path}
    # Messages of decoders about damaged files are not shown.
    return subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    )


def _serve() -> None:
    """Serve in the decoder process: one line of request, one line of reply."""
    for line in sys.stdin:
        size, _, name = line.rstrip("\n").partition(" ")
        file = Path(name)
        try:
            np.save(file.with_suffix(".npy"), decode(file, int(size)), allow_pickle=False)
            outcome = "done"
        except Exception:
            outcome = "failed"
        sys.stdout.write(f"{outcome}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
