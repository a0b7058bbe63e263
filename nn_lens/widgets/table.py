"""The table of what a panel can ask and which views there are: questions.json, of which the browser has a copy.

Whatever else Python knows of kinds of questions, tabs and views follows from it.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

from nn_lens.errors import LensError
from nn_lens.widgets.strings import STRINGS

FIELDS = {
    "picture": ("picture",),
    "layer": ("layer",),
    "part": ("start", "count"),
    "page": ("channels",),
    "ranked": ("channels",),
    "unit": ("layer", "channel"),
    "neuron": ("layer", "channel", "row", "column"),
    "target": ("target",),
    "factor": ("factor",),
    "where": ("where",),
}
"""The fields of a message that say what a question is about, by the words of the table."""


@dataclass(frozen=True)
class Kind:
    """A kind of question.

    `about`: words of FIELDS. `when` and `quick`: when the browser asks, which with `quick` waits for its last answer.
    `urgency`: 0 is what follows a slider, 3 what fills the time; `first`: that of its first result, where it is another.
    `rest`: that of the others' results once the unit that is looked at has its own, if that is another. `lasting`: whether its answers outlive the weights. `paced`: whether unfinished results go out as frames, of
    which the newest wins. `replies`: which of its messages an exported page keeps, "last" or "all". `stored`: the kind
    whose stored answers are this one's there, if it is another. `views`: those that need it.
    """

    name: str
    about: tuple[str, ...]
    when: str
    urgency: int
    views: frozenset[str]
    quick: bool = False
    lasting: bool = False
    paced: bool = False
    replies: str = "last"
    stored: str = ""
    first: int | None = None
    rest: int | None = None

    @property
    def of_picture(self) -> bool:
        """Whether it is void once another picture is shown."""
        return "picture" in self.about

    @property
    def ahead(self) -> bool:
        """Whether the browser asks as soon as it can: what it will ask can be answered before."""
        return self.quick and self.when == "at once"

    @property
    def fields(self) -> frozenset[str]:
        """The names of the fields of its questions."""
        return frozenset(name for word in self.about for name in FIELDS[word])

    def read(self, content: Mapping[str, Any]) -> dict[str, Any]:
        """The fields out of a message.

        Raises:
            LensError: one is missing.
        """
        missing = sorted(self.fields - content.keys())
        if missing:
            raise LensError(f"The panel asked for {self.name} without {', '.join(missing)}; reload the page.")
        return {name: content[name] for name in sorted(self.fields)}


@dataclass(frozen=True)
class View:
    """A view: its title, and the tabs in which it is shown. `once`: of two networks too, drawn once. `reads`: the kind of
    input without which it is left out; "" where any will do. `beside`: it stands beside whatever else a tab shows.
    """

    name: str
    title: str
    tabs: tuple[str, ...]
    once: bool = False
    reads: str = ""
    beside: bool = False


@dataclass(frozen=True)
class Table:
    """`page_units`: units on a page. `part_bytes`: of the tiles in which a large layer is sent. `tabs`: their titles."""

    page_units: int
    part_bytes: int
    kinds: Mapping[str, Kind]
    tabs: Mapping[str, str]
    views: Mapping[str, View]

    def kind(self, name: str) -> Kind:
        """The kind of a name.

        Raises:
            LensError: this version does not know it.
        """
        if name not in self.kinds:
            raise LensError(f"The panel asked for {name!r}, which this version does not know; reload the page.")
        return self.kinds[name]

    def needed(self, views: Iterable[str]) -> list[Kind]:
        """The kinds that some of the views need."""
        named = set(views)
        return [kind for kind in self.kinds.values() if kind.views & named]

    def names(self, views: Iterable[str]) -> list[str]:
        """What the trait `view` of a panel with these views can be, but "": tabs in which they are at home, and views."""
        views = list(views)
        homes = dict.fromkeys(self.views[view].tabs[0] for view in views)
        return list(dict.fromkeys(["all", *(tab for tab in homes if tab not in self.views), *views]))

    def shown(self, view: str, views: Iterable[str]) -> list[str]:
        """Which of a panel's views are shown when its trait `view` is `view`.

        "" is the first tab that shows them all, and "all" without one.
        """
        views = list(views)
        tab = view or next((t for t in self.tabs if all(t in self.views[v].tabs for v in views)), "all")
        return [v for v in views if v == tab or tab in self.views[v].tabs] or views

    def part(self, channel: int, channels: int, unit_bytes: int) -> tuple[int, int]:
        """(start, count) of the part of a layer that holds a unit, when the tiles of one have so many bytes."""
        most = max(1, self.part_bytes // max(1, unit_bytes))
        start = channel // most * most
        return start, min(most, channels - start)

    def page(self, channel: int, channels: int) -> list[int]:
        """The channels of the page of a layer that holds one."""
        start = channel // self.page_units * self.page_units
        return list(range(start, min(start + self.page_units, channels)))


def read(data: Mapping[str, Any]) -> Table:
    """The table as it stands in a file."""
    kinds = {
        name: Kind(name, **{**row, "about": tuple(row["about"]), "views": frozenset(row["views"])})
        for name, row in data["kinds"].items()
    }
    titles, tabs = STRINGS["titles"], STRINGS["tabs"]
    views = {
        name: View(name, titles[name], **{**row, "tabs": tuple(row["tabs"])}) for name, row in data["views"].items()
    }
    return Table(data["page_units"], data["part_bytes"], kinds, {tab: tabs[tab] for tab in data["tabs"]}, views)


TABLE = read(json.loads(files("nn_lens.widgets").joinpath("questions.json").read_text(encoding="utf-8")))
