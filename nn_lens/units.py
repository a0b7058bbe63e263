"""Addresses of what a network has learned: a unit of a layer, or a direction over its channels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from nn_lens.errors import UnknownUnit

_TEXT = re.compile(r"^(?P<layer>.*):(?P<channel>\d+)(?:@(?P<row>\d+),(?P<column>\d+))?$")


@dataclass(frozen=True, order=True)
class Unit:
    """A channel of a layer, or with `row` and `column` one neuron of it; hashable.

    Written "features.3:12" (channel 12) and "features.3:12@4,5" (its neuron at row 4, column 5).

    Raises:
        UnknownUnit: a negative or non-integer number, or a row without a column.

    >>> str(nl.Unit("features.3", 12)), nl.Unit.parse("features.3:12@4,5").place
    ('features.3:12', (4, 5))
    """

    layer: str
    channel: int
    row: int | None = None
    column: int | None = None

    def __post_init__(self) -> None:
        if (self.row is None) != (self.column is None):
            raise UnknownUnit(
                f"A neuron needs a row and a column, got row={self.row} and column={self.column}; "
                f'write Unit("{self.layer}", {self.channel}, row, column), or leave both out for the channel.'
            )
        for name in ("channel", "row", "column"):
            value = getattr(self, name)
            if value is None:
                continue
            try:
                index = value.__index__()
            except AttributeError:
                raise UnknownUnit(f"{name} must be a whole number, got {value!r}.") from None
            if index < 0:
                raise UnknownUnit(f"{name} must be 0 or more, got {index}; units count from 0.")
            object.__setattr__(self, name, index)

    @classmethod
    def parse(cls, text: str) -> Unit:
        """The unit that "layer:channel" or "layer:channel@row,column" names.

        Raises:
            UnknownUnit: the text has another form.
        """
        match = _TEXT.match(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise UnknownUnit(
                f'{text!r} is no unit; write "layer:channel" like "features.3:12", '
                'or "layer:channel@row,column" like "features.3:12@4,5".'
            )
        place = [None if match[k] is None else int(match[k]) for k in ("row", "column")]
        return cls(match["layer"], int(match["channel"]), *place)

    @property
    def place(self) -> tuple[int, int] | None:
        """(row, column) of a neuron, None for a channel."""
        return None if self.row is None or self.column is None else (self.row, self.column)

    def __str__(self) -> str:
        place = "" if self.place is None else f"@{self.row},{self.column}"
        return f"{self.layer}:{self.channel}{place}"


@dataclass(frozen=True)
class Direction:
    """A (C,) vector over a layer's channels; hashable, stored as a tuple of floats.

    >>> str(nl.Direction("relu1", [1, 0, -0.5]))
    'relu1:direction of 3 channels'
    """

    layer: str
    vector: tuple[float, ...]

    def __init__(self, layer: str, vector: Sequence[float]) -> None:
        object.__setattr__(self, "layer", layer)
        object.__setattr__(self, "vector", tuple(float(v) for v in vector))
        if not self.vector or not any(self.vector):
            raise UnknownUnit(f"A direction over {layer!r} needs one number per channel, not all of them 0.")

    @classmethod
    def of(cls, unit: Unit, channels: int) -> Direction:
        """The direction of a unit's own channel, of so many: 1 there and 0 elsewhere."""
        return cls(unit.layer, [float(channel == unit.channel) for channel in range(channels)])

    def require(self, channels: int) -> None:
        """Nothing, for a direction of so many channels.

        Raises:
            UnknownUnit: it has another number.
        """
        if len(self.vector) != channels:
            raise UnknownUnit(
                f"Layer {self.layer!r} has {channels} channels, the direction {len(self.vector)} numbers."
            )

    def __str__(self) -> str:
        return f"{self.layer}:direction of {len(self.vector)} channels"


def as_unit(value: Unit | str) -> Unit:
    """A unit given as such or as its text.

    Raises:
        UnknownUnit: neither.
    """
    return value if isinstance(value, Unit) else Unit.parse(value)
