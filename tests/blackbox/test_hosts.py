"""The same tiny model gives the same answers, whatever hosts it."""

import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from otherwise.blackbox.checked import decision_value
from otherwise.blackbox.hosts.python_function import callable_host
from otherwise.blackbox.hosts.pytorch import module_host
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.protocol import BlackBox, InputSpec
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.errors import BundleError, ClassifierError


def remote_bundle(make_bundle, server, **settings):
    return make_bundle(None, own={"remote": {"url": server.url, "model": "tiny", **settings}})


@pytest.fixture(params=["torchscript", "onnx", "onnx batch of 3", "callable", "remote"])
def hosted(request, make_bundle, tiny, tmp_path, monkeypatch):
    """The tiny model, in every host."""
    if request.param == "torchscript":
        return load_classifier(make_bundle().folder)
    if request.param.startswith("onnx"):
        batch = 3 if "3" in request.param else "batch"
        return load_classifier(make_bundle("models/model.onnx", lambda path: tiny.save_onnx(path, batch)).folder)
    if request.param == "callable":
        np.savez(tmp_path / "tiny.npz", w=tiny.weight, b=tiny.bias)
        (tmp_path / "somebodys_model.py").write_text(
            "import pathlib, numpy as np\n"
            "n = np.load(pathlib.Path(__file__).with_name('tiny.npz'))\n"
            "def logits(x):\n"
            "    return x.reshape(len(x), -1) @ n['w'].T + n['b']\n",
            encoding="utf-8",
        )
        monkeypatch.syspath_prepend(str(tmp_path))
        monkeypatch.delitem(sys.modules, "somebodys_model", raising=False)
        bundle = make_bundle(None, own={"callable": "somebodys_model:logits"})
        return load_classifier(bundle.folder, trust_code=True)
    server = request.getfixturevalue("model_server")
    return load_classifier(remote_bundle(make_bundle, server, batch_size=2).folder)


def test_every_host_answers_as_the_model_does(hosted, tiny, images):
    assert isinstance(hosted, BlackBox)
    assert (hosted.name, hosted.classes) == ("tiny", ("benign", "malignant"))
    assert len(hosted.version) == 64
    answers = hosted.predict(images)
    assert answers.dtype == np.float64
    np.testing.assert_allclose(answers, tiny.answers(images), atol=1e-5)
    assert hosted.predict(images[:0]).shape == (0, 2)


def test_a_network_wants_its_own_value_range(make_bundle, tiny, images):
    hosted = load_classifier(make_bundle(value_range=(-1.0, 1.0)).folder)
    np.testing.assert_allclose(hosted.predict(images), tiny.answers(images * 2 - 1), atol=1e-5)
    outputs = hosted.module(torch.from_numpy(images)).detach().numpy()
    logits = tiny.logits(images * 2 - 1)
    np.testing.assert_allclose(outputs, np.stack([-np.diff(logits)[:, 0], np.diff(logits)[:, 0]], axis=1), atol=1e-4)


@pytest.mark.parametrize(
    ("classes", "activation", "multi_label", "outputs"),
    [(2, "softmax", False, 2), (3, "softmax", False, 3), (2, "sigmoid", False, 1), (3, "sigmoid", True, 3)],
)
def test_what_is_differentiated_are_the_log_odds_of_what_is_answered(classes, activation, multi_label, outputs, images):
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(images[0].size, outputs))
    names = tuple(f"class {number}" for number in range(classes))
    spec = ClassifierSpec("any", "0" * 64, names, InputSpec(images.shape[2:]), activation, multi_label)
    hosted = module_host(network, spec)
    log_odds = hosted.module(torch.from_numpy(images)).detach().numpy()
    answers = hosted.predict(images)
    wanted = [decision_value(answers, index, multi_label) for index in range(classes)]
    np.testing.assert_allclose(log_odds, np.stack(wanted, axis=1), atol=1e-4)


def test_gradients_are_given_where_the_model_has_them(make_bundle, tiny, images, tmp_path):
    hosted = load_classifier(make_bundle().folder)
    batch = torch.from_numpy(images).requires_grad_(True)
    hosted.module(batch)[:, 1].sum().backward()
    np.testing.assert_allclose(batch.grad[0].numpy().ravel(), tiny.weight[1] - tiny.weight[0], atol=1e-6)
    onnx = make_bundle("models/model.onnx", tiny.save_onnx, folder=tmp_path / "onnx")
    assert load_classifier(onnx.folder).module is None


def test_an_unknown_device_is_refused(make_bundle):
    with pytest.raises(BundleError, match="no device 'tpu9'"):
        load_classifier(make_bundle().folder, device="tpu9")


def test_a_network_for_other_images_fails_in_one_line(make_bundle, images):
    hosted = load_classifier(make_bundle(inputs=InputSpec((4, 4))).folder)
    with pytest.raises(ClassifierError, match="The network failed") as caught:
        hosted.predict(images[:, :, :4, :4])
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"not a model"])
def test_a_damaged_onnx_file_is_refused(make_bundle, content):
    bundle = make_bundle("models/model.onnx", lambda path: path.write_bytes(content))
    with pytest.raises(BundleError, match="cannot be loaded as ONNX") as caught:
        load_classifier(bundle.folder)
    assert "\n" not in str(caught.value)


