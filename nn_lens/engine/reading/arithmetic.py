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
from torch.overrides import TorchFunctionMode

from nn_lens.engine.network import capture
from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.functions import name_of
from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.pictures.images import DIVERGING, colour_map
from nn_lens.engine.pictures.results import Result
from nn_lens.engine.reading.flow import is_leaf
from nn_lens.errors import LensError
from nn_lens.units import Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_SHOWN = 3  # input channels of a figure


@dataclass(frozen=True, repr=False)
class Arithmetic(Result):
    """How a neuron of a convolution comes to its answer: the sum of `window` times `kernel`, and the bias.

    `window`, `kernel`, `products` (I,kH,kW) float32, by input channel of its group, `inputs` (I,) their numbers;
    (I,kL) of signals and sequences, (I,kD,kH,kW) of volumes. The kernel is the one that the convolution was called with,
    which may be made from the weights that the layer holds. `sums` (I,) of the products; `bias`; `value`: all of it. `then`: (layer, answer) of the layers right behind that only
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
        """As `kernel`: what each weight contributes."""
        return np.asarray(self.window * self.kernel)

    @property
    def sums(self) -> np.ndarray:
        """(I,) what each input channel contributes."""
        return np.asarray(self.products.reshape(len(self.inputs), -1).sum(1, dtype=np.float64), np.float32)

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
        """The strongest inputs: window, kernel and products side by side, each on its own scale (blue negative, orange positive).

        Of a signal, they are one row high; of a volume, their middle slices are shown.
        """
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
                axes.imshow(_plane(values), cmap=colour_map(DIVERGING), vmin=-most, vmax=most)
                axes.set_title(title, fontsize=7)
                axes.set_axis_off()
        figure.suptitle(f"{self.unit} = {self.value:.4g}", fontsize=8)
        return figure


def _plane(values: np.ndarray) -> np.ndarray:
    """(rows, columns) of what has 1 to 3 dimensions."""
    return values[None] if values.ndim == 1 else values[len(values) // 2] if values.ndim == 3 else values


def arithmetic(net: Network, picture: Any, unit: Unit | str) -> Arithmetic:
    """How one neuron of a convolution comes to its answer to a picture.

    Args:
        net: the network.
        picture: any that `nl.activations` takes.
        unit: a neuron, "conv1:3@4,5", of a convolution, or of a layer right behind one that keeps its channels and places
            (a normalization, a rectifier).

    Raises:
        LensError: a unit without a place, a layer that no convolution stands right before, or a convolution that does
            more than multiply and add up.

    >>> net = nl.demo()
    >>> sums = nl.arithmetic(net, net.samples["cat"], "relu1:3@10,12")
    >>> str(sums.unit), sums.window.shape, [layer for layer, _ in sums.then]
    ('conv1:3@10,12', (3, 9, 9), ['norm1', 'relu1'])
    """
    net = as_network(net)
    neuron = net.unit(unit)
    if neuron.place is None:
        place = ",".join("0" for _ in net[neuron.layer].layout.grid)
        raise LensError(f'{neuron} is a whole map; name one neuron of it, such as "{neuron}@{place}".')
    x = net.picture(picture)[None]
    with net.evaluation(), torch.no_grad():
        calls = _convolutions(net, x, neuron.layer)
        source, behind = _convolution(net, neuron.layer, calls)
        outputs = net.outputs(x, [source, *behind])
    inputs, window, kernel, bias = _multiplied(calls[source], neuron.channel, neuron.place)
    value, *then = (float(outputs[name][(0, neuron.channel, *neuron.place)]) for name in (source, *behind))
    products = window.cpu().double() * kernel.cpu().double()
    total = float(products.sum()) + bias
    if abs(total - value) > _tolerance(kernel.dtype) * (float(products.abs().sum()) + abs(bias) + 1e-3):
        raise LensError(
            f"Layer {source!r} does more than a convolution's products: they and the bias add up to {total:.4g}, and it "
            f'answers {value:.4g}; its answers are those of nl.activations(net, picture, "{source}").'
        )
    return Arithmetic(
        Unit(source, neuron.channel, *neuron.place), inputs, as_numpy(window), as_numpy(kernel), bias, value,
        tuple(zip(behind, then, strict=True)),
    )  # fmt: skip


@dataclass(frozen=True)
class _Call:
    """What a convolution was called with; `padding` (dimensions, 2) zeros before and behind."""

    input: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor | None
    stride: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]
    dilation: tuple[int, ...]
    groups: int


class _Calls(TorchFunctionMode):
    """Notes the last convolution that was called, `made` its answer."""

    def __init__(self) -> None:
        super().__init__()
        self.last: _Call | None = None
        self.made: torch.Tensor | None = None

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        if name_of(func) in ("conv1d", "conv2d", "conv3d"):
            self.last, self.made = _call(*args, **(kwargs or {})), answer
        return answer


def _call(
    input: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor | None = None, stride: Any = 1, padding: Any = 0,
    dilation: Any = 1, groups: int = 1,
) -> _Call:  # fmt: skip
    """A convolution's arguments, as torch has them, one number for each dimension."""
    size = weight.shape[2:]
    stride, dilation = (_each(value, len(size)) for value in (stride, dilation))
    if padding == "same":
        whole = [d * (k - 1) for d, k in zip(dilation, size, strict=True)]
        sides = tuple((n // 2, n - n // 2) for n in whole)
    else:
        sides = tuple((n, n) for n in _each(0 if padding == "valid" else padding, len(size)))
    return _Call(input, weight, bias, stride, sides, dilation, groups)


def _each(value: Any, dimensions: int) -> tuple[int, ...]:
    values = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    return values * dimensions if len(values) == 1 else values


def _convolutions(net: Network, x: torch.Tensor, layer: str) -> dict[str, _Call]:
    """By layer, up to `layer`: the last convolution that it called."""
    found: dict[str, _Call] = {}
    calls = _Calls()

    def answered(name: str, output: torch.Tensor) -> None:
        module = net.module(name)
        if not is_leaf(module):
            return
        own = isinstance(module, _CONVOLUTIONS) or any(p.ndim > 2 for p in module.parameters())
        if calls.last is not None and (own or output is calls.made):
            found[name] = calls.last
        calls.last = calls.made = None

    with calls:
        net.run(lambda: capture.follow(net.runner, net.normalized(x), layer, answered))
    return found


def _multiplied(
    call: _Call, channel: int, place: tuple[int, ...]
) -> tuple[np.ndarray, torch.Tensor, torch.Tensor, float]:
    """The numbers of the inputs that a neuron reads, their window, its kernel and bias."""
    own = call.weight.shape[1]
    group = channel // (len(call.weight) // call.groups)
    inputs = np.arange(group * own, (group + 1) * own)
    pads = [n for sides in reversed(call.padding) for n in sides]
    window = F.pad(call.input[0, inputs[0] : inputs[-1] + 1], pads)
    for axis, (k, d, s, i) in enumerate(zip(call.weight.shape[2:], call.dilation, call.stride, place, strict=True)):
        window = window.index_select(axis + 1, (torch.arange(k) * d + s * i).to(window.device))
    bias = 0.0 if call.bias is None else float(call.bias[channel].detach())
    return inputs, window.detach(), call.weight[channel].detach(), bias


def _tolerance(dtype: torch.dtype) -> float:
    """How much of what is added up may be lost in rounding."""
    return 1e-4 if dtype in (torch.float32, torch.float64) else 3e-2


def _convolution(net: Network, layer: str, calls: dict[str, _Call]) -> tuple[str, list[str]]:
    """The convolution that makes a layer's numbers, and the layers behind it that only change them, up to `layer` at least."""
    names = [one.name for one in net.layers if is_leaf(net.module(one.name))]
    if layer in names:
        behind: list[str] = []
        for i in range(names.index(layer), -1, -1):
            if names[i] in calls:
                for j in range(names.index(layer) + 1, len(names)):
                    if not _keeps(net.module(names[j])):
                        break
                    behind.append(names[j])
                return names[i], behind
            if not _keeps(net.module(names[i])):
                break
            behind.insert(0, names[i])
    raise LensError(f"Layer {layer!r} is no convolution, and none stands right before it.")


_CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d)


def _keeps(module: nn.Module) -> bool:
    """Whether a module answers each number with another, at the same place."""
    kinds = nn.modules.batchnorm._BatchNorm, nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.SiLU, nn.GELU, nn.Sigmoid, nn.Tanh
    return isinstance(module, (*kinds, nn.ELU, nn.Hardswish, nn.Identity, nn.Dropout))


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
