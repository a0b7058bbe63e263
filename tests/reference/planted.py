"""A network whose classes are decided by known units in known places, and pictures that turn these on."""

from __future__ import annotations

import torch
from torch import nn

SHAPE = (1, 24, 32)
PLACES = SHAPE[1] * SHAPE[2]
BLOCK, STRIPES, OTHER = 1, 3, 2
"""The units that look for a bright block, for stripes, and one of those that decide nothing."""
WEIGHTS = {0: (BLOCK, 3.0), 1: (STRIPES, 4.0)}
"""By class, the unit that decides it, and how much it counts."""


def planted() -> nn.Sequential:
    """Class 0 is a bright block, class 1 are stripes; each unit looks six pixels away from where it answers.

    So the place of the answer, stretched over the picture, is not the place of the evidence: unit 1 looks up and to the
    left, unit 3 down and to the right. Each answers 0.5 to its pattern, at one place, and 0 elsewhere.
    """
    model = nn.Sequential(
        nn.Conv2d(1, 5, 13, padding=6), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(5, 3)
    )
    stripes = torch.tensor([1.0, -1.0, 1.0]).expand(3, 3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model[0].weight[BLOCK, 0, :3, :3] = 1
        model[0].bias[BLOCK] = -8.5
        model[0].weight[STRIPES, 0, -3:, -3:] = stripes
        model[0].bias[STRIPES] = -5.5
        model[0].weight[OTHER, 0, 6, 6] = 1  # answers wherever it is bright, and nobody asks
        for class_, (unit, weight) in WEIGHTS.items():
            model[4].weight[class_, unit] = weight * PLACES
        model[4].bias.copy_(torch.tensor([0.1, -0.2, 0.3]))
    return model.eval()


def picture(block: tuple[int, int] | None = (4, 5), stripes: tuple[int, int] | None = (17, 24)) -> torch.Tensor:
    """A dark picture with a bright 3x3 block and 3x3 vertical stripes whose top left corners are there; None: without."""
    x = torch.zeros(SHAPE)
    if block is not None:
        x[0, block[0] : block[0] + 3, block[1] : block[1] + 3] = 1
    if stripes is not None:
        x[0, stripes[0] : stripes[0] + 3, stripes[1] : stripes[1] + 3] = torch.tensor([1.0, 0, 1])
    return x


def inside(corner: tuple[int, int]) -> tuple[slice, slice]:
    """Where a pattern is."""
    return slice(corner[0], corner[0] + 3), slice(corner[1], corner[1] + 3)
