"""A MONAI bundle is prepared by MONAI's own transforms, and answers as they and its network do."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch
from monai.bundle import ConfigParser
from monai.inferers import SimpleInferer
from monai.networks.nets import DenseNet

from otherwise.blackbox.answers import predict_views
from otherwise.blackbox.decision import DecisionRule
from otherwise.blackbox.hosts.monai_config import edge_of
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.view import show, view
from otherwise.errors import BundleError, ImageError
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


def evaluated(folder: Path, picture: Path) -> np.ndarray:
    """What MONAI's own evaluator says, step by step: preprocessing, inferer, postprocessing without its last step."""
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


def changed(folder: Path, **content: Any) -> Path:
    """Write other parts into a bundle's configuration."""
    path = folder / "configs" / "inference.json"
    path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **content}), encoding="utf-8")
    return folder


def picture_of(folder: Path, columns: int, rows: int, seed: int = 0) -> Path:
    array = (np.random.default_rng(seed).random((rows, columns, 3)) * 255).astype(np.uint8)
    path = folder / f"photo{columns}x{rows}.png"
    PIL.Image.fromarray(array).save(path)
    return path


def said(folder: Path, picture: Path) -> np.ndarray:
    """What the hosted bundle says through the door that ``otherwise classify`` uses."""
    hosted = load_classifier(folder)
    (answer,) = predict_views(hosted, [view(read_image(picture), hosted.inputs).array])
    assert isinstance(answer, np.ndarray), answer
    return answer


SCALE = {"_target_": "ScaleIntensityRanged", "keys": "image", "a_min": 0, "a_max": 255, "b_min": -1, "b_max": 1}
ACTIVATION = {"_target_": "Activationsd", "keys": "pred", "softmax": True}


@pytest.mark.parametrize(("columns", "rows"), [(80, 60), (64, 64), (33, 71)])
def test_without_a_resizing_step_any_size_is_answered_as_monai_does(tmp_path: Path, columns: int, rows: int) -> None:
    folder, picture = bundle(tmp_path / "b", [SCALE]), picture_of(tmp_path, columns, rows)
    np.testing.assert_allclose(said(folder, picture), evaluated(folder, picture), atol=1e-5)


def test_pictures_of_several_sizes_are_answered_together(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "b", [SCALE])
    pictures = [picture_of(tmp_path, *size, seed) for seed, size in enumerate([(80, 60), (40, 64), (80, 60)])]
    hosted = load_classifier(folder)
    answers = predict_views(hosted, [view(read_image(each), hosted.inputs).array for each in pictures])
    np.testing.assert_allclose(answers, [evaluated(folder, each) for each in pictures], atol=1e-5)
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
    folder, picture = bundle(tmp_path / "b", [SCALE]), picture_of(tmp_path, 96, 64)
    network = {"_target_": "monai.networks.nets.BasicUNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 2}
    network["features"] = [4, 4, 8, 8, 8, 4]
    reduce = {"_target_": "Resized", "keys": "pred", "spatial_size": [1, 1], "mode": "area"}
    changed(
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
    np.testing.assert_allclose(said(folder, picture), evaluated(folder, picture), atol=1e-5)


@pytest.mark.parametrize(
    "inferer",
    [
        {"_target_": "os.system", "command": "x"},
        {"_target_": "SlidingWindowInferer", "roi_size": "$(32, 32)"},
        {"_target_": "PatchInferer", "splitter": {"_target_": "subprocess.Popen"}},
        "$print('x')",
    ],
)
def test_an_inferer_that_is_none_of_monais_is_refused_by_name(tmp_path: Path, inferer: Any) -> None:
    folder = changed(bundle(tmp_path / "b", [RESIZE, SCALE]), inferer=inferer)
    with pytest.raises(BundleError, match=r"The inferer of .* is not followed.*--trust-code"):
        load_classifier(folder)


def test_steps_before_the_discrete_answer_are_run_and_those_after_are_not(tmp_path: Path) -> None:
    steps = [
        {"_target_": "Activationsd", "keys": "pred", "sigmoid": True},
        {"_target_": "ScaleIntensityRanged", "keys": "pred", "a_min": 0, "a_max": 1, "b_min": 0.1, "b_max": 0.9},
        {"_target_": "AsDiscreted", "keys": "pred", "threshold": 0.3},
        {"_target_": "Lambdad", "keys": "pred", "func": "$lambda x: 1 / 0"},
    ]
    folder, picture = bundle(tmp_path / "b", [RESIZE, SCALE]), picture_of(tmp_path, 50, 40)
    changed(folder, postprocessing={"_target_": "Compose", "transforms": steps})
    kept = {"postprocessing": {"_target_": "Compose", "transforms": steps[:2]}}
    np.testing.assert_allclose(
        said(folder, picture), evaluated(changed(bundle(tmp_path / "c", [RESIZE, SCALE]), **kept), picture), atol=1e-5
    )
    assert DecisionRule.of(load_classifier(folder)) == DecisionRule(True, (0.3, 0.3))
    changed(folder, postprocessing={"_target_": "Compose", "transforms": [steps[3], steps[0]]})
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
    folder, picture = bundle(tmp_path / "b", [RESIZE, SCALE]), picture_of(tmp_path, 50, 40)
    reading = READ if "sum" in name else [*READ, RESIZE, SCALE]
    changed(
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
    np.testing.assert_allclose(said(folder, picture), evaluated(folder, picture), atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"reader": "PILReader", "reverse_indexing": False}, "reverse_indexing"),
        ({"reader": "ITKReader", "reverse_indexing": True}, "reverse_indexing"),
        ({"reader": "ITKReader", "affine_lps_to_ras": False}, "affine_lps_to_ras"),
        ({"reader": "NibabelReader", "as_closest_canonical": True}, "as_closest_canonical"),
        ({"reader": {"_target_": "NibabelReader", "as_closest_canonical": True}}, "as_closest_canonical"),
        ({"reader": "PILReader", "converter": "$lambda image: image.convert('HSV')"}, "converter"),
        ({"reader": "scripts.reader.OwnReader"}, "OwnReader"),
    ],
)
def test_a_reader_that_changes_images_is_refused_by_name(tmp_path: Path, arguments: dict[str, Any], named: str) -> None:
    folder = bundle(tmp_path / "b", [])
    steps = [{**READ[0], **arguments}, READ[1], RESIZE, SCALE]
    changed(folder, preprocessing={"_target_": "Compose", "transforms": steps})
    with pytest.raises(BundleError, match=rf"Step 1 of preprocessing, LoadImaged \({named}\), is not followed"):
        load_classifier(folder)


