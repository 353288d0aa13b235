"""A bare model becomes a bundle if it answers as described; a report says in words whether it can be hosted."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from otherwise.blackbox.checks.report import check_classifier
from otherwise.blackbox.importing import import_classifier, probe_images
from otherwise.blackbox.loading import load_classifier
from otherwise.blackbox.outputs import AmbiguousOutputError, read_scores
from otherwise.blackbox.protocol import InputSpec
from otherwise.errors import BundleError, ClassifierError, OtherwiseError

CLASSES = ("benign", "malignant")


class Broken(torch.nn.Module):
    """Divides zero by zero for black images."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(dim=(1, 2, 3))
        return torch.stack([mean / mean, mean], dim=1)


def test_a_torchscript_file(tmp_path, tiny, inputs, images):
    model = tiny.save_torchscript(tmp_path / "net.pt")
    imported = import_classifier(model, tmp_path / "out", classes=CLASSES, inputs=inputs)
    assert imported.activation == "softmax"
    hosted = load_classifier(tmp_path / "out")
    assert (hosted.name, hosted.inputs) == ("net", inputs)
    np.testing.assert_allclose(hosted.predict(images), tiny.answers(images), atol=1e-5)
    assert check_classifier(tmp_path / "out").hostable


def test_an_onnx_file_that_ends_in_softmax(tmp_path, tiny, inputs, images):
    model = tiny.save_onnx(tmp_path / "net.onnx", finish="Softmax")
    imported = import_classifier(model, tmp_path / "out", classes=CLASSES, inputs=inputs)
    assert imported.activation == "none"
    np.testing.assert_allclose(load_classifier(tmp_path / "out").predict(images), tiny.answers(images), atol=1e-5)


def test_an_onnx_file_with_its_weights_beside_it(tmp_path, tiny, inputs, images):
    import onnx

    model = onnx.load(str(tiny.save_onnx(tmp_path / "one.onnx")))
    onnx.save(model, str(tmp_path / "net.onnx"), save_as_external_data=True, location="net.onnx.data", size_threshold=0)
    import_classifier(tmp_path / "net.onnx", tmp_path / "out", classes=CLASSES, inputs=inputs)
    (tmp_path / "net.onnx.data").unlink()
    np.testing.assert_allclose(load_classifier(tmp_path / "out").predict(images), tiny.answers(images), atol=1e-5)


def test_a_remote_model(tmp_path, tiny, inputs, images, model_server):
    imported = import_classifier(f"{model_server.url}/v2/models/tiny", tmp_path / "out", classes=CLASSES, inputs=inputs)
    assert imported.bundle.own["remote"]["url"] == model_server.url
    np.testing.assert_allclose(load_classifier(tmp_path / "out").predict(images), tiny.answers(images), atol=1e-5)


def test_a_callable_needs_trust(tmp_path, inputs):
    with pytest.raises(BundleError, match="--trust-code"):
        import_classifier("json:loads", tmp_path / "out", classes=CLASSES, inputs=inputs)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"classes": ("a", "b", "c")}, r"2 outputs for 3 classes \(a, b, c\)"),
        ({"classes": ("a",)}, "two or more"),
        ({"activation": "relu"}, "'relu' is unknown"),
        ({"inputs": InputSpec((9, 9))}, "The network failed"),
        ({"inputs": InputSpec((8, 6), channels=3)}, "The network failed"),
    ],
)
def test_a_model_that_is_not_as_described_is_refused(tmp_path, tiny, inputs, change, message):
    model = tiny.save_torchscript(tmp_path / "net.ts")
    with pytest.raises((BundleError, ClassifierError), match=message):
        import_classifier(model, tmp_path / "out", **{"classes": CLASSES, "inputs": inputs, **change})
    assert [item.name for item in tmp_path.iterdir()] == ["net.ts"]


