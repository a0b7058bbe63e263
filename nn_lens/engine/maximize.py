"""The maximizing loop: pictures that drive units as far as they go, step by step.

Reference: Erhan, Bengio, Courville and Vincent, 2009, "Visualizing higher-layer features of a deep
network"; Olah, Mordvintsev and Schubert, 2017, "Feature visualization". What is ours: a page of units is
one batch, each on a canvas just larger than its receptive field, and units that are off are brought to life.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nn_lens.engine import objectives, parametrizations, transforms
from nn_lens.engine.images import rgb
from nn_lens.engine.network import Network, as_network
from nn_lens.engine.objectives import Answers, Objective
from nn_lens.engine.parametrizations import Parametrization
from nn_lens.engine.rectifiers import LastRectifiers, Lively
from nn_lens.engine.results import Result, tile_figure
from nn_lens.engine.transforms import Transform
from nn_lens.errors import LensError
from nn_lens.units import Direction, Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Goal = Unit | str | Direction | Objective | Sequence[Unit | str | Direction]

MARGIN = 16  # pixels of canvas beyond the receptive field
MOST_STEPS = 256  # where a run that is to rest stops at the latest
_WINDOW = 24  # steps over which a resting score is judged
_DRAWS = 1024  # transforms drawn ahead, so that a run of n steps is the beginning of a longer one
_BATCH_PIXELS = 16 * 224 * 224  # pictures optimized at once hold at most this many pixels


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
            A channel drives the centre neuron on a canvas of its receptive field and a margin; a unit with
            a place, and an Objective, use the network's full input size.
        steps: exactly this many; None: until the scores rest, at most 256.
        seed: of the starting pictures and the transforms; the same call gives the same bits.
        size: side or (height, width) of the canvas in pixels.
        parametrization: from `nl.parametrizations`; default Fourier with decorrelated colour.
        transforms: from `nl.transforms`; default `standard`.
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
    """One maximization: its goals cut into batches that fit the memory. Take the `steps`, then the `result`."""

    def __init__(
        self, net: Network, goal: Goal, steps: int | None = None, seed: int = 0, size: Any = None,
        parametrization: Parametrization | None = None, transform: Transform | None = None,
    ) -> None:  # fmt: skip
        self._start = time.perf_counter()
        net = as_network(net)
        if steps is not None and (not isinstance(steps, int) or steps < 1):
            raise LensError(f"steps must be 1 or more, a whole number or None, got {steps!r}.")
        self.net, self.limit = net, steps
        self.goals = _goals(net, goal)
        self.names = tuple(g.name if isinstance(g, Objective) else str(g) for g in self.goals)
        self.shape, self.place = _canvas(net, self.goals, size)
        default = parametrizations.fourier() if len(self.shape) == 3 else parametrizations.vector()
        self.parametrization = parametrization or default
        standard = transforms.standard(min(self.shape[1:])) if len(self.shape) == 3 else transforms.NONE
        self.transform = transform if transform is not None else standard
        most = max(2, _BATCH_PIXELS // math.prod(self.shape[1:] or (1,)))
        per_batch = min(32, most)
        parts = [self.goals[i : i + per_batch] for i in range(0, len(self.goals), per_batch)]
        self.batches = [_Batch(self, part, seed) for part in parts]
        self.history: list[np.ndarray] = []

    def steps(self) -> Iterator[Step]:
        """The steps as they happen. A unit that rests stays as it is while others of its page go on."""
        for index in range(self.limit or MOST_STEPS):
            done = [batch.step(index) for batch in self.batches]
            activations = np.concatenate([d[1] for d in done])
            self.history.append(activations)
            yield Step(index, torch.cat([d[0] for d in done]), activations)
            if self.limit is None and len(self.history) >= 3 * _WINDOW and self._all_rest():
                return

    def result(self) -> Maximized:
        """The pictures as they are now, and the goals' own values on them without transforms."""
        done = [batch.look() for batch in self.batches]
        pictures, activations = np.concatenate([d[0] for d in done]), np.concatenate([d[1] for d in done])
        history = np.stack(self.history) if self.history else np.zeros((0, len(self.goals)), np.float32)
        seconds = time.perf_counter() - self._start
        notes = self._notes(activations)
        return Maximized(self.names, pictures, activations, history, len(self.history), seconds, notes)

    def _all_rest(self) -> bool:
        """Holds the units whose score rests; whether that is all of them."""
        rest = _rests(self.history[-2 * _WINDOW :])
        for batch in self.batches:
            own, rest = rest[: batch.count], rest[batch.count :]
            batch.hold(own)
        return all(batch.held.all() for batch in self.batches)

    def _notes(self, activations: np.ndarray) -> tuple[str, ...]:
        dead = f"dead: never above 0 in {len(self.history)} steps; no gradient reached the picture, or none that helped"
        rectified = np.concatenate([batch.rectified for batch in self.batches])
        return tuple(dead if off and a <= 0 else "" for a, off in zip(activations, rectified, strict=True))