@pytest.mark.parametrize(
    "arguments",
    [
        {"reader": "PILReader", "reverse_indexing": True},
        {"reader": "PILReader", "converter": "$lambda image: image.convert('RGB')"},
        {"image_only": True, "ensure_channel_first": False, "simple_keys": True},
    ],
)
def test_a_reader_that_reads_as_usual_is_followed(tmp_path: Path, arguments: dict[str, Any]) -> None:
    folder, picture = bundle(tmp_path / "b", []), picture_of(tmp_path, 50, 40)
    steps = [{**READ[0], **arguments}, READ[1], RESIZE, SCALE]
    changed(folder, preprocessing={"_target_": "Compose", "transforms": steps})
    np.testing.assert_allclose(said(folder, picture), evaluated(folder, picture), atol=1e-5)


@pytest.mark.parametrize(
    ("preprocessing", "fault"),
    [
        ({"transforms": [*READ, {"_target_": "Compose", "transforms": [RESIZE], "lazy": True}, SCALE]}, "lazy"),
        ({"transforms": [*READ, RESIZE, SCALE], "overrides": {"image": {"mode": "nearest"}}}, "overrides"),
        ({"transforms": "$[f(x) for x in @steps]"}, "Write its transforms as a list"),
        ({"transforms": "$@steps + @nowhere"}, "Write its transforms as a list"),
        ({"transforms": [*READ, {"_target_": "NormalizeIntensityd", "keys": "image"}, RESIZE]}, "after Normalize"),
    ],
)
def test_what_is_composed_otherwise_is_refused_by_name(
    tmp_path: Path, preprocessing: dict[str, Any], fault: str
) -> None:
    folder = bundle(tmp_path / "b", [])
    changed(folder, steps=[*READ, RESIZE, SCALE], preprocessing={"_target_": "Compose", **preprocessing})
    with pytest.raises(BundleError, match=fault):
        load_classifier(folder)


@pytest.mark.parametrize(
    ("declared", "edge"),
    [(96, 96), ("96", 96), ("*", 64), ("32*n", 64), ("16 * n", 64), ("2**p*n", 64), ("8*n+1", 65), ("n*48", 48)],
)
def test_declared_shapes_are_understood(declared: Any, edge: int) -> None:
    assert edge_of(declared) == edge


@pytest.mark.parametrize("declared", ["x", "__import__('os')", "9**9**9**9", "n/2", "", None, "-n", 0])
def test_what_is_no_shape_is_refused(declared: Any) -> None:
    assert edge_of(declared) is None


