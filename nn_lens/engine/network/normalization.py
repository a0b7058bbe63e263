"""Which mean and deviation a network's pictures are normalized with."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from nn_lens.errors import LensError

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""(mean, std) per channel that ImageNet networks expect their [0,1] pictures to be normalized with."""


def normalization_of(
    model: nn.Module, shape: tuple[int, ...], given: Any
) -> tuple[tuple[torch.Tensor, torch.Tensor] | None, str]:
    """The ((1,C,1,1) mean, std) that inputs of `shape` are normalized with, or None, and how to say it.

    given: as for `Network`.

    Raises:
        LensError: what is given is no mean and deviation of these channels.
    """
    if given is False or (given is None and len(shape) != 3):
        return None, "no normalization"
    said = "normalized as given"
    if given is None:
        transforms = getattr(getattr(model, "weights", None), "transforms", None)
        own = transforms() if callable(transforms) else None
        if own is not None and getattr(own, "mean", None) is not None:
            given, said = (own.mean, own.std), "normalized as its weights say"
        elif type(model).__module__.startswith("torchvision.models") and shape[0] == 3:
            given, said = IMAGENET, "normalized as ImageNet"
        else:
            return None, "no normalization (pass normalize=nl.IMAGENET or (mean, std) if it was trained with one)"
    try:
        mean, std = (torch.as_tensor(v, dtype=torch.float32).flatten() for v in given)
    except (TypeError, ValueError):
        raise LensError(f"normalize is None, False, nl.IMAGENET or (mean, std), got {given!r}.") from None
    if {len(mean), len(std)} - {1, shape[0]} or bool((std == 0).any()):
        raise LensError(
            f"normalize needs a mean and a std other than 0 for each of {shape[0]} channels, got {given!r}."
        )
    view = (1, -1, 1, 1) if len(shape) == 3 else (1, -1)
    return (mean.view(view), std.view(view)), said
