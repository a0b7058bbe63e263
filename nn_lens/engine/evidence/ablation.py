"""Ablation: how the class scores change when units are switched off, beside switching off random other units.

References: Morcos, Barrett, Rabinowitz and Botvinick, 2018, "On the importance of single directions for
generalization"; Zhou, Sun, Bau and Torralba, 2018, "Revisiting the importance of individual units in CNNs", section 4,
who look at the accuracy class by class.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from nn_lens.engine.evidence.changes import Edit
from nn_lens.engine.evidence.effect_pass import effect_of
from nn_lens.engine.evidence.effects import Effect
from nn_lens.engine.network.network import Network, as_network
from nn_lens.errors import LensError
from nn_lens.units import Unit


@dataclass(frozen=True, repr=False, kw_only=True)
class Ablation(Effect):
    """Class scores with and without some `units`, whose answers are multiplied by `scale`; what else it has, `Effect` says."""

    units: tuple[Unit, ...]
    scale: float

    def _said(self) -> str:
        names = ", ".join(str(u) for u in self.units[:3]) + (f" and {len(self.units) - 3} more" * (len(self.units) > 3))
        return f"switching off {names}" if self.scale == 0 else f"{names} times {self.scale:g}"


def ablate(
    net: Network,
    pictures: Any,
    units: Any,
    scale: float = 0.0,
    targets: Any = None,
    *,
    at: Any = None,
    seed: int = 0,
    controls: int = 5,
    on_progress: Callable[[int, int | None], None] | None = None,
) -> Ablation:
    """The network's class scores on pictures with the outputs of some units multiplied by `scale`, and as they are.

    No parameter is touched: what the layers answer is replaced on its way. A channel is multiplied at all places, in
    tokens that have no place too; a unit with a place at that place only; a module that is called more than once at
    its first call.

    Args:
        net: the network.
        pictures: one picture, or as for `nl.dataset_examples`.
        units: a unit or its text, or a list of such, also of several layers; each counts once.
        scale: 0 switches off, 1 changes nothing, 2 doubles.
        targets: the right class of each picture, an index or label; None: the dataset's own, if it has any. Of a network
            that answers with one logit or probability, 1 or the label for yes and 0 for no.
        at: of dense answers, one score per class and place, the place (row, column) or the boolean mask (H,W) over which
            scores are summed; None: of each class where it wins in the picture as it is.
        seed: of the random other units.
        controls: how often random other units are drawn; each costs another pass over the pictures.
        on_progress: called after each batch with how many pictures are done, and of how many (None: unknown).

    Raises:
        LensError: a scale that is not finite, targets or places that do not fit, or no units. UnknownUnit, UnknownLayer: units
        that the network does not have. NetworkError: the model fails, or does not answer with one score per class.

    >>> net = nl.demo()
    >>> without = nl.ablate(net, net.samples["coffee"], "relu2:3", controls=2)
    >>> without.delta.shape, len(without.control.units)
    ((1, 20), 2)
    """
    net = as_network(net)
    units = tuple(dict.fromkeys(net.units(units)))
    scale = _finite(scale)
    edits = [Edit(unit, "times", scale) for unit in units]
    found = effect_of(
        net, pictures, edits, targets=targets, at=at, seed=seed, controls=controls, on_progress=on_progress
    )
    return Ablation(units=units, scale=scale, **found)


def _finite(scale: Any) -> float:
    try:
        value = float(scale)
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise LensError(f"scale is a finite number: 0 switches off, 1 changes nothing, 2 doubles; got {scale!r}.")
    return value
