"""The maximizing loop: pictures that drive units as far as they go, step by step.

Reference: Erhan, Bengio, Courville and Vincent, 2009, "Visualizing higher-layer features of a deep
network"; Olah, Mordvintsev and Schubert, 2017, "Feature visualization". What is ours: a page of units is
one batch, each on a canvas just larger than its receptive field, and units that are off are brought to life.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nn_lens.engine import parametrizations, transforms
from nn_lens.engine.ascent import Ascent, size_of
from nn_lens.engine.goals import Goal, central_neurons, wanted
from nn_lens.engine.images import rgb
from nn_lens.engine.linear import in_first_layer, linear_maximizers
from nn_lens.engine.network import Network, as_network
from nn_lens.engine.objectives import Answers
from nn_lens.engine.parametrizations import Parametrization
from nn_lens.engine.rectifiers import LastRectifiers, Lively
from nn_lens.engine.results import Result, tile_figure
from nn_lens.engine.revival import RealPictures
from nn_lens.engine.transforms import Transform
from nn_lens.errors import LensError
from nn_lens.units import Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_STEPS = 256  # where a run that is to rest stops at the latest
MEMORY = 512 << 20  # bytes that one batch may keep for its backward pass
_WINDOW = 24  # steps over which a resting score is judged
_DRAWS = 1024  # transforms drawn ahead, so that a run of n steps is the beginning of a longer one
_MOST_PICTURES = 32  # in one batch
_REVIVALS = (64, 128)  # steps at which units that were never above 0 start again
_FINISHED = 16  # steps from which a run is meant to be looked at, not only begun
_SETTLING = 32  # steps without transforms that a unit gets which is off on its own final picture


class Step:
    """One step of the loop: `index` from 0, (N,C,H,W) `images` in [0,1], (N,) `activations` of the moved pictures."""

    def __init__(self, index: int, pictures: torch.Tensor, activations: np.ndarray) -> None:
        self.index = index
        self.activations = activations
        self._pictures = pictures

    @cached_property
    def images(self) -> np.ndarray:
        """(N,C,H,W) float32 in [0,1], as they were when the activations were read."""
        return self._pictures.float().cpu().numpy().copy()

    def __repr__(self) -> str:
        return f"Step({self.index}, activations {np.round(self.activations, 3).tolist()})"


@dataclass(frozen=True, repr=False)
class Maximized(Result):
    """Maximizing images: (N,C,H,W) `images` in [0,1] and what they reach.

    `activations` (N,): the goal's own value on the final, untransformed pictures. `history` (steps,N): its value
    at each step on the moved pictures. `notes`: "" or why a picture is dead.
    """

    goals: tuple[str, ...]
    images: np.ndarray
    activations: np.ndarray
    history: np.ndarray
    steps: int
    seconds: float
    notes: tuple[str, ...]

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        first = f"{self.goals[0]} at activation {self.activations[0]:.3g}"
        more = f" and {len(self.goals) - 1} more" if len(self.goals) > 1 else ""
        return f"Maximizing image of {first}{more}"

    def figure(self) -> Figure:
        """A tile per picture, with its goal and activation."""
        if self.images.ndim != 4:
            return _vector_figure(self)
        titles = [f"{g}  {a:.3g}" for g, a in zip(self.goals, self.activations, strict=True)]
        return tile_figure(rgb(self.images), titles, side=2.0 if len(titles) < 6 else 1.2)


def maximize(
    net: Network,
    goal: Goal,
    *,
    steps: int | None = None,
    seed: int = 0,
    size: int | tuple[int, int] | None = None,
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
        steps: exactly this many; None: until the scores rest, at most 256.
        seed: of the starting pictures and the transforms; the same call gives the same bits.
        size: side or (height, width) of the canvas in pixels.
        parametrization: from `nl.parametrizations`; default Fourier with decorrelated colour.
        transforms: from `nl.transforms`; default `standard`, none for inversion and caricature.
        on_step: called with every `Step`.

    Raises:
        LensError: units of different layers, a size the network does not take, or a failing forward.
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
    size: int | tuple[int, int] | None = None,
    parametrization: Parametrization | None = None,
    transforms: Transform | None = None,
) -> Iterator[Step]:
    """The steps of `maximize` as they happen; same arguments. Closing the iterator stops within a step."""
    return Run(net, goal, steps, seed, size, parametrization, transforms).steps()


class Run:
    """One maximization: its pictures cut into batches that fit the memory. Take the `steps`, then the `result`.

    `exact`: whether it starts from exact maximizers of the linear units of a first layer.
    """

    @torch.inference_mode(False)
    def __init__(
        self, net: Network, goal: Goal, steps: int | None = None, seed: int | Sequence[int] = 0, size: Any = None,
        parametrization: Parametrization | None = None, transform: Transform | None = None, exact: bool = True,
    ) -> None:  # fmt: skip
        self._start = time.perf_counter()
        self.net = as_network(net)
        if steps is not None and (not isinstance(steps, int) or steps < 1):
            raise LensError(f"steps must be 1 or more, a whole number or None, got {steps!r}.")
        self.limit = steps
        self.plan = wanted(self.net, goal, size)
        self.seeds = [seed] * len(self.plan.names) if isinstance(seed, int) else list(seed)
        pictures = len(self.plan.shape) == 3
        default = parametrizations.fourier() if pictures else parametrizations.vector()
        self.parametrization = parametrization or default
        still = not pictures or (self.plan.single is not None and self.plan.single.still)
        standard = transforms.NONE if still else transforms.standard(min(self.plan.shape[1:]))
        self.transform = transform if transform is not None else standard
        self.moved_centres = self.plan.centres
        if self.transform.padding and pictures:
            c, *sides = self.plan.shape
            padded = (c, *(n + 2 * self.transform.padding for n in sides))
            self.moved_centres = central_neurons(self.net, list(self.plan.centres), padded)
        self.lively, self.bytes_each = self._look_at_the_graph()
        n = len(self.plan.names)
        most = min(_MOST_PICTURES, max(1, MEMORY // max(1, self.bytes_each))) if self.plan.apart else n
        starts = self._exact_starts() if exact and parametrization is None else None
        self.exact = starts is not None
        self.batches = [
            _Batch(self, range(i, min(i + most, n)), None if starts is None else starts[i : i + most])
            for i in range(0, n, most)
        ]
        self.history: list[np.ndarray] = []
        self._real: RealPictures | None = None

    def steps(self) -> Iterator[Step]:
        """The steps as they happen. A unit that rests stays as it is while others of its page go on."""
        for index in range(self.limit or MOST_STEPS):
            if index in self._revivals:
                self._revive(self._revivals.index(index))
            for batch in self.batches:
                batch.step(index)
            scores = np.concatenate([batch.scores for batch in self.batches])
            self.history.append(scores)
            yield Step(index, torch.cat([batch.pictures for batch in self.batches]), scores)
            if self.limit is None and self._all_rest():
                return

    def result(self) -> Maximized:
        """The pictures as they are now, and the goals' own values on them without transforms."""
        pictures, activations = (np.concatenate(x) for x in zip(*(b.look() for b in self.batches), strict=True))
        off = [i for i, a in enumerate(activations) if a <= 0 and self._is_unit(i) and self.lively]
        if off and len(self.history) >= _FINISHED:
            self._settle(off, pictures, activations)
        history = np.stack(self.history) if self.history else np.zeros((0, len(self.plan.names)), np.float32)
        seconds = time.perf_counter() - self._start
        dead = self._dead() if self.history else []
        notes = tuple(self._obituary(i) if i in dead and a <= 0 else "" for i, a in enumerate(activations))
        return Maximized(self.plan.names, pictures, activations, history, len(self.history), seconds, notes)

    def _exact_starts(self) -> torch.Tensor | None:
        """The free variables of the linear maximizers, where the map is linear."""
        free, layer = self.parametrization.free, getattr(self.plan.goals[0], "layer", None)
        if len(self.plan.shape) != 3 or free is None or layer is None or not in_first_layer(self.net, layer):
            return None
        found = linear_maximizers(self.net, list(self.plan.goals), size=self.plan.shape[1:])  # type: ignore[arg-type]
        if not found.exact.all() or not found.weights.any((1, 2, 3)).all():
            return None
        variables = free(torch.from_numpy(found.images)).to(self.net.device)
        return variables / size_of(variables)  # at the contrast that all others have

    # ---- what rests, what is dead ----

    def _all_rest(self) -> bool:
        """Takes the units whose score rests out of their batches; whether that is all of them."""
        n = len(self.history)
        if n >= 3 * _WINDOW:
            resting = _rests(self.history[-2 * _WINDOW :])
            # Units that are dead wait for their revival, and then for their scores to count anew.
            revived = [r for r in self._revivals if r <= n]
            since = n - (revived[-1] if revived else 0)
            for i in self._dead() if n < self._revivals[-1] or since < 3 * _WINDOW else ():
                resting[i] = False
            for batch in self.batches:
                batch.rest(resting[batch.rows])
        return all(not len(batch.active) for batch in self.batches)

    @property
    def _revivals(self) -> tuple[int, ...]:
        if self.limit is None or self.limit >= _REVIVALS[-1] + _WINDOW:
            return _REVIVALS
        return (self.limit // 3, 2 * self.limit // 3) if self.limit >= 6 else ()

    def _dead(self) -> list[int]:
        """Units that had no gradient since their start, or that a rectifier has kept at 0 at every step."""
        ever = np.max(self.history, axis=0)
        moved = np.concatenate([batch.moved() for batch in self.batches])
        off = ~moved | (ever <= 0) if self.lively else ~moved
        return [i for i in np.flatnonzero(off).tolist() if self._is_unit(i)]

    def _is_unit(self, row: int) -> bool:
        return self.plan.single is None and isinstance(self.plan.goals[row], Unit)

    @torch.inference_mode(False)
    def _revive(self, attempt: int) -> None:
        """Starts dead units again: without a gradient from another seed; the second time from a real picture that turns them on."""
        dead = self._dead()
        if not dead:
            return
        pictures: dict[int, torch.Tensor] = {}
        if attempt:
            self._real = self._real or RealPictures(self.net)
            pictures = self._real.starts(self.plan, dead)
        for batch in self.batches:
            for row in set(dead) & set(batch.rows.tolist()):
                if row in pictures and self.parametrization.free is not None:
                    batch.restart(row, self.parametrization.free(pictures[row][None])[0])
                elif not batch.moved()[row - batch.rows[0]]:
                    another = self.generator(row, attempt + 1)
                    batch.restart(row, self.parametrization.start(self.plan.shape, [another])[0])

    @torch.inference_mode(False)
    def _settle(self, off: list[int], pictures: np.ndarray, activations: np.ndarray) -> None:
        """Lifts units that are off on their own final picture: from there, or from a real picture, without transforms."""
        free = self.parametrization.free
        if free is None:
            return
        self._real = self._real or RealPictures(self.net)
        real = self._real.starts(self.plan, off)
        for row in off:
            tries = [torch.from_numpy(pictures[row]), *([real[row]] if row in real else [])]
            start = free(torch.stack(tries)).to(self.net.device)
            settled = _Batch(self, [row] * len(tries), start)
            for _ in range(_SETTLING):
                settled.step(None)
                best = int(settled.scores.argmax())
                if settled.scores[best] > activations[row]:
                    activations[row], pictures[row] = settled.scores[best], settled.pictures[best].float().cpu().numpy()

    def generator(self, row: int, attempt: int = 0) -> torch.Generator:
        """Of random numbers that depend on what the picture is of, and not on its neighbours."""
        return torch.Generator().manual_seed(self.plan.seed(row, self.seeds[row]) + attempt)

    def _obituary(self, row: int) -> str:
        if np.concatenate([batch.moved() for batch in self.batches])[row]:
            text = f"dead: its gradient did not lift it above 0 in {len(self.history)} steps"
        else:
            starts = 1 + sum(r < len(self.history) for r in self._revivals)
            text = f"dead: no gradient in {len(self.history)} steps from {starts} start{'s' * (starts > 1)}"
        tried = len(self._real) if self._real else 0
        return text + (f"; never above 0 on the {tried} views of real pictures tried" if tried else "")

    # ---- the network, looked at once ----

    def _look_at_the_graph(self) -> tuple[frozenset[int], int]:
        """Which rectifier calls stand last before the goal, and the bytes that a picture keeps for its backward pass."""
        objective = self.plan.objective([0])
        kept: dict[int, int] = {}

        def count(t: torch.Tensor) -> torch.Tensor:
            # Weights are kept anyway, and views share their bytes.
            if not t.requires_grad or t.grad_fn is not None:
                kept[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        weights = {p.untyped_storage().data_ptr() for p in self.net.model.parameters()}
        x = torch.full((1, *self.plan.shape), 0.5)
        with self.net.evaluation(), torch.enable_grad(), LastRectifiers() as noted:
            with torch.autograd.graph.saved_tensors_hooks(count, lambda t: t):
                maps = self.net.outputs(x.requires_grad_(), objective.layers)
            lively = frozenset().union(*(noted.behind(m) for m in maps.values()))
        return lively, sum(size for pointer, size in kept.items() if pointer not in weights)


class _Batch:
    """Pictures that are optimized together, each from a generator of its own."""

    @torch.inference_mode(False)
    def __init__(self, run: Run, rows: Sequence[int], free: torch.Tensor | None = None) -> None:
        self.run, self.rows = run, np.array(rows)
        self.active, self._at = self.rows, np.arange(len(rows))  # those that are still moving, and where
        shape, n = run.plan.shape, len(rows)
        generators = [run.generator(row) for row in rows]
        if free is None:
            free = run.parametrization.start(shape, generators).to(run.net.device)
        self.drawn = torch.stack([run.transform.draw(g, _DRAWS) for g in generators], 1)
        self.ascent = Ascent(free, run.parametrization.rate, run.parametrization.sphere)
        self.pictures = torch.zeros(n, *shape, device=run.net.device)
        self.scores = np.zeros(n, np.float32)
        self.objective = run.plan.objective(self.active.tolist())

    @torch.inference_mode(False)
    def step(self, index: int | None) -> None:
        """One step up, without transforms where `index` is None; leaves the pictures and scores before it."""
        if not len(self.active):
            return
        run, at = self.run, self._at
        with run.net.evaluation(), torch.enable_grad():
            pictures = run.parametrization.picture(self.ascent.free, run.plan.shape)
            moved = pictures
            if pictures.ndim == 4 and index is not None:
                moved = run.transform.apply(pictures, self.drawn[index % _DRAWS][at])
            with Lively(run.lively) if run.lively else nullcontext():
                scores = self._value(moved, pictures)
            if scores.requires_grad:
                (gradient,) = torch.autograd.grad(scores.sum(), self.ascent.free)
        if scores.requires_grad:
            self.ascent.step(gradient)
        if len(at) == len(self.rows):
            self.pictures = pictures.detach()
        else:
            self.pictures = self.pictures.clone()
            self.pictures[at] = pictures.detach()
        self.scores = self.scores.copy()
        self.scores[at] = scores.detach().float().cpu().numpy()[: len(at)]

    @torch.inference_mode(False)
    def rest(self, resting: np.ndarray) -> None:
        """Takes rows out of the batch, their pictures as they are now."""
        stay = [i for i in range(len(self.active)) if not resting[self._at[i]]]
        if len(stay) == len(self.active):
            return
        if not self.run.plan.apart and stay:
            return  # the pictures depend on one another: they rest together
        with torch.no_grad():
            final = self.run.parametrization.picture(self.ascent.free, self.run.plan.shape)
            self.pictures = self.pictures.clone()
            self.pictures[self._at] = final
        self.ascent.keep(stay)
        self.active, self._at = self.active[stay], self._at[stay]
        if len(stay):
            self.objective = self.run.plan.objective(self.active.tolist())

    def moved(self) -> np.ndarray:
        """(N,) whether each row had a gradient since its last start; a row that rests had one."""
        moved = np.ones(len(self.rows), bool)
        moved[self._at] = self.ascent.moved.cpu().numpy()
        return moved

    @torch.inference_mode(False)
    def restart(self, row: int, free: torch.Tensor) -> None:
        """Puts a row that is still moving at new free variables."""
        for i in np.flatnonzero(self.active == row):
            self.ascent.restart(int(i), free.to(self.ascent.free.device))

    def look(self) -> tuple[np.ndarray, np.ndarray]:
        """All pictures as they are now, and the goals' own values on them."""
        net, plan = self.run.net, self.run.plan
        with net.evaluation(), torch.no_grad():
            pictures = self.pictures.clone()
            if len(self.active):
                pictures[self._at] = self.run.parametrization.picture(self.ascent.free, plan.shape)
            self.objective = plan.objective(self.rows.tolist())
            scores = self._value(pictures, pictures)
        return pictures.float().cpu().numpy().copy(), scores.float().cpu().numpy().copy()

    def _value(self, moved: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        net, objective = self.run.net, self.objective
        centres = self.run.plan.centres if moved.shape == pictures.shape else self.run.moved_centres
        # One picture alone takes other convolution kernels than several, and would differ in the last bits.
        alone = len(moved) == 1
        if moved.ndim == 4:  # the layout in which convolution and pooling are fastest on processors
            moved = moved.contiguous(memory_format=torch.channels_last)
        maps = net.outputs(moved.expand(2, *moved.shape[1:]) if alone else moved, objective.layers)
        maps = {name: m[:1] for name, m in maps.items()} if alone else maps
        return objective.value(Answers(maps, pictures, centres, net.labels))


def _rests(history: Sequence[np.ndarray]) -> np.ndarray:
    """(N,) whether each score rose by at most 2 % from the first to the second half of (steps,N) scores."""
    now, before = (np.mean(half, axis=0) for half in (history[_WINDOW:], history[:_WINDOW]))
    return np.asarray(now - before <= 0.02 * np.abs(now))


def _vector_figure(result: Maximized) -> Figure:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(6, 1.2 * len(result.goals) + 0.6))
    for i, (goal, values) in enumerate(zip(result.goals, result.images, strict=True)):
        axes = figure.add_subplot(len(result.goals), 1, i + 1)
        axes.bar(np.arange(values.size), values.ravel())
        axes.set_title(f"{goal}  {result.activations[i]:.3g}", fontsize=7)
    figure.tight_layout()
    return figure
