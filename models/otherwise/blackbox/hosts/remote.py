"""Host a model on another server by the Open Inference Protocol v2 (Triton, KServe, OpenVINO Model Server and others).

Source: Open Inference Protocol (https://github.com/kserve/open-inference-protocol), REST, tensors as JSON.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import requests

from otherwise.blackbox.hosted import HostedClassifier, Scores, in_batches
from otherwise.blackbox.hosts.bounded_request import TooLongReplyError, bounded_request
from otherwise.blackbox.spec import ClassifierSpec
from otherwise.errors import BundleError, ClassifierError

_TYPES = {"FP16": np.float16, "FP32": np.float32, "FP64": np.float64}
_URL = re.compile(r"(?P<url>https?://[^/?#]+(?:/[^?#]*?)?)/v2/models/(?P<model>[^/?#]+)/?")


@dataclass(frozen=True)
class RemoteModel:
    """Address of a model on a server.

    Attributes:
        url: Base address, such as ``http://127.0.0.1:8000``.
        model: Name of the model on the server.
        input: Name of the input tensor; None: its only one.
        output: Name of the output tensor; None: its first one of floating-point numbers.
        batch_size: Largest number of images in one request.
        timeout: Seconds for a whole answer.
    """

    url: str
    model: str
    input: str | None = None
    output: str | None = None
    batch_size: int = 16
    timeout: float = 60.0

    @classmethod
    def of(cls, settings: Any) -> RemoteModel:
        """Read ``otherwise.remote`` of a bundle.

        Raises:
            BundleError: if it lacks ``url`` or ``model``, or has a key that is not ours.
        """
        try:
            remote = cls(**settings)
            return replace(
                remote, url=remote.url.rstrip("/"), batch_size=int(remote.batch_size), timeout=float(remote.timeout)
            )
        except (TypeError, ValueError, AttributeError) as error:
            raise BundleError(f"otherwise.remote is wrong: {error}.", "Give url and model.") from error

    @classmethod
    def parse(cls, address: str) -> RemoteModel:
        """Read an address such as ``http://host:8000/v2/models/name``.

        Raises:
            BundleError: if it is no such address.
        """
        match = _URL.fullmatch(address)
        if match is None:
            raise BundleError(f"{address} is no model's address.", "Give http://host:port/v2/models/NAME.")
        return cls(match["url"], match["model"])


def remote_host(remote: RemoteModel, spec: ClassifierSpec) -> HostedClassifier:
    """Host a remote model. Its metadata is requested at once, so that a wrong address fails early.

    Args:
        remote: Address of the model.
        spec: Inputs and outputs of the model; its version is extended by a hash of the server's metadata.

    Raises:
        ClassifierError: if the server cannot be reached, has no such model, or breaks the protocol.
    """
    metadata = _ask("GET", remote)
    source = _choose(remote.input, metadata, "inputs")
    target = _choose(remote.output, metadata, "outputs")

    def scores(images: np.ndarray) -> np.ndarray:
        tensor = images.astype(_TYPES[source["datatype"]])
        content = {"name": source["name"], "shape": list(images.shape), "datatype": source["datatype"]}
        request = {"inputs": [{**content, "data": tensor.ravel().tolist()}], "outputs": [{"name": target["name"]}]}
        return _read(_ask("POST", remote, request), target["name"])

    shape = source.get("shape") or [-1]
    fixed = shape[0] if len(shape) == len(spec.inputs.size) + 2 and int(shape[0]) > 0 else None
    batched: Scores = partial(in_batches, scores, fixed) if fixed else partial(_split, scores, remote.batch_size)
    about = json.dumps(
        [metadata.get("name"), metadata.get("versions"), metadata.get("inputs"), metadata.get("outputs")]
    )
    return HostedClassifier(replace(spec, version=hashlib.sha256((spec.version + about).encode()).hexdigest()), batched)


def _split(scores: Scores, size: int, images: np.ndarray) -> np.ndarray:
    return np.concatenate([scores(images[start : start + size]) for start in range(0, len(images), size)])


def _ask(method: str, remote: RemoteModel, request: Mapping[str, Any] | None = None) -> dict[str, Any]:
    address = f"{remote.url}/v2/models/{remote.model}" + ("/infer" if request is not None else "")
    try:
        status, body = bounded_request(method, address, request, remote.timeout)
    except requests.Timeout as error:
        raise ClassifierError(
            f"{address} did not answer within {remote.timeout:g} s.", "Raise remote.timeout."
        ) from error
    except TooLongReplyError as error:
        raise ClassifierError(f"{address} answers with {error}.", "Check which model is served there.") from error
    except requests.RequestException as error:
        raise ClassifierError(
            f"{remote.url} cannot be reached.", "Start the model server, or correct the address."
        ) from error
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        content = None
    if status != 200:
        reason = str(content.get("error", "")) if isinstance(content, dict) else ""
        raise ClassifierError(
            f"{address} answered {status} {' '.join(reason.split())[:200]}".rstrip() + ".",
            "Check the model's name and its inputs there.",
        )
    if not isinstance(content, dict):
        raise ClassifierError(f"{address} did not answer with a JSON object.", "It should speak protocol v2.")
    return content


def _choose(named: str | None, metadata: Mapping[str, Any], role: str) -> dict[str, Any]:
    tensors = [tensor for tensor in metadata.get(role) or () if isinstance(tensor, dict) and "name" in tensor]
    fitting = [tensor for tensor in tensors if tensor.get("datatype") in _TYPES and named in (None, tensor["name"])]
    ambiguous = role == "inputs" and len(tensors) > 1 and named is None
    if not fitting or ambiguous:
        known = ", ".join(f"{tensor['name']} {tensor.get('datatype')}" for tensor in tensors) or "none"
        raise ClassifierError(
            f"The remote model has no fitting {role} (it has {known}).", "Name one in otherwise.remote."
        )
    return fitting[0]


def _read(reply: Mapping[str, Any], name: str) -> np.ndarray:
    for output in reply.get("outputs") or ():
        if isinstance(output, dict) and output.get("name") == name:
            try:
                # JSON has no NaN; servers write null.
                return np.array(output["data"], dtype=np.float64).reshape(output["shape"])
            except (KeyError, TypeError, ValueError) as error:
                raise ClassifierError(f"Output {name} of the remote model is damaged: {error}.", "Check it.") from error
    raise ClassifierError(f"The remote model did not return {name}.", "It should speak protocol v2.")
