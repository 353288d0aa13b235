"""A host is one file and one line of the registry; loading, import and check need nothing else."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest

from otherwise.blackbox.bundle import Bundle
from otherwise.blackbox.checks.report import check_classifier
from otherwise.blackbox.hosted import HostedClassifier
from otherwise.blackbox.hosts import registry
from otherwise.blackbox.hosts.model_files import ModelSource
from otherwise.blackbox.hosts.registry import HOSTS, HostKind
from otherwise.blackbox.importing import import_classifier
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.spec import read_spec
from otherwise.errors import BundleError


def save_numpy(path: Path, weight: np.ndarray, bias: np.ndarray) -> None:
    with path.open("wb") as file:
        np.savez(file, weight=weight, bias=bias)


def load_numpy(bundle: Bundle, device: str, trust_code: bool) -> HostedClassifier:
    with np.load(bundle.weights) as layer:
        weight, bias = layer["weight"], layer["bias"]
    return HostedClassifier(read_spec(bundle), lambda images: images.reshape(len(images), -1) @ weight.T + bias)


def recognise_numpy(model: str) -> ModelSource | None:
    path = Path(model)
    return ModelSource("models/model.npz", lambda target: target.write_bytes(path.read_bytes()))


def recognise_by_name(model: str) -> ModelSource | None:
    return ModelSource(own={"constant": float(model)}) if model.replace(".", "").isdigit() else None


def load_constant(bundle: Bundle, device: str, trust_code: bool) -> HostedClassifier:
    row = [bundle.own["constant"], 1 - bundle.own["constant"]]
    return HostedClassifier(read_spec(bundle), lambda images: np.tile(row, (len(images), 1)))


def with_numpy(bundle: Bundle) -> bool:
    return bundle.weights is not None and bundle.weights.suffix == ".npz"


NUMPY = HostKind("linear layer of numpy", with_numpy, load_numpy, recognise_numpy)
CONSTANT = HostKind("constant answer", lambda bundle: "constant" in bundle.own, load_constant, recognise_by_name)


def test_one_line_adds_a_host_of_files(tmp_path, tiny, inputs, images, monkeypatch):
    save_numpy(tmp_path / "layer.npz", tiny.weight, tiny.bias)
    make = partial(import_classifier, tmp_path / "layer.npz", tmp_path / "bundle", classes=("a", "b"), inputs=inputs)
    with pytest.raises(BundleError, match=r"layer\.npz is no model that is known"):
        make()
    monkeypatch.setattr(registry, "HOSTS", (NUMPY, *HOSTS))
    imported = make()
    assert imported.activation == "softmax"
    loaded = load_classifier(tmp_path / "bundle")
    # The contract that is assumed at import has columns first, as the tiny model has.
    np.testing.assert_allclose(loaded.predict(images), tiny.answers(images), atol=1e-5)
    assert check_classifier(str(tmp_path / "bundle")).hostable


def test_one_line_adds_a_host_without_weights(tmp_path, inputs, images, monkeypatch):
    monkeypatch.setattr(registry, "HOSTS", (CONSTANT, *HOSTS))
    import_classifier("0.25", tmp_path / "bundle", classes=("a", "b"), inputs=inputs, activation="none")
    assert (load_classifier(tmp_path / "bundle").predict(images) == [0.25, 0.75]).all()


@pytest.mark.parametrize(
    ("weights", "message"), [("models/model.npz", r"weights of no known kind: model\.npz"), (None, "names no model")]
)
def test_a_bundle_that_no_host_suits_is_refused(make_bundle, tiny, weights, message):
    bundle = make_bundle(weights, lambda path: save_numpy(path, tiny.weight, tiny.bias))
    with pytest.raises(BundleError, match=message):
        load_classifier(bundle.folder)


def test_every_shipped_form_has_exactly_one_host(make_bundle, tiny, tmp_path):
    def suited(bundle: Bundle) -> list[str]:
        return [host.name for host in HOSTS if host.suits(bundle)]

    assert suited(make_bundle(folder=tmp_path / "ts")) == ["TorchScript file"]
    assert suited(make_bundle("models/model.onnx", tiny.save_onnx, folder=tmp_path / "onnx")) == ["ONNX file"]
    by_name = make_bundle(None, own={"callable": "json:loads"}, folder=tmp_path / "function")
    assert suited(by_name) == ["Python function"]
    elsewhere = make_bundle(None, own={"remote": {"url": "http://127.0.0.1:9", "model": "m"}}, folder=tmp_path / "far")
    assert suited(elsewhere) == ["model on another server"]
    assert len({host.name for host in HOSTS}) == len(HOSTS)
