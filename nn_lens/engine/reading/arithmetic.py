"""The multiplication behind one number: what a convolution's kernel meets in its window, product by product.

Reference: Wang et al., 2020, "CNN Explainer", whose formula view shows it for a network of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from nn_lens.engine.network import capture
from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.pictures.images import DIVERGING, colour_map
from nn_lens.engine.pictures.results import Result
from nn_lens.errors import LensError
from nn_lens.units import Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 3  # input channels of a figure


@dataclass(frozen=True, repr=False)
class Arithmetic(Result):
    """How a neuron of a convolution comes to its answer: the sum of `window` times `kernel`, and the bias.

    `window`, `kernel`, `products` (I,kH,kW) float32, by input channel of its group, `inputs` (I,) their numbers;
    `sums` (I,) of the products; `bias`; `value`: all of it. `then`: (layer, answer) of the layers right behind that only
    change the number, such as a normalization and a rectifier.
    """

    unit: Unit
    inputs: np.ndarray
    window: np.ndarray
    kernel: np.ndarray
    bias: float
    value: float
    then: tuple[tuple[str, float], ...]

    @property
    def products(self) -> np.ndarray:
        """(I,kH,kW) what each weight contributes."""
        return np.asarray(self.window * self.kernel)

    @property
    def sums(self) -> np.ndarray:
        """(I,) what each input channel contributes."""
        return np.asarray(self.products.sum((1, 2), dtype=np.float64), np.float32)

    @property
    def strongest(self) -> np.ndarray:
        """(I,) rows of `inputs`, the one that contributes most in size first."""
        return np.argsort(-np.abs(self.sums), kind="stable")

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        first = self.strongest[0]
        then = "".join(f", {value:.4g} after {layer}" for layer, value in self.then)
        return (
            f"{self.unit} is {self.value:.4g}: {len(self.inputs)} inputs, of which {self.inputs[first]} gives "
            f"{self.sums[first]:.4g}, and the bias {self.bias:.4g}{then}"
        )

    def figure(self) -> Figure:
        """The strongest inputs: window, kernel and products side by side, each on its own scale (blue negative, orange positive)."""
        from matplotlib.figure import Figure

        rows = self.strongest[:_SHOWN]
        figure = Figure(figsize=(5, 1.7 * len(rows) + 0.3))
        for r, row in enumerate(rows):
            parts = (self.window[row], f"input {self.inputs[row]}"), (self.kernel[row], "x kernel"), (
                self.products[row], f"= {self.sums[row]:.3g}",
            )  # fmt: skip
            for c, (values, title) in enumerate(parts):
                axes = figure.add_subplot(len(rows), 3, 3 * r + c + 1)
                most = float(np.abs(values).max()) or 1
                axes.imshow(values, cmap=colour_map(DIVERGING), vmin=-most, vmax=most)
                axes.set_title(title, fontsize=7)
                axes.set_axis_off()
        figure.suptitle(f"{self.unit} = {self.value:.4g}", fontsize=8)
        return figure


def arithmetic(net: Network, picture: Any, unit: Unit | str) -> Arithmetic:
    """How one neuron of a convolution comes to its answer to a picture.

    Args:
        net: the network.
        picture: any that `nl.activations` takes.
        unit: a neuron, "conv1:3@4,5", of a convolution, or of a layer right behind one that keeps its channels and places
            (a normalization, a rectifier).

    Raises:
        LensError: a unit without a place, or a layer that no convolution stands right before.

    >>> net = nl.demo()
    >>> sums = nl.arithmetic(net, net.samples["cat"], "relu1:3@10,12")
    >>> str(sums.unit), sums.window.shape, [layer for layer, _ in sums.then]
    ('conv1:3@10,12', (3, 9, 9), ['norm1', 'relu1'])
    """
    net = as_network(net)
    neuron = net.unit(unit)
    if neuron.place is None:
        raise LensError(f'{neuron} is a whole map; name one neuron of it, such as "{neuron}@0,0".')
    source, behind = _convolution(net, neuron.layer)
    conv: Any = net.module(source)
    x = net.picture(picture)[None]
    with net.evaluation(), torch.no_grad():
        fed = net.run(lambda: capture.input_of(net.model, net.normalized(x), source))
        outputs = net.outputs(x, [source, *behind])
        padded = _pad(conv, fed)
    row, column = neuron.place
    group = neuron.channel // (conv.out_channels // conv.groups)
    own = conv.in_channels // conv.groups
    inputs = np.arange(group * own, (group + 1) * own)
    at = [
        torch.arange(k) * d + s * i
        for k, d, s, i in zip(conv.kernel_size, conv.dilation, conv.stride, (row, column), strict=True)
    ]
    window = padded[0, inputs[0] : inputs[-1] + 1][:, at[0]][:, :, at[1]]
    value, *then = (float(outputs[name][0, neuron.channel, row, column]) for name in (source, *behind))
    return Arithmetic(
        Unit(source, neuron.channel, row, column), inputs, as_numpy(window), as_numpy(conv.weight[neuron.channel]),
        0.0 if conv.bias is None else float(conv.bias[neuron.channel].detach()), value, tuple(zip(behind, then, strict=True)),
    )  # fmt: skip


def _convolution(net: Network, layer: str) -> tuple[str, list[str]]:
    """The convolution that makes a layer's numbers, and the layers behind it that only change them, up to `layer` at least."""
    names = [one.name for one in net.layers if not any(net.module(one.name).children())]
    if layer in names:
        behind: list[str] = []
        for i in range(names.index(layer), -1, -1):
            if isinstance(net.module(names[i]), nn.Conv2d):
                for j in range(names.index(layer) + 1, len(names)):
                    if not _keeps(net.module(names[j])):
                        break
                    behind.append(names[j])
                return names[i], behind
            if not _keeps(net.module(names[i])):
                break
            behind.insert(0, names[i])
    raise LensError(f"Layer {layer!r} is no convolution, and none stands right before it.")


