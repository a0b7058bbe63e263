"""A layer of a network: a named module's output, and what its neurons see."""

from __future__ import annotations

from dataclasses import dataclass, field

from nn_lens.engine.network.capture import Seen
from nn_lens.engine.network.layouts import Layout
from nn_lens.engine.network.receptive_field import Fields, ReceptiveField
from nn_lens.errors import UnknownLayer, UnknownUnit
from nn_lens.units import Unit


@dataclass(frozen=True)
class Layer:
    """A named module's output.

    `output_shape` is without the batch; `channels` counts its units; `parameters` its numbers.
    `reason` says why the layer cannot be shown, None if it can.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    channels: int
    parameters: int
    reason: str | None = None
    _layout: Layout | None = field(default=None, repr=False, compare=False)
    # Not the network, which holds its layers: one that nobody holds goes at once, with its weights.
    _fields: Fields | None = field(default=None, repr=False, compare=False)

    @property
    def receptive_field(self) -> ReceptiveField | None:
        """The layer's `ReceptiveField`, measured when first asked for; None for a layer that cannot be shown."""
        if self._layout is None or self._fields is None:
            return None
        return self._fields.of(self.name, self._layout)

    @property
    def layout(self) -> Layout:
        """Where rows, columns and channels of the output are.

        Raises:
            UnknownLayer: a layer that cannot be shown.
        """
        if self._layout is None:
            raise UnknownLayer(f"Layer {self.name!r} ({self.kind}) cannot be shown: {self.reason}.")
        return self._layout

    def require_shown(self) -> None:
        """Nothing, for a layer that can be shown.

        Raises:
            UnknownLayer: it cannot; says why.
        """
        _ = self.layout

    def require_unit(self, unit: Unit) -> None:
        """Nothing, for a unit of this layer's name that it has.

        Raises:
            UnknownUnit: it does not have it; says what there is. UnknownLayer: a layer that cannot be shown.
        """
        layout = self.layout
        if unit.channel >= layout.channels:
            raise UnknownUnit(
                f"Layer {self.name!r} has channels 0 to {layout.channels - 1}, not {unit.channel}; "
                f'the last is "{self.name}:{layout.channels - 1}".'
            )
        if unit.place is None:
            return
        grid = "x".join(map(str, layout.grid))
        if len(unit.place) != len(layout.grid):
            example = ",".join(str(n // 2) for n in layout.grid)
            raise UnknownUnit(
                f"A map of {self.name!r} is {grid}, so a place in it has {len(layout.grid)} "
                f'number{"s" * (len(layout.grid) > 1)}, such as "{self.name}:{unit.channel}@{example}"; got {unit}.'
            )
        if any(p >= n for p, n in zip(unit.place, layout.grid, strict=True)):
            if len(layout.grid) == 2:
                raise UnknownUnit(
                    f"A map of {self.name!r} has {layout.grid[0]} rows and {layout.grid[1]} columns, "
                    f"so row {unit.row}, column {unit.column} is outside; both count from 0."
                )
            raise UnknownUnit(f"A map of {self.name!r} is {grid}, so {unit.place} is outside; places count from 0.")


def layer_of(seen: Seen, layout: Layout | str, fields: Fields) -> Layer:
    """The layer that a module is: its layout, or why it has none."""
    known = layout if isinstance(layout, Layout) else None
    shape = list(seen.output_shape or ())
    if shape:
        del shape[known.batch_axis if known else 0]
    return Layer(
        name=seen.name,
        kind=type(seen.module).__name__,
        output_shape=tuple(shape),
        channels=known.channels if known else 0,
        parameters=sum(p.numel() for p in seen.module.parameters()),
        reason=None if isinstance(layout, Layout) else layout,
        _layout=known,
        _fields=fields,
    )
