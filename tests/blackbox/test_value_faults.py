"""Value models that misbehave are refused in one line with a hint; what is hosted is read back without loss."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from otherwise.blackbox.importing import import_classifier
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.output_kind import MOST_SPREADS, OutputKind
from otherwise.blackbox.protocol import InputSpec
from otherwise.cli import build
from otherwise.errors import ClassifierError, OtherwiseError
from support.value_models import central

SIZE = (16, 12)
NUMBERS = "--output value --unit mm --range 0,100"
RISKS = "--output risk --baseline 0.9 --horizon 5"
SURVIVAL = "--output survival --times 0,365 --horizon 365"


class Says(torch.nn.Module):
    """A model whose output is a function of the mean of each image's central square ``(batch, 1)``."""

    def __init__(self, function: Callable[[torch.Tensor], torch.Tensor]) -> None:
        super().__init__()
        self.function = function

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.function(central(images))


def save(function: Callable[[torch.Tensor], torch.Tensor], path: Path) -> Path:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tracer's, of NaN and of functions of the batch
        torch.jit.trace(Says(function), torch.rand(2, 1, *SIZE), check_trace=False).save(str(path))
    return path


def bring(function: Callable[[torch.Tensor], torch.Tensor], options: str, folder: Path) -> OtherwiseError | None:
    """Import a model by the command line; return why not."""
    words = ["classifier", "import", str(save(function, folder / "m.ts")), "--size", "16,12", "--intensity", "0,1"]
    found = CliRunner().invoke(build(), [*words, *options.split(), "--out", str(folder / "b")])
    assert isinstance(found.exception, (OtherwiseError, type(None))), repr(found.exception)
    return found.exception


@pytest.mark.parametrize(
    ("function", "options", "fault"),
    [
        (lambda mean: mean * torch.nan, NUMBERS, "NaN or infinity for 16 of 16"),
        (lambda mean: torch.log(mean - 0.3), NUMBERS, "NaN or infinity"),
        (lambda mean: torch.exp(1e4 * mean), RISKS, "NaN or infinity"),
        (lambda mean: mean * torch.nan, SURVIVAL, "NaN or infinity"),
        (lambda mean: mean.mean(), NUMBERS, "shape () for 16 images"),
        (lambda mean: torch.cat([mean, mean], 1), NUMBERS, "shape (16, 2) for a value"),
        (lambda mean: mean @ mean.T, NUMBERS, "one number an image"),
        (lambda mean: torch.cat([mean, mean, mean], 1), SURVIVAL, "outputs for 1 intervals"),
        (lambda mean: (100 * mean).long(), NUMBERS, "class numbers"),
        (lambda mean: 8 * mean - 2, f"{SURVIVAL} --reading hazards", "no probabilities"),
        (lambda mean: mean, "--output value --unit mm --range=-1e308,1e308", "spread inf"),
        (lambda mean: mean, "--output value --unit mm --range 0,1e400", "no end"),
        (lambda mean: mean, "--output survival --times 0,nan --horizon 365", "no boundaries"),
        (lambda mean: mean, "--output survival --times 0,1e400 --horizon 365", "no boundaries"),
        (lambda mean: mean, "--output survival --times 0,365 --horizon nan", "no time"),
    ],
)
def test_a_model_that_says_no_values_is_refused_in_one_line(
    function: Callable[[torch.Tensor], torch.Tensor], options: str, fault: str, tmp_path: Path
) -> None:
    refused = bring(function, options, tmp_path)
    assert refused is not None
    assert fault in str(refused)
    assert "\n" not in str(refused)
    assert refused.hint
    assert not (tmp_path / "b").exists()


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (lambda mean: mean[:, 0], NUMBERS),
        (lambda mean: mean[:, :, None, None], NUMBERS),
        (lambda mean: 0 * mean + 5, NUMBERS),
        (lambda mean: mean.mean().reshape(1, 1), NUMBERS),  # it takes one image at a time
        (lambda mean: 8 * mean - 2, SURVIVAL),
        (lambda mean: 8 * mean - 2, RISKS),
    ],
)
def test_whatever_says_one_number_an_image_is_hosted(
    function: Callable[[torch.Tensor], torch.Tensor], options: str, tmp_path: Path
) -> None:
    assert bring(function, options, tmp_path) is None
    box = load_classifier(tmp_path / "b")
    images = np.random.default_rng(0).random((5, 1, *SIZE)).astype(np.float32)
    alone = np.concatenate([box.predict(image[None]) for image in images])
    np.testing.assert_allclose(box.predict(images), alone, rtol=1e-5)


def test_a_value_too_far_from_the_reference_is_refused_and_not_clipped(tmp_path: Path) -> None:
    kind = OutputKind("value", unit="mm", range=(0, 100))
    import_classifier(
        save(lambda mean: 1e30 * mean, tmp_path / "m.ts"), tmp_path / "b", inputs=InputSpec(SIZE), answer=kind
    )
    with pytest.raises(ClassifierError, match=r"spreads of 16\.67 from its reference, 50") as refused:
        load_classifier(tmp_path / "b").predict(np.ones((2, 1, *SIZE), np.float32))
    assert "--spread" in refused.value.hint


@pytest.mark.parametrize("seed", range(20))
def test_every_value_is_read_back_or_refused(seed: int) -> None:
    rng = np.random.default_rng(seed)
    low, width = rng.normal(0, 1) * 10.0 ** rng.integers(-6, 7), 10.0 ** rng.uniform(-6, 6)
    kind = OutputKind("value", unit="mm", range=(low, low + width))
    values = kind.reference + kind.spread * rng.normal(0, 1, 200) * 10.0 ** rng.uniform(-3, 4, 200)
    far = np.abs(values - kind.reference) / kind.spread > MOST_SPREADS
    assert far.any()
    np.testing.assert_allclose(
        kind.value_of(kind.answer(values[~far])), values[~far], rtol=1e-9, atol=1e-9 * kind.spread
    )
    for value in values[far]:
        with pytest.raises(ClassifierError, match="spreads"):
            kind.answer(np.array([value]))


@pytest.mark.parametrize("seed", range(10))
def test_the_risk_at_the_horizon_is_a_percentage_that_rises_with_the_hazard(seed: int) -> None:
    rng = np.random.default_rng(seed)
    kind = OutputKind("risk", baseline=float(rng.uniform(0.01, 0.99)), horizon=float(rng.uniform(1, 999)))
    hazards = np.sort(rng.normal(0, 10.0 ** rng.uniform(0, 300), 50))
    found = [kind.percent_at_horizon(float(hazard)) for hazard in hazards]
    assert all(percent is not None and 0 <= percent <= 100 for percent in found)
    assert found == sorted(found, key=float)
    assert kind.percent_at_horizon(0.0) == pytest.approx(100 * (1 - float(kind.baseline or 0)))
