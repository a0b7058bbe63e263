"""A device whose memory does not hold what is asked: passes take less at once, and what cannot be cut says the way out."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import nn_lens as nl
from nn_lens.errors import MemoryShort


class Room(torch.autograd.Function):
    """Fails as a small card does: forward on more inputs than `room`, backward where it is told to."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor, room: int, backward: bool) -> torch.Tensor:
        if len(x) > room:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 252.00 MiB.")
        ctx.backward = backward
        return x.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> Any:  # type: ignore[override]
        if ctx.backward:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB.")
        return gradient, None, None


class Small(nn.Sequential):
    """A model on a card with room for so many inputs at once."""

    def __init__(self, room: int, backward: bool = True) -> None:
        torch.manual_seed(0)
        super().__init__(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))
        self.room, self.fails_backward = room, not backward

    def forward(self, x: torch.Tensor) -> Any:
        return super().forward(Room.apply(x, self.room, self.fails_backward))


def network(room: int, backward: bool = True) -> nl.Network:
    model = Small(1 << 30, backward)
    net = nl.Network(model, (3, 16, 16), False)
    model.room = room
    return net


PICTURES = torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("room", [1, 3, 7])
def test_a_pass_takes_fewer_pictures_at_once(room):
    wide, narrow = network(1 << 30), network(room)
    assert wide.batch_size() > room
    found, expected = (nl.dataset_examples(net, "0", PICTURES, progress=False) for net in (narrow, wide))
    for unit in expected.top:
        own, whole = found.top[unit], expected.top[unit]
        assert [e.index for e in own] == [e.index for e in whole]
        np.testing.assert_allclose([e.activation for e in own], [e.activation for e in whole], rtol=1e-5)
    codes = [nl.embedding(net, PICTURES, "0", method="pca").codes for net in (narrow, wide)]
    np.testing.assert_allclose(*codes, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("ask", [
    lambda net: nl.activations(net, PICTURES[0].numpy(), "0"), lambda net: nl.maximize(net, "4:1", steps=2),
    lambda net: nl.attribute(net, PICTURES[0].numpy(), 1), lambda net: nl.dataset_examples(net, "0", PICTURES, progress=False),
])  # fmt: skip
def test_what_cannot_be_cut_says_the_way_out(ask):
    with pytest.raises(MemoryShort, match=r"memory of cpu does not hold this.*fewer units.*processor.*252\.00 MiB"):
        ask(network(0))


def test_a_backward_pass_says_so_too():
    net = network(1 << 30, backward=False)
    for ask in (lambda: nl.maximize(net, "4:1", steps=2), lambda: nl.attribute(net, PICTURES[0].numpy(), 1)):
        with pytest.raises(MemoryShort, match=r"processor.*20\.00 MiB"):
            ask()
    assert net.model.training
    assert all(p.requires_grad for p in net.model.parameters())
