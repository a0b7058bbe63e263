"""What inputs of each kind are like for who makes some: where their places are, and what lies in the middle of their range."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nn_lens.engine.network.network import Network

_PLACES = {"vector": (), "signal": (2,), "picture": (2, 3), "volume": (2, 3, 4), "sequence": (1,)}


def place_dims(kind: str) -> tuple[int, ...]:
    """The dimensions of a batch that count places."""
    return _PLACES[kind]


def in_unit_range(kind: str) -> bool:
    """Whether inputs of a kind are in [0,1]; signals and sequences are real numbers."""
    return kind in ("picture", "volume", "vector")


def with_places(kind: str, shape: Sequence[int], sides: Sequence[int]) -> tuple[int, ...]:
    """The shape of an input with other sides."""
    return (*sides, *shape[1:]) if kind == "sequence" else (*shape[:1], *sides)


def mean_and_deviation(net: Network) -> tuple[torch.Tensor, torch.Tensor]:
    """(C,) each: what the network subtracts from its inputs, and what it divides them by; 0 and 1 where it does not."""
    channels = net.input_shape[-1 if net.kind == "sequence" else 0]
    sides = [1] * len(place_dims(net.kind))
    size = (*sides, channels) if net.kind == "sequence" else (channels, *sides)
    at_0, at_1 = (net.normalized(torch.full((1, *size), v)).float().cpu().flatten() for v in (0.0, 1.0))
    return -at_0 / (at_1 - at_0), 1 / (at_1 - at_0)


def rest(net: Network, n: int, shape: Sequence[int]) -> torch.Tensor:
    """(n,*shape) inputs that show nothing: grey, or of signals and sequences the mean."""
    if in_unit_range(net.kind):
        return torch.full((n, *shape), 0.5)
    mean, _ = mean_and_deviation(net)
    return (mean if net.kind == "sequence" else mean[:, None]).expand(n, *shape).clone()


def random(net: Network, n: int, shape: Sequence[int], generator: torch.Generator) -> torch.Tensor:
    """(n,*shape) inputs of noise: even over [0,1], or of signals and sequences normal."""
    if in_unit_range(net.kind):
        return torch.rand(n, *shape, generator=generator)
    mean, deviation = (v if net.kind == "sequence" else v[:, None] for v in mean_and_deviation(net))
    return mean + deviation * torch.randn(n, *shape, generator=generator)
