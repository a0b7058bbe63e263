"""Ways in which an input is changed that it was not made for."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping

import numpy as np
import torch
from PIL import Image

from nn_lens.engine.maximizing.transforms import Transform, gaussian_blur

Change = Callable[[torch.Tensor, torch.Generator], torch.Tensor]


def disturbances(kind: str) -> Mapping[str, Change]:
    """By name, what makes of an input of a kind a changed one.

    Of pictures (C,H,W) in [0,1] noise, JPEG compression, less contrast, brighter and darker, a blur twice as wide as that
    of the loop, and a shift. Signals, volumes and sequences have neither JPEG nor brightness; their noise is a twentieth
    of their own deviation.
    """
    if kind == "picture":
        return _OF_PICTURES
    return {name: (_on_steps(change) if kind == "sequence" else change) for name, change in _OF_OTHERS.items()}


def _jpeg(x: torch.Tensor, _generator: torch.Generator) -> torch.Tensor:
    planes = []
    for plane in (x * 255).round().to(torch.uint8).numpy():
        file = io.BytesIO()
        Image.fromarray(plane).save(file, "JPEG", quality=60)
        planes.append(np.asarray(Image.open(file), np.float32) / 255)
    return torch.from_numpy(np.stack(planes))


def _shifted(x: torch.Tensor, _generator: torch.Generator) -> torch.Tensor:
    shift, depth = Transform(shift=2.0), [1.0] * (x.ndim == 4)
    return shift.apply(x[None], shift.matrices(torch.tensor([[0.0, 1.0, *depth, 1.0, -2.0]]), *x.shape[1:]))[0]


def _paler(x: torch.Tensor, _generator: torch.Generator) -> torch.Tensor:
    return x.mean(tuple(range(1, x.ndim)), keepdim=True) * 0.3 + x * 0.7


def _blurred(x: torch.Tensor, _generator: torch.Generator) -> torch.Tensor:
    return gaussian_blur(x[None], 1.4)[0]


def _on_steps(change: Change) -> Change:
    """A change of (C,L) signals, of (T,F) sequences."""
    return lambda x, generator: change(x.T.contiguous(), generator).T


_OF_PICTURES: dict[str, Change] = {
    "noise": lambda x, g: (x + 0.05 * torch.randn(x.shape, generator=g)).clamp(0, 1),
    "JPEG": _jpeg,
    "less contrast": _paler,
    "brighter": lambda x, g: (x + 0.1).clamp(0, 1),
    "darker": lambda x, g: (x - 0.1).clamp(0, 1),
    "blur": _blurred,
    "shift": _shifted,
}
_OF_OTHERS: dict[str, Change] = {
    "noise": lambda x, g: x + 0.05 * x.std() * torch.randn(x.shape, generator=g),
    "less contrast": _paler,
    "blur": _blurred,
    "shift": _shifted,
}
