"""Recurrent layers as a whole: step by step, they would take as long as the sequence is."""

from __future__ import annotations

import math
from typing import Any

import torch

from nn_lens.engine.network.reach.marks import Marks, join, require

FUNCTIONS = frozenset({torch.lstm, torch.gru, torch.rnn_tanh, torch.rnn_relu})


def is_padded(args: tuple[Any, ...]) -> bool:
    """Whether arguments are those of sequences of one length, and not of packed ones."""
    return len(args) == 9 and isinstance(args[3], bool)


def recurrent(
    x: Marks, hidden: list[Marks], size: int, layers: int, both_ways: bool, batch_first: bool
) -> tuple[Marks, Marks]:
    """The marks of all steps, and of the last states: (layers,N,size), twice as many where layers go both ways.

    x: (N,T,F), or (T,N,F); hidden: of the first states, where they depend on the input.
    """
    dim = 1 if batch_first else 0
    before = [m.most((0, 2)).reshape((-1, 1, 1) if batch_first else (1, -1, 1)) for m in hidden]
    states = []
    for _ in range(layers):
        read = join([x.most(-1, keepdim=True), *before])
        ways = [read.core.cummax(dim).values]
        if both_ways:
            ways.append(read.core.flip(dim).cummax(dim).values.flip(dim))
        outputs = [Marks(way, read.shape).expand((*read.shape[:2], size)) for way in ways]
        require(sum(math.prod(m.shape) for m in outputs))
        ends = [m.full().select(dim, -1 if i == 0 else 0) for i, m in enumerate(outputs)]
        states += [end[None] for end in ends]
        x = outputs[0] if len(outputs) == 1 else Marks.of(torch.cat([m.full() for m in outputs], -1)).tidy()
    return x, Marks.of(torch.cat(states)).tidy()
