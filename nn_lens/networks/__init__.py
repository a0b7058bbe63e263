"""Bundled networks, each with its weights, model card and the script that trains it."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from nn_lens.engine.network.network import Network
from nn_lens.engine.pictures.samples import sample_pictures
from nn_lens.errors import LensError, nearest

if TYPE_CHECKING:
    from nn_lens.engine.maximizing.belief import BeliefNetwork
    from nn_lens.networks.digits import DigitsNetwork

_HERE = Path(__file__).parent


def demo(name: str = "photos") -> Network:
    """A bundled Network with `.labels` and `.samples`, a dict of names and PIL images.

    name: "photos", 20 everyday classes at 64x64 (see photos20.md beside the weights), or "digits", trained
        on scikit-learn's 8x8 digits when first asked for, in seconds, or "belief", a deep belief network of them.

    Raises:
        LensError: there is no such network.

    >>> nl.demo()
    Network(Sequential, input (3, 64, 64), 31 layers, 4804 units, normalized as given)
    """
    if name not in _NETWORKS:
        near = nearest(str(name), _NETWORKS) or list(_NETWORKS)
        raise LensError(f"There is no bundled network {name!r}; did you mean {' or '.join(map(repr, near))}?")
    return _NETWORKS[name]()


def _photos() -> Network:
    import safetensors.torch

    from nn_lens.networks.photos20 import INPUT_SHAPE, MEAN, STD, photos20_network

    card = json.loads((_HERE / "photos20.json").read_text())
    model = photos20_network(tuple(card["options"]["widths"]))
    model.load_state_dict(
        {k: v.float() for k, v in safetensors.torch.load_file(_HERE / "photos20.safetensors").items()}
    )
    net = Network(model.eval(), INPUT_SHAPE, (MEAN, STD), card["classes"])
    net.samples.update(sample_pictures(INPUT_SHAPE))
    return net


def _digits() -> Network:
    from torch.utils.data import TensorDataset

    from nn_lens.networks.digits import all_digits, digit_pictures

    net = Network(_digits_model(), (1, 8, 8), False, [str(n) for n in range(10)])
    net.samples.update(digit_pictures())
    net.dataset = TensorDataset(*all_digits())
    return net


def _belief() -> Network:
    from nn_lens.networks.digits import digit_pictures

    net = Network(_belief_model(), (1, 8, 8), False)
    net.samples.update(digit_pictures())
    return net


@cache
def _belief_model() -> BeliefNetwork:
    from nn_lens.networks.digits_belief import trained_digits_belief

    return trained_digits_belief()


@cache
def _digits_model() -> DigitsNetwork:
    from nn_lens.networks.digits import trained_digits_network

    return trained_digits_network()


_NETWORKS: dict[str, Callable[[], Network]] = {"photos": _photos, "digits": _digits, "belief": _belief}

BUNDLED = tuple(_NETWORKS)
"""The names of the bundled networks."""
