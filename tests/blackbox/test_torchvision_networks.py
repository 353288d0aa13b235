"""Networks of torchvision in MONAI bundles."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from otherwise.blackbox.loading import load_classifier
from otherwise.errors import BundleError
from support.monai_bundles import PREPROCESSING, reconfigure, small_bundle


def test_a_network_of_torchvision_is_refused_where_that_cannot_be_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = importlib.import_module

    def without(name: str, *more: Any) -> Any:
        if name.startswith("torchvision"):
            raise RuntimeError("operator torchvision::nms does not exist")
        return real(name, *more)

    monkeypatch.setattr(importlib, "import_module", without)
    network = {"_target_": "TorchVisionFCModel", "model_name": "resnet18", "num_classes": 2}
    folder = reconfigure(small_bundle(tmp_path / "b", PREPROCESSING["z-score"]), network_def=network)
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
from pathlib import Path
import numpy as np
from monai.bundle import ConfigParser
from support.monai_bundles import PREPROCESSING, answer_of_monai, hosted_answer, reconfigure
from support.monai_bundles import small_bundle, write_picture
folder = Path(sys.argv[1])
networks = [
    {"model_name": "resnet18", "use_conv": True, "pool": ["avg", {"kernel_size": [1, 2]}]}
    | {"node_name": "layer4.1.relu_1"},
    {"model_name": "mobilenet_v3_small", "fc_name": "classifier.3", "pool": None},
]
for number, arguments in enumerate(networks):
    network = {"_target_": "TorchVisionFCModel", "num_classes": 2, "pretrained": False, **arguments}
    one = reconfigure(small_bundle(folder / str(number), PREPROCESSING["window"]), network_def=network)
    torch.manual_seed(number)
    made = ConfigParser({"network_def": network}).get_parsed_content("network_def")
    torch.save(made.state_dict(), one / "models" / "model.pt")
    picture = write_picture(folder, 60, 40)
    wanted, got = answer_of_monai(one, picture), hosted_answer(one, picture)
    assert np.abs(wanted - got).max() <= 1e-5, (wanted, got)
    print(network["model_name"], np.abs(wanted - got).max(), got)
"""


@pytest.mark.slow
def test_networks_of_torchvision_answer_as_monai_says(tmp_path: Path) -> None:
    tests = Path(__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", _TORCHVISION, str(tmp_path), str(tests)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr[-1500:]
    assert done.stdout.count("resnet18") == done.stdout.count("mobilenet") == 1