def test_a_model_that_returns_nan_is_refused(tmp_path, tiny, inputs):
    model = tiny.save_torchscript(tmp_path / "net.ts", Broken())
    with pytest.raises(ClassifierError, match="NaN or infinity for 1 of 16"):
        import_classifier(model, tmp_path / "out", classes=CLASSES, inputs=inputs)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [("none.ts", "no model file"), ("state.pt", "weights without a network"), ("w.safetensors", "without a network")],
)
def test_what_is_no_model_is_refused(tmp_path, inputs, name, message):
    if name != "none.ts":
        torch.save({"a": torch.zeros(1)}, tmp_path / name)
    with pytest.raises(BundleError, match=message):
        import_classifier(tmp_path / name, tmp_path / "out", classes=CLASSES, inputs=inputs)


LOGITS = np.array([[-3.0, 2.0], [0.1, 0.2]])
ROWS = np.array([[0.3, 0.7], [1.0, 0.0]])
LABELS = np.array([[0.9, 0.9], [0.1, 0.2]])
IN_BYTES = np.array([[0.30078125, 0.703125], [0.0, 0.99609375]])
LOGS = np.log([[0.3, 0.7], [0.9, 0.1]])


@pytest.mark.parametrize(
    ("scores", "multi_label", "activation"),
    [
        (LOGITS, False, "softmax"),
        (LOGITS, True, "sigmoid"),
        (ROWS, False, "none"),
        (ROWS, True, "none"),
        (ROWS[:, :1], False, "none"),
        (IN_BYTES, False, "share"),
        (LOGS, False, "log"),
    ],
)
def test_outputs_are_read_as_they_are_meant(scores, multi_label, activation):
    assert read_scores(scores, 2, multi_label, stressed=scores).activation == activation


def test_small_logits_are_told_from_probabilities_by_inputs_that_are_out_of_all_range():
    small = np.array([[0.2, 0.3], [0.1, 0.4]])
    assert read_scores(small, 2, False, stressed=1000 * small).activation == "softmax"
    with pytest.raises(AmbiguousOutputError, match="--output sigmoid-logits"):  # or a value: only people know
        read_scores(small[:, :1], 2, False, stressed=-1000 * small[:, :1])


@pytest.mark.parametrize(
    ("scores", "stressed", "option"),
    [
        (LABELS, LABELS, "--multi-label"),
        (LABELS[:, :1], None, "--output probabilities"),
        (np.full((8, 1), 0.4), np.full((8, 1), 0.4), "--output sigmoid-logits"),
        (np.linspace(-2, 2, 8)[:, None], None, "--output sigmoid-logits"),
        (LOGITS[:, :1], LOGITS[:, :1], "A value or a risk is no class"),
        (np.linspace(10, 90, 8)[:, None], None, "--output sigmoid-logits"),
        (np.stack([np.zeros(8), np.linspace(30, 90, 8)], axis=1), None, "--output logits"),
    ],
)
def test_where_two_readings_fit_the_option_is_named(scores, stressed, option):
    with pytest.raises(AmbiguousOutputError, match=option):
        read_scores(scores, 2, False, stressed)


@pytest.mark.parametrize("size", [(8, 6), (5, 4, 3)])
def test_probe_images_are_many_and_valid(size):
    images = probe_images(InputSpec(size, channels=2), 16)
    assert images.shape == (16, 2, *size)
    assert (images.min(), images.max()) == (0, 1)
    assert len({image.tobytes() for image in images}) == 16


class Restless(torch.nn.Module):
    """Dropout that never stops."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.dropout(x.flatten(1)[:, :2] * 0 + 1, 0.5, training=True)


class Sociable(torch.nn.Module):
    """Normalises over the batch."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        mean = x.mean(dim=(1, 2, 3))
        return torch.stack([mean - mean.mean(), mean * 0], dim=1)


