"""The questions of the table: what they are about while a panel looks at something, and the session's work for each."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from math import prod
from typing import Any

from nn_lens.sessions import blocks, evidence, overview, requests, why
from nn_lens.sessions.session import Session
from nn_lens.sessions.targets import Target
from nn_lens.units import Unit
from nn_lens.widgets.geometry import Geometry
from nn_lens.widgets.groups import grouped
from nn_lens.widgets.pictures import whole
from nn_lens.widgets.table import TABLE, Kind


@dataclass(frozen=True)
class Look:
    """What a panel looks at: a unit, or the neuron at a locked place, and a picture, which `key` names.

    `layers`: the layers that can be shown by name, as `messages.network` describes them. `geometry`: where things are in
    the rows and columns that the browser has. `chosen`: tells the unit that it looks at by now.
    """

    unit: Unit
    layers: Mapping[str, Mapping[str, Any]]
    geometry: Geometry
    chosen: Callable[[], Unit]
    picture: Any = None
    key: str | None = None

    @property
    def layer(self) -> Mapping[str, Any]:
        """The selected layer, described."""
        return self.layers[self.unit.layer]


# ---- what a question is about ----

_UNIT_BYTES: dict[str, Callable[[Mapping[str, Any]], int]] = {
    "maps": lambda layer: prod(layer["grid"]),
    "filters": lambda layer: prod(layer["filter"] or (1,)),
}
"""Bytes of the tiles of one unit of a layer, by the kind that sends them in parts."""


def _part(kind: Kind, look: Look) -> dict[str, Any]:
    layer = look.layer
    start, count = TABLE.part(look.unit.channel, layer["channels"], _UNIT_BYTES[kind.name](layer))
    return {"start": start, "count": count}


def _neuron(_kind: Kind, look: Look) -> dict[str, Any] | None:
    return None if look.unit.place is None else look.geometry.selection(look.unit)


_ABOUT: dict[str, Callable[[Kind, Look], dict[str, Any] | None]] = {
    "picture": lambda kind, look: None if look.key is None else {"picture": look.key},
    "layer": lambda kind, look: {"layer": look.unit.layer},
    "part": _part,
    "page": lambda kind, look: {"channels": TABLE.page(look.unit.channel, look.layer["channels"])},
    "ranked": lambda kind, look: None,  # the browser alone knows what is strongest where it looks
    "unit": lambda kind, look: {"layer": look.unit.layer, "channel": look.unit.channel},
    "neuron": _neuron,
    "target": lambda kind, look: {"target": 0},
    "factor": lambda kind, look: {"factor": 0},
    "where": lambda kind, look: {"where": None},
}
"""The fields for each word of the table, as they are before anything else is chosen; None: there is nothing to ask."""


def fields(kind: Kind, look: Look) -> dict[str, Any] | None:
    """What the browser would ask of a kind, None if nothing."""
    parts = [_ABOUT[word](kind, look) for word in kind.about]
    if any(part is None for part in parts):
        return None
    return {name: value for part in parts if part for name, value in part.items()}


def fields_of_layers(kind: Kind, look: Look, layers: Iterable[str]) -> list[dict[str, Any]]:
    """All that can be asked of a kind about whole layers; of what is about a unit only that which is looked at."""
    looks: Iterable[Look] = [look]
    if "layer" in kind.about:
        looks = (
            replace(look, unit=Unit(layer, channel))
            for layer in layers
            for channel in range(look.layers[layer]["channels"])
        )
    found = (fields(kind, each) for each in looks)
    return list({json.dumps(each, sort_keys=True): each for each in found if each is not None}.values())


# ---- the work ----


@dataclass(frozen=True)
class Asked:
    """The fields of a question, as what they name, for a panel that looks so."""

    fields: Mapping[str, Any]
    look: Look

    @property
    def picture(self) -> Any:
        """The one that is shown."""
        return self.look.picture

    @property
    def key(self) -> str:
        """Names the picture, whichever slice of it is seen."""
        return whole(str(self.fields["picture"]))

    @property
    def layer(self) -> str:
        """The name of a layer."""
        return str(self.fields["layer"])

    @property
    def part(self) -> tuple[int, int]:
        """Start and count of the units of a part."""
        return int(self.fields["start"]), int(self.fields["count"])

    @property
    def unit(self) -> Unit:
        """A channel."""
        return Unit(self.layer, int(self.fields["channel"]))

    @property
    def neuron(self) -> Unit:
        """A channel at a place."""
        channel, row, column = (int(self.fields[name]) for name in ("channel", "row", "column"))
        return self.look.geometry.unit(self.layer, channel, row, column, tuple(self.look.layers[self.layer]["places"]))

    @property
    def units(self) -> list[Unit]:
        """The channels of a page."""
        return [Unit(self.layer, int(channel)) for channel in self.fields["channels"]]

    def chosen(self) -> Unit:
        """The channel that is looked at by now."""
        return requests.channel_of(self.look.chosen())

    @property
    def stops(self) -> list[str]:
        """The last layer of each group of the network's layers."""
        return [own[-1] for _, own in grouped(list(self.look.layers))]

    @property
    def target(self) -> Target:
        """What evidence is asked for."""
        target: Target = self.fields["target"]
        return target

    @property
    def steered(self) -> tuple[Unit, float, tuple[int, ...] | None]:
        """A channel, how it is steered, and at which place; None: everywhere."""
        where = self.fields["where"]
        if where is None:
            return self.unit, float(self.fields["factor"]), None
        grid = tuple(self.look.layers[self.layer]["places"])
        place = self.look.geometry.unit(self.layer, self.unit.channel, int(where[0]), int(where[1]), grid).place
        return self.unit, float(self.fields["factor"]), place


WORK: dict[str, Callable[[Session, Asked], Iterator[Any]]] = {
    "maps": lambda s, a: requests.maps(s, a.picture, a.key, a.layer, *a.part),
    "filters": lambda s, a: requests.filters(s, a.layer, *a.part),
    "scores": lambda s, a: requests.scores(s, a.picture, a.key),
    "overview": lambda s, a: overview.overview(s, a.picture, a.key, a.stops),
    "field": lambda s, a: requests.field(s, a.layer),
    "arithmetic": lambda s, a: requests.arithmetic(s, a.picture, a.neuron),
    "here": lambda s, a: requests.finished(requests.page(s, a.units)),
    "page": lambda s, a: requests.page(s, a.units, chosen=a.chosen),
    "negative": lambda s, a: requests.finished(requests.page(s, [a.unit], negative=True)),
    "blocks": lambda s, a: blocks.blocks(s, a.picture, a.key, a.layer, TABLE.page_units),
    "examples": lambda s, a: evidence.examples(s, a.unit),
    "trust": lambda s, a: evidence.trust(s, a.unit),
    "attribution": lambda s, a: evidence.attribution(s, a.picture, a.key, a.target),
    "contributions": lambda s, a: why.reasons(s, a.picture, a.key, a.target, a.layer),
    "ablation": lambda s, a: why.steering(s, a.picture, a.key, *a.steered),
    "later": lambda s, a: why.later(s, a.picture, a.key, *a.steered, a.target),
    "incoming": lambda s, a: evidence.incoming(s, a.unit),
    "directions": lambda s, a: evidence.directions(s, a.unit),
    "embedding": lambda s, a: evidence.embedding(s, a.layer),
    "mistakes": lambda s, a: why.gallery(s),
}
"""By kind, an iterator of results on the session's worker; None among them: nothing new to tell."""
