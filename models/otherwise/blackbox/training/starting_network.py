"""Begin a training with the network and the weights of an earlier classifier."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from otherwise.blackbox.bundle import read_bundle
from otherwise.blackbox.hosts.networks import build_network, load_network
from otherwise.blackbox.loading import find_bundle
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.training.small_networks import smooth_first_layer
from otherwise.errors import BundleError


@dataclass(frozen=True, eq=False)
class StartingNetwork:
    """The definition and the initial weights of a network to train.

    Attributes:
        definition: Its ``network_def``.
        weights: Weights to begin with; None: drawn at random.
    """

    definition: dict[str, Any]
    weights: Mapping[str, Tensor] | None = None

    def build(self, coarse: bool) -> nn.Module:
        """Return the network; its first layer is smooth if ``coarse``. The global generator draws missing weights."""
        network = build_network(self.definition)
        if self.weights is not None:
            network.load_state_dict(self.weights)
        if coarse:
            smooth_first_layer(network, keep=self.weights is not None)
        return network


def starting_network(reference: str, inputs: InputSpec, outputs: int) -> StartingNetwork:
    """Read the network of a classifier, to train it further.

    Args:
        reference: A bundle's folder, or the name of a shipped bundle, with ``network_def``; its code is not run.
        inputs: Images that the network has to take.
        outputs: Numbers that it has to return for an image.

    Raises:
        BundleError: if there is no such bundle, it has no network that can be built, or that network does not fit.
    """
    bundle = read_bundle(find_bundle(reference), "classifier")
    network = load_network(bundle, "cpu")
    shape = (1, inputs.channels, *inputs.size)
    try:
        with torch.inference_mode():
            made = tuple(network(torch.zeros(shape)).shape)
    except Exception as error:
        fault = (str(error).splitlines() or [type(error).__name__])[0][:120]
        raise BundleError(
            f"The network of {reference} does not take images of shape {shape[1:]}: {fault}.",
            "Give --size and --channels as it was trained, or leave out --start.",
        ) from error
    if made != (1, outputs):
        raise BundleError(
            f"The network of {reference} returns {list(made[1:])} numbers for an image, not {outputs}.",
            "Give as many classes as it was trained with, or leave out --start.",
        )
    return StartingNetwork(bundle.inference["network_def"], network.state_dict())
