"""Filters: the weights of a layer, as pictures."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from nn_lens.engine.network.network import Network, as_network, receptive_field
from nn_lens.engine.pictures.figures import map_figure
from nn_lens.engine.pictures.images import DIVERGING, colour_table, signed_levels
from nn_lens.engine.pictures.results import Result, tile_figure
from nn_lens.errors import LensError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclass(frozen=True, repr=False)
class Filters(Result):
    """The filters of one layer: `weights` (O,I,kH,kW) float32, (O,I,kL) of signals and (O,I,kD,kH,kW) of volumes;
    `reads_rgb` if they look at an RGB picture.
    """

    layer: str
    weights: np.ndarray
    reads_rgb: bool

    def images(self) -> np.ndarray:
        """uint8, one scale per filter, 128 = zero: (O,kH,kW,3) colours if the layer reads RGB, else (O,I,kH,kW) grey; as
        `weights` where these have fewer or more dimensions.
        """
        levels = signed_levels(self.weights, tuple(range(1, self.weights.ndim)))
        return levels.transpose(0, 2, 3, 1) if self.reads_rgb else levels

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        o, i, *kernel = self.weights.shape
        colour = "in colour" if self.reads_rgb else f"over {i} inputs"
        return f"{o} filters of {'x'.join(map(str, kernel))} of layer {self.layer}, {colour}"

    def figure(self) -> Figure:
        """A tile per filter: in colour, or its strongest input slice (blue negative, orange positive); of signals a curve, of
        volumes the middle slice.
        """
        images = self.images()
        if self.reads_rgb:
            return tile_figure(images, [str(c) for c in range(len(images))])
        strongest = np.abs(self.weights).reshape(*self.weights.shape[:2], -1).sum(2).argmax(1)
        titles = [f"{c} (input {i})" for c, i in enumerate(strongest)]
        chosen = np.arange(len(images)), strongest
        if self.weights.ndim != 4:
            return map_figure(self.weights[chosen], titles)
        return tile_figure(colour_table(DIVERGING)[images[chosen]], titles)


def filters(net: Network, layer: str) -> Filters:
    """The weights of a convolution (O,I,kH,kW), I = in_channels / groups, or of a linear layer (O,I,1,1).

    Raises:
        UnknownLayer: no such layer. LensError: it has no filters; names the nearest layer that has.

    >>> nl.filters(nl.demo(), "conv1")
    <48 filters of 9x9 of layer conv1, in colour>
    """
    net = as_network(net)
    own = net[layer]
    weights = _weights(net.module(layer))
    if weights is None:
        raise LensError(
            f"Layer {layer!r} ({own.kind}) has no filters; the nearest layer that has is {_nearest(net, layer)}."
        )
    reads_rgb = (
        weights.shape[1] == 3
        and net.input_shape[0] == 3
        and own.reason is None
        and receptive_field(net, layer).size == _extent(net.module(layer))
    )
    return Filters(layer, weights, reads_rgb)


def filter_shape(net: Network, layer: str) -> tuple[int, ...] | None:
    """(inputs, kH, kW) of one of the layer's filters, one or three sides of signals and volumes; None for a layer that
    `filters` refuses.
    """
    weights = _filters_first(net.module(layer), detailed=False)
    if weights is None:
        return None
    planes, *kernel = (int(n) for n in weights.shape[1:])
    return (planes, *(kernel or (1, 1)))


_CONVOLUTIONS = (nn.modules.conv._ConvNd, nn.modules.conv._ConvTransposeNd)


def _weight(module: nn.Module, detailed: bool = True) -> torch.Tensor | None:
    """The weight that a module works with, however it is kept: as a parameter, computed from others, or quantized."""
    weight = getattr(module, "weight", None)
    if callable(weight) and not isinstance(weight, torch.Tensor):  # of a quantized layer
        weight = weight()
    if not isinstance(weight, torch.Tensor):
        return None
    weight = weight.detach()
    return weight.dequantize() if weight.is_quantized and detailed else weight


def _is_weighted(module: nn.Module) -> bool:
    if isinstance(module, (*_CONVOLUTIONS, nn.Linear)):
        return True
    quantized = type(module).__module__.startswith(("torch.ao.nn", "torch.nn.quantized"))
    return (
        quantized and hasattr(module, "weight") and (hasattr(module, "kernel_size") or hasattr(module, "in_features"))
    )


def _filters_first(module: nn.Module, detailed: bool = True) -> torch.Tensor | None:
    """The weights with the filter's own index first; a transposed convolution stores it second, in each of its groups."""
    weight = _weight(module, detailed) if _is_weighted(module) else None
    if weight is None or not isinstance(module, nn.modules.conv._ConvTransposeNd):
        return weight
    groups = module.groups
    grouped = weight.reshape(groups, weight.shape[0] // groups, *weight.shape[1:])
    return grouped.transpose(1, 2).flatten(0, 1)


def _weights(module: nn.Module) -> np.ndarray | None:
    weight = _filters_first(module)
    if weight is None:
        return None
    weight = weight.float().cpu()
    if weight.ndim == 2:
        weight = weight[..., None, None]
    return np.ascontiguousarray(weight.numpy()).copy()


def _extent(module: nn.Module) -> tuple[int, ...]:
    if not isinstance(module, nn.Conv2d):
        return ()
    return tuple(d * (k - 1) + 1 for d, k in zip(module.dilation, module.kernel_size, strict=True))


def _nearest(net: Network, layer: str) -> str:
    """The layer with filters that is fewest layers away, and the last one before, whose numbers a unit works on."""
    names = [other.name for other in net.layers]
    here = names.index(layer)
    there = [i for i, name in enumerate(names) if _is_weighted(net.module(name))]
    if not there:
        return "none: this network has neither convolutions nor linear layers"
    near = min(there, key=lambda i: (abs(i - here), i))
    before = [i for i in there if i <= here][-1:]
    more = f", the last before it {names[before[0]]!r}" if before and before[0] != near else ""
    return f"{names[near]!r}{more}"
