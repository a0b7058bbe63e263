"""What kind of input a network reads, and which shapes are worth a try where nobody says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import nn

from nn_lens.engine.network.carried import Carried
from nn_lens.errors import NetworkError, nearest

KINDS = {
    "picture": "(channels, height, width)",
    "signal": "(channels, length)",
    "volume": "(channels, depth, height, width)",
    "sequence": "(steps, features)",
    "vector": "(numbers,)",
}
"""The kinds of input, and how their shapes are written."""

_SIDES = (224, 299, 64, 32, 28)
_LENGTHS = (1024, 1000, 512, 256, 128, 4096)
_BLOCKS = ((16, 112, 112), (16, 64, 64), (32, 32, 32))
_STEPS = (32, 16)


def kind_of(model: nn.Module, shape: tuple[int, ...], given: Any) -> tuple[str, str]:
    """The kind of input that has this shape, and how the choice is said, "" where there was none.

    Raises:
        NetworkError: no such kind, or one whose shapes have another number of dimensions.
    """
    if given is not None:
        if given not in KINDS:
            near = nearest(str(given), KINDS) or list(KINDS)
            raise NetworkError(f"There is no kind of input {given!r}; it is one of {', '.join(near)}.")
        if KINDS[given].count(",") + (given != "vector") != len(shape):
            raise NetworkError(f"A {given} is {KINDS[given]}; the input shape is {shape}.")
        return str(given), ""
    if len(shape) == 2:
        first = next(_reading(model), None)
        kind = "signal" if isinstance(first, (nn.Conv1d, nn.ConvTranspose1d)) else "sequence"
        return kind, f"read as a {kind} {KINDS[kind]}"
    kinds = {1: "vector", 3: "picture", 4: "volume"}
    if len(shape) not in kinds:
        raise NetworkError(f"An input has 1 to 4 dimensions, such as a picture {KINDS['picture']}; got {shape}.")
    return kinds[len(shape)], ""


def places_of(kind: str, shape: tuple[int, ...]) -> tuple[int, ...]:
    """How many places an input has along each of its dimensions that are none of channels or features."""
    if kind == "vector":
        return ()
    return shape[:1] if kind == "sequence" else shape[1:]


def given_shape(given: Any) -> tuple[int, ...]:
    """An input shape that was given, read.

    Raises:
        NetworkError: it is none.
    """
    try:
        shape = tuple(int(n) for n in given)
    except (TypeError, ValueError):
        shape = ()
    if isinstance(given, str) or not shape or min(shape) < 1:
        shapes = ", ".join(f"{shape} for a {kind}" for kind, shape in KINDS.items())
        raise NetworkError(f"input_shape is {shapes}, without the batch; got {given!r}.")
    return shape


def candidates(model: nn.Module, carried: Carried) -> list[tuple[int, ...]]:
    """Input shapes that the model may read, by what it carries and by its first layer that tells.

    Raises:
        NetworkError: it reads whole numbers, such as the ids of tokens.
    """
    first = next(_reading(model), None)
    tried: list[tuple[int, ...]] = [carried.input_shape] if carried.input_shape is not None else []
    if isinstance(first, (nn.Conv2d, nn.ConvTranspose2d)):
        tried += [(first.in_channels, side, side) for side in _SIDES]
    elif isinstance(first, (nn.Conv1d, nn.ConvTranspose1d)):
        tried += [(first.in_channels, length) for length in _LENGTHS]
    elif isinstance(first, (nn.Conv3d, nn.ConvTranspose3d)):
        tried += [(first.in_channels, *block) for block in _BLOCKS]
    elif isinstance(first, nn.RNNBase):
        tried += [(steps, first.input_size) for steps in _STEPS]
    elif isinstance(first, nn.Linear):
        tried += [(first.in_features,), *((steps, first.in_features) for steps in _STEPS)]
    elif isinstance(first, nn.Embedding) and not tried:
        raise NetworkError(
            f"{type(model).__name__} reads whole numbers, such as the ids of tokens, which have no gradient and no "
            "picture. Give it what its embedding answers: nl.Network(model, (steps, features), "
            "inputs=lambda x: ...), where the callable makes the model's arguments of a batch (N, steps, features), "
            'such as {"inputs_embeds": x} for a Hugging Face model.'
        )
    return list(dict.fromkeys(tried))


def probes(kind: str, shape: tuple[int, ...], count: int, device: torch.device, dtype: torch.dtype) -> torch.Tensor:
    """Inputs that differ in every place, always the same: a grey one would hide what a network does to contrast."""
    generator = torch.Generator().manual_seed(0)
    draw = torch.rand if kind in ("picture", "volume") else torch.randn
    return draw((count, *shape), generator=generator).to(device, dtype)


def _reading(model: nn.Module) -> Iterator[nn.Module]:
    """The modules that say by their weights what they read, in the order in which they were made."""
    kinds: Sequence[Any] = (nn.modules.conv._ConvNd, nn.Linear, nn.RNNBase, nn.Embedding)
    return (m for m in model.modules() if isinstance(m, tuple(kinds)))
