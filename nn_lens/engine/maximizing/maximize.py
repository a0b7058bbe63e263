"""The maximizing loop: pictures that drive units as far as they go, step by step.

Reference: Erhan, Bengio, Courville and Vincent, 2009, "Visualizing higher-layer features of a deep
network"; Olah, Mordvintsev and Schubert, 2017, "Feature visualization". What is ours: a page of units is
one batch, each on a canvas just larger than its receptive field, and units that are off are brought to life.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch

from nn_lens.engine.maximizing import defaults, parametrizations
from nn_lens.engine.maximizing.ascent import size_of
from nn_lens.engine.maximizing.batch import Batch, Settings
from nn_lens.engine.maximizing.graph import graph_facts
from nn_lens.engine.maximizing.growth import (
    LOOK,
    Known,
    Stage,
    first_stage,
    grows,
    later_stages,
    usual_steps,
    whole_stage,
)
from nn_lens.engine.maximizing.linear import in_first_layer, maximizers_of
from nn_lens.engine.maximizing.maximized import Maximized, Real, Step
from nn_lens.engine.maximizing.notes import Seen, notes_of
from nn_lens.engine.maximizing.own import own_pictures
from nn_lens.engine.maximizing.parametrizations import Parametrization
from nn_lens.engine.maximizing.plan import Goal, Plan, read_goal, units_of_one_layer
from nn_lens.engine.maximizing.revival import Start, revival_for
from nn_lens.engine.maximizing.starts import first_variables
from nn_lens.engine.maximizing.transforms import Transform
from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.network import Network, as_network
from nn_lens.errors import LensError

STEPS = 128  # until the pictures rest
MEMORY = 512 << 20  # bytes that one batch may keep for its backward pass
_MOST_PICTURES = 32  # in one batch
_ON_GPU, _MEMORY_ON_GPU = (16, 8), 1 << 30  # every batch there has as many, alone or in a page
_FINISHED = 16  # steps by which a unit that can be on has to be: a shorter run is a first look, and not mended
_OFF = 4  # last steps at exactly 0, after which a unit counts as off
_WAKING = 40  # steps through more rectifiers that a unit without a gradient gets
_SETTLING = 32  # steps without transforms that a unit gets which is off on its own final picture; later ones are short


def maximize(
    net: Network,
    goal: Goal,
    *,
    steps: int | None = None,
    seed: int = 0,
    size: int | Sequence[int] | None = None,
    parametrization: Parametrization | None = None,
    transforms: Transform | None = None,
    on_step: Callable[[Step], None] | None = None,
) -> Maximized:
    """Pictures that maximize a goal.

    Args:
        net: the network.
        goal: a Unit or its text, a Direction, an Objective, or a list of units and directions of one layer.
            A channel drives the centre neuron on a canvas of its receptive field and a margin, as do objectives that
            look at centre neurons only; a unit with a place, and other objectives, use the network's full input size.
            Of a layer whose steps see what was before them, as an LSTM's, a channel drives the last.
        steps: how many; each is shorter than the one before, so that the scores rest at the last. None: 128, on
            canvases from 128 pixels on 96, and 48 where a step is much work. The first of those are taken on the part of the
            canvas that the unit really sees.
        seed: of the starting pictures and the transforms; the same call gives the same bits, on a GPU too unless the
            model needs a kernel of which torch has no deterministic one.
        size: side or (height, width) of the canvas in pixels; of signals, sequences and volumes as many numbers as they
            have places. None: as above, or the full input size where the network takes no other, which `remark` says.
        parametrization: from `nl.parametrizations`; default Fourier with decorrelated colour, at the contrast that
            the network's own pictures (`dataset`, else `samples`) have inside the receptive field, or photographs; of
            volumes without colour unless they have 3 channels; of signals and sequences `signal`, at one deviation around
            the mean, or 3.5 in all where a unit sees few numbers; of vectors `vector`, in [0,1].
        transforms: from `nl.transforms`; default `of_kind`, none for inversion and caricature.
        on_step: called with every `Step`.

    A picture that no gradient reaches, or that answers with NaN, has a note that says so. Where one of the network's own
    pictures drives a unit further than noise led to, the climb ends at that one's contrast, from it or from what was
    found. A note tells of real pictures, its own or those that packages ship, that reach more all the same.

    Raises:
        LensError: units of different layers, a size the network does not take, or a failing forward.

    >>> found = nl.maximize(nl.demo(), ["relu2:1", "relu2:2"], steps=4)
    >>> found.images.shape, found.history.shape
    ((2, 3, 29, 29), (4, 2))
    """
    run = Run(net, goal, steps, seed, size, parametrization, transforms)
    for step in run.steps():
        if on_step is not None:
            on_step(step)
    return run.result()


def maximize_steps(
    net: Network,
    goal: Goal,
    *,
    steps: int | None = None,
    seed: int = 0,
    size: int | Sequence[int] | None = None,
    parametrization: Parametrization | None = None,
    transforms: Transform | None = None,
) -> Iterator[Step]:
    """The steps of `maximize` as they happen; same arguments. Closing the iterator stops within a step.

    >>> steps = nl.maximize_steps(nl.demo(), "relu2:1")
    >>> next(steps).index, next(steps).index
    (0, 1)
    >>> steps.close()
    """
    return Run(net, goal, steps, seed, size, parametrization, transforms).steps()


class Run:
    """One maximization: its pictures cut into batches that fit the memory. Take the `steps`, then the `result`.

    `exact`: whether it starts from exact maximizers of the linear units of a first layer. own: pictures or datasets of the
    user's: their contrast, and where dead units may start. like: a run of units of the same layer of the same network on
    the same canvas, of whose looks at the network it makes use.
    """

    @torch.inference_mode(False)
    def __init__(
        self, net: Network, goal: Goal, steps: int | None = None, seed: int | Sequence[int] = 0, size: Any = None,
        parametrization: Parametrization | None = None, transform: Transform | None = None, exact: bool = True,
        own: Sequence[Any] = (), like: Run | None = None,
    ) -> None:  # fmt: skip
        self._start = time.perf_counter()
        self.net = as_network(net)
        if steps is not None and (not isinstance(steps, int) or steps < 1):
            raise LensError(f"steps must be 1 or more, a whole number or None, got {steps!r}.")
        self.plan: Plan = (
            read_goal(self.net, goal, size, transform.padding if transform is not None else 0)
            if like is None
            else like.plan.of(units_of_one_layer(self.net, goal))
        )
        plan, n = self.plan, len(self.plan.names)
        self.seeds = [seed] * n if isinstance(seed, int) else list(seed)
        self._known: Known = like._known if like is not None else Known(graph_facts(self.net, plan))
        facts = self._known.facts
        large = grows(self.net, plan)
        self.bytes_each = facts.bytes_each
        self.limit = steps or (usual_steps(facts.work) if large else STEPS)
        one_by_one = large and self.net.device.type == "cpu"
        on_gpu = plan.apart and self.net.device.type == "cuda"
        fitting = max(1, (_MEMORY_ON_GPU if on_gpu else MEMORY) // max(1, self.bytes_each))
        full = next((n for n in _ON_GPU if n <= fitting), fitting) if on_gpu else 0

        def settings(plan: Plan) -> Settings:
            moves = transform if transform is not None else defaults.transform_of(self.net, plan)
            drawn_as = parametrization or defaults.parametrization_of(self.net, plan, moves, own)
            drawn_as = parametrizations.along_steps(drawn_as) if plan.kind == "sequence" else drawn_as
            return Settings(self.net, plan, drawn_as, moves, facts.last_rectifiers, facts.flowing, one_by_one, full)

        self.settings, self._settings_of, self._cut = settings(plan), settings, facts.cut
        self._usual = parametrization is None and transform is None and self._cut is None
        self.stages = [first_stage(self.settings, self.limit if self._usual else 0, settings, self._known)]
        self._stage = self.stages[0]
        starts = self._exact_starts() if exact and parametrization is None else None
        self.exact = starts is not None
        most = min(1 if one_by_one else full or _MOST_PICTURES, fitting) if plan.apart else n
        self.batches = [
            self._batch(range(i, min(i + most, n)), self.limit, None if starts is None else starts[i : i + most])
            for i in range(0, n, most)
        ]
        self.history: list[np.ndarray] = []
        self._revival = revival_for(self.net, own)
        self._own, self._real = own, dict[int, Start]()

    def steps(self) -> Iterator[Step]:
        """The steps as they happen."""
        for index in range(self.limit):
            self._grow(index)
            if index in self._revivals:
                self._revive(again=index == self._revivals[-1])
            for batch in self.batches:
                batch.step(index)
            scores = np.concatenate([batch.scores for batch in self.batches])
            self.history.append(scores)
            yield Step(index, torch.cat([batch.pictures for batch in self.batches]), scores, self._stage)

    def result(self) -> Maximized:
        """The pictures as they are now, and the goals' own values on them without transforms."""
        if not self._stage.is_whole:  # it was stopped before
            self._move_to(whole_stage(self.settings, len(self.history)))
        pictures, activations = (np.concatenate(x) for x in zip(*(b.look() for b in self.batches), strict=True))
        off = [
            i for i, a in enumerate(activations) if self.plan.unit(i) and (a == 0 or (a < 0 and self.settings.lively))
        ]
        if len(self.history) >= _FINISHED:
            if off:
                self._settle(off, self._starts_of_off(off, pictures), pictures, activations)
            beaten = self._beaten_by_real(activations)
            if beaten:
                self._settle([*beaten], self._starts_of_beaten(beaten, pictures), pictures, activations)
        history = np.stack(self.history) if self.history else np.zeros((0, len(self.plan.names)), np.float32)
        seconds = time.perf_counter() - self._start
        notes = notes_of(self._seen(activations)) if self.history else ("",) * len(activations)
        real = tuple(self._real_that_beats(row, value) for row, value in enumerate(activations.tolist()))
        return Maximized(
            self.plan.names, pictures, activations, history, len(self.history), seconds, notes, self.net.kind,
            self.plan.remark, tuple((stage.first, stage.sides) for stage in self.stages), real,
        )  # fmt: skip

    # ---- where it begins ----

    def _exact_starts(self) -> torch.Tensor | None:
        """The free variables of the linear maximizers, where the map is linear."""
        plan, free = self.plan, self.settings.parametrization.free
        if (
            plan.kind == "vector"
            or free is None
            or plan.layer is None
            or self._cut is not None
            or not self._stage.is_whole
        ):
            return None
        if not in_first_layer(self.net, plan.layer):
            return None
        linear = maximizers_of(self.net, plan, flowing=self.settings.flowing)
        if not linear.exact.all() or not linear.weights.reshape(len(linear.weights), -1).any(1).all():
            return None
        variables = free(torch.from_numpy(linear.images)).to(self.net.device)
        return variables / size_of(variables)  # at the contrast that all others have

    def _batch(self, rows: Sequence[int], steps: int, free: torch.Tensor | None = None) -> Batch:
        generators = [self._generator(row) for row in rows]
        settings = self._stage.settings
        if free is None:
            free = first_variables(settings, rows, generators)
        return Batch(settings, rows, free, generators, steps)

    def _grow(self, index: int) -> None:
        """Goes on on a larger canvas, where it is time."""
        if index == LOOK and not self.stages[0].is_whole:
            self.stages += later_stages(self.settings, self.limit, self._settings_of, self._known)
        for stage in self.stages[1:]:
            if stage.first == index:
                self._move_to(stage)

    @torch.inference_mode(False)
    def _move_to(self, stage: Stage) -> None:
        for i, batch in enumerate(self.batches):
            pictures, _ = batch.look()
            free = self._stage.moved_to(stage, batch.filled(torch.from_numpy(pictures).to(self.net.device)))
            self.batches[i] = Batch(stage.settings, batch.rows.tolist(), free, batch.generators, self.limit, batch)
        self._stage = stage

    def _generator(self, row: int, attempt: int = 0) -> torch.Generator:
        """Of random numbers that depend on what the picture is of, and not on its neighbours."""
        return torch.Generator().manual_seed(self.plan.seed(row, self.seeds[row]) + attempt)

    def _seen(self, activations: np.ndarray) -> Seen:
        moved = np.concatenate([batch.moved() for batch in self.batches])
        starts = 1 + sum(r < len(self.history) for r in self._revivals)
        tried = f"{self._revival.tried} {self._revival.called}" if self._revival.tried else ""
        return Seen(
            self.net, self.plan, self._cut, activations, moved, self._dead(), len(self.history), starts, tried, self._real
        )  # fmt: skip

    # ---- units that are off, or that real pictures turn on more ----

    @property
    def _revivals(self) -> tuple[int, ...]:
        """Steps at which units that were never above 0 start again.

        A quarter of the steps tells whether a start leads anywhere, and half of them is enough for the last one to come
        to rest. In fewer than 6 steps a start has not had one of its own yet.
        """
        return (self.limit // 4, self.limit // 2) if self.limit >= 6 else ()

    def _dead(self) -> list[int]:
        """Units that had no gradient since their start, or that a rectifier has kept at 0 at every step."""
        off = np.concatenate([~batch.moved() for batch in self.batches])
        if self.settings.lively:
            off |= np.max(self.history, axis=0) <= 0
        off |= (np.stack(self.history[-_OFF:]) == 0).all(0)  # what it reads is off
        return [i for i in np.flatnonzero(off).tolist() if self.plan.unit(i) is not None]

    @torch.inference_mode(False)
    def _revive(self, again: bool) -> None:
        """Starts dead units anew: those without a gradient from where one through more rectifiers leads, or from another
        seed; the second time all from a real picture that turns them on.
        """
        dead, drawn_as, plan = self._dead(), self._stage.settings.parametrization, self._stage.settings.plan
        pictures = self._revival.starts(dead, plan) if dead and again else {}
        for batch in self.batches:
            for i in np.flatnonzero(np.isin(batch.rows, dead)).tolist():
                row = int(batch.rows[i])
                if row in pictures and drawn_as.free is not None:
                    batch.ascent.restart(i, drawn_as.free(pictures[row].canvas[None])[0])
                elif not batch.moved()[i]:
                    batch.ascent.restart(i, self._woken(row, 1 + again))

    def _woken(self, row: int, attempt: int) -> torch.Tensor:
        """Free variables that turn a unit on, found with more of the rectifiers before it open; where none are, another start.

        In a depthwise-separable network a channel's only way to the input may lead through several that are off.
        """
        settings, generator = self._stage.settings, self._generator(row, attempt)
        drawn_as = settings.parametrization
        start = drawn_as.start(settings.plan.shape, [generator]).to(self.net.device)
        settings = replace(settings, lively=self._known.facts.opened(attempt))
        waking = Batch(settings, [row], start.clone(), [generator], _WAKING)
        for _ in range(_WAKING if drawn_as.free is not None else 0):
            waking.step(None)
            if waking.scores[0] > 0:
                found: torch.Tensor = drawn_as.free(waking.pictures)[0]  # type: ignore[misc]
                return found
        return start[0]

    def _starts_of_off(self, off: Sequence[int], pictures: np.ndarray) -> Iterator[torch.Tensor]:
        """By row, from where a unit may be lifted that is off on its own final picture: from there, at the same or twice the
        contrast, from a real picture, or woken.
        """
        real = self._revival.starts(off, self.plan)
        for row in off:
            own = torch.from_numpy(pictures[row])
            start = self._free_of([own, own, *([real[row].canvas] if row in real else [])])
            start[1] *= 2
            yield torch.cat([start, *(self._woken(row, more)[None].cpu() for more in (1, 2))])

    def _beaten_by_real(self, activations: np.ndarray) -> dict[int, Start]:
        """By row, the network's own picture that drives its unit further than what was found; looked for where canvases are
        small, on which noise leads a unit less far, and a look at whole pictures costs less than the climb.

        Photographs of others are only told of: what answers to their sharpest detail is lost with a shift of a pixel.
        """
        usual = self._usual and not self.settings.one_by_one and self.settings.parametrization.free is not None
        real = self._revival.bars(range(len(activations)), self.plan) if usual else {}
        self._real = real
        own = own_pictures(self.net, self._own) if real else None
        return {row: start for row, start in real.items() if start.value > activations[row]} if own else {}

    def _real_that_beats(self, row: int, activation: float) -> Real | None:
        real = self._real.get(row)
        return Real(as_numpy(real.canvas), real.value) if real is not None and real.value > activation else None

    def _starts_of_beaten(self, beaten: dict[int, Start], pictures: np.ndarray) -> Iterator[torch.Tensor]:
        """By row, the picture found and the real one, both at the contrast of the real one."""
        for row, real in beaten.items():
            start = self._free_of([torch.from_numpy(pictures[row]), real.canvas])
            sizes = size_of(start)
            yield start * (sizes[1:] / sizes.clamp(min=1e-12))  # what was found may be flat grey, which has none

    def _free_of(self, pictures: Sequence[torch.Tensor]) -> torch.Tensor:
        free = self.settings.parametrization.free
        assert free is not None
        return free(torch.stack([*pictures]))

    @torch.inference_mode(False)
    def _settle(
        self, rows: Sequence[int], starts: Iterator[torch.Tensor], pictures: np.ndarray, activations: np.ndarray
    ) -> None:
        """Lifts units by steps without transforms, from several starts each; the best of all is kept."""
        if self.settings.parametrization.free is None:
            return
        for row, start in zip(rows, starts, strict=True):
            settled = self._batch([row] * len(start), _SETTLING, start.to(self.net.device))
            for _ in range(_SETTLING):
                settled.step(None)
                best = int(settled.scores.argmax())
                if settled.scores[best] > activations[row]:
                    activations[row], pictures[row] = settled.scores[best], as_numpy(settled.pictures[best])
