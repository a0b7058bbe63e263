"""How far random starts agree on what a unit looks for.

Reference: Erhan, Bengio, Courville and Vincent, 2009, "Visualizing higher-layer features of a deep network":
a maximizing image is worth as much as the agreement of the starts that lead to it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nn_lens.engine.maximizing.figure import inputs_figure
from nn_lens.engine.maximizing.maximize import Run
from nn_lens.engine.network.arrays import as_numpy, correlations
from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.pictures.results import Result
from nn_lens.errors import LensError
from nn_lens.units import Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Restarts(Result):
    """Maximizing images of one unit from several random starts.

    `images` (n,C,H,W) in [0,1], or (n,*canvas) of another `kind` of input, `activations` (n,). `agreement` 0 to 1: the mean pairwise correlation of what the
    layer's other channels answer, at the unit's place, to the pictures (negative counts as 0): 1 when all starts
    end in the same mixture of features. `picture_agreement` 0 to 1: the same of the pictures' pixels, which is
    lower, as a shifted or mirrored feature is another picture. `spread`: standard deviation of the activations
    over their mean, 0 when all starts reach the same.
    """

    unit: Unit
    images: np.ndarray
    activations: np.ndarray
    agreement: float
    picture_agreement: float
    spread: float
    kind: str = "picture"

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        return f"{len(self.images)} random starts for {self.unit}, agreement {self.agreement:.2f}"

    def figure(self) -> Figure:
        """A tile or panel per start, with its activation."""
        return inputs_figure(self.kind, self.images, [f"{a:.3g}" for a in self.activations], side=1.2)


def restarts(net: Network, unit: Unit | str, n: int = 9, *, steps: int | None = None) -> Restarts:
    """Maximizing images of `unit` from `n` random starts, and how far they agree.

    Start i is that of `maximize(net, unit, seed=i)`, but for units of a first layer, which start from noise here, and
    from their exact maximizer there. steps: as for `maximize`.

    Raises:
        LensError: n below 2, or a network of vectors.
        UnknownUnit: a unit that the network does not have.

    >>> found = nl.restarts(nl.demo(), "relu1:5", n=3, steps=4)
    >>> found.images.shape, 0 <= found.agreement <= 1
    ((3, 3, 25, 25), True)
    """
    run = start(net, unit, n, steps)
    for _ in run.steps():
        pass
    return evaluate(run)


def start(net: Network, unit: Unit | str, n: int, steps: int | None = None) -> Run:
    """The run of all starts at once, whose steps are still to be taken."""
    net = as_network(net)
    if not isinstance(n, int) or n < 2:
        raise LensError(f"n is a whole number of starts, 2 or more, got {n!r}.")
    if net.kind == "vector":
        raise LensError(
            "restarts compares what starts see at places of a picture, signal, volume or sequence; this network reads vectors, "
            "whose numbers all go to their ends."
        )
    return Run(net, [net.unit(unit)] * n, steps, range(n), exact=False)


def evaluate(run: Run) -> Restarts:
    """How far the starts of a run agree that has taken its steps."""
    net, unit, result = run.net, run.plan.unit(0), run.result()
    assert unit is not None
    neurons: tuple[Any, ...] = (slice(None), slice(None), *(unit.place or run.plan.centres[unit.layer]))
    with net.evaluation(), torch.no_grad():
        maps = net.outputs(torch.from_numpy(result.images), [unit.layer])[unit.layer]
    others = np.delete(as_numpy(maps[neurons]), unit.channel, axis=1)
    pictures = agreement(result.images.reshape(len(result.images), -1))
    layer = agreement(others) if others.shape[1] > 1 else pictures
    mean = float(np.abs(result.activations.mean()))
    spread = float(result.activations.std() / mean) if mean else 0.0
    return Restarts(unit, result.images, result.activations, layer, pictures, spread, net.kind)


def agreement(rows: np.ndarray) -> float:
    """Mean pairwise correlation of (n, numbers) rows, negative ones counted as 0; constant rows agree with none."""
    pairs = correlations(rows)[np.triu_indices(len(rows), 1)]
    return float(np.clip(pairs, 0, 1).mean())