def test_an_onnx_output_can_be_named(make_bundle, tiny):
    bundle = make_bundle("models/model.onnx", tiny.save_onnx, own={"output": "nothing"})
    with pytest.raises(BundleError, match=r"no output nothing.*pred tensor"):
        load_classifier(bundle.folder)


def test_a_callable_needs_trust_and_must_exist(make_bundle, tmp_path):
    spec = ClassifierSpec("f", "0" * 64, ("a", "b"), InputSpec((8, 6)))
    with pytest.raises(BundleError, match="--trust-code"):
        callable_host("json:dumps", spec)
    with pytest.raises(BundleError, match="cannot be imported: ModuleNotFoundError"):
        callable_host("no_such_package.module:f", spec, trust_code=True)
    with pytest.raises(BundleError, match="cannot be imported: AttributeError"):
        callable_host("json:no_such_function", spec, trust_code=True)
    failing = callable_host("json:loads", spec, trust_code=True)
    with pytest.raises(ClassifierError, match="json:loads failed: TypeError"):
        failing.predict(np.zeros((1, 1, 8, 6), np.float32))


def test_a_callables_version_follows_its_code(tmp_path, monkeypatch):
    spec = ClassifierSpec("f", "0" * 64, ("a", "b"), InputSpec((8, 6)))
    monkeypatch.syspath_prepend(str(tmp_path))
    versions = set()
    for name, number in (("model_a", 1), ("model_b", 2)):
        (tmp_path / f"{name}.py").write_text(f"def f(x):\n    return x * {number}\n", encoding="utf-8")
        versions.add(callable_host(f"{name}:f", spec, trust_code=True).version)
    assert len(versions) == 2


def test_a_remote_model_is_asked_in_bounded_batches(make_bundle, model_server, images):
    load_classifier(remote_bundle(make_bundle, model_server, batch_size=2).folder).predict(images)
    assert model_server.batches == [2, 2, 1]


@pytest.mark.parametrize(
    ("fail", "spoil", "message"),
    [
        ((400, {"error": "unexpected\nshape"}), None, "answered 400 unexpected shape"),
        ((503, {}), None, "answered 503"),
        (None, lambda reply: [reply], "JSON object"),
        (None, lambda reply: {}, "did not return pred"),
        (None, lambda reply: {"outputs": [{"name": "pred", "shape": [5, 3], "data": [0.0]}]}, "damaged"),
        (None, lambda reply: {"outputs": [{**reply["outputs"][0], "data": [None] * 10}]}, "NaN for 5 of 5 images"),
    ],
)
def test_a_remote_model_that_misbehaves_is_named(make_bundle, model_server, images, fail, spoil, message):
    hosted = load_classifier(remote_bundle(make_bundle, model_server).folder)
    model_server.fail, model_server.spoil = fail, spoil or model_server.spoil
    with pytest.raises(ClassifierError, match=message) as caught:
        hosted.predict(images)
    assert "\n" not in str(caught.value)


def test_a_remote_model_that_is_not_there(make_bundle, model_server, tmp_path):
    bundle = make_bundle(None, own={"remote": {"url": model_server.url, "model": "other"}})
    with pytest.raises(ClassifierError, match="answered 404 no such model"):
        load_classifier(bundle.folder)
    nobody = make_bundle(None, own={"remote": {"url": "http://127.0.0.1:9", "model": "m"}}, folder=tmp_path / "nobody")
    with pytest.raises(ClassifierError, match=r"cannot be reached.*Start the model server"):
        load_classifier(nobody.folder)
    wrong = make_bundle(None, own={"remote": {"address": "x"}}, folder=tmp_path / "wrong")
    with pytest.raises(BundleError, match=r"otherwise\.remote is wrong"):
        load_classifier(wrong.folder)


def test_one_output_stands_for_the_second_of_two_classes(make_bundle, tiny, images):
    class Single(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.both = tiny.module

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (self.both(x)[:, 1] - self.both(x)[:, 0]).unsqueeze(1)

    def write(path):
        tiny.save_torchscript(path, Single())

    hosted = load_classifier(make_bundle("models/model.ts", write, activation="sigmoid", outputs=1).folder)
    np.testing.assert_allclose(hosted.predict(images), tiny.answers(images), atol=1e-5)


def test_a_bundle_can_be_three_dimensional(make_bundle, tiny):
    class Mean(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            mean = x.mean(dim=(1, 2, 3, 4))
            return torch.stack([-mean, mean], dim=1)

    def write(path):
        tiny.save_torchscript(path, Mean(), (4, 5, 6))

    inputs = InputSpec((4, 5, 6), 1, (1.0, 1.0, 2.0), (-1000.0, 400.0), "CT")
    hosted = load_classifier(make_bundle("models/model.ts", write, inputs=inputs).folder)
    assert hosted.inputs == inputs
    answers = hosted.predict(np.ones((3, 1, 4, 5, 6), np.float32))
    np.testing.assert_allclose(answers[:, 1], 1 / (1 + np.exp(-2.0)), atol=1e-6)


def test_specification_refuses_nonsense():
    spec = ClassifierSpec("f", "0" * 64, ("a", "b"), InputSpec((8, 6)))
    with pytest.raises(BundleError, match="Value range"):
        replace(spec.tensor, value_range=(1.0, 0.0))
    with pytest.raises(BundleError, match="two or more"):
        replace(spec, classes=("a",))