@pytest.mark.parametrize(
    ("module", "topic", "message"), [(Restless(), "repeatable", "asked again"), (Sociable(), "batches", "alone")]
)
def test_a_classifier_that_changes_its_mind_cannot_be_hosted(make_bundle, tiny, module, topic, message):
    report = check_classifier(make_bundle(write=lambda path: tiny.save_torchscript(path, module)).folder)
    assert not report.hostable
    assert report.verdict.startswith("Can be hosted: no.")
    assert message in report.verdict
    assert topic in [finding.topic for finding in report.findings if finding.state == "fault"]


def test_the_report_is_in_words_and_json(make_bundle):
    report = check_classifier(make_bundle().folder)
    assert report.verdict == "Can be hosted: yes."
    topics = [finding.topic for finding in report.findings]
    assert topics == [
        "model",
        "classes",
        "input",
        "contract",
        "gradients",
        "answers",
        "choices",
        "repeatable",
        "batches",
        "speed",
    ]
    assert json.loads(json.dumps(report.as_json()))["hostable"] is True


def test_a_classifier_that_cannot_be_loaded_is_a_no(tmp_path, make_bundle):
    report = check_classifier(tmp_path / "nowhere")
    assert not report.hostable
    assert "no bundle folder" in report.verdict
    raw = check_classifier(make_bundle(activation="none").folder)
    assert "no probabilities" in raw.verdict


