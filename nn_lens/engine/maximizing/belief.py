"""Deep belief networks: what a unit imagines when it is switched on and the rest may follow.

Reference: Erhan, Bengio, Courville and Vincent, 2009, section "sampling from a unit of a deep belief
network"; Hinton, Osindero and Teh, 2006, "A fast learning algorithm for deep belief nets".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from nn_lens.engine.maximizing.figure import inputs_figure
from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.pictures.results import Result
from nn_lens.errors import LensError
from nn_lens.units import Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class BeliefNetwork(nn.Module):
    """Stacked restricted Boltzmann machines as a network: pictures (N,C,H,W) in [0,1] -> probabilities of the top units.

    Its layers "hidden.0", "hidden.1" ... answer with the probability of each hidden unit, given the layer below.

    Args:
        machines: fitted scikit-learn BernoulliRBMs, the lowest first.
        shape: (C,H,W) of the pictures, or that of another kind of input in [0,1].
    """

    def __init__(self, machines: Sequence[Any], shape: tuple[int, ...]) -> None:
        super().__init__()
        self.shape = shape
        self.weights = nn.ParameterList([_tensor(m.components_) for m in machines])  # (hidden, visible)
        self.hidden_biases = nn.ParameterList([_tensor(m.intercept_hidden_) for m in machines])
        self.visible_biases = nn.ParameterList([_tensor(m.intercept_visible_) for m in machines])
        self.hidden = nn.ModuleList([nn.Sigmoid() for _ in machines])

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N, top) probabilities of the top units."""
        x = x.flatten(1)
        for weight, bias, squash in zip(self.weights, self.hidden_biases, self.hidden, strict=True):
            x = squash(x @ weight.T + bias)
        return x

    def down(self, level: int, hidden: torch.Tensor) -> torch.Tensor:
        """(N, visible) probabilities of the layer below level `level`, given its (N, hidden) states."""
        return torch.sigmoid(hidden @ self.weights[level] + self.visible_biases[level])

    def up(self, level: int, visible: torch.Tensor) -> torch.Tensor:
        """(N, hidden) probabilities of level `level`, given the (N, visible) states below it."""
        return torch.sigmoid(visible @ self.weights[level].T + self.hidden_biases[level])


@dataclass(frozen=True, repr=False)
class UnitSamples(Result):
    """Pictures sampled with a unit clamped on: (n,C,H,W) `images`, probabilities in [0,1], and their (C,H,W) `mean`."""

    unit: Unit
    images: np.ndarray
    sweeps: int
    kind: str = "picture"

    @property
    def mean(self) -> np.ndarray:
        """(C,H,W) mean of the samples, the expectation that Erhan et al. show."""
        mean: np.ndarray = self.images.mean(0)
        return mean

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        return (
            f"{len(self.images)} samples with {self.unit} clamped on, after {self.sweeps} Gibbs sweeps, and their mean"
        )

    def figure(self) -> Figure:
        """The mean, then a tile per sample."""
        tiles = np.concatenate([self.mean[None], self.images])
        return inputs_figure(self.kind, tiles, ["mean"] + [""] * len(self.images), side=0.8)


@torch.no_grad()
def sample_unit(net: Network, unit: Unit | str, *, n: int = 15, sweeps: int = 200, seed: int = 0) -> UnitSamples:
    """Pictures that a deep belief network imagines while one of its hidden units is on.

    The unit is clamped to 1, its machine runs `sweeps` alternations of Gibbs sampling between its two layers, and
    the layer below is carried down to the pixels, whose probabilities are the picture.

    Args:
        net: a Network of a `BeliefNetwork`, such as `nl.demo("belief")`.
        unit: of one of its layers "hidden.0", "hidden.1" ...
        n: how many pictures, each a Markov chain of its own.
        sweeps: of Gibbs sampling, 1 or more.
        seed: of the chains.

    Raises:
        LensError: another network or layer, or n or sweeps below 1.

    >>> found = nl.sample_unit(nl.demo("belief"), "hidden.1:3", n=4, sweeps=2)
    >>> found.images.shape, found.mean.shape
    ((4, 1, 8, 8), (1, 8, 8))
    """
    net = as_network(net)
    model = net.model
    if not isinstance(model, BeliefNetwork):
        raise LensError(f'sample_unit needs a deep belief network, such as nl.demo("belief"), not a {net.name}.')
    unit = net.unit(unit)
    names = [f"hidden.{i}" for i in range(len(model.hidden))]
    if unit.layer not in names:
        raise LensError(f"Units that can be clamped are those of {', '.join(names)}, not of {unit.layer!r}.")
    if n < 1 or sweeps < 1:
        raise LensError(f"n and sweeps are 1 or more, got {n} and {sweeps}.")
    level = names.index(unit.layer)
    g = torch.Generator().manual_seed(seed)

    def drawn(p: torch.Tensor) -> torch.Tensor:
        return (torch.rand(p.shape, generator=g) < p.cpu()).to(p)

    visible = torch.full((n, model.weights[level].shape[1]), 0.5, device=net.device)
    visible = drawn(visible)
    for _ in range(sweeps):
        hidden = drawn(model.up(level, visible))
        hidden[:, unit.channel] = 1
        below = model.down(level, hidden)
        visible = drawn(below)
    for lower in reversed(range(level)):
        below = model.down(lower, drawn(below))
    return UnitSamples(unit, as_numpy(below.reshape(n, *model.shape)), sweeps, net.kind)


def _tensor(values: np.ndarray) -> nn.Parameter:
    return nn.Parameter(torch.as_tensor(np.ascontiguousarray(values), dtype=torch.float32), requires_grad=False)
