"""Pictures that are optimized together: draw, move, ask the network, climb."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np
import torch

from nn_lens.engine.maximizing.ascent import Ascent
from nn_lens.engine.maximizing.objectives import Answers
from nn_lens.engine.maximizing.parametrizations import Parametrization
from nn_lens.engine.maximizing.plan import Wanted, central_neurons
from nn_lens.engine.maximizing.rectifiers import LastRectifiers, Lively
from nn_lens.engine.maximizing.transforms import Transform
from nn_lens.engine.network.network import Network


class Batch:
    """Some pictures of a plan, `rows` by their numbers, each moved as a generator of its own draws.

    `lively`: the rectifier calls that let the gradient through; `steps`: how many will be taken.
    """

    @torch.inference_mode(False)
    def __init__(
        self, net: Network, plan: Wanted, rows: Sequence[int], free: torch.Tensor,
        generators: Sequence[torch.Generator], parametrization: Parametrization, transform: Transform,
        lively: frozenset[int], steps: int,
    ) -> None:  # fmt: skip
        self.net, self.plan, self.rows = net, plan, np.array(rows)
        self.parametrization, self.transform, self.lively = parametrization, transform, lively
        self.objective = plan.objective(self.rows.tolist())
        drawn = torch.stack([transform.draw(g, steps) for g in generators], 1)
        self.moves = transform.matrices(drawn, *plan.shape[1:]).to(net.device) if len(plan.shape) == 3 else drawn
        self.ascent = Ascent(free, parametrization.rate, parametrization.sphere, steps)
        self.pictures = torch.zeros(len(rows), *plan.shape, device=net.device)
        self.scores = np.zeros(len(rows), np.float32)
        self._centres = {plan.shape: plan.centres}  # by the shape of what the network sees

    @torch.inference_mode(False)
    def step(self, index: int | None) -> None:
        """One step up, without transforms where `index` is None; leaves the pictures and scores before it."""
        with self.net.evaluation(), torch.enable_grad():
            pictures = self.parametrization.picture(self.ascent.free, self.plan.shape)
            moved = pictures
            if pictures.ndim == 4 and index is not None:
                moved = self.transform.apply(pictures, self.moves[index])
            with Lively(self.lively) if self.lively else nullcontext():
                scores = self._value(moved, pictures)
            if scores.requires_grad:
                (gradient,) = torch.autograd.grad(scores.sum(), self.ascent.free)
        if scores.requires_grad:
            self.ascent.step(gradient)
        self.pictures = pictures.detach()
        self.scores = scores.detach().float().cpu().numpy()[: len(self.rows)].copy()

    def look(self) -> tuple[np.ndarray, np.ndarray]:
        """The pictures as they are now, and the goals' own values on them."""
        with self.net.evaluation(), torch.no_grad():
            pictures = self.parametrization.picture(self.ascent.free, self.plan.shape)
            scores = self._value(pictures, pictures)
        return pictures.float().cpu().numpy().copy(), scores.float().cpu().numpy().copy()

    def moved(self) -> np.ndarray:
        """(N,) whether each row had a gradient since its last start."""
        return np.asarray(self.ascent.moved.cpu().numpy())

    def _value(self, moved: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        n = len(moved)
        if moved.ndim == 4:
            # An odd number of pictures takes other convolution kernels, and would differ in the last bits.
            moved = torch.cat([moved, moved[-1:]]) if n % 2 else moved
        maps = {name: m[:n] for name, m in self.net.outputs(moved, self.objective.layers).items()}
        centres = self._centres_of(tuple(moved.shape[1:]))
        return self.objective.value(Answers(maps, pictures, centres, self.net.labels))

    def _centres_of(self, shape: tuple[int, ...]) -> dict[str, tuple[int, int]]:
        """The neurons in the middle; padding by the transform makes what the network sees larger than the picture."""
        if shape not in self._centres:
            self._centres[shape] = central_neurons(self.net, list(self.plan.centres), shape)
        return self._centres[shape]


def look_at_the_graph(net: Network, plan: Wanted) -> tuple[frozenset[int], int]:
    """Which rectifier calls stand last before the goal, and the bytes that a picture keeps for its backward pass."""
    kept: dict[int, torch.UntypedStorage] = {}

    def count(t: torch.Tensor) -> Any:
        # Weights are kept anyway, and views share their bytes. Nothing is given back, as there is no backward pass: a
        # layer's own answer, kept by its graph, would keep the graph alive for ever.
        if not t.requires_grad or t.grad_fn is not None:
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage()

    weights = {p.untyped_storage().data_ptr() for p in net.model.parameters()}
    x = torch.full((1, *plan.shape), 0.5)
    with net.evaluation(), torch.enable_grad(), LastRectifiers() as noted:
        with torch.autograd.graph.saved_tensors_hooks(count, lambda nothing: nothing):
            maps = net.outputs(x.requires_grad_(), plan.objective([0]).layers)
        lively = frozenset().union(*(noted.behind(m) for m in maps.values()))
    return lively, sum(storage.nbytes() for pointer, storage in kept.items() if pointer not in weights)
