"""Penalties on the picture, to be subtracted from what is maximized."""

from __future__ import annotations

from typing import Any

import torch

from nn_lens.engine.maximizing.inputs import place_dims
from nn_lens.engine.maximizing.objective import Answers, Objective, mean_of_each
from nn_lens.engine.maximizing.transforms import gaussian_blur
from nn_lens.engine.pictures.picture import read_picture
from nn_lens.errors import LensError


def total_variation() -> Objective:
    """The mean absolute difference of neighbouring pixels, samples or steps; subtract it for smoother pictures.

    Raises:
        LensError: when it is used with a network of vectors, which have no neighbours.

    >>> nl.objectives.channel("relu3:1") - 0.1 * nl.objectives.total_variation()
    Objective(channel(relu3:1) - 0.1 * total_variation())
    """

    def value(a: Answers) -> torch.Tensor:
        if a.kind == "vector":
            raise LensError("total_variation compares neighbours, and the numbers of a vector have none; use l1 or l2.")
        first, *others = (mean_of_each(a.pictures.diff(dim=d).abs()) for d in place_dims(a.kind))
        return sum(others, first)

    return Objective("total_variation()", (), value, local=True)


def l1(target: Any = 0.5) -> Objective:
    """The mean absolute distance of the pixels from `target`, a number or a picture in [0,1]; of signals, 0 is the middle.

    >>> -nl.objectives.l1()
    Objective(-1 * l1(0.5))
    """
    return Objective(f"l1({_said(target)})", (), lambda a: _off(a, target).abs().mean(1), local=True)


def l2(target: Any = 0.5) -> Objective:
    """The root mean square distance of the pixels from `target`, a number or a picture in [0,1]; see `l1`.

    >>> nl.objectives.neuron("conv1:3") - nl.objectives.l2(0.25)
    Objective(neuron(conv1:3) - l2(0.25))
    """
    return Objective(
        f"l2({_said(target)})", (), lambda a: _off(a, target).square().mean(1).add(1e-12).sqrt(), local=True
    )


def blur(sigma: float = 1.0) -> Objective:
    """The mean absolute difference of the picture from itself blurred with a Gaussian of `sigma` pixels, samples or steps.

    >>> nl.objectives.logit(3) - nl.objectives.blur(2)
    Objective(logit(3) - blur(2))
    """
    if not sigma > 0:
        raise LensError(f"blur takes a sigma above 0 pixels, got {sigma}.")

    def value(a: Answers) -> torch.Tensor:
        if a.kind == "vector":
            raise LensError("blur compares neighbours, and the numbers of a vector have none; use l1 or l2.")
        x = a.pictures.transpose(1, 2) if a.kind == "sequence" else a.pictures
        return (x - gaussian_blur(x, sigma)).abs().flatten(1).mean(1)

    return Objective(f"blur({sigma:g})", (), value, local=True)


def _off(answers: Answers, target: Any) -> torch.Tensor:
    """(N, pixels) distances from a number or a picture."""
    pictures = answers.pictures
    if not isinstance(target, (int, float)):
        target = read_picture(target, tuple(pictures.shape[1:]), answers.kind).to(pictures)
    off: torch.Tensor = (pictures - target).flatten(1)
    return off


def _said(target: Any) -> str:
    return f"{target:g}" if isinstance(target, (int, float)) else "picture"