class _Batch:
    """Up to a page of goals that are optimized together, each with a generator of its own."""

    def __init__(self, run: Run, goals: list[Any], seed: int) -> None:
        self.run, self.count = run, len(goals)
        # One picture alone takes other convolution kernels than several, and would differ in the last bits.
        goals = goals * 2 if len(goals) == 1 else goals
        if isinstance(goals[0], Objective):
            self.objective = goals[0]
        else:
            self.objective = objectives.at_centre(goals, *run.place)
        generators = [torch.Generator().manual_seed(_seed(seed, g)) for g in goals]
        self.free = run.parametrization.start(run.shape, generators).to(run.net.device).requires_grad_()
        self.drawn = torch.stack([run.transform.draw(g, _DRAWS) for g in generators], 1)
        self.optimizer = torch.optim.Adam([self.free], lr=run.parametrization.rate, maximize=True)
        self.lively: frozenset[int] | None = None
        self.rectified = np.zeros(self.count, bool)
        self.held = np.zeros(self.count, bool)
        self._kept = self.free.detach().clone()

    def hold(self, rest: np.ndarray) -> None:
        """Keeps the pictures of the units that rest as they are now."""
        for i in np.flatnonzero(rest & ~self.held):
            self._kept[i] = self.free.detach()[i]
        self.held |= rest

    def step(self, index: int) -> tuple[torch.Tensor, np.ndarray]:
        """One step up; the pictures and scores before it."""
        net = self.run.net
        with net.evaluation(), torch.inference_mode(False), torch.enable_grad():
            pictures = self.run.parametrization.picture(self.free, self.run.shape)
            moved = pictures
            if pictures.ndim == 4:
                moved = self.run.transform.apply(pictures, self.drawn[index % _DRAWS])
            if self.lively is None:
                self._find_rectifiers(moved.detach())
            with Lively(self.lively) if self.lively else nullcontext():
                maps = net.outputs(moved, self.objective.layers)
                scores = self.objective.value(Answers(maps, pictures))
            if scores.requires_grad:
                (self.free.grad,) = torch.autograd.grad(scores.sum(), self.free)
                self.optimizer.step()
                for i in np.flatnonzero(self.held):
                    self.free.data[i] = self._kept[i]
        return pictures.detach()[: self.count], scores.detach()[: self.count].float().cpu().numpy()

    def look(self) -> tuple[np.ndarray, np.ndarray]:
        net = self.run.net
        with net.evaluation(), torch.no_grad():
            pictures = self.run.parametrization.picture(self.free, self.run.shape)
            scores = self.objective.value(Answers(net.outputs(pictures, self.objective.layers), pictures))
        return (
            pictures[: self.count].float().cpu().numpy().copy(),
            scores[: self.count].float().cpu().numpy().copy(),
        )

    def _find_rectifiers(self, pictures: torch.Tensor) -> None:
        """Which rectifier calls stand last before the goal; one pass with a note-taking mode."""
        with torch.no_grad(), LastRectifiers() as noted:
            maps = self.run.net.outputs(pictures[:1], self.objective.layers)
            self.lively = frozenset().union(*(noted.behind(m) for m in maps.values()))
        self.rectified[:] = bool(self.lively)


