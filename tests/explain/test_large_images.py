"""A large image: its explanation says the truth about all of it, in little memory and a small folder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from otherwise.blackbox.protocol import InputSpec
from otherwise.explain.explainer import Explainer
from otherwise.explain.explanation import LOOKED_AT, Explanation
from otherwise.images.image import Geometry, Image
from otherwise.images.writing import write_image
from otherwise.phantoms.mammogram import MammogramSettings, mammograms
from otherwise.report.folder import read_explanation, write_explanation
from support.square_models import SquareClassifier, eager_agent

EDGE = 1100


def noisy(shape: tuple[int, int, int], dtype: type, scale: float, seed: int = 0) -> Image:
    """A dark image with noise in its last digits, as detectors make it."""
    array = np.random.default_rng(seed).normal(0.2, 0.02, (1, *shape)).clip(0, 1) * scale
    affine = np.array([[-0.08, 0, 0, 40], [0, -0.09, 0, 30], [0, 0, 1.0, 0], [0, 0, 0, 1.0]])
    return Image(array.astype(dtype), Geometry(shape, affine), "large", 2)


def explained(image: Image, window: tuple[float, float]) -> tuple[Explainer, Explanation]:
    classifier = SquareClassifier(InputSpec((16, 16), intensity=window))
    explainer = Explainer(classifier, eager_agent(classifier))
    return explainer, explainer.explain(image)


@pytest.mark.parametrize(("dtype", "scale"), [(np.float32, 1.0), (np.uint16, 4095.0)], ids=["float", "twelve bits"])
def test_a_large_image_is_explained_in_full_and_its_path_is_kept_small(
    tmp_path: Path, dtype: type, scale: float
) -> None:
    image = noisy((EDGE, EDGE, 1), dtype, scale)
    explainer, explanation = explained(image, (0.0, scale))
    volumes = explanation.volumes
    assert explanation.counterfactual.valid
    assert explanation.alternatives
    for full in (volumes.counterfactual, volumes.difference, volumes.effect, volumes.floor, volumes.regions):
        assert full.geometry.same_as(image.geometry)
    corners = np.array([[-0.5, -0.5, 0], [EDGE - 0.5, EDGE - 0.5, 0]])
    for small in (volumes.minimal, *volumes.path, *volumes.alternatives):
        assert small.array.size <= LOOKED_AT[2]
        own = np.array([[-0.5, -0.5, 0], [small.geometry.shape[0] - 0.5, small.geometry.shape[1] - 0.5, 0]])
        np.testing.assert_allclose(small.geometry.to_ras(own), image.geometry.to_ras(corners), atol=1e-9)

    # The answers are those for the full image, and nearly those for the small ones.
    again = explainer.classify(volumes.counterfactual).probabilities
    assert again == pytest.approx(explanation.counterfactual.probabilities)
    for point, small in zip(explanation.path, volumes.path, strict=True):
        assert explainer.classify(small).probabilities == pytest.approx(point.probabilities, abs=0.02)

    folder = write_explanation(explanation, tmp_path / "explanation")
    read = read_explanation(folder)
    np.testing.assert_array_equal(read.volumes.original.array, image.array)
    np.testing.assert_array_equal(read.volumes.counterfactual.array, volumes.counterfactual.array)
    np.testing.assert_array_equal(read.volumes.difference.array, volumes.difference.array)
    np.testing.assert_array_equal(read.volumes.effect.array, volumes.effect.array)
    for before, after in zip(volumes.path, read.volumes.path, strict=True):
        assert after.geometry.shape == before.geometry.shape
        np.testing.assert_allclose(after.geometry.affine, before.geometry.affine, atol=1e-9)
        np.testing.assert_allclose(after.array, before.array, atol=0.5 if dtype == np.uint16 else 0)


def test_a_change_is_a_number_of_small_steps_and_nothing_outside_of_it_moves() -> None:
    image = noisy((200, 150, 1), np.float32, 1.0)
    _, explanation = explained(image, (0.0, 1.0))
    change = explanation.volumes.difference.array
    np.testing.assert_array_equal(change * 4096, np.rint(change * 4096))
    still = change == 0
    np.testing.assert_array_equal(explanation.volumes.counterfactual.array[still], image.array[still])


# The peak is read where Linux keeps it for this process alone: ``ru_maxrss`` is inherited from the parent.
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_nine_million_pixels_take_a_gibibyte_and_sixty_megabytes(tmp_path: Path) -> None:
    (phantom,) = mammograms(0, 1, MammogramSettings(size=(3000, 3000)))
    write_image(phantom.image, tmp_path / "mammogram.nrrd")
    assert folder_in_a_gibibyte(tmp_path / "mammogram.nrrd", tmp_path / "out") <= 60_000_000


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.slow
def test_noise_that_cannot_be_compressed_takes_sixty_megabytes_beside_the_original(tmp_path: Path) -> None:
    write_image(noisy((3000, 3000, 1), np.float32, 1.0), tmp_path / "noise.nrrd")
    total = folder_in_a_gibibyte(tmp_path / "noise.nrrd", tmp_path / "out")
    assert total - (tmp_path / "out" / "original.nrrd").stat().st_size <= 60_000_000


def folder_in_a_gibibyte(image: Path, out: Path) -> int:
    """Explain an image in a process of its own, which may take a gibibyte, and return the bytes of the folder."""
    words = [sys.executable, "-c", _MEASURED, str(image), str(out)]
    measured = subprocess.run(words, capture_output=True, text=True, check=True)
    peak = 1024 * int(measured.stdout.split()[-1])
    assert peak <= 2**30, f"{peak / 2**30:.2f} GiB"
    return sum(file.stat().st_size for file in out.iterdir())


_MEASURED = """
import sys
from pathlib import Path
from otherwise.cli import build, run
pair = ["--classifier", "mammogram_classifier", "--device", "cpu"]
code = run(build, ["explain", sys.argv[1], "--out", sys.argv[2], *pair])
assert not code, code
status = Path("/proc/self/status").read_text()
print(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
"""
