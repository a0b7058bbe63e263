"""Addresses of what a network has learned: a unit of a layer, or a direction over its channels."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import total_ordering
from typing import Any

from nn_lens.errors import UnknownUnit

_TEXT = re.compile(r"^(?P<layer>.*):(?P<channel>\d+)(?:@(?P<place>\d+(?:,\d+){0,2}))?$")


@total_ordering
@dataclass(frozen=True, init=False, repr=False)
class Unit:
    """A channel of a layer, or with a place one neuron of it; hashable.

    Written "features.3:12" (channel 12) and "features.3:12@4,5" (its neuron at row 4, column 5). A place has as many
    numbers as the layer's maps have dimensions: "@4" along a signal or sequence, "@4,5" (row, column) in a picture,
    "@2,4,5" (slice, row, column) in a volume. Units are ordered by layer, channel and place.

    Raises:
        UnknownUnit: a negative or non-integer number, or a row without a column.

    >>> str(nl.Unit("features.3", 12)), nl.Unit.parse("features.3:12@4,5").place
    ('features.3:12', (4, 5))
    """

    layer: str
    channel: int
    place: tuple[int, ...] | None

    def __init__(self, layer: str, channel: int, *place: Any, row: Any = None, column: Any = None) -> None:
        numbers = (*place, *(() if row is None and column is None else (row, column)))
        if all(n is None for n in numbers):
            numbers = ()  # Unit(layer, channel, None, None) is the channel, too
        if None in numbers:
            raise UnknownUnit(
                f"A neuron needs a row and a column, got {', '.join(map(str, numbers))}; "
                f'write Unit("{layer}", {channel}, row, column), or leave both out for the channel.'
            )
        if len(numbers) > 3:
            raise UnknownUnit(f"A place has 1 to 3 numbers, got {numbers}.")
        names = {1: ("place",), 2: ("row", "column"), 3: ("slice", "row", "column")}.get(len(numbers), ())
        object.__setattr__(self, "layer", layer)
        object.__setattr__(self, "channel", _whole("channel", channel))
        where = tuple(_whole(name, n) for name, n in zip(names, numbers, strict=True))
        object.__setattr__(self, "place", where or None)

    @classmethod
    def parse(cls, text: str) -> Unit:
        """The unit that "layer:channel" or "layer:channel@row,column" names; a place may have 1 to 3 numbers.

        Raises:
            UnknownUnit: the text has another form.
        """
        match = _TEXT.match(text.strip()) if isinstance(text, str) else None
        if match is None:
            raise UnknownUnit(
                f'{text!r} is no unit; write "layer:channel" like "features.3:12", '
                'or "layer:channel@row,column" like "features.3:12@4,5".'
            )
        place = match["place"].split(",") if match["place"] else []
        return cls(match["layer"], int(match["channel"]), *map(int, place))

    @property
    def row(self) -> int | None:
        """The last number but one of the place, None where there is none."""
        return self.place[-2] if self.place is not None and len(self.place) > 1 else None

    @property
    def column(self) -> int | None:
        """The last number of the place, None where it has fewer than two."""
        return self.place[-1] if self.place is not None and len(self.place) > 1 else None

    def __lt__(self, other: Any) -> Any:
        if not isinstance(other, Unit):
            return NotImplemented
        return (self.layer, self.channel, self.place or ()) < (other.layer, other.channel, other.place or ())

    def __str__(self) -> str:
        place = "" if self.place is None else f"@{','.join(map(str, self.place))}"
        return f"{self.layer}:{self.channel}{place}"

    def __repr__(self) -> str:
        return f"Unit({', '.join(map(repr, (self.layer, self.channel, *(self.place or ()))))})"


def _whole(name: str, value: Any) -> int:
    try:
        index = value.__index__()
    except AttributeError:
        raise UnknownUnit(f"{name} must be a whole number, got {value!r}.") from None
    if index < 0:
        raise UnknownUnit(f"{name} must be 0 or more, got {index}; units count from 0.")
    return int(index)


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