def _keeps(module: nn.Module) -> bool:
    """Whether a module answers each number with another, at the same place."""
    kinds = nn.modules.batchnorm._BatchNorm, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Sigmoid, nn.Tanh
    return isinstance(module, (*kinds, nn.ELU, nn.Hardswish, nn.Identity, nn.Dropout))


def _pad(conv: Any, x: torch.Tensor) -> torch.Tensor:
    mode = "constant" if conv.padding_mode == "zeros" else conv.padding_mode
    return F.pad(x, conv._reversed_padding_repeated_twice, mode)


def correlated(
    picture: np.ndarray, kernel: np.ndarray, stride: int = 1, padding: int = 0, rectified: bool = False
) -> np.ndarray:
    """(h,w) float32 answers of a kernel that slides over a picture, as a convolution layer gives them.

    Args:
        picture: (H,W), grey.
        kernel: (kH,kW); it is not mirrored (`scipy.ndimage.correlate`).
        stride: pixels from place to place, in both directions.
        padding: zeros around the picture.
        rectified: whether answers below 0 become 0.

    Raises:
        LensError: a kernel that is larger than the padded picture, or numbers that are none.

    >>> nl.correlated([[0, 0, 1, 1]], [[-1, 1]])
    array([[0., 1., 0.]], dtype=float32)
    """
    image, weights = np.asarray(picture, np.float32), np.asarray(kernel, np.float32)
    if image.ndim != 2 or weights.ndim != 2:
        raise LensError(f"A kernel slides over one channel: (H,W) and (kH,kW), got {image.shape} and {weights.shape}.")
    if not np.isfinite(weights).all():
        raise LensError("A kernel holds finite numbers.")
    if stride < 1 or padding < 0:
        raise LensError(f"stride is 1 or more and padding 0 or more, got {stride} and {padding}.")
    if any(k > n + 2 * padding for k, n in zip(weights.shape, image.shape, strict=True)):
        raise LensError(
            f"A kernel of {weights.shape} is larger than the picture, {image.shape} with padding {padding}."
        )
    x = torch.from_numpy(np.ascontiguousarray(image))[None, None]
    answers = F.conv2d(x, torch.from_numpy(weights)[None, None], stride=stride, padding=padding)[0, 0]
    return np.asarray((answers.relu() if rectified else answers).numpy())
