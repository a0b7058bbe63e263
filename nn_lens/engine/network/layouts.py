"""Where the channels, rows and columns of a layer's output are: everything becomes (N,C,H,W) maps."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from nn_lens.errors import UnknownUnit

_CHANNELS_FIRST = (nn.modules.conv._ConvNd, nn.modules.batchnorm._BatchNorm, nn.GroupNorm)
_CHANNELS_LAST = (nn.Linear, nn.LayerNorm)


@dataclass(frozen=True)
class Layout:
    """How one layer's output (N,...) is read: `kind` is maps, channels_last, vector or tokens.

    `grid` is (H,W); `extra` counts the leading tokens, such as a class token, that have no place.
    """

    kind: str
    channels: int
    grid: tuple[int, int]
    extra: int = 0

    def maps(self, output: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) view of an output of this layer; H and W are read off where the output has them."""
        if self.kind == "vector":
            return output[:, :, None, None]
        if self.kind == "channels_last":
            return output.permute(0, 3, 1, 2)
        if self.kind == "tokens":
            places = output[:, self.extra :].transpose(1, 2)
            return places.reshape(output.shape[0], self.channels, *self.grid)
        return output

    def token(self, output: torch.Tensor, index: int) -> torch.Tensor:
        """(N,C,1,1) view of a leading token that has no place.

        Raises:
            UnknownUnit: there is none of that index.
        """
        if index >= self.extra:
            has = f"tokens 0 to {self.extra - 1} without a place" if self.extra else "no token without a place"
            raise UnknownUnit(f"The layer has {has}, so there is no token {index}.")
        return output[:, index, :, None, None]


def layout_of(module: nn.Module, shape: tuple[int, ...], batch: int, input_shape: tuple[int, ...]) -> Layout | str:
    """The layout of an output of `shape` (batch first), or why it has none, in words."""
    if not shape or shape[0] != batch:
        return f"its output {shape} does not keep one entry per picture"
    if len(shape) == 2:
        return Layout("vector", shape[1], (1, 1))
    if len(shape) == 4:
        if _is_channels_last(module, shape, input_shape):
            return Layout("channels_last", shape[3], (shape[1], shape[2]))
        return Layout("maps", shape[1], (shape[2], shape[3]))
    if len(shape) == 3 and len(input_shape) == 3:
        for extra in (0, 1, 2, 5):  # none, a class token, with a distillation token, with four registers
            grid = _grid(shape[1] - extra, input_shape)
            if grid is not None:
                return Layout("tokens", shape[2], grid, extra)
        return f"its {shape[1]} tokens do not lie on a grid with the proportions of the input"
    return f"its output has {len(shape) - 1} dimensions, of which none is known to be rows and columns"


def _is_channels_last(module: nn.Module, shape: tuple[int, ...], input_shape: tuple[int, ...]) -> bool:
    if isinstance(module, _CHANNELS_FIRST):
        return False
    if isinstance(module, nn.LayerNorm):
        return tuple(module.normalized_shape) == (shape[3],)
    if isinstance(module, _CHANNELS_LAST):
        return True
    if len(input_shape) != 3:
        return False
    first, last = _keeps(shape[2:], input_shape), _keeps(shape[1:3], input_shape)
    return last and not first


def _keeps(grid: tuple[int, ...], input_shape: tuple[int, ...]) -> bool:
    """Whether a grid has the proportions of the input, give or take one row and column."""
    rows, columns = grid
    _, height, width = input_shape
    return abs(rows * width / height - columns) < 1.5 and rows <= height


def _grid(tokens: int, input_shape: tuple[int, ...]) -> tuple[int, int] | None:
    if tokens < 4:
        return None
    _, height, width = input_shape
    rows = round((tokens * height / width) ** 0.5)
    if rows and tokens % rows == 0 and _keeps((rows, tokens // rows), input_shape):
        return rows, tokens // rows
    return None
