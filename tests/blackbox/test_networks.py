"""A bundle's network is built from data; what would run its maker's code is refused unless trusted."""

import json
import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save

from otherwise.blackbox.hosts.networks import build_network
from otherwise.blackbox.loading import load_classifier
from otherwise.errors import BundleError

CANARY = "import pathlib; pathlib.Path({path!r}).write_text('ran')\n"


def test_a_network_and_its_weights_are_loaded(network_bundle, images):
    classifier = load_classifier(network_bundle.folder)
    answers = classifier.predict(images)
    assert answers.shape == (5, 2)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-9)
    assert np.ptp(answers[:, 0]) > 0


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "subprocess.Popen",
        "torch.load",
        "torch.hub.load",
        "torch.nn.modules.module.torch.load",
        "monai.networks.nets.torch.hub.load",
        "torch.nn.functional.relu",
        "torch.nn.Parameter",
        "monai.networks.nets.NoSuchNet",
        "monai.networks.nets.__builtins__",
        "monai.bundle.download",
        "monai.networks.nets.get_pretrained_resnet_medicalnet",
        "",
    ],
)
def test_only_networks_are_built(target):
    with pytest.raises(BundleError, match="not allowed"):
        build_network({"_target_": target})


@pytest.mark.parametrize(
    "arguments",
    [
        {"in_features": "$__import__('os').getpid()", "out_features": 2},
        {"in_features": "@other", "out_features": 2},
        {"in_features": "%other.json::n", "out_features": 2},
        {"in_features": 3, "out_features": 2, "_mode_": "debug"},
        {"in_features": {"_target_": "os.getpid"}, "out_features": 2},
    ],
)
def test_only_literal_arguments_are_taken(arguments):
    with pytest.raises(BundleError, match="no literal"):
        build_network({"_target_": "torch.nn.Linear", **arguments})


def test_networks_that_fetch_or_open_files_are_refused():
    with pytest.raises(BundleError, match="pretrained"):
        build_network({"_target_": "monai.networks.nets.resnet10", "pretrained": "weights.pt"})
    with pytest.raises(BundleError, match="path_or_repo_id"):
        build_network({"_target_": "monai.networks.nets.Transchex", "in_channels": 1, "img_size": [8, 8]})
    with pytest.raises(BundleError, match="pretrained"):
        build_network({"_target_": "monai.networks.nets.MILModel", "num_classes": 2})


def test_wrong_arguments_are_one_line():
    with pytest.raises(BundleError, match="cannot be built") as caught:
        build_network({"_target_": "torch.nn.Linear", "wide": 3})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "addition",
    [
        {"imports": ["$import os"]},
        {"bundle_root": "$__import__('os').getcwd()"},
        {"deep": {"er": [{"x": " $1+1"}]}},
        {"macro": "%train.json"},
    ],
)
def test_a_configuration_that_wants_code_is_refused(network_bundle, addition):
    path = network_bundle.folder / "configs" / "inference.json"
    path.write_text(json.dumps({**network_bundle.inference, **addition}), encoding="utf-8")
    with pytest.raises(BundleError, match=r"wants to run code.*--trust-code"):
        load_classifier(network_bundle.folder)


def test_scripts_are_refused_beside_torchscript_too(make_bundle):
    bundle = make_bundle()
    (bundle.folder / "scripts").mkdir()
    (bundle.folder / "scripts" / "extra.py").write_text("1 / 0\n", encoding="utf-8")
    with pytest.raises(BundleError, match=r"scripts/extra\.py"):
        load_classifier(bundle.folder)
    assert load_classifier(bundle.folder, trust_code=True).name == "tiny"


def test_a_bundle_with_scripts_runs_only_when_trusted(make_bundle, tmp_path, tiny, images):
    ran = tmp_path / "ran.txt"
    state = {f"layer.{key}": value for key, value in tiny.module.layer.state_dict().items()}
    bundle = make_bundle(
        "models/model.safetensors",
        lambda path: path.write_bytes(save(state)),
        {"n": "$6 * 8", "network_def": {"_target_": "scripts.net.Net", "n": "@n"}},
    )
    (bundle.folder / "scripts").mkdir()
    (bundle.folder / "scripts" / "__init__.py").write_text("", encoding="utf-8")
    (bundle.folder / "scripts" / "net.py").write_text(
        CANARY.format(path=str(ran)) + "import torch\n"
        "class Net(torch.nn.Module):\n"
        "    def __init__(self, n):\n"
        "        super().__init__()\n"
        "        self.layer = torch.nn.Linear(n, 2)\n"
        "    def forward(self, x):\n"
        "        return self.layer(x.flatten(1))\n",
        encoding="utf-8",
    )
    with pytest.raises(BundleError, match=r"its own Python \(scripts/.*--trust-code"):
        load_classifier(bundle.folder)
    assert not ran.exists()
    answers = load_classifier(bundle.folder, trust_code=True).predict(images)
    assert ran.exists()
    np.testing.assert_allclose(answers, tiny.answers(images), atol=1e-5)


class Malicious:
    """Unpickling this makes a file."""

    def __init__(self, path: str) -> None:
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("weights", ["models/model.pt", "models/model.ts", "models/model.safetensors"])
@pytest.mark.parametrize("how", ["pickle", "torch.save"])
def test_a_pickle_is_never_opened(network_bundle, make_bundle, tmp_path, weights, how):
    ran = tmp_path / "ran.txt"

    def write(path):
        content = {"conv1.weight": Malicious(str(ran))}
        path.write_bytes(pickle.dumps(content, protocol=2)) if how == "pickle" else torch.save(content, path)

    bundle = make_bundle(weights, write, network_bundle.inference, tmp_path / "evil")
    with pytest.raises(BundleError) as caught:
        load_classifier(bundle.folder)
    assert not ran.exists()
    assert "\n" not in str(caught.value)


def test_tensors_in_a_pt_file_are_read(network_bundle, make_bundle, tmp_path, images):
    from otherwise.blackbox.hosts.networks import read_weights

    state = read_weights(network_bundle.weights)
    nested = make_bundle(
        "models/model.pt",
        lambda path: torch.save({"state_dict": state}, path),
        network_bundle.inference,
        tmp_path / "pt",
    )
    expected = load_classifier(network_bundle.folder).predict(images)
    np.testing.assert_allclose(load_classifier(nested.folder).predict(images), expected, atol=1e-6)


def test_weights_of_another_network_are_refused(network_bundle, make_bundle, tmp_path):
    other = make_bundle(
        "models/model.safetensors",
        lambda path: path.write_bytes(save({"layer.weight": torch.zeros(2, 2)})),
        network_bundle.inference,
        tmp_path / "other",
    )
    with pytest.raises(BundleError, match="do not fit its network") as caught:
        load_classifier(other.folder)
    assert "\n" not in str(caught.value)
