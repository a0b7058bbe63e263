"""A few pictures as many: crops at several scales and places."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

from nn_lens.engine.pictures.picture import read_picture


class Crops(Sequence[torch.Tensor]):
    """Square crops of a few pictures at several scales and places, each as large as the network's input.

    A picture is once resized per scale, so that a crop is a slice. Every second crop is mirrored.
    """

    SCALES = (1.0, 0.75, 0.55, 0.4, 0.28, 0.22)  # side of a crop over the picture's short side

    def __init__(self, input_shape: tuple[int, ...], pictures: Sequence[Any]) -> None:
        self.input_shape, self.pictures = input_shape, list(pictures)
        self._large: list[torch.Tensor] = []
        self._where: list[tuple[int, int, int]] = []
        height, width = input_shape[1:]
        for source in self.pictures:
            for scale in self.SCALES:
                sides = round(height / scale), round(width / scale)
                whole = F.interpolate(
                    _whole(input_shape, source)[None], sides, mode="bilinear", antialias=True, align_corners=False
                )
                self._large.append(whole[0].clamp(0, 1))
                rows, columns = (_starts(n, k) for n, k in zip(sides, (height, width), strict=True))
                self._where += [(len(self._large) - 1, top, left) for top in rows for left in columns]

    def __len__(self) -> int:
        return len(self._where)

    def __getitem__(self, index: Any) -> Any:
        large, top, left = self._where[index]
        height, width = self.input_shape[1:]
        crop = self._large[large][:, top : top + height, left : left + width]
        return crop.flip(2) if index % 2 else crop


def _whole(shape: tuple[int, ...], source: Any) -> torch.Tensor:
    """A picture's middle square at up to four times the input's size."""
    c, height, width = shape
    return read_picture(source, (c, 4 * height, 4 * width)).float()


def _starts(side: int, crop: int) -> list[int]:
    """First pixels of crops that lie a quarter of their side apart."""
    steps = max(1, math.ceil((side - crop) / (crop / 4)) + 1) if side > crop else 1
    return [round(i * (side - crop) / max(1, steps - 1)) for i in range(steps)]
