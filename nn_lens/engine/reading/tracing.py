"""From a unit back to the layers that feed it: the flow of a forward pass, walked against its direction.

The walk has four manners. "own": what stands between the unit and its weights or its sum, rectifiers and pooling
among them. "part": behind a sum, where only what is linear is gone through, and a layer's answer that is read by
others too, or is not linear, is a unit that takes part as it is. "value": what an attention takes the mean of, up to
the weights that make it. "read": behind weights, up to the first layer that answers what they read.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
import torch

from nn_lens.engine.network.functions import ELEMENTWISE, NONLINEAR, WITHIN_CHANNELS
from nn_lens.engine.network.network import Network
from nn_lens.engine.reading import gains as rules
from nn_lens.engine.reading.flow import Flow, Key, Step, is_leaf
from nn_lens.units import Unit


@dataclass(frozen=True)
class Pull:
    """What the unit gains by each number of a tensor, and how that was found.

    `squares` of the kernel, None before the first weights. `reach`: above 0 where there is a connection.
    `through`: the layers whose weights were gone through, from the unit. `spots`: whether single places mean anything.
    `share` of the unit's answer that comes this way. `channel`: of the last weights, the one output that is meant.
    """

    gains: torch.Tensor
    reach: torch.Tensor
    squares: torch.Tensor | None = None
    through: tuple[str, ...] = ()
    spots: bool = True
    share: float = 1.0
    channel: int | None = None

    def each(self, change: Callable[[torch.Tensor], torch.Tensor]) -> Pull:
        """Gains, squares and reach changed alike."""
        squares = None if self.squares is None else change(self.squares)
        return replace(self, gains=change(self.gains), reach=change(self.reach), squares=squares)

    def times(self, by: float | torch.Tensor, shape: torch.Size) -> Pull:
        """Of what was multiplied by a number or a tensor that does not depend on the picture."""
        squares = None if self.squares is None else rules.scaled(self.squares, by * by, shape)
        return replace(
            self, gains=rules.scaled(self.gains, by, shape), reach=self.reach.sum_to_size(shape), squares=squares
        )


@dataclass(frozen=True)
class Source:
    """A layer that feeds the unit, and what the unit gains by each number that it answers."""

    layer: str
    pull: Pull

    def channels(self, net: Network) -> tuple[np.ndarray, np.ndarray, np.ndarray, list[tuple[int, ...] | None]]:
        """By channel: gains, squares, whether there is a connection, and the place of the largest gain if one stands out."""
        layout, pull = net[self.layer].layout, self.pull

        def flat(values: torch.Tensor) -> np.ndarray:
            maps = layout.maps(values)[0].flatten(1)
            # Tokens without a place, such as the class token, are read too.
            extra = [layout.token(values, i)[0].flatten(1) for i in range(layout.extra)]
            return np.asarray(torch.cat([maps, *extra], 1))

        gained = flat(pull.gains)
        sums = gained.sum(1)
        squares = sums**2 if pull.squares is None else flat(pull.squares).sum(1)
        places: list[tuple[int, ...] | None] = [None] * len(sums)
        count = int(np.prod(layout.grid))
        if pull.spots and gained.shape[1] > 1 and count > 1:
            sizes = np.abs(gained)
            best = sizes.argmax(1)
            largest = sizes.max(1)
            alone = ((sizes >= largest[:, None] * (1 - _SAME)).sum(1) == 1) & (best < count)
            for c in np.flatnonzero(alone):
                places[c] = tuple(int(i) for i in np.unravel_index(best[c], layout.grid))
        return sums, squares, np.asarray(flat(pull.reach).any(1)), places


# Steps of a walk. Networks whose layers are units need 30 at most; behind one another, sums of what is none double the ways.
_MOST = 1000
TOO_MANY = "there are too many ways to it through layers that cannot be read as units"
_SAME = 1e-6  # gains that differ by less, relatively, are one and the same


@dataclass(frozen=True)
class Lost:
    """A part of the unit that could not be followed: why, and what was read there. `picture`: it is the picture itself."""

    pull: Pull
    why: str
    read: tuple[Key, ...] = ()
    picture: bool = False


Found = list[Source | Lost]
_LINEAR = frozenset(
    {"weighted", "batch_norm", "norm", "sum", "scale", "attention", "mixing", "shape", "dropout", "cast"}
)


class Trace:
    """A walk from a unit back; `notes` says what the weights do not hold."""

    def __init__(self, net: Network, flow: Flow) -> None:
        self._net, self._flow = net, flow
        self._taken = 0
        self.notes: dict[str, None] = {}

    def of(self, unit: Unit) -> Found:
        """What feeds a unit: the mean of its map, which gains what each of its neurons does."""
        gains = torch.zeros(self._flow.shapes[self._flow.output], dtype=torch.float64)
        own = self._net[unit.layer].layout.maps(gains)[:, unit.channel]
        own += 1 / own.numel()
        return self._walk(self._flow.output, Pull(gains, (gains > 0).double()), "own")

    # ---- where to stop ----

    def _walk(self, key: Key, pull: Pull, manner: str, exact: bool = False) -> Found:
        """exact: a layer must answer the very numbers, else they may be rectified or pooled on the way."""
        flow = self._flow
        self._taken += 1
        if self._taken > _MOST:
            return [Lost(pull, TOO_MANY)]
        if not flow.depends(key):
            return []  # a constant, as a bias is
        if key == flow.start:
            return [Lost(pull, "it is a part of the picture itself", picture=True)]
        step = flow.steps.get(key)
        names = [n for n in flow.layers.get(key, []) if self._net[n].reason is None] if key != flow.output else []
        source: Found = []
        if names:
            # A leaf says best what answers: the ReLU rather than the Sequential that ends with it.
            leaves = [n for n in names if is_leaf(self._net.module(n))]
            source = [Source((leaves or names)[-1], pull)]
        if step is None:
            return source or [Lost(pull, "it cannot be seen what makes it")]
        if manner == "read":
            return self._read(key, step, pull, source, exact)
        if manner != "own" and source:
            forks = manner == "part" and flow.readers[key] > 1
            if forks or step.kind not in _LINEAR:
                return source
        found = self._through(key, step, pull, manner)
        lost = [part for part in found if isinstance(part, Lost) and not (manner == "own" and part.picture)]
        return source if lost and source else found

    def _read(self, key: Key, step: Step, pull: Pull, source: Found, exact: bool) -> Found:
        # What an attention answers is no unit of its own where it is multiplied by output weights at once.
        if step.kind == "shape" or self._is_attention(step):
            found = self._through(key, step, pull, "read", exact=exact or bool(source))
            if not source or not any(isinstance(part, Lost) for part in found):
                return found
        if source:
            return source
        if exact:
            return [self._unread(key, step, pull)]
        return self._through(key, step, pull, "read")

    def _is_attention(self, step: Step) -> bool:
        return step.name == "scaled_dot_product_attention" or (
            step.kind == "mixing" and sum(map(self._flow.depends, step.read)) > 1
        )

    # ---- through one step ----

    def _through(self, key: Key, step: Step, pull: Pull, manner: str, exact: bool = False) -> Found:
        if step.kind == "shape":
            return self._moved(key, step, pull, manner, exact)
        if step.kind == "sum":
            return self._summed(step, pull, "part" if manner == "own" else manner)
        if step.kind in ("weighted", "attention", "mixing"):
            return self._weighted(key, step, pull, manner)
        if step.kind in ("batch_norm", "norm"):
            return self._normalized(key, step, pull, manner)
        if step.kind == "scale":
            found = rules.factor(step, self._flow)
            if found is None:
                return [self._unlike(key, step, pull, manner)]
            index, by = found
            return self._walk(step.read[index], pull.times(by, step.tensors[index].shape), manner)
        if step.kind in WITHIN_CHANNELS:
            return self._within(key, step, pull, manner)
        return [self._unlike(key, step, pull, manner)]

    def _within(self, key: Key, step: Step, pull: Pull, manner: str) -> Found:
        back = rules.within_channels(step, pull.gains)
        if back is None:
            return [self._unlike(key, step, pull, manner)]

        def change(values: torch.Tensor) -> torch.Tensor:
            parts = rules.within_channels(step, values)
            assert parts is not None  # it was followed once already
            return parts[0][1]

        if manner in ("part", "value") and step.kind in NONLINEAR | {"pool"}:
            manner = "read"  # what is rectified takes part as the nearest layer before answers it
        spots = pull.spots and step.kind in ELEMENTWISE
        return self._walk(back[0][0], replace(pull.each(change), spots=spots), manner)

    def _moved(self, key: Key, step: Step, pull: Pull, manner: str, exact: bool) -> Found:
        back = rules.moved(step)
        if back is None:
            return [self._unlike(key, step, pull, manner)]
        gains, reach = back(pull.gains), back(pull.reach)
        squares = [None] * len(gains) if pull.squares is None else [part for _, part in back(pull.squares)]
        floats = [t for t in step.tensors if t.is_floating_point()]
        parts = [
            (k, replace(pull, gains=g, reach=r, squares=q), t)
            for (k, g), (_, r), q, t in zip(gains, reach, squares, floats, strict=True)
            if r.any() and self._flow.depends(k)
        ]
        if len(parts) > 1 and manner == "own":
            manner = "part"
        return self._shared(parts, manner, exact)

    def _summed(self, step: Step, pull: Pull, manner: str) -> Found:
        parts = []
        for index, sign in rules.summands(step):
            value = step.values[index]
            if self._flow.depends(step.read[index]):
                parts.append((step.read[index], pull.times(sign, value.shape), value))
        return self._shared(parts, manner, False)

    def _shared(self, parts: list[tuple[Key, Pull, torch.Tensor]], manner: str, exact: bool) -> Found:
        """Each part, with its share by the size that it has, times the gains, on the probe picture."""
        sizes = [float((pull.gains * value.detach().double().cpu()).abs().sum()) for _, pull, value in parts]
        total = sum(sizes)
        found: Found = []
        for (key, pull, _), size in zip(parts, sizes, strict=True):
            share = size / total if total > 0 and np.isfinite(total) else 1 / len(parts)
            found += self._walk(key, replace(pull, share=pull.share * share), manner, exact)
        return found

    def _normalized(self, key: Key, step: Step, pull: Pull, manner: str) -> Found:
        shape = step.tensors[0].shape
        kept = rules.kept_scale(step) if step.name in ("batch_norm", "instance_norm") else None
        if kept is None and step.kind == "batch_norm":
            why = "its BatchNorm has no running statistics, so its scale changes by the batch"
            return [Lost(pull, why)]
        if kept is None:
            self.notes[f"the scale of {step.name} depends on the picture: only its own weights are folded in"] = None
            kept = rules.gamma(step)
        return self._walk(step.read[0], pull if kept is None else pull.times(kept, shape), manner)

    def _weighted(self, key: Key, step: Step, pull: Pull, manner: str) -> Found:
        through = (*pull.through, self._owner(key, step))
        if step.kind == "weighted":
            if self._flow.depends(step.key_of(1, "weight")):
                return [Lost(pull, f"the weights of {step.name} are made from the picture")]
            rule = rules.multiplied if step.name == "linear" else rules.convolved
            kernels = rule(step, pull.gains, pull.reach)
            axis = pull.reach.ndim - 1 if step.name == "linear" else 1 if pull.reach.ndim > 1 else 0
            outputs = pull.reach.movedim(axis, 0).flatten(1).any(1).nonzero().flatten().tolist()
            pull = replace(pull, channel=outputs[0] if len(outputs) == 1 else None)
        elif step.name == "multi_head_attention_forward" and len(step.args) > 2:
            kernels = rules.differentiated(step, 2, pull.gains)
            pull = replace(pull, spots=False)
        else:
            depend = [i for i, k in enumerate(step.read) if self._flow.depends(k)]
            if step.kind == "attention" or len(depend) > 1:
                return self._attention(key, step, pull, manner, depend)
            if step.name in _NOT_LINEAR or len(depend) != 1:
                return [self._unlike(key, step, pull, manner)]
            kernels = rules.differentiated(step, depend[0], pull.gains)
        pull = replace(pull, gains=kernels.gains, squares=kernels.squares, reach=kernels.reach, through=through)
        return self._walk(kernels.key, pull, "read")

    def _attention(self, key: Key, step: Step, pull: Pull, manner: str, depend: list[int]) -> Found:
        """Its answer is a mean of values: they have the gains of the answer, however the mean is taken."""
        if step.name not in _NOT_LINEAR:
            for index in [2] if step.name == "scaled_dot_product_attention" else reversed(depend):
                gains = rules.averaged(step, index, pull.gains)
                reach = None if gains is None else rules.averaged(step, index, pull.reach)
                if gains is not None and reach is not None:
                    pull = replace(pull, gains=gains, reach=reach, squares=None, spots=False)
                    return self._walk(step.read[index], pull, "value")
        return [self._unlike(key, step, pull, manner)]

    # ---- saying what it is ----

    def _owner(self, key: Key, step: Step) -> str:
        """The layer that answers what weights made, else the module that has them."""
        names = self._flow.layers.get(key, [])
        if names:
            return str(names[0])
        own = {id(t) for t in step.tensors}
        for name, module in self._net.runner.modules():
            if name and any(id(p) in own for p in module.parameters(recurse=False)):
                return str(name)
        return f"a {step.name} function"

    def _unlike(self, key: Key, step: Step, pull: Pull, manner: str) -> Lost:
        if manner == "read":
            return self._unread(key, step, pull)
        why = f"it is made by {step.name}, which is no weighted sum of other units' answers"
        if step.kind == "scale":
            why = f"it is a product with what is made from the picture ({step.name})"
        return Lost(pull, why, step.read)

    def _unread(self, key: Key, step: Step, pull: Pull) -> Lost:
        if not self._flow.mixed(key):
            return Lost(pull, "it reads the picture itself", picture=True)
        through = pull.through[-1] if pull.through else "it"
        why = f"{through}, whose weights it has, reads what {step.name} answers, which no layer gives as its own answer"
        return Lost(pull, why, step.read)


_NOT_LINEAR = frozenset("_native_multi_head_attention lstm gru embedding bilinear".split())
