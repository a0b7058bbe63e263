"""Pictures that are optimized together: draw, move, ask the network, climb."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np
import torch

from nn_lens.engine.maximizing.ascent import Ascent
from nn_lens.engine.maximizing.gradients import Flowing
from nn_lens.engine.maximizing.objective import Answers
from nn_lens.engine.maximizing.parametrizations import Parametrization
from nn_lens.engine.maximizing.plan import Plan
from nn_lens.engine.maximizing.rectifiers import Lively
from nn_lens.engine.maximizing.transforms import Transform
from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.inputs import places_of
from nn_lens.engine.network.network import Network


@dataclass(frozen=True)
class Settings:
    """What all batches of a run share. `lively`: the rectifier calls that let the gradient through; `flowing`: whether it is
    let through where the model cuts it, too; `one_by_one`: whether each picture is a batch of its own; `full`: how many
    pictures each batch is filled up to, since on a GPU the last bits of an answer depend on how many there are.
    """

    net: Network
    plan: Plan
    parametrization: Parametrization
    transform: Transform
    lively: frozenset[int]
    flowing: bool = False
    one_by_one: bool = False
    full: int = 0


class Batch:
    """Some pictures of a plan, `rows` by their numbers, each moved as a generator of its own draws.

    `free`: the variables that they start from; `steps`: how many will be taken in all, from where the batch `before`, on
    another canvas, has come to.
    """

    @torch.inference_mode(False)
    def __init__(
        self,
        settings: Settings,
        rows: Sequence[int],
        free: torch.Tensor,
        generators: Sequence[torch.Generator],
        steps: int,
        before: Batch | None = None,
    ) -> None:
        self.settings, self.rows, self.generators = settings, np.array(rows), generators
        plan, transform, device = settings.plan, settings.transform, settings.net.device
        self._filled = [min(i, len(rows) - 1) for i in range(max(len(rows), settings.full))]
        self.objective = plan.objective(self.rows[self._filled].tolist())
        sides = places_of(plan.kind, plan.shape)
        self._first: int = before.taken if before is not None else 0
        self.taken: int = self._first
        drawn = torch.stack([transform.draw(g, steps - self._first, len(sides)) for g in generators], 1)[
            :, self._filled
        ]
        self.moves = transform.matrices(drawn, *sides).to(device) if sides else drawn
        rate, sphere = settings.parametrization.rate, settings.parametrization.sphere
        self.ascent: Ascent = Ascent(
            self.filled(free), rate, sphere, steps, before.ascent if before is not None else None
        )
        self.pictures = torch.zeros(len(rows), *plan.shape, device=device)
        self.scores = np.zeros(len(rows), np.float32)

    @torch.inference_mode(False)
    def step(self, index: int | None) -> None:
        """One step up, without transforms where `index` is None; leaves the pictures and scores before it."""
        settings = self.settings
        with settings.net.evaluation(), torch.enable_grad():
            pictures = self._drawn()
            moved = pictures if index is None else self._moved(pictures, self.moves[index - self._first])
            with ExitStack() as stack:
                # The last to be entered is the first to see a call: what `Lively` does is not seen by `Flowing`.
                if settings.lively:
                    stack.enter_context(Lively(settings.lively))
                if settings.flowing:
                    stack.enter_context(Flowing())
                scores = self._value(moved, pictures)
            gradient = None
            if scores.requires_grad:
                (gradient,) = torch.autograd.grad(scores.sum(), self.ascent.free, allow_unused=True)
        if gradient is not None:
            finite = torch.isfinite(gradient).flatten(1).all(1)
            if not bool(finite.all()):  # a picture of NaN has no way back
                gradient = torch.where(
                    finite.view(-1, *[1] * (gradient.ndim - 1)), gradient, torch.zeros_like(gradient)
                )
            self.ascent.step(gradient)
        self.taken += 1
        self.pictures = pictures.detach()[: len(self.rows)]
        self.scores = as_numpy(scores)[: len(self.rows)]

    def filled(self, x: torch.Tensor) -> torch.Tensor:
        """What belongs to the rows, the last repeated until the batch is full."""
        return x[self._filled] if len(x) < len(self._filled) else x

    def look(self) -> tuple[np.ndarray, np.ndarray]:
        """The pictures as they are now, and the goals' own values on them."""
        with self.settings.net.evaluation(), torch.no_grad():
            pictures = self._drawn()
            scores = self._value(pictures, pictures)
        n = len(self.rows)
        return as_numpy(pictures[:n]), as_numpy(scores[:n])

    def moved(self) -> np.ndarray:
        """(N,) whether each row had a gradient since its last start."""
        return np.asarray(self.ascent.moved[: len(self.rows)].cpu().numpy())

    def _drawn(self) -> torch.Tensor:
        """(N,C,H,W) pictures, or other inputs, that the free variables stand for."""
        return self.settings.parametrization.picture(self.ascent.free, self.settings.plan.shape)

    def _moved(self, pictures: torch.Tensor, moves: torch.Tensor) -> torch.Tensor:
        kind, transform = self.settings.plan.kind, self.settings.transform
        if kind == "vector":
            return pictures
        if kind == "sequence":
            return transform.apply(pictures.transpose(1, 2), moves).transpose(1, 2)
        return transform.apply(pictures, moves)

    def _value(self, moved: torch.Tensor, pictures: torch.Tensor) -> torch.Tensor:
        net, plan, n = self.settings.net, self.settings.plan, len(moved)
        # Padding by the transform makes what the network sees larger than the picture.
        centres = plan.centres if moved.shape[1:] == pictures.shape[1:] else plan.padded_centres
        if plan.kind != "vector":
            # An odd number of pictures takes other convolution kernels, and would differ in the last bits.
            moved = torch.cat([moved, moved[-1:]]) if n % 2 and not self.settings.one_by_one else moved
        maps = {name: m[:n] for name, m in net.outputs(moved, self.objective.layers).items()}
        return self.objective.value(Answers(maps, pictures, centres, net.labels, net.kind, net.output_kind))
