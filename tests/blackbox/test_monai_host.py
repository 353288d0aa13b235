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

from otherwise.blackbox.answers import predict_views
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.view import show, view
from otherwise.errors import BundleError, ImageError
from otherwise.images.reading import read_image
from support.monai_bundles import (
    ACTIVATION,
    PREPROCESSING,
    READ,
    RESIZE,
    SCALE,
    answer_of_monai,
    hosted_answer,
    reconfigure,
    small_bundle,
    write_picture,
)


@pytest.mark.parametrize("name", PREPROCESSING)
def test_it_answers_as_monai_does(tmp_path: Path, name: str) -> None:
    array = (np.random.default_rng(0).random((40, 60, 3)) * 255).astype(np.uint8)
    PIL.Image.fromarray(array).save(tmp_path / "photo.png")
    hosted = load_classifier(small_bundle(tmp_path / "b", PREPROCESSING[name]))
    parser = ConfigParser(json.loads((tmp_path / "b" / "configs" / "inference.json").read_text(encoding="utf-8")))
    network = parser.get_parsed_content("network_def").eval()
    network.load_state_dict(torch.load(tmp_path / "b" / "models" / "model.pt", weights_only=True))
    tensor = parser.get_parsed_content("preprocessing")({"image": str(tmp_path / "photo.png")})["image"]
    with torch.no_grad():
        wanted = torch.softmax(network(torch.as_tensor(tensor)[None].float()).double(), 1).numpy()
    seen = show(read_image(tmp_path / "photo.png"), hosted.inputs)
    np.testing.assert_allclose(hosted.predict(seen[None]), wanted, atol=1e-5)


@pytest.mark.parametrize(("columns", "rows"), [(80, 60), (64, 64), (33, 71)])
def test_without_a_resizing_step_any_size_is_answered_as_monai_does(tmp_path: Path, columns: int, rows: int) -> None:
    folder, picture = small_bundle(tmp_path / "b", [SCALE]), write_picture(tmp_path, columns, rows)
    np.testing.assert_allclose(hosted_answer(folder, picture), answer_of_monai(folder, picture), atol=1e-5)


def test_pictures_of_several_sizes_are_answered_together(tmp_path: Path) -> None:
    folder = small_bundle(tmp_path / "b", [SCALE])
    pictures = [write_picture(tmp_path, *size, seed) for seed, size in enumerate([(80, 60), (40, 64), (80, 60)])]
    hosted = load_classifier(folder)
    answers = predict_views(hosted, [view(read_image(each), hosted.inputs).array for each in pictures])
    np.testing.assert_allclose(answers, [answer_of_monai(folder, each) for each in pictures], atol=1e-5)
    with pytest.raises(ImageError, match=r"takes image photo80x60 as 80 x 60 voxels, and explanations need 64 x 64"):
        show(read_image(pictures[0]), hosted.inputs)


INFERERS = {
    "simple": {"_target_": "SimpleInferer"},
    "sliding": {"_target_": "SlidingWindowInferer", "roi_size": [32, 32], "sw_batch_size": 2, "overlap": 0.5},
    "gaussian": {
        "_target_": "monai.inferers.SlidingWindowInferer",
        "roi_size": "@patch",
        "sw_batch_size": 3,
        "mode": "gaussian",
        "device": "@device",
    },
    "patches": {
        "_target_": "PatchInferer",
        "splitter": {"_target_": "SlidingWindowSplitter", "patch_size": [32, 32]},
        "batch_size": 2,
        "match_spatial_shape": False,
    },
}


