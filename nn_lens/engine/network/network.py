"""A network as nn-lens sees it: its layers, what it reads, what its answers are called.

The model itself is never changed. Whoever runs it does so inside `network.evaluation()`, which puts
the model into eval mode with frozen weights, and leaves flags, weights and random state as they were.
"""

from __future__ import annotations

import copy
import hashlib
import math
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from nn_lens.engine.network import capture, memory_format, probing
from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.labels import class_index, labels_of
from nn_lens.engine.network.layer import Layer, layer_of
from nn_lens.engine.network.layouts import Layout
from nn_lens.engine.network.normalization import normalization_of
from nn_lens.engine.network.receptive_field import Fields, ReceptiveField
from nn_lens.engine.network.runner import Runner
from nn_lens.engine.pictures.picture import read_picture
from nn_lens.errors import LensError, NetworkError, UnknownLayer, UnknownUnit, nearest
from nn_lens.units import Direction, Unit, as_unit

_TOKEN = re.compile(r"^(.*)\[(\d+)\]$")
_NUMBERS = 1 << 24  # that the largest layer may answer with in a pass over pictures: 64 MiB in float32
_PICTURES = 32  # in a pass; of small ones, more would leave the processor's cache
_VECTORS = 256


class Network:
    """Any `nn.Module`, with its layer table, input specification and labels.

    Args:
        model: the module; never changed.
        input_shape: (C,H,W), or (F,) for vectors. None: tried from the first layer's channels at
            224, 299, 64, 32 and 28 pixels.
        normalize: None: the torchvision weights' own if the model carries them, else ImageNet's for
            3-channel inputs of torchvision classes, else none. False: none. Or (mean, std).
        labels: names of the outputs.

    Raises:
        NetworkError: no input shape fits, or the model fails in forward; says what was tried.

    >>> net = nl.Network(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.ReLU()), (3, 16, 24))
    >>> [(layer.name, layer.kind, layer.output_shape) for layer in net.layers]
    [('0', 'Conv2d', (4, 12, 20)), ('1', 'ReLU', (4, 12, 20))]
    """

    def __init__(
        self,
        model: nn.Module,
        input_shape: Sequence[int] | None = None,
        normalize: Any = None,
        labels: Sequence[str] | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise NetworkError(f"A Network is made of a torch.nn.Module, got a {type(model).__name__}.")
        self._runner = Runner(model)
        probe = probing.probe(self._runner, input_shape)
        self.input_shape, self.output_shape = probe.input_shape, probe.output_shape
        self._takes_channels_last = probe.takes_channels_last
        self._mean_std, self._said = normalization_of(model, self.input_shape, normalize)
        self._fields = Fields(self._runner, self.input_shape)
        self._layers = {
            seen.name: layer_of(seen, probing.BATCH, self.input_shape, self._fields)
            for seen in probe.seen
            if seen.output_shape is not None
        }
        self.labels = labels_of(model, labels, self.output_shape)
        self.samples: dict[str, Any] = {}
        self.dataset: Any = None  # what dataset examples are taken from where nobody says

    # ---- what it is made of ----

    @property
    def model(self) -> nn.Module:
        """The user's own module."""
        return self._runner.model

    @property
    def name(self) -> str:
        """The class of the model."""
        return self._runner.name

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return self._runner.device

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in the order of their first call in the forward pass."""
        return tuple(self._layers.values())

    def __getitem__(self, name: str) -> Layer:
        """The layer of that name.

        Raises:
            UnknownLayer: there is none; names the nearest.
        """
        try:
            return self._layers[name]
        except (KeyError, TypeError):
            pass
        names = list(self._layers)
        near = nearest(str(name), names) or names[:3]
        why = f"There is no layer {name!r}"
        if isinstance(name, str) and name and name in dict(self.model.named_modules()):
            why = f"Layer {name!r} is not called as a module in the forward pass, or gives no tensor"
        raise UnknownLayer(f"{why}. Nearest: {', '.join(near)}. `network.layers` lists all {len(names)}.")

    def module(self, name: str) -> nn.Module:
        """The module behind a layer."""
        return self.model.get_submodule(self[name].name)

    def unit(self, unit: Unit | str) -> Unit:
        """`unit` as a Unit that this network has.

        Raises:
            UnknownLayer, UnknownUnit: it does not have it; says what there is.
        """
        unit = as_unit(unit)
        layer = self[unit.layer]
        layout = layer.layout
        if unit.channel >= layout.channels:
            raise UnknownUnit(
                f"Layer {layer.name!r} has channels 0 to {layout.channels - 1}, not {unit.channel}; "
                f'the last is "{layer.name}:{layout.channels - 1}".'
            )
        if unit.place is not None and (unit.place[0] >= layout.grid[0] or unit.place[1] >= layout.grid[1]):
            raise UnknownUnit(
                f"A map of {layer.name!r} has {layout.grid[0]} rows and {layout.grid[1]} columns, "
                f"so row {unit.row}, column {unit.column} is outside; both count from 0."
            )
        return unit

    def direction(self, direction: Direction) -> Direction:
        """`direction`, if it has a number for each channel of its layer.

        Raises:
            UnknownLayer: no such layer. LensError: another length.
        """
        direction.require(self[direction.layer].layout.channels)
        return direction

    def units(self, asked: Any) -> tuple[Unit, ...]:
        """A unit or its text, or several, as Units that this network has; in order, repeated ones too.

        Raises:
            UnknownLayer, UnknownUnit: it does not have one of them. LensError: there are none.

        >>> nl.demo().units(["relu1:3", nl.Unit("relu2", 5)])
        (Unit(layer='relu1', channel=3, row=None, column=None), Unit(layer='relu2', channel=5, row=None, column=None))
        """
        return tuple(self.unit(entry) for entry in _several(asked))

    def units_and_directions(self, asked: Any, layers: bool = False) -> tuple[Unit | Direction, ...]:
        """As `units`, directions among them. layers: whether a layer's name stands for all its channels.

        Raises:
            UnknownLayer, UnknownUnit: it does not have one of them. LensError: there are none, or a direction that
            does not fit its layer.
        """
        read: list[Unit | Direction] = []
        for entry in _several(asked):
            if isinstance(entry, Direction):
                read.append(self.direction(entry))
            elif layers and isinstance(entry, str) and (entry in self._layers or ":" not in entry):
                read += [Unit(entry, channel) for channel in range(self[entry].layout.channels)]
            else:
                read.append(self.unit(entry))
        return tuple(read)

    # ---- what it reads and answers ----

    def picture(self, source: Any) -> torch.Tensor:
        """`source` as the network sees it, before normalization: float32 of `input_shape`, pictures in [0,1].

        Raises:
            PictureError: `source` is no picture.
        """
        return read_picture(source, self.input_shape)

    def normalized(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) in [0,1] -> what the model is fed, on its device and in its dtype; differentiable."""
        if self._mean_std is not None:
            mean, std = self._mean_std
            x = (x - mean.to(x.device)) / std.to(x.device)
        else:
            x = x.clone()  # a model may write on its input, which is the caller's
        return x.to(self._runner.device, self._runner.dtype)

    def scores(self, picture: Any) -> np.ndarray:
        """(classes,) float32 raw outputs of the model for one picture.

        Raises:
            PictureError: no picture. NetworkError: the model fails, or answers with something else.
        """
        x = self.picture(picture)[None]
        with self.evaluation(), torch.no_grad():
            answer = self.outputs(x, [""])[""]
        return as_numpy(answer[0, :, 0, 0])

    def predict(self, picture: Any, k: int = 5) -> list[tuple[str, float]]:
        """The `k` most probable classes, [(label, probability)], by softmax over the raw outputs.

        >>> net = nl.demo()
        >>> net.predict(net.samples["cat"], k=1)[0][0]
        'tabby cat'
        """
        scores = torch.from_numpy(self.scores(picture))
        values, indices = scores.softmax(0).topk(min(k, len(scores)))
        return [(self.label(int(i)), float(v)) for i, v in zip(indices, values, strict=True)]

    def label(self, index: int) -> str:
        """What output `index` is called."""
        return self.labels[index] if self.labels else f"class {index}"

    def class_index(self, target: Any) -> int:
        """The index of the class that `target`, an index or a label, is.

        Raises:
            LensError: there is no such class. NetworkError: the model does not answer with one score per class.

        >>> nl.demo().class_index("tabby cat")
        5
        """
        return class_index(target, self.labels, self._answer_layout.channels)

    def batch_size(self) -> int:
        """How many inputs go well in one pass without gradients: as many as keep the largest layer modest."""
        if len(self.input_shape) != 3:
            return _VECTORS
        largest = max((math.prod(layer.output_shape) for layer in self._layers.values()), default=1)
        return max(1, min(_PICTURES, _NUMBERS // max(1, largest)))

    def fingerprint(self) -> str:
        """A text that changes with the weights, the architecture and the normalization."""
        digest = hashlib.blake2b(digest_size=16)
        digest.update(f"{self.model}{self!r}".encode())
        for name, tensor in self.model.state_dict().items():
            if isinstance(tensor, torch.Tensor):
                value = tensor.detach().cpu().contiguous()
                digest.update(f"{name}{value.dtype}{tuple(value.shape)}".encode())
                digest.update(value.flatten().view(torch.uint8).numpy().data)
        return digest.hexdigest()

    # ---- running it without a trace ----

    def evaluation(self) -> AbstractContextManager[nn.Module]:
        """The model in eval mode with frozen weights, for this thread alone; all as before on the way out."""
        return self._runner.evaluation()

    def run(self, call: Callable[[], Any]) -> Any:
        """What `call` answers; an exception of the model becomes a NetworkError that quotes it."""
        return self._runner.run(call)

    def outputs(self, x: torch.Tensor, names: Sequence[str]) -> dict[str, torch.Tensor]:
        """(N,C,h,w) maps of the named layers for (N,C,H,W) pictures in [0,1], with their graph.

        The name "" stands for the model's own answer, (N,classes,1,1); "layer[0]" for the first of a layer's tokens
        that have no place, (N,C,1,1). To be called inside `evaluation()`. The forward stops at the last wanted layer.

        Raises:
            UnknownLayer: a layer that does not exist or cannot be shown. NetworkError: forward fails.
        """
        wanted = {name: self.layer_and_token(name) for name in names}
        layouts = {name: self[layer].layout if layer else self._answer_layout for name, (layer, _) in wanted.items()}
        layers = list(dict.fromkeys(layer for layer, _ in wanted.values()))
        answers = self.run(lambda: self._forward(self.normalized(x), layers))
        return {
            name: layouts[name].maps(answers[layer]) if token is None else layouts[name].token(answers[layer], token)
            for name, (layer, token) in wanted.items()
        }

    def layer_and_token(self, name: str) -> tuple[str, int | None]:
        """The layer and the token that "layer[2]" names, unless a layer is called that; of a plain name, no token."""
        match = None if not name or name in self._layers else _TOKEN.match(name)
        return (match[1], int(match[2])) if match else (name, None)

    @property
    def _answer_layout(self) -> Layout:
        shape = self.output_shape
        if shape is None or len(shape) != 2:
            raise NetworkError(f"{self.name} answers with {shape and shape[1:]}, not with one score per class.")
        return Layout("vector", shape[1], (1, 1))

    def frozen_copy(self) -> Network:
        """A copy that shares nothing with the model: eval mode, frozen; for a worker of its own.

        Raises:
            NetworkError: the model cannot be copied.
        """
        twin = copy.copy(self)
        twin._runner = self._runner.frozen_copy()
        twin._fields = self._fields.of_copy(twin._runner)
        twin._layers = {name: replace(layer, _fields=twin._fields) for name, layer in self._layers.items()}
        return twin

    # ---- private ----

    def _forward(self, x: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        weights = max((self._kernel_weights[layer] for layer in layers), default=0)
        side_by_side = self._takes_channels_last and memory_format.pays(weights, x)
        x = x.contiguous(memory_format=torch.channels_last if side_by_side else torch.contiguous_format)
        return capture.outputs(self.model, x, layers)

    @cached_property
    def _kernel_weights(self) -> dict[str, int]:
        """By layer, the weights of large kernels up to it; "" stands for the whole model."""
        counts = memory_format.kernel_weights(self.model.get_submodule(name) for name in self._layers)
        return dict(zip(self._layers, counts, strict=True)) | {"": counts[-1] if counts else 0}

    def __repr__(self) -> str:
        units = sum(layer.channels for layer in self._layers.values())
        return (
            f"Network({self.name}, input {self.input_shape}, {len(self._layers)} layers, {units} units, {self._said})"
        )


def as_network(value: Any) -> Network:
    """`value` if it is a Network.

    Raises:
        NetworkError: it is not; a model is to be wrapped once, since its layer table costs a forward pass.
    """
    if isinstance(value, Network):
        return value
    how = "wrap it once: net = nl.Network(model)" if isinstance(value, nn.Module) else "pass an nl.Network"
    raise NetworkError(f"Expected a Network, got a {type(value).__name__}; {how}.")


def receptive_field(net: Network, layer: str) -> ReceptiveField:
    """The theoretical receptive field of a layer's units; exact for convolutions, pooling and their branches.

    Raises:
        UnknownLayer: no such layer, or it cannot be shown.

    >>> field = nl.receptive_field(nl.demo(), "conv2")
    >>> field.size, field.stride, field.box(0, 0)
    ((13, 13), (2, 2), (0, 0, 7, 7))
    """
    asked = as_network(net)[layer]
    asked.require_shown()
    field = asked.receptive_field
    assert field is not None
    return field


def _several(asked: Any) -> list[Any]:
    """One or several of what can be addressed, as a list."""
    one = isinstance(asked, (str, Unit, Direction)) or not isinstance(asked, Iterable)
    several = [asked] if one else list(asked)
    if not several:
        raise LensError('The list of units is empty; pass a unit like "features.3:12", or a list of them.')
    return several
