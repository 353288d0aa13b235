"""Made-up networks of many kinds, exported to ONNX: hosted, each answers as onnxruntime does when it is asked by hand.

The pipeline by hand is written here once more, in NumPy, from the array that was saved to the answer.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import PIL.Image
import pytest
import torch
from torch import nn

from otherwise.blackbox.importing import import_classifier
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.view import show
from otherwise.cli.options.input_contract import read_contract
from otherwise.images.image import Geometry, Image
from otherwise.images.reading import read_image
from otherwise.images.writing import write_image

WIDTH = 6
"""Channels inside the networks."""


class Residual(nn.Module):
    """Add a block to its input."""

    def __init__(self, *block: nn.Module) -> None:
        super().__init__()
        self.block = nn.Sequential(*block)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.block(x)


class Gate(nn.Module):
    """Weigh channels by what is in them (squeeze and excitation)."""

    def __init__(self) -> None:
        super().__init__()
        self.weigh = nn.Sequential(nn.Linear(WIDTH, 2), nn.SiLU(), nn.Linear(2, WIDTH), nn.Sigmoid())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x * self.weigh(x.mean((2, 3)))[:, :, None, None]


class Rows(nn.Module):
    """Read an image row by row with a recurrent network."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.read = kind(WIDTH, WIDTH, batch_first=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.read(x.mean(3).transpose(1, 2))[0].transpose(1, 2)[..., None]


