"""A MONAI bundle is prepared by MONAI's own transforms, and answers as they and its network do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from monai.bundle import ConfigParser
from monai.networks.nets import DenseNet

from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.view import show
from otherwise.errors import BundleError
from otherwise.images.reading import read_image

NETWORK = {"spatial_dims": 2, "in_channels": 3, "out_channels": 2, "init_features": 8, "growth_rate": 4}
READ = [{"_target_": "LoadImaged", "keys": "image"}, {"_target_": "EnsureChannelFirstd", "keys": "image"}]
RESIZE = {"_target_": "Resized", "keys": "image", "spatial_size": [32, 48], "mode": "bilinear"}
STEPS: dict[str, list[dict[str, Any]]] = {
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


def bundle(folder: Path, steps: list[dict[str, Any]]) -> Path:
    (folder / "configs").mkdir(parents=True)
    (folder / "models").mkdir()
    inference = {
        "imports": ["$import os"],
        "network_def": {"_target_": "DenseNet", "block_config": [2, 2], **NETWORK},
        "preprocessing": {"_target_": "Compose", "transforms": [*READ, *steps]},
        "postprocessing": {"_target_": "Compose", "transforms": [{"_target_": "Activationsd", "softmax": True}]},
    }
    channels = {"num_channels": 3, "spatial_shape": ["16*n", "16*n"], "modality": "regular"}
    pred = {"num_channels": 2, "channel_def": {"0": "in", "1": "out"}}
    metadata = {"network_data_format": {"inputs": {"image": channels}, "outputs": {"pred": pred}}}
    (folder / "configs" / "inference.json").write_text(json.dumps(inference), encoding="utf-8")
    (folder / "configs" / "metadata.json").write_text(json.dumps(metadata), encoding="utf-8")
    torch.manual_seed(0)
    torch.save(DenseNet(block_config=(2, 2), **NETWORK).state_dict(), folder / "models" / "model.pt")
    return folder


@pytest.mark.parametrize("name", STEPS)
def test_it_answers_as_monai_does(tmp_path: Path, name: str) -> None:
    array = (np.random.default_rng(0).random((40, 60, 3)) * 255).astype(np.uint8)
    PIL.Image.fromarray(array).save(tmp_path / "photo.png")
    hosted = load_classifier(bundle(tmp_path / "b", STEPS[name]))
    parser = ConfigParser(json.loads((tmp_path / "b" / "configs" / "inference.json").read_text(encoding="utf-8")))
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(tmp_path / "b" / "models" / "model.pt", weights_only=True))
    tensor = parser.get_parsed_content("preprocessing")({"image": str(tmp_path / "photo.png")})["image"]
    with torch.no_grad():
        wanted = torch.softmax(network(torch.as_tensor(tensor)[None].float()).double(), 1).numpy()
    seen = show(read_image(tmp_path / "photo.png"), hosted.inputs)
    np.testing.assert_allclose(hosted.predict(seen[None]), wanted, atol=1e-5)


def test_what_is_no_deterministic_transform_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"RandFlipd.*--trust-code"):
        load_classifier(bundle(tmp_path / "b", [RESIZE, {"_target_": "RandFlipd", "keys": "image"}]))