class Answers(torch.nn.Module):
    """A network of which a subclass says what it returns."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layer, self.scores = torch.nn.Conv2d(channels, 4, 3), torch.nn.Linear(4, 2)

    def ask(self, x: torch.Tensor) -> torch.Tensor:
        return 4 * self.scores(self.layer(x).relu().mean((2, 3)))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.ask(x)


class FourAxes(Answers):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.ask(x)[:, :, None, None]


class Bytes(Answers):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return (255 * self.ask(x).softmax(1)).round().to(torch.uint8)


class ClassNumbers(Answers):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.ask(x).argmax(1)


class Nested(Answers):
    def forward(self, x: torch.Tensor) -> dict[str, dict[str, torch.Tensor]]:
        return {"out": {"logits": self.ask(x)}}


class Last(Answers):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.ask(x.permute(0, 3, 1, 2))


class Age(Answers):
    def forward(self, x: torch.Tensor, age: torch.Tensor) -> torch.Tensor:
        return self.ask(x) + age


class BatchOfEight(Answers):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.ask(x.reshape(8, 1, 32, 32))


SPEC = InputSpec((32, 32), 1, None, (0.0, 255.0))


def saved(module: torch.nn.Module, folder: Path) -> Path:
    path = folder / "net.ts"
    torch.jit.save(torch.jit.script(module.eval()), str(path))
    return path


@pytest.mark.parametrize("kind", [FourAxes, Bytes])
def test_scores_with_further_axes_or_in_bytes_are_read(tmp_path: Path, kind: type[Answers]) -> None:
    import_classifier(saved(kind(), tmp_path), tmp_path / "out", classes=CLASSES, inputs=SPEC)
    hosted = load_classifier(tmp_path / "out")
    views = np.random.default_rng(0).random((3, 1, 32, 32)).astype(np.float32)
    with torch.no_grad():
        wanted = Answers()(torch.from_numpy(views)).softmax(1).numpy()
    np.testing.assert_allclose(hosted.predict(views), wanted, atol=1e-5 if kind is FourAxes else 4e-3)
    if kind is FourAxes:
        odds = hosted.module(torch.from_numpy(views)).detach().sigmoid().numpy()
        np.testing.assert_allclose(odds, wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("module", "message"),
    [
        (ClassNumbers(), r"class numbers \(int64\).*without its last step \(argmax\)"),
        (Nested(), r"a dictionary \(out dict\).*returns the scores alone, not within other things"),
        (Last(), r"to have 1 channels, but got 32.*--layout NHWC"),
        (Answers(3), r"to have 3 channels, but got 1 .*--channels 3"),
        (Age(), r"missing value for argument 'age'.*fixes the other inputs"),
        (BatchOfEight(), r"invalid for input of size.*batches of one length"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Answers) else "",
)
def test_what_cannot_be_hosted_is_refused_with_the_way_out(tmp_path: Path, module: Answers, message: str) -> None:
    with pytest.raises(OtherwiseError, match=message) as caught:
        import_classifier(saved(module, tmp_path), tmp_path / "out", classes=CLASSES, inputs=SPEC)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("last", "shape", "dtype", "message"),
    [
        (["ArgMax"], ["n"], "INT64", r"returns class numbers.*without its last step"),
        (["Bytes"], ["n", 2], "UINT8", None),
        (["Axes"], ["n", 2, 1, 1], "FLOAT", None),
        (["Cast"], ["n", 2], "INT32", r"no output that could be the answer.*a row of scores"),
    ],
    ids=["class numbers", "bytes", "four axes", "int32"],
)
def test_answers_of_onnx_files_of_other_types(
    tmp_path: Path, last: list[str], shape: list[int | str], dtype: str, message: str | None
) -> None:
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    ends = {
        "ArgMax": [helper.make_node("ArgMax", ["p"], ["y"], axis=1, keepdims=0)],
        "Bytes": [
            helper.make_node("Mul", ["p", "byte"], ["q"]),
            helper.make_node("Round", ["q"], ["r"]),
            helper.make_node("Cast", ["r"], ["y"], to=TensorProto.UINT8),
        ],
        "Axes": [helper.make_node("Unsqueeze", ["p", "axes"], ["y"])],
        "Cast": [helper.make_node("Cast", ["p"], ["y"], to=TensorProto.INT32)],
    }
    nodes = [
        helper.make_node("GlobalAveragePool", ["x"], ["m"]),
        helper.make_node("Flatten", ["m"], ["f"]),
        helper.make_node("MatMul", ["f", "w"], ["l"]),
        helper.make_node("Softmax", ["l"], ["p"], axis=1),
        *ends[last[0]],
    ]
    constants = [
        numpy_helper.from_array(np.array([[3.0, -3.0]], np.float32), "w"),
        numpy_helper.from_array(np.array(255, np.float32), "byte"),
        numpy_helper.from_array(np.array([2, 3], np.int64), "axes"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 1, 32, 32])],
        [helper.make_tensor_value_info("y", getattr(TensorProto, dtype), shape)],
        constants,
    )
    path = tmp_path / "net.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), str(path))
    if message is not None:
        with pytest.raises(OtherwiseError, match=message):
            import_classifier(path, tmp_path / "out", classes=CLASSES, inputs=SPEC)
        return
    import_classifier(path, tmp_path / "out", classes=CLASSES, inputs=SPEC)
    answer = load_classifier(tmp_path / "out").predict(np.full((1, 1, 32, 32), 0.4, np.float32))
    first = 1 / (1 + np.exp(-6 * 0.4))
    np.testing.assert_allclose(answer, [[first, 1 - first]], atol=1e-5 if dtype == "FLOAT" else 4e-3)


def test_percentages_are_read_as_shares() -> None:
    scores = np.random.default_rng(0).random((16, 3))
    scores = 100 * scores / scores.sum(axis=1, keepdims=True)
    for given in (scores, np.rint(scores[:, :2] * 100 / scores[:, :2].sum(axis=1, keepdims=True))):
        reading = read_scores(given, given.shape[1])
        assert reading.activation == "share"
        assert "percentages" in reading.why


def test_a_folder_is_called_what_it_is(tmp_path: Path, make_bundle, tiny) -> None:
    bundle = make_bundle("models/model.onnx", tiny.save_onnx)
    keras = tmp_path / "saved"
    keras.mkdir()
    (keras / "saved_model.pb").write_bytes(b"")
    for folder, message in (
        (bundle.folder, "is a bundle already.*classifier check"),
        (keras, "TensorFlow SavedModel.*ONNX"),
        (tmp_path, "is a folder"),
    ):
        with pytest.raises(BundleError, match=message):
            import_classifier(folder, tmp_path / "out", classes=CLASSES, inputs=SPEC)
