"""MONAI bundles of a small network, and what MONAI itself says of an image with them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import torch
from monai.bundle import ConfigParser
from monai.inferers import SimpleInferer
from monai.networks.nets import DenseNet

from otherwise.blackbox.answers import predict_views
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.view import view
from otherwise.images.reading import read_image

NETWORK = {"spatial_dims": 2, "in_channels": 3, "out_channels": 2, "init_features": 8, "growth_rate": 4}
READ = [{"_target_": "LoadImaged", "keys": "image"}, {"_target_": "EnsureChannelFirstd", "keys": "image"}]
RESIZE = {"_target_": "Resized", "keys": "image", "spatial_size": [32, 48], "mode": "bilinear"}
SCALE = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": -1, "b_max": 1}
ACTIVATION = {"_target_": "Activationsd", "keys": "pred", "softmax": True}
PREPROCESSING: dict[str, list[dict[str, Any]]] = {
    "z-score": [RESIZE, {"_target_": "NormalizeIntensityd", "keys": "image", "nonzero": True, "channel_wise": True}],
    "window": [
        RESIZE,
        {"_target_": "monai.transforms.ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": -1}
        | {"b_max": 1},
    ],
    "cut": [
        {"_target_": "ResizeWithPadOrCropd", "keys": "image", "spatial_size": [32, 48]},
        {"_target_": "ScaleIntensityd", "keys": "image"},
    ],
}


def small_bundle(folder: Path, steps: list[dict[str, Any]]) -> Path:
    """Write a bundle with these steps of preprocessing after reading; return its folder."""
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    inference = {
        "imports": ["$import os"],
        "network_def": {"_target_": "DenseNet", "block_config": [2, 2], **NETWORK},
        "preprocessing": {"_target_": "Compose", "transforms": [*READ, *steps]},
        "postprocessing": {
            "_target_": "Compose",
            "transforms": [{"_target_": "Activationsd", "keys": "pred", "softmax": True}],
        },
    }
    channels = {"num_channels": 3, "spatial_shape": ["16*n", "16*n"], "modality": "regular"}
    pred = {"num_channels": 2, "channel_def": {"0": "in", "1": "out"}}
    metadata = {"network_data_format": {"inputs": {"image": channels}, "outputs": {"pred": pred}}}
    (folder / "configs" / "inference.json").write_text(json.dumps(inference), encoding="utf-8")
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    torch.manual_seed(0)
    torch.save(DenseNet(block_config=(2, 2), **NETWORK).state_dict(), folder / "models" / "model.pt")
    return folder


def reconfigure(folder: Path, **content: Any) -> Path:
    """Replace parts of a bundle's configuration; return its folder."""
    path = folder / "configs" / "inference.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **content}), encoding="utf-8")
    return folder


def write_picture(folder: Path, columns: int, rows: int, seed: int = 0) -> Path:
    """Write a random RGB picture as PNG; return its path."""
    array = (np.random.default_rng(seed).random((rows, columns, 3)) * 255).astype(np.uint8)
    path = folder / f"photo{columns}x{rows}.png"
    PIL.Image.fromarray(array).save(path)
    return path


def answer_of_monai(folder: Path, picture: Path) -> np.ndarray:
    """Return the answer of MONAI's own parts: preprocessing, inferer, and postprocessing without ``AsDiscrete``."""
    parser = ConfigParser(json.loads((folder / "configs" / "inference.json").read_text(encoding="utf-8")))
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(folder / "models" / "model.pt", weights_only=True))
    image = parser.get_parsed_content("preprocessing")({"image": str(picture)})["image"]
    inferer = parser.get_parsed_content("inferer") if "inferer" in parser.get() else SimpleInferer()
    with torch.no_grad():
        pred = inferer(torch.as_tensor(image)[None].float(), network)[0]
    steps = parser.get_parsed_content("postprocessing").transforms
    data = {"pred": pred}
    for step in steps:
        if "AsDiscrete" not in type(step).__name__:
            data = step(data)
    return np.asarray(data["pred"]).reshape(-1)


def hosted_answer(folder: Path, picture: Path) -> np.ndarray:
    """Return the answer of the hosted bundle, as ``otherwise classify`` asks for it."""
    hosted = load_classifier(folder)
    (answer,) = predict_views(hosted, [view(read_image(picture), hosted.inputs).array])
    assert isinstance(answer, np.ndarray), answer
    return answer
