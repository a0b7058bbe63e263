"""Maximizing images of a page, in an order that follows the eye: what is looked at climbs first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nn_lens.engine.maximizing.growth import grows
from nn_lens.engine.maximizing.inputs import rest
from nn_lens.engine.maximizing.maximize import Run
from nn_lens.engine.maximizing.maximized import Maximized, Step
from nn_lens.engine.maximizing.plan import read_goal
from nn_lens.engine.network.network import Network
from nn_lens.units import Direction, Unit

_TOGETHER = 48  # pixels of a canvas up to which a whole page takes little longer than one image


@dataclass(eq=False)
class Climb:
    """One run, of the units in some `rows` of the page."""

    rows: list[int]
    run: Run
    steps: Iterator[Step]


class Climbs:
    """The runs of a page: on small canvases one; on larger ones that of one unit, then all others; on large ones one each.
    On a GPU always one.

    goals: by row of the page. own: the user's pictures, for units that are hard to turn on. steps: of each run; None:
    until the pictures rest.
    """

    def __init__(
        self, net: Network, goals: Mapping[int, Unit | Direction], seed: int, own: Sequence[Any] = (),
        steps: int | None = None,
    ) -> None:  # fmt: skip
        self._net, self._goals, self._seed, self._own, self._steps = net, goals, seed, own, steps
        self._waiting, self._begun = list(goals), list[Climb]()
        self._first: Run | None = None
        plan = read_goal(net, [goals[self._waiting[0]]])
        together = net.device.type == "cuda"  # where one alone takes as long as several
        self._each = not together and grows(net, plan)
        self._first_alone = self._each or (not together and net.kind == "picture" and min(plan.shape[1:]) > _TOGETHER)
        self.blank: np.ndarray = rest(net, 1, plan.shape)[0].numpy()
        """An image of which nothing is to be seen yet."""

    @property
    def left(self) -> bool:
        """Whether there is more to do."""
        return bool(self._waiting or self._begun)

    def of(self, row: int | None) -> Climb:
        """The run to go on with: that of a row, where it has any left, else that begun last, else a new one."""
        begun = next((climb for climb in self._begun if row in climb.rows), None)
        if begun is not None:
            return begun
        if row in self._waiting:
            return self._begin([row] if self._first_alone else list(self._waiting))
        if self._begun:
            return self._begun[-1]
        alone = self._each or (self._first_alone and len(self._waiting) == len(self._goals))
        return self._begin(self._waiting[:1] if alone else list(self._waiting))

    def end(self, climb: Climb) -> Maximized:
        """What a run has found that has taken its steps."""
        self._begun.remove(climb)
        return climb.run.result()

    def _begin(self, rows: list[int]) -> Climb:
        self._waiting = [row for row in self._waiting if row not in rows]
        goals = [self._goals[row] for row in rows]
        run = Run(self._net, goals, steps=self._steps, seed=self._seed, own=self._own, like=self._first)
        self._first = self._first or run
        climb = Climb(rows, run, run.steps())
        self._begun.append(climb)
        return climb
