"""A smooth first layer is an ordinary one in the end, and does not see the finest grain."""

import pytest
import torch

from otherwise.blackbox.hosts.networks import build_network
from otherwise.blackbox.protocol import InputSpec
from otherwise.blackbox.training.small_networks import NETWORKS, plain_state, smooth_first_layer


@pytest.mark.parametrize("size", [(32, 32), (16, 16, 16)])
@pytest.mark.parametrize("kind", sorted(NETWORKS))
def test_written_out_it_answers_alike(kind, size):
    definition = NETWORKS[kind](InputSpec(size), 2)
    network = build_network(definition)
    smooth_first_layer(network)
    plain = build_network(definition)
    plain.load_state_dict(plain_state(network))
    images = torch.rand(3, 1, *size)
    assert torch.allclose(network.eval()(images), plain.eval()(images), atol=1e-5)


def test_it_is_blind_to_a_chequered_pattern_and_sees_broad_ones():
    network = build_network(NETWORKS["small"](InputSpec((32, 32)), 2))
    smooth_first_layer(network)
    first = network.conv1
    fine = (torch.arange(32)[:, None] + torch.arange(32)) % 2 * 1.0
    broad = (torch.arange(32) // 8 % 2 * 1.0).expand(32, 32)

    def seen(pattern):
        inside = first((pattern - 0.5)[None, None])[..., 3:-3, 3:-3]
        return float(inside.abs().mean())

    assert seen(fine) < 1e-5
    assert seen(broad) > 0.01
