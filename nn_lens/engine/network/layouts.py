"""Where the channels and places of a layer's output are: everything becomes (N,C,*grid) maps."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from torch import nn

from nn_lens.engine.network.capture import Seen
from nn_lens.engine.network.inputs import places_of
from nn_lens.errors import UnknownUnit

_CHANNELS_FIRST = (
    nn.modules.conv._ConvNd, nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LocalResponseNorm, nn.Upsample,
    nn.modules.pooling._MaxPoolNd, nn.modules.pooling._AvgPoolNd, nn.modules.pooling._LPPoolNd,
    nn.modules.pooling._AdaptiveAvgPoolNd, nn.modules.pooling._AdaptiveMaxPoolNd, nn.modules.pooling._MaxUnpoolNd,
    nn.PixelShuffle, nn.PixelUnshuffle, nn.ChannelShuffle, nn.Unfold, nn.modules.dropout.Dropout1d, nn.Dropout2d, nn.Dropout3d,
)  # fmt: skip
_CHANNELS_LAST = (
    nn.Linear, nn.LayerNorm, nn.RMSNorm, nn.RNNBase, nn.MultiheadAttention, nn.Embedding, nn.Transformer,
    nn.TransformerEncoder, nn.TransformerDecoder, nn.TransformerEncoderLayer, nn.TransformerDecoderLayer,
)  # fmt: skip
# Tokens that stand before those of the places: a class token, a distillation token, four or eight registers.
EXTRA = (0, 1, 2, 4, 5, 8, 9)


@dataclass(frozen=True)
class Layout:
    """How one layer's output is read: `kind` is maps (N,C,*grid), channels_last (N,*grid,C), tokens (N,T,C),
    flat (N,C,T), vector (N,C) or scalar (N,).

    `grid` has a number for each dimension of a map, (1,1) for vectors. `extra` counts the leading tokens, such as a
    class token, that have no place. `batch_axis`: which dimension of the output counts the pictures.
    """

    kind: str
    channels: int
    grid: tuple[int, ...]
    extra: int = 0
    batch_axis: int = 0

    def maps(self, output: torch.Tensor) -> torch.Tensor:
        """(N,C,*grid) view of an output of this layer; the grid is read off where the output has it."""
        output = output.movedim(self.batch_axis, 0) if self.batch_axis else output
        if self.kind == "scalar":
            return output[:, None, None, None]
        if self.kind == "vector":
            return output[:, :, None, None]
        if self.kind == "channels_last":
            return output.movedim(-1, 1)
        if self.kind == "tokens":
            places = output[:, self.extra :].transpose(1, 2)
            return places if len(self.grid) == 1 else places.unflatten(2, self.grid)
        return output.unflatten(2, self.grid) if self.kind == "flat" else output

    def token(self, output: torch.Tensor, index: int) -> torch.Tensor:
        """(N,C,1,1) view of a leading token that has no place.

        Raises:
            UnknownUnit: there is none of that index.
        """
        if index >= self.extra:
            has = f"tokens 0 to {self.extra - 1} without a place" if self.extra else "no token without a place"
            raise UnknownUnit(f"The layer has {has}, so there is no token {index}.")
        output = output.movedim(self.batch_axis, 0) if self.batch_axis else output
        return output[:, index, :, None, None]

    def numbers(self, output: torch.Tensor) -> torch.Tensor:
        """(N,C,n) all numbers of an output by channel, those of tokens without a place too."""
        output = output.movedim(self.batch_axis, 0) if self.batch_axis else output
        if self.kind == "scalar":
            return output[:, None, None]
        first = self.kind in ("maps", "flat", "vector")
        return (output if first else output.movedim(-1, 1)).unsqueeze(-1).flatten(2)

    def channel_axis(self) -> int:
        """The dimension of an output that counts the channels; of a scalar, which has none, its only one."""
        first = self.kind in ("maps", "flat", "vector")
        return -1 if not first else 1 if self.batch_axis != 1 else 0


class Layouts:
    """Reads the layouts of one pass, layer by layer: what an output is depends on those before it.

    kind, shape: of the input. patches: the grid that it is cut into, if that is known. A row of tokens is a grid only where a
    layer before had that grid; a module that changes numbers one by one keeps the layout of what it read.
    """

    def __init__(self, kind: str, shape: tuple[int, ...], patches: tuple[int, ...] | None = None) -> None:
        self._kind, self._places = kind, places_of(kind, shape)
        self._known: dict[tuple[int, ...], Layout] = {}
        self._grids: list[tuple[int, ...]] = [] if patches is None else [patches]  # the latest last
        self._rows: set[int] = set()  # how many tokens stood in a row
        self._refused: dict[tuple[int, ...], str] = {}

    @property
    def knows_a_grid(self) -> bool:
        """Whether any layer so far has places of all the input's dimensions."""
        return any(math.prod(grid) > 1 for grid in self._grids)

    def of(self, seen: Seen, batch: int, batch_axis: int | None) -> Layout | str:
        """The layout of a layer's output, or why it has none, in words. batch_axis: which dimension counts the pictures."""
        shape = seen.output_shape or ()
        if batch_axis is None:
            return f"its output {shape} does not keep one entry per picture"
        shape = (batch, *shape[:batch_axis], *shape[batch_axis + 1 :])
        found = self._read(seen.module, shape)
        if isinstance(found, str):
            self._refused.setdefault(shape, found)
            return found
        if len(shape) > 2:
            self._known[shape] = found
            if found.kind in ("maps", "channels_last") and len(found.grid) == len(self._places):
                self._grids.append(found.grid)
            elif found.kind == "tokens":
                self._rows.add(shape[1])
        return replace(found, batch_axis=batch_axis)

    def of_answer(self, shape: tuple[int, ...]) -> Layout | None:
        """The layout of the model's own answer (N,...), None where it cannot be told: as of a layer that gave the same."""
        if len(shape) == 1:
            return Layout("scalar", 1, (1, 1))
        if len(shape) == 2:
            return Layout("vector", shape[1], (1, 1))
        if shape in self._known:
            return self._known[shape]
        grid = shape[2:]
        dense = len(grid) == len(self._places) > 1 and self._keeps(grid)
        return Layout("maps", shape[1], grid) if dense else None

    def _read(self, module: nn.Module, shape: tuple[int, ...]) -> Layout | str:
        if len(shape) == 1:
            return Layout("scalar", 1, (1, 1))
        if len(shape) == 2:
            return Layout("vector", shape[1], (1, 1))
        if isinstance(module, nn.Unfold):
            grid = next((g for g in reversed(self._grids) if math.prod(g) == shape[2]), None)
            return Layout("maps", shape[1], shape[2:]) if grid is None else Layout("flat", shape[1], grid)
        if isinstance(module, _CHANNELS_FIRST):
            return Layout("maps", shape[1], shape[2:])
        last = (
            isinstance(module, _CHANNELS_LAST) and tuple(getattr(module, "normalized_shape", shape[-1:])) == shape[-1:]
        )
        if len(shape) == 3:
            return self._row(shape, last)
        if last:
            return self._channels_last(shape)
        return self._known[shape] if shape in self._known else self._unknown(shape)

    def _row(self, shape: tuple[int, ...], last: bool) -> Layout:
        """Of (N,T,C), or (N,C,T)."""
        tokens = self._tokens(shape)
        flat = next((g for g in reversed(self._grids) if math.prod(g) == shape[2] and len(g) > 1), None)
        known = self._known.get(shape)
        flat_channels = flat is not None and any(s[1] == shape[1] and s[2:] == flat for s in self._known)
        if flat is not None and flat_channels and (len(tokens.grid) == 1 or not last):
            return Layout("flat", shape[1], flat)
        if known is not None and (known.kind in ("maps", "flat") or not last) and not (last and known.kind == "maps"):
            return known
        if self._kind == "signal" and not last:
            return Layout("maps", shape[1], shape[2:])
        return tokens

    def _tokens(self, shape: tuple[int, ...]) -> Layout:
        for extra in EXTRA:
            for grid in reversed(self._grids):
                if len(grid) > 1 and math.prod(grid) == shape[1] - extra and math.prod(grid) > 1:
                    return Layout("tokens", shape[2], grid, extra)
        return Layout("tokens", shape[2], (shape[1],))

    def _channels_last(self, shape: tuple[int, ...]) -> Layout | str:
        grid = shape[1:-1]
        if self._rows & set(grid) and grid not in self._grids:
            return self._of_tokens(shape)
        if len(grid) == len(self._places) and (grid in self._grids or self._keeps(grid)):
            return Layout("channels_last", shape[-1], grid)
        if len(grid) != len(self._places) and self._kind in ("picture", "signal", "sequence"):
            return self._no_places(shape)
        return f"its output {shape[1:]} lies on no grid with the proportions of the input"

    def _unknown(self, shape: tuple[int, ...]) -> Layout | str:
        """Of a module that says nothing about its channels: by the proportions of the input."""
        first, last = shape[2:], shape[1:-1]
        if len(first) != len(self._places):
            return self._no_places(shape)
        if first in self._grids:
            return Layout("maps", shape[1], first)
        if shape in self._refused:
            return self._refused[shape]
        if self._rows & {shape[1], shape[2], shape[2] - 1}:
            return self._of_tokens(shape)
        if self._keeps(last) and not self._keeps(first):
            return Layout("channels_last", shape[-1], last)
        return Layout("maps", shape[1], first)

    def _of_tokens(self, shape: tuple[int, ...]) -> str:
        return f"its output {shape[1:]} is of tokens by heads or by tokens, which have no places of their own"

    def _no_places(self, shape: tuple[int, ...]) -> str:
        return f"its output has {len(shape) - 1} dimensions, of which none is known to be places of the input"

    def _keeps(self, grid: tuple[int, ...]) -> bool:
        """Whether a grid has the proportions of the input's places, give or take one."""
        if len(grid) != len(self._places):
            return False
        if len(grid) == 3:  # time or depth is often reduced apart from rows and columns
            grid, places = grid[1:], self._places[1:]
        else:
            places = self._places
        if len(grid) < 2:
            return True
        return abs(grid[0] * places[1] / places[0] - grid[1]) < 1.5 and grid[0] <= places[0]
