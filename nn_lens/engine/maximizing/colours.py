"""The colours of pictures: channels that go together, and those that do not."""

from __future__ import annotations

from typing import Any

import torch

from nn_lens.errors import LensError

# Square root of the covariance of RGB over the training pictures of the bundled network, largest column of
# length 1: brightness, blue against red-yellow, green against magenta. Made by networks/picture_statistics.py.
COLOURS = ((0.5743, 0.2858, 0.0796), (0.5858, 0.0214, -0.1405), (0.5719, -0.3089, 0.0639))


def colours_of(pictures: Any) -> torch.Tensor:
    """(C,C) square root of the covariance of the channels of (N,C,H,W) pictures in [0,1], largest column of length 1.

    Its columns are decorrelated colours, the strongest first: for `fourier`, `pixels` and `maco`.

    >>> nl.parametrizations.colours_of(torch.rand(5, 3, 8, 8)).shape
    torch.Size([3, 3])
    """
    values = as_batch(pictures).transpose(0, 1).flatten(1).double()
    covariance = torch.cov(values).reshape(len(values), len(values))
    axes, variances, _ = torch.linalg.svd(covariance)
    root = axes * variances.sqrt()
    root = root * torch.where(root[0] < 0, -1, 1)
    scaled: torch.Tensor = (root / root.norm(dim=0).max().clamp(min=1e-12)).float()
    return scaled


def as_batch(pictures: Any) -> torch.Tensor:
    """(N,C,H,W) pictures in [0,1], checked; uint8 ones are brought there."""
    x = torch.as_tensor(pictures).detach().cpu()
    if x.ndim != 4:
        raise LensError(f"pictures are (N,C,H,W) in [0,1], got {tuple(x.shape)}.")
    x = x / 255 if x.dtype == torch.uint8 else x.float()
    if not (float(x.min()) >= 0 and float(x.max()) <= 1):
        raise LensError(f"pictures are (N,C,H,W) in [0,1], got values from {x.min():.3g} to {x.max():.3g}.")
    return x


def _matrix(x: torch.Tensor, colours: Any) -> torch.Tensor | None:
    if colours is None or (colours is COLOURS and (x.shape[1] != 3 or x.ndim < 4)):
        return None
    matrix = torch.as_tensor(colours, dtype=x.dtype, device=x.device)
    if matrix.shape != (x.shape[1], x.shape[1]):
        raise LensError(f"colours is a ({x.shape[1]},{x.shape[1]}) matrix for this network, got {tuple(matrix.shape)}.")
    return matrix


def coloured(x: torch.Tensor, colours: Any) -> torch.Tensor:
    """From decorrelated channels to those of the picture."""
    matrix = _matrix(x, colours)
    if matrix is None:
        return x
    # Added up channel by channel: a matrix product takes another order with the number of pictures.
    columns = [matrix[:, k].view(-1, *[1] * (x.ndim - 2)) for k in range(len(matrix))]
    return sum((x[:, k : k + 1] * columns[k] for k in range(1, len(columns))), x[:, :1] * columns[0])


def decorrelated(x: torch.Tensor, colours: Any) -> torch.Tensor:
    """From the channels of the picture to decorrelated ones."""
    matrix = _matrix(x, colours)
    return x if matrix is None else (torch.linalg.pinv(matrix) @ x.flatten(2)).view_as(x)