class Tokens(nn.Module):
    """Look at an image as tokens with self-attention, by its parts: exporters disagree on the fused layer."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.project, self.mlp = nn.LayerNorm(WIDTH), nn.Linear(WIDTH, 3 * WIDTH), nn.Linear(WIDTH, WIDTH)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        tokens = self.norm(x.flatten(2).transpose(1, 2))
        query, key, value = self.project(tokens).chunk(3, dim=-1)
        weights = torch.softmax(query @ key.transpose(1, 2) / WIDTH**0.5, dim=-1)
        return (x.flatten(2).transpose(1, 2) + self.mlp(weights @ value)).transpose(1, 2)[..., None]


class Concatenated(nn.Module):
    """Join an image with what a block makes of it (dense connections)."""

    def __init__(self) -> None:
        super().__init__()
        self.grow, self.shrink = nn.Conv2d(WIDTH, 4, 3, padding=1), nn.Conv2d(WIDTH + 4, WIDTH, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.shrink(torch.cat([x, nn.functional.elu(self.grow(x))], 1))


Stem = Callable[[], nn.Module]
PLANES: dict[str, Stem] = {
    "convolution": lambda: nn.Conv2d(WIDTH, WIDTH, 3),
    "batch norm": lambda: nn.Sequential(nn.Conv2d(WIDTH, WIDTH, 3), nn.BatchNorm2d(WIDTH), nn.ReLU()),
    "instance norm": lambda: nn.Sequential(
        nn.InstanceNorm2d(WIDTH, affine=True), nn.GELU(), nn.Conv2d(WIDTH, WIDTH, 3)
    ),
    "group norm": lambda: nn.Sequential(nn.GroupNorm(2, WIDTH), nn.Hardswish()),
    "depthwise": lambda: nn.Sequential(
        nn.Conv2d(WIDTH, WIDTH, 3, groups=WIDTH), nn.ReLU6(), nn.Conv2d(WIDTH, WIDTH, 1)
    ),
    "dilated": lambda: nn.Conv2d(WIDTH, WIDTH, 3, stride=2, dilation=2, padding=2, padding_mode="reflect"),
    "transposed": lambda: nn.Sequential(nn.ConvTranspose2d(WIDTH, WIDTH, 2, stride=2), nn.LeakyReLU(), nn.MaxPool2d(3)),
    "upsampled": lambda: nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2, mode="bilinear"), nn.PReLU()),
    "residual": lambda: Residual(nn.Conv2d(WIDTH, WIDTH, 3, padding=1), nn.Mish()),
    "gate": Gate,
    "dense": Concatenated,
    "attention": Tokens,
    "gru": lambda: Rows(nn.GRU),
    "lstm": lambda: Rows(nn.LSTM),
    "unshuffled": lambda: nn.Sequential(nn.PixelUnshuffle(2), nn.Conv2d(4 * WIDTH, WIDTH, 1), nn.Softplus()),
    "mixed pools": lambda: nn.Sequential(nn.AvgPool2d(3, 2, 1), nn.LPPool2d(2, 2), nn.Tanh()),
}
VOLUMES: dict[str, Stem] = {
    "convolution 3-D": lambda: nn.Conv3d(WIDTH, WIDTH, 3),
    "batch norm 3-D": lambda: nn.Sequential(nn.Conv3d(WIDTH, WIDTH, 3, padding=1), nn.BatchNorm3d(WIDTH), nn.ELU()),
    "group norm 3-D": lambda: nn.Sequential(nn.GroupNorm(3, WIDTH), nn.SiLU(), nn.MaxPool3d(2)),
    "residual 3-D": lambda: Residual(nn.Conv3d(WIDTH, WIDTH, 3, padding=1), nn.ReLU()),
    "transposed 3-D": lambda: nn.Sequential(nn.ConvTranspose3d(WIDTH, WIDTH, 2, stride=2), nn.AvgPool3d(3)),
    "depthwise 3-D": lambda: nn.Sequential(nn.Conv3d(WIDTH, WIDTH, 3, groups=WIDTH), nn.Hardsigmoid()),
}
MODELS = {**PLANES, **VOLUMES}


def softmax(scores: np.ndarray) -> np.ndarray:
    powers = np.exp(scores - scores.max(1, keepdims=True))
    return powers / powers.sum(1, keepdims=True)


def sigmoid(scores: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-scores))


def of_two(second: np.ndarray) -> np.ndarray:
    return np.concatenate([1 - second, second], axis=1)


@dataclass(frozen=True)
class Output:
    """A kind of answer: how many scores, what ends the network, how they are read by hand, the options of import."""

    scores: int
    end: Callable[[torch.Tensor], torch.Tensor]
    read: Callable[[np.ndarray], np.ndarray]
    options: dict[str, Any]
    among: bool = False


OUTPUTS = {
    "logits": Output(3, lambda x: x, softmax, {}),
    "softmax": Output(3, lambda x: x.softmax(1), lambda p: p, {}),
    "log-softmax": Output(3, lambda x: x.log_softmax(1), np.exp, {}),
    "one logit": Output(1, lambda x: x, lambda s: of_two(sigmoid(s)), {"output": "sigmoid-logits"}),
    "one sigmoid": Output(1, lambda x: x.sigmoid(), of_two, {"output": "probabilities"}),
    "logits of labels": Output(3, lambda x: x, sigmoid, {"output": "sigmoid-logits", "multi_label": True}),
    "sigmoids of labels": Output(
        3, lambda x: x.sigmoid(), lambda p: p, {"output": "probabilities", "multi_label": True}
    ),
    "named logits": Output(3, lambda x: x, softmax, {"output": "scores:logits"}, among=True),
}
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


@dataclass(frozen=True)
class Pipeline:
    """Options of import for the intensities, and the same by hand on ``(rows, columns, channels)`` in [0, 1]."""

    options: dict[str, str]
    by_hand: Callable[[np.ndarray], np.ndarray]
    channels: tuple[int, ...] = (1, 2, 3, 4)


SPACE = (0, 1, 2)
PIPELINES = {
    "plain": Pipeline({}, lambda x: x),
    "symmetric": Pipeline({"value_range": "-1,1"}, lambda x: 2 * x - 1),
    "mean": Pipeline({"mean": "0.4", "deviation": "0.25"}, lambda x: (x - 0.4) / 0.25),
    "z-score": Pipeline({"normalise": "z-score"}, lambda x: (x - x.mean(SPACE)) / x.std(SPACE)),
    "min-max": Pipeline({"intensity": "image"}, lambda x: (x - x.min(SPACE)) / (x.max(SPACE) - x.min(SPACE))),
    "imagenet": Pipeline({"normalise": "imagenet"}, lambda x: (x - IMAGENET[0]) / IMAGENET[1], (3,)),
    "bgr": Pipeline({"colours": "BGR"}, lambda x: x[..., ::-1], (3,)),
}
BATCHES = ("any", "any, of any size", "1", "4")
DTYPES = ("float32", "float64", "float32", "float16", "uint8")


class Made(nn.Module):
    """A network with its stem, layout, type of input and kind of output."""

    def __init__(self, stem: nn.Module, channels: int, dims: int, last: bool, output: Output) -> None:
        super().__init__()
        convolution = nn.Conv3d if dims == 3 else nn.Conv2d
        self.net = nn.Sequential(convolution(channels, WIDTH, 3, padding=1), stem, nn.Tanh())
        self.head = nn.Linear(2 * WIDTH, output.scores)
        self.last, self.output = last, output
        with torch.no_grad():
            for parameter in self.net.parameters():
                parameter.mul_(1.5)
            self.head.weight.mul_(8)

    def forward(self, x: torch.Tensor) -> Any:
        x = x.float()
        x = self.net(x.permute(0, x.ndim - 1, *range(1, x.ndim - 1)) if self.last else x).flatten(2)
        features = torch.cat([x.mean(2), x[:, :, 0] - x[:, :, -1]], 1)  # where things are matters as well
        scores = self.output.end(self.head(features))
        return (features[:, :3], scores) if self.output.among else scores


@dataclass(frozen=True)
class Choice:
    """What is drawn for the n-th model."""

    stem: str
    output: str
    pipeline: str
    channels: int
    axes: str
    last: bool
    batch: str
    dtype: str

    @property
    def volume(self) -> bool:
        return self.stem in VOLUMES


def choose(number: int) -> Choice:
    """Draw the n-th model: cycles of lengths without a common divisor meet every pair in time."""
    stem = list(MODELS)[number % len(MODELS)]
    volume = stem in VOLUMES
    channels = (1, 2, 4)[number % 3] if volume else (3, 1)[number % 2]
    pipelines = [name for name, pipeline in PIPELINES.items() if channels in pipeline.channels]
    orders = ("x,y,z", "slices,rows,columns", "rows,columns,slices") if volume else ("rows,columns", "columns,rows")
    dtype = DTYPES[number % len(DTYPES)]
    return Choice(
        stem=stem,
        output=list(OUTPUTS)[number % len(OUTPUTS)],
        pipeline="plain" if dtype == "uint8" else pipelines[(number // 2) % len(pipelines)],
        channels=channels,
        axes=orders[(number // 3) % len(orders)],
        last=number % 3 == 1,
        batch=BATCHES[(number // 2) % len(BATCHES)],
        dtype=dtype,
    )


def save_images(folder: Path, choice: Choice, rng: np.random.Generator) -> tuple[list[Path], list[np.ndarray], int]:
    """Save three images; return their paths, their arrays ``(columns, rows, slices, channels)`` and their maximum."""
    edges = (11 + int(rng.integers(3)), 9, 8) if choice.volume else (14 + int(rng.integers(3)), 12, 1)
    top = int(rng.choice([255, 4095])) if choice.channels != 3 or choice.volume else 255
    folder.mkdir()
    paths, arrays = [], []
    for number in range(3):
        array = rng.integers(0, top + 1, (*edges, choice.channels))
        if choice.volume:
            path = folder / f"v{number}.nrrd"
            image = Image(np.moveaxis(array, -1, 0).astype(np.int16), Geometry(edges, np.diag([-0.7, -0.8, 2.0, 1.0])))
            write_image(image, path)
        else:
            path = folder / f"p{number}.png"
            pixels = array[:, :, 0].swapaxes(0, 1).astype(np.uint8 if top == 255 else np.uint16)
            PIL.Image.fromarray(np.ascontiguousarray(pixels[..., 0] if choice.channels == 1 else pixels)).save(path)
        paths.append(path)
        arrays.append(array)
    return paths, arrays, top


def by_hand(array: np.ndarray, choice: Choice, top: int) -> np.ndarray:
    """Return one image's tensor, as the owner of the network makes it."""
    values = PIPELINES[choice.pipeline].by_hand(array / top)
    if choice.dtype == "uint8":
        values = np.rint(values * 255)
    if choice.volume and choice.axes == "x,y,z":
        values = values[::-1, ::-1]  # stored towards left and posterior, wanted towards right and anterior
    places = [("columns", "rows", "slices", "x", "y", "z").index(axis) % 3 for axis in choice.axes.split(",")]
    values = values.transpose(*places, *[axis for axis in range(3) if axis not in places], 3)
    values = values if choice.volume else values[:, :, 0]
    return values if choice.last else np.moveaxis(values, -1, 0)


