"""Every method runs on the same black box and finds what it looks at; metrics agree with the library's."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from otherwise.blackbox.checked import CountingBlackBox
from otherwise.blackbox.protocol import InputSpec
from otherwise.errors import ClassifierError
from otherwise.evaluation.benchmark.localisation import energy_inside, pointing_game
from otherwise.evaluation.benchmark.methods.method import MapMethod
from otherwise.evaluation.benchmark.methods.registry import MAP_METHODS

METHODS = {method.name: method for method in MAP_METHODS if not method.control}


class Corner(nn.Module):
    """Log-odds by the brightness of one corner."""

    def __init__(self, size: tuple[int, ...]) -> None:
        super().__init__()
        self.conv = (nn.Conv2d if len(size) == 2 else nn.Conv3d)(1, 2, 3, padding=1)
        nn.init.constant_(self.conv.weight, 1 / 3 ** len(size))
        nn.init.zeros_(self.conv.bias)
        self.corner = tuple(slice(0, edge // 3) for edge in size)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        features = self.conv(images)
        level = features[(slice(None), 0, *self.corner)].flatten(1).mean(1)
        return torch.stack([10 * (0.4 - level), 10 * (level - 0.4)], dim=1)


@dataclass
class CornerClassifier:
    """A black box that can be looked into."""

    inputs: InputSpec
    name: str = "corner"
    version: str = "1" * 64
    classes: tuple[str, ...] = ("dark", "bright")
    multi_label: bool = False
    module: Any = field(init=False)

    def __post_init__(self) -> None:
        self.module = Corner(self.inputs.size).eval()

    def predict(self, images: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(self.module(torch.from_numpy(images)).softmax(1).numpy(), dtype=np.float64)


def bright_image(size: tuple[int, ...]) -> np.ndarray:
    """Bright in the corner, darker elsewhere: methods cover with the mean, which has to make a difference."""
    image = np.random.default_rng(0).uniform(0.2, 0.35, (1, *size)).astype(np.float32)
    image[(0, *(slice(0, edge // 3) for edge in size))] += 0.5
    return image


@pytest.mark.parametrize("name", list(METHODS))
@pytest.mark.parametrize("size", [(24, 24), (15, 12, 12)], ids=["2-D", "3-D"])
def test_the_map_points_at_what_the_classifier_looks_at(name: str, size: tuple[int, ...]) -> None:
    classifier, method = CornerClassifier(InputSpec(size)), METHODS[name]
    if not method.suits(classifier):
        assert len(size) == 3, "planes suit every method"
        return
    truth = np.zeros(size, bool)
    truth[classifier.module.corner] = True
    drawn = method.draw(classifier, bright_image(size), 1)
    assert drawn.shape == size
    assert np.isfinite(drawn).all()
    assert drawn[truth].mean() > drawn[~truth].mean() + 0.05 * np.ptp(drawn)
    again = method.draw(classifier, bright_image(size), 1)
    np.testing.assert_allclose(drawn, again, atol=1e-6, err_msg="the same each time")


@pytest.mark.parametrize("name", ["rise", "sliding-window", "kernel-shap", "occlusion", "occlusion-monai", "rex"])
def test_queries_of_black_box_methods_are_counted_and_bounded(name: str) -> None:
    counted = CountingBlackBox(CornerClassifier(InputSpec((24, 24))))
    METHODS[name].draw(counted, bright_image((24, 24)), 1)
    assert 50 < counted.queries < 1500


def test_what_a_black_box_does_not_give_is_not_offered() -> None:
    from support.square_models import SquareClassifier

    closed = SquareClassifier(InputSpec((24, 24)))
    offered = {method.name for method in METHODS.values() if method.suits(closed)}
    assert offered == set(METHODS) - {"integrated-gradients", "grad-cam", "grad-cam++"}
    with pytest.raises(ClassifierError, match="no gradients"):
        METHODS["grad-cam++"].draw(closed, bright_image((24, 24)), 1)


@pytest.mark.parametrize("method", MAP_METHODS, ids=lambda method: method.name)
def test_each_method_names_its_source(method: MapMethod) -> None:
    assert method.source
    assert method.title


@pytest.mark.filterwarnings("ignore")
def test_metrics_agree_with_quantus() -> None:
    quantus = pytest.importorskip("quantus", reason="quantus is not installed")
    rng = np.random.default_rng(3)
    maps = rng.random((6, 1, 20, 20)).astype(np.float32)
    truth = rng.random((6, 1, 20, 20)) < 0.3
    plain = {"abs": False, "normalise": False, "disable_warnings": True}
    arguments = {"model": None, "x_batch": maps, "y_batch": np.zeros(6, int), "a_batch": maps, "s_batch": truth}
    mass = quantus.RelevanceMassAccuracy(**plain)(**arguments)
    points = quantus.PointingGame(**plain)(**arguments)
    assert mass == pytest.approx([energy_inside(m[0], t[0]) for m, t in zip(maps, truth, strict=True)], abs=1e-5)
    assert [bool(p) for p in points] == [bool(pointing_game(m[0], t[0])) for m, t in zip(maps, truth, strict=True)]
