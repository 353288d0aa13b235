"""One tiny model in every form that can be hosted: probabilities are softmax(W . image + b)."""

import json
import threading
import warnings
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save
from scipy.special import softmax

from otherwise.blackbox.bundle import Bundle, write_bundle
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.spec import classifier_metadata

SIZE = (8, 6)
CLASSES = ("benign", "malignant")


class Linear(torch.nn.Module):
    """The tiny model: one linear layer on all pixels."""

    def __init__(self, weight: np.ndarray, bias: np.ndarray) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(weight.shape[1], weight.shape[0])
        self.layer.weight.data = torch.from_numpy(weight)
        self.layer.bias.data = torch.from_numpy(bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layer(x.flatten(1))


class Tiny:
    """The tiny model's numbers, its answers worked out by hand, and its files."""

    def __init__(self) -> None:
        rng = np.random.default_rng(7)
        self.weight = rng.normal(size=(2, 48)).astype(np.float32)
        self.bias = rng.normal(size=2).astype(np.float32)

    @property
    def module(self) -> Linear:
        return Linear(self.weight, self.bias)

    def logits(self, images: np.ndarray) -> np.ndarray:
        return images.reshape(len(images), -1).astype(np.float64) @ self.weight.T.astype(np.float64) + self.bias

    def answers(self, images: np.ndarray) -> np.ndarray:
        return softmax(self.logits(images), axis=1)

    def save_torchscript(self, path: Path, module: torch.nn.Module | None = None, size: tuple = SIZE) -> Path:
        """Save the tiny model, or another module."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            traced = torch.jit.trace(module or self.module, torch.zeros(1, 1, *size), check_trace=False)
            traced.save(str(path))
        return path

    def save_onnx(self, path: Path, batch: int | str = "batch", finish: str | None = None) -> Path:
        import onnx
        from onnx import TensorProto, helper, numpy_helper

        nodes = [
            helper.make_node("Flatten", ["image"], ["flat"]),
            helper.make_node("Gemm", ["flat", "w", "b"], ["pred" if finish is None else "logits"], transB=1),
        ]
        if finish is not None:
            nodes.append(helper.make_node(finish, ["logits"], ["pred"]))
        graph = helper.make_graph(
            nodes,
            "tiny",
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, [batch, 1, *SIZE])],
            [helper.make_tensor_value_info("pred", TensorProto.FLOAT, [batch, 2])],
            [numpy_helper.from_array(self.weight, "w"), numpy_helper.from_array(self.bias, "b")],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.save(model, str(path))
        return path


@pytest.fixture(scope="session")
def tiny() -> Tiny:
    return Tiny()


@pytest.fixture
def inputs() -> InputSpec:
    return InputSpec(SIZE, modality="MG")


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).random((5, 1, *SIZE)).astype(np.float32)


@pytest.fixture
def make_bundle(tmp_path: Path, tiny: Tiny, inputs: InputSpec) -> Callable[..., Bundle]:
    """Write a bundle of the tiny model; what is named differently is different."""

    def make(
        weights: str | None = "models/model.ts",
        write: Callable[[Path], Any] | None = None,
        inference: dict | None = None,
        folder: Path | None = None,
        **metadata: Any,
    ) -> Bundle:
        content = classifier_metadata(
            **{"name": "tiny", "classes": CLASSES, "inputs": inputs, "weights": weights, **metadata}
        )
        writer = write or tiny.save_torchscript
        return write_bundle(
            folder or tmp_path / "tiny", content, inference or {}, writer if weights else None, "# tiny"
        )

    return make


@pytest.fixture
def network_bundle(make_bundle: Callable[..., Bundle]) -> Bundle:
    """A MONAI bundle with a residual network and safetensors weights."""
    from otherwise.blackbox.hosts.networks import build_network
    from otherwise.blackbox.training.small_networks import small_network

    definition = small_network(InputSpec(SIZE), 2)
    torch.manual_seed(0)
    state = build_network(definition).state_dict()
    return make_bundle(
        "models/model.safetensors", lambda path: path.write_bytes(save(state)), {"network_def": definition}
    )


class ModelServer(ThreadingHTTPServer):
    """A model server that speaks the Open Inference Protocol v2, over real HTTP."""

    daemon_threads = True

    def __init__(self, tiny: Tiny) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.tiny = tiny
        self.batches: list[int] = []
        self.spoil: Callable[[dict], Any] = lambda reply: reply
        self.fail: tuple[int, dict] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: ModelServer

    def do_GET(self) -> None:
        if self.path != "/v2/models/tiny":
            return self._reply(404, {"error": "no such model"})
        image = {"name": "image", "datatype": "FP32", "shape": [-1, 1, *SIZE]}
        label = {"name": "label", "datatype": "INT64", "shape": [-1]}
        pred = {"name": "pred", "datatype": "FP32", "shape": [-1, 2]}
        return self._reply(200, {"name": "tiny", "versions": ["3"], "inputs": [image], "outputs": [label, pred]})

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.server.fail is not None:
            return self._reply(*self.server.fail)
        tensor = request["inputs"][0]
        assert (tensor["name"], tensor["datatype"]) == ("image", "FP32")
        assert request["outputs"] == [{"name": "pred"}]
        batch = np.array(tensor["data"], dtype=np.float32).reshape(tensor["shape"])
        self.server.batches.append(len(batch))
        data = self.server.tiny.logits(batch).ravel().tolist()
        pred = {"name": "pred", "datatype": "FP32", "shape": [len(batch), 2], "data": data}
        return self._reply(200, self.server.spoil({"model_name": "tiny", "outputs": [pred]}))

    def _reply(self, status: int, content: Any) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.fixture
def model_server(tiny: Tiny) -> Iterator[ModelServer]:
    with ModelServer(tiny) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.shutdown()
        thread.join()
