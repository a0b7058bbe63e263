"""The first look at a model: an input that it takes, the layers that answer to it, and its answer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from nn_lens.engine.network import capture, memory_format
from nn_lens.engine.network.runner import Runner
from nn_lens.errors import NetworkError, one_line

BATCH = 2  # more than 1, so that a layer that folds the batch away shows itself
_SIDES = (224, 299, 64, 32, 28)


@dataclass(frozen=True)
class Probe:
    """What a model did with grey inputs of `input_shape`: the layers in the order of their first call, and its answer.

    `takes_channels_last`: whether it answers the same to pictures whose channels lie side by side in memory.
    """

    input_shape: tuple[int, ...]
    seen: tuple[capture.Seen, ...]
    output_shape: tuple[int, ...] | None
    takes_channels_last: bool


def probe(runner: Runner, given: Sequence[int] | None) -> Probe:
    """Runs the model on grey inputs of the shape that is given, else of those that its first layer may read, until one fits.

    Raises:
        NetworkError: no input shape fits, or the model fails in forward; says what was tried.
    """
    if given is not None and not isinstance(given, (tuple, list, torch.Size)):
        raise NetworkError(f"input_shape is (channels, height, width), or (numbers,) for vectors; got {given!r}.")
    shapes = [tuple(int(n) for n in given)] if given is not None else _candidates(runner.model)
    tried = []
    for shape in shapes:
        grey = torch.full((BATCH, *shape), 0.5, device=runner.device, dtype=runner.dtype)
        try:
            with runner.evaluation(), torch.no_grad():
                seen, answer = capture.trace(runner.model, grey.clone())
        except Exception as error:
            tried.append(f"{shape}: {type(error).__name__}: {one_line(error)}")
            cause = error
            continue
        with runner.evaluation(), torch.no_grad():
            takes_channels_last = memory_format.same_answer(runner.model, grey, answer)
        first = capture.first_tensor(answer)
        return Probe(shape, tuple(seen), None if first is None else tuple(first.shape), takes_channels_last)
    if not tried:
        raise NetworkError(
            f"{runner.name} has no convolution and no linear layer to tell what it reads; "
            "pass nl.Network(model, input_shape=(channels, height, width))."
        )
    if given is not None:
        raise NetworkError(
            f"{runner.name} failed in forward on an input of (channels, height, width) = {tried[0]}"
        ) from cause
    raise NetworkError(
        f"{runner.name} failed in forward on every input tried. "
        "Pass nl.Network(model, input_shape=(channels, height, width)). Tried " + "; ".join(tried)
    ) from cause


def _candidates(model: nn.Module) -> list[tuple[int, ...]]:
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            return [(module.in_channels, side, side) for side in _SIDES]
        if isinstance(module, nn.Linear):
            return [(module.in_features,)]
    return []