def export(module: nn.Module, path: Path, tensor: torch.Tensor, choice: Choice) -> None:
    names = ["features", "scores"] if OUTPUTS[choice.output].among else ["scores"]
    axes: dict[int, str] = {} if choice.batch.isdecimal() else {0: "batch"}
    if "size" in choice.batch:
        first = 1 if choice.last else 2
        axes |= {first + axis: f"edge{axis}" for axis in range(tensor.ndim - 2)}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about its own future
        torch.onnx.export(
            module,
            (tensor,),
            str(path),
            input_names=["image"],
            output_names=names,
            dynamic_axes={"image": axes, **{name: {0: "batch"} for name in names}} if axes else None,
            dynamo=False,
        )


@pytest.mark.parametrize("number", range(24))
def test_a_made_up_network_answers_as_onnxruntime_does_by_hand(tmp_path: Path, number: int) -> None:
    choice, rng = choose(number), np.random.default_rng(number)
    torch.manual_seed(number)
    output, dims = OUTPUTS[choice.output], 3 if choice.volume else 2
    module = Made(MODELS[choice.stem](), choice.channels, dims, choice.last, output).eval()
    paths, arrays, top = save_images(tmp_path / "images", choice, rng)
    tensors = np.stack([by_hand(array, choice, top) for array in arrays]).astype(choice.dtype)
    batch = int(choice.batch) if choice.batch.isdecimal() else 2
    example = torch.from_numpy(np.resize(tensors, (batch, *tensors.shape[1:])))
    export(module, tmp_path / "model.onnx", example, choice)

    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    whole = np.resize(tensors, (4, *tensors.shape[1:]))  # batches of 1 and 4 fit
    step = batch if choice.batch.isdecimal() else 4
    parts = [session.run(["scores"], {"image": whole[k : k + step]})[0] for k in range(0, 4, step)]
    wanted = output.read(np.concatenate(parts).astype(np.float64))[:3]

    columns, rows, slices, _ = arrays[0].shape
    contract = read_contract(
        size=f"{columns},{rows},{slices}" if choice.volume else f"{columns},{rows}",
        channels=choice.channels,
        **{
            **dict.fromkeys(("spacing", "orientation", "fit", "interpolation", "value_range", "mean", "deviation")),
            **{"patches": None, "modality": "OT", "grey": "refuse", "colours": "RGB", "normalise": "none"},
            "intensity": f"0,{top}",
            "layout": "NHWC" if choice.last else "NCHW",
            "axes": choice.axes,
            "dtype": choice.dtype,
            **PIPELINES[choice.pipeline].options,
        },
    )
    classes = ("a", "b", "c") if output.scores == 3 else ("a", "b")
    described = {"inputs": contract.inputs, "tensor": contract.tensor, **output.options}
    import_classifier(tmp_path / "model.onnx", tmp_path / "bundle", classes=classes, **described)
    hosted = load_classifier(tmp_path / "bundle")
    seen = np.stack([show(read_image(path), hosted.inputs) for path in paths])
    np.testing.assert_allclose(hosted.predict(seen), wanted, atol=1e-5, err_msg=str(choice))
    assert np.ptp(wanted, axis=0).max() > 1e-3, "the images have to be told apart"


def test_the_models_cover_every_kind() -> None:
    drawn = [choose(number) for number in range(24)]
    assert {one.stem for one in drawn} == set(MODELS)
    assert {one.output for one in drawn} == set(OUTPUTS)
    assert {one.pipeline for one in drawn} == set(PIPELINES)
    assert {one.batch for one in drawn} == set(BATCHES)
    assert {one.dtype for one in drawn} == set(DTYPES)
    assert {one.axes for one in drawn} == {
        *("rows,columns", "columns,rows"),
        *("x,y,z", "slices,rows,columns", "rows,columns,slices"),
    }
    assert {one.last for one in drawn} == {False, True}