@pytest.mark.parametrize("name", ["inference.yaml", "inference.yml"])
def test_a_configuration_in_yaml_is_followed_as_one_in_json(tmp_path: Path, name: str) -> None:
    import yaml

    picture = picture_of(tmp_path, 60, 40)
    json_one, yaml_one = (bundle(tmp_path / kind, STEPS["z-score"]) for kind in ("json", "yaml"))
    path = yaml_one / "configs" / "inference.json"
    content = json.loads(path.read_text(encoding="utf-8"))
    path.unlink()
    text = "# by hand\nsize: &size [32, 48]\n" + yaml.safe_dump(content).replace(
        "spatial_size:", "spatial_size: *size #"
    )
    text = text.replace("      - 32\n      - 48\n", "").replace("    - 32\n    - 48\n", "")
    path.with_name(name).write_text(text, encoding="utf-8")
    np.testing.assert_array_equal(said(yaml_one, picture), said(json_one, picture))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("network_def: {a: 1", r"inference.yaml line 1"),
        ("a: 1\na: 2", r"inference.yaml line 2: the key a is there twice"),
        ("- a\n- b", "holds no object"),
        ("a: !!python/object/apply:os.system [ls]", r"inference.yaml line 1"),
        ("a: &a [*a]", "cannot be read"),
        (
            "a: &a [x,x,x,x,x,x,x,x,x]\n"
            + "\n".join(f"{k}: &{k} [{','.join(9 * [f'*{j}'])}]" for j, k in zip("abcdefg", "bcdefgh", strict=True)),
            "more than",
        ),
    ],
    ids=["cut", "twice", "list", "code", "circle", "bomb"],
)
def test_a_damaged_configuration_in_yaml_is_refused_in_a_line(tmp_path: Path, text: str, fault: str) -> None:
    folder = bundle(tmp_path / "b", STEPS["z-score"])
    (folder / "configs" / "inference.json").unlink()
    (folder / "configs" / "inference.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(BundleError, match=fault):
        load_classifier(folder)


def test_two_configurations_are_refused(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "b", STEPS["z-score"])
    (folder / "configs" / "inference.yaml").write_text("a: 1", encoding="utf-8")
    with pytest.raises(BundleError, match=r"inference\.json and inference.yaml.*Keep the one"):
        load_classifier(folder)


def test_a_network_of_torchvision_is_refused_where_that_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    real = importlib.import_module

    def without(name: str, *more: Any) -> Any:
        if name.startswith("torchvision"):
            raise RuntimeError("operator torchvision::nms does not exist")
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", without)
    network = {"_target_": "TorchVisionFCModel", "model_name": "resnet18", "num_classes": 2}
    folder = changed(bundle(tmp_path / "b", STEPS["z-score"]), network_def=network)
    with pytest.raises(BundleError, match=r"needs torchvision.*nms does not exist.*belongs to it, or export") as caught:
        load_classifier(folder)
    assert "\n" not in str(caught.value)


_TORCHVISION = """
import sys, torch
from torch.library import Library
operators = Library("torchvision", "FRAGMENT")  # as the compiled part of a fitting torchvision does
for name in ("nms", "qnms"):
    try:
        operators.define(name + "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    except RuntimeError:
        pass  # it is there
sys.path[:0] = sys.argv[2:]
from blackbox.test_monai_host import *
folder = Path(sys.argv[1])
networks = [
    {"model_name": "resnet18", "use_conv": True, "pool": ["avg", {"kernel_size": [1, 2]}]}
    | {"node_name": "layer4.1.relu_1"},
    {"model_name": "mobilenet_v3_small", "fc_name": "classifier.3", "pool": None},
]
for number, arguments in enumerate(networks):
    network = {"_target_": "TorchVisionFCModel", "num_classes": 2, "pretrained": False, **arguments}
    one = changed(bundle(folder / str(number), STEPS["window"]), network_def=network)
    torch.manual_seed(number)
    made = ConfigParser({"network_def": network}).get_parsed_content("network_def")
    torch.save(made.state_dict(), one / "models" / "model.pt")
    picture = picture_of(folder, 60, 40)
    wanted, got = evaluated(one, picture), said(one, picture)
    assert np.abs(wanted - got).max() <= 1e-5, (wanted, got)
    print(network["model_name"], np.abs(wanted - got).max(), got)
"""


@pytest.mark.slow
def test_networks_of_torchvision_answer_as_monai_says(tmp_path: Path) -> None:
    if importlib.util.find_spec("torchvision") is None:
        pytest.skip("torchvision is not installed")
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", _TORCHVISION, str(tmp_path), str(tests)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-1500:]
    assert done.stdout.count("resnet18") == done.stdout.count("mobilenet") == 1