@pytest.mark.parametrize("name", INFERERS)
def test_the_inferer_of_the_bundle_is_followed(tmp_path: Path, name: str) -> None:
    """A fully convolutional network answers with a map; the inferer merges it, the postprocessing reduces it."""
    folder, picture = small_bundle(tmp_path / "b", [SCALE]), write_picture(tmp_path, 96, 64)
    network = {"_target_": "monai.networks.nets.BasicUNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 2}
    network["features"] = [4, 4, 8, 8, 8, 4]
    reduce = {"_target_": "Resized", "keys": "pred", "spatial_size": [1, 1], "mode": "area"}
    reconfigure(
        folder,
        network_def=network,
        patch=[32, 32],
        device="$torch.device('cpu')",
        inferer=INFERERS[name],
        postprocessing={"_target_": "Compose", "transforms": [reduce, ACTIVATION]},
    )
    torch.manual_seed(0)
    built = ConfigParser({"n": network}).get_parsed_content("n")
    torch.save(built.state_dict(), folder / "models" / "model.pt")
    np.testing.assert_allclose(hosted_answer(folder, picture), answer_of_monai(folder, picture), atol=1e-5)


def test_steps_before_the_discrete_answer_are_run_and_those_after_are_not(tmp_path: Path) -> None:
    steps = [
        {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
        {"_target_": "ScaleIntensityRanged", "keys": "pred", "a_min": 0, "a_max": 1, "b_min": 0.1, "b_max": 0.9},
        {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.3},
        {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: 1 / 0"},
    ]
    folder, picture = small_bundle(tmp_path / "b", [RESIZE, SCALE]), write_picture(tmp_path, 50, 40)
    reconfigure(folder, postprocessing={"_target_": "Compose", "transforms": steps})
    kept = {"postprocessing": {"_target_": "Compose", "transforms": steps[:2]}}
    np.testing.assert_allclose(
        hosted_answer(folder, picture),
        answer_of_monai(reconfigure(small_bundle(tmp_path / "c", [RESIZE, SCALE]), **kept), picture),
        atol=1e-5,
    )
    assert DecisionRule.of(load_classifier(folder)) == DecisionRule(True, (0.3, 0.3))
    reconfigure(folder, postprocessing={"_target_": "Compose", "transforms": [steps[3], steps[0]]})
    with pytest.raises(BundleError, match=r"Step 1 of postprocessing, Lambdad .*--trust-code"):
        load_classifier(folder)


COMPOSED: dict[str, dict[str, Any]] = {
    "nested": {
        "_target_": "Compose",
        "transforms": [
            {"_target_": "Compose", "transforms": [{"_target_": "Compose", "transforms": READ}, RESIZE]},
            {"_target_": "monai.transforms.Compose", "transforms": [RESIZE], "_disabled_": True},
            SCALE,
        ],
    },
    "one reference": {"_target_": "Compose", "transforms": "$@reading"},
    "a sum of references": {"_target_": "Compose", "transforms": "$@reading + @steps#scaled"},
    "resampled once": {
        "_target_": "Compose",
        "transforms": [*READ, {"_target_": "Rotated", "keys": "image", "angle": 0.3}, RESIZE, SCALE],
        "lazy": "@together",
    },
    "on a device": {
        "_target_": "Compose",
        "transforms": [
            *READ,
            RESIZE,
            SCALE,
            {"_target_": "EnsureTyped", "keys": "image", "device": "@device"},
            {"_target_": "ToDeviced", "keys": "image", "device": "@device"},
        ],
    },
    "percentiles": {
        "_target_": "Compose",
        "transforms": [
            *READ,
            {"_target_": "ScaleIntensityRangePercentilesd", "keys": "image", "lower": 2, "upper": 97}
            | {"b_min": -1, "b_max": 1, "clip": True},
            RESIZE,
        ],
    },
}


@pytest.mark.parametrize("name", COMPOSED)
def test_steps_are_composed_as_monai_composes_them(tmp_path: Path, name: str) -> None:
    folder, picture = small_bundle(tmp_path / "b", [RESIZE, SCALE]), write_picture(tmp_path, 50, 40)
    reading = READ if "sum" in name else [*READ, RESIZE, SCALE]
    reconfigure(
        folder,
        reading=reading,
        steps={"scaled": [RESIZE, SCALE]},
        together=True,
        device="$torch.device('cpu')",
        preprocessing=COMPOSED[name],
        postprocessing={"_target_": "Compose", "transforms": [{"_target_": "Compose", "transforms": [ACTIVATION]}]},
    )
    metadata = folder / "configs" / "metadata.json"
    content = json.loads(metadata.read_text(encoding="utf-8")) | {"otherwise": {"intensity": [0, 255]}}
    metadata.write_text(json.dumps(content if "percentiles" not in name else {**content, "otherwise": {}}))
    np.testing.assert_allclose(hosted_answer(folder, picture), answer_of_monai(folder, picture), atol=1e-5)


@pytest.mark.parametrize(
    "arguments",
    [
        {"reader": "PILReader", "reverse_indexing": True},
        {"reader": "PILReader", "converter": "$lambda image: image.convert('RGB')"},
        {"image_only": True, "ensure_channel_first": False, "simple_keys": True},
    ],
)
def test_a_reader_that_reads_as_usual_is_followed(tmp_path: Path, arguments: dict[str, Any]) -> None:
    folder, picture = small_bundle(tmp_path / "b", []), write_picture(tmp_path, 50, 40)
    steps = [{**READ[0], **arguments}, READ[1], RESIZE, SCALE]
    reconfigure(folder, preprocessing={"_target_": "Compose", "transforms": steps})
    np.testing.assert_allclose(hosted_answer(folder, picture), answer_of_monai(folder, picture), atol=1e-5)