def _goals(net: Network, goal: Goal) -> list[Any]:
    if isinstance(goal, Objective):
        for unit in goal.units:
            net.unit(unit) if isinstance(unit, Unit) else _direction(net, unit)
        for name in goal.layers:
            if name:
                net[name].layout  # noqa: B018  raises for a layer that cannot be shown
        return [goal]
    if not isinstance(goal, (Unit, str, Direction, Iterable)):
        raise LensError(
            f'A goal is a Unit or its text "layer:channel", a Direction, an Objective, or a list; got {goal!r}.'
        )
    several = [goal] if isinstance(goal, (Unit, str, Direction)) else list(goal)
    if not several:
        raise LensError("There is nothing to maximize: the list of units is empty.")
    found: list[Unit | Direction] = []
    for entry in several:
        if isinstance(entry, Objective):
            raise LensError("A list holds units and directions of one layer; maximize objectives one by one.")
        found.append(_direction(net, entry) if isinstance(entry, Direction) else net.unit(entry))
    layers = sorted({g.layer for g in found})
    if len(layers) > 1:
        raise LensError(
            f"A list is optimized as one batch, so its units are of one layer; got {', '.join(layers)}. Call maximize once per layer."
        )
    return found


def _direction(net: Network, direction: Direction) -> Direction:
    channels = net[direction.layer].layout.channels
    if len(direction.vector) != channels:
        raise LensError(
            f"Layer {direction.layer!r} has {channels} channels, the direction {len(direction.vector)} numbers."
        )
    return direction


def _canvas(net: Network, goals: list[Any], size: Any) -> tuple[tuple[int, ...], tuple[int, int]]:
    """The shape of the pictures, and the (row, column) of the neuron whose box is best centred in them."""
    shape = net.input_shape
    if len(shape) != 3:
        if size is not None:
            raise LensError(f"This network reads vectors of {shape[0]} numbers; it takes no size.")
        return shape, (0, 0)
    single = isinstance(goals[0], Objective)
    if size is not None:
        height, width = (size, size) if isinstance(size, int) else size
        if min(height, width) < 1:
            raise LensError(f"size is a side or (height, width) in pixels, got {size}.")
        shape = shape[0], int(height), int(width)
    elif not single and all(getattr(g, "place", None) is None for g in goals):
        field = net[goals[0].layer].receptive_field
        if not field.whole:
            wanted = [min(n, s + MARGIN) for n, s in zip(shape[1:], field.size, strict=True)]
            shape = shape[0], wanted[0], wanted[1]
    if single:
        return shape, (0, 0)
    return shape, _central_place(net, goals[0].layer, shape)


def _central_place(net: Network, layer: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """The neuron in the middle of the map on a canvas of `shape`; by its receptive field where that is known."""
    with net.evaluation(), torch.no_grad():
        grid = net.outputs(torch.full((1, *shape), 0.5), [layer])[layer].shape[2:]
    field = net[layer].receptive_field

    def middle(axis: int) -> int:
        if field.whole:
            return int(grid[axis] // 2)
        off = [
            abs(field.offset[axis] + field.stride[axis] * i + field.size[axis] / 2 - shape[1 + axis] / 2)
            for i in range(grid[axis])
        ]
        return int(np.argmin(off))

    return middle(0), middle(1)


def _seed(seed: int, goal: Any) -> int:
    """A seed that depends on the goal and not on its neighbours in the batch."""
    text = goal.name if isinstance(goal, Objective) else f"{goal} {getattr(goal, 'vector', '')}"
    return int.from_bytes(hashlib.blake2b(f"{seed} {text}".encode(), digest_size=7).digest(), "big")


def _rests(history: list[np.ndarray]) -> np.ndarray:
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
