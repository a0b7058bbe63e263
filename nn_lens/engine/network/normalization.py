"""Which mean and deviation a network's inputs are normalized with."""

from __future__ import annotations

from typing import Any

import torch

from nn_lens.engine.network.carried import Carried
from nn_lens.errors import LensError

MeanStd = tuple[torch.Tensor, torch.Tensor]


def normalization_of(carried: Carried, kind: str, shape: tuple[int, ...], given: Any) -> tuple[MeanStd | None, str]:
    """The mean and std that inputs of `shape` are normalized with, shaped to fit a batch, or None, and how to say it.

    given: as for `Network`.

    Raises:
        LensError: what is given is no mean and deviation of these channels.
    """
    channels = shape[-1] if kind == "sequence" else shape[0]
    said = "normalized as given"
    if given is None:
        colours = kind in ("picture", "volume") and channels == 3
        if carried.normalizes_itself:
            return None, "it normalizes by itself"
        if carried.mean_std is None or (carried.source == "ImageNet" and not colours):
            hint = " (pass normalize=nl.IMAGENET or (mean, std) if it was trained with one)"
            return None, "no normalization" + (hint if kind in ("picture", "volume") else "")
        given, said = carried.mean_std, f"normalized as {carried.source}"
        said += " say" if carried.source == "its weights" else " says" if carried.source.startswith("its ") else ""
    if given is False:
        return None, "no normalization"
    if getattr(given, "image_mean", None) is not None:  # a processor of Hugging Face
        given = given.image_mean, given.image_std
    try:
        mean, std = (torch.as_tensor(v, dtype=torch.float32).flatten() for v in given)
    except (TypeError, ValueError):
        raise LensError(f"normalize is None, False, nl.IMAGENET or (mean, std), got {given!r}.") from None
    if {len(mean), len(std)} - {1, channels} or bool((std == 0).any()):
        raise LensError(
            f"normalize needs a mean and a std other than 0 for each of {channels} channels, got {given!r}."
        )
    after = () if kind == "sequence" else (1,) * (len(shape) - 1)
    before = (1,) * (len(shape) - len(after))
    view = (*before, -1, *after)
    return (mean.view(view), std.view(view)), said
