"""A network as nn-lens sees it: its layers, what it reads, what its answers are called.

The model itself is never changed. Whoever runs it does so inside `network.evaluation()`, which puts
the model into eval mode with frozen weights, and leaves flags, weights and random state as they were.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from nn_lens.engine.network import batch_size, capture, memory_format, probing
from nn_lens.engine.network.answers import meaning
from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.carried import carried_by
from nn_lens.engine.network.fingerprint import fingerprint
from nn_lens.engine.network.labels import class_index, labels_of
from nn_lens.engine.network.layer import Layer, layer_of
from nn_lens.engine.network.layouts import Layout
from nn_lens.engine.network.normalization import normalization_of
from nn_lens.engine.network.receptive_field import Fields, ReceptiveField
from nn_lens.engine.network.runner import Runner
from nn_lens.engine.pictures.picture import read_picture
from nn_lens.errors import LensError, NetworkError, UnknownLayer, a_type, nearest
from nn_lens.units import Direction, Unit, as_unit

_TOKEN = re.compile(r"^(.*)\[(\d+)\]$")


class Network:
    """Any `nn.Module`, with its layer table, input specification and labels.

    Args:
        model: the module; never changed, not by the first look either.
        input_shape: (C,H,W), (C,L), (C,D,H,W), (T,F), or (F,) for vectors. None: as the model carries it, else tried
            from the first layer: pictures at 224, 299, 64, 32 and 28 pixels.
        normalize: None: the model's own if it carries one (torchvision's weights, timm's pretrained_cfg), else
            ImageNet's for 3-channel inputs of torchvision classes that do not normalize themselves, else none.
            False: none. Or (mean, std), or a Hugging Face processor.
        labels: names of the outputs: a sequence, a dictionary index -> name, or "imagenet". None: those that the model
            carries.
        kind: "picture" (C,H,W), "signal" (C,L), "volume" (C,D,H,W), "sequence" (T,F) or "vector" (F,); None: by the
            number of dimensions, of two by the first module.
        inputs: what makes the model's arguments of a batch x: a callable x -> one argument, a tuple of arguments or a
            dictionary of keyword arguments.
        output: which tensor of the model's answer is its answer: an index, key, attribute, a sequence of these, or a
            callable. None: the one called logits, else of those of (N,classes) the one that the last called module
            gave, else the first.
        output_kind: "logits", "logit" (one number, of a sigmoid), "multilabel", "probabilities", "values" or "dense"
            (N,classes,H,W); None: guessed from the shape and the answers to the first inputs.

    `repr` says what was guessed. `kind` is the kind of input, `output_kind` what the answer's numbers mean.

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
        labels: Any = None,
        *,
        kind: str | None = None,
        inputs: Callable[[torch.Tensor], Any] | None = None,
        output: Any = None,
        output_kind: str | None = None,
    ) -> None:
        if not isinstance(model, nn.Module):
            raise NetworkError(f"A Network is made of a torch.nn.Module, got {a_type(model)}.")
        if inputs is not None and not callable(inputs):
            raise NetworkError(f"inputs is a callable x -> the model's arguments, got {inputs!r}.")
        self._runner = Runner(model, inputs=inputs)
        own = carried_by(model)

        def prepare(kind: str, shape: tuple[int, ...]) -> Callable[[torch.Tensor], torch.Tensor]:
            self._mean_std, self._said = normalization_of(own, kind, shape, normalize)
            return self.normalized

        probe = probing.probe(self._runner, own, input_shape, kind, output, output_kind, prepare)
        self.kind, self.input_shape, self.output_shape = probe.kind, probe.input_shape, probe.answer_shape
        self.output_kind = probe.answer_kind
        self._runner.answer = probe.pick
        self._takes_channels_last, self._rows = probe.takes_channels_last, probe.rows
        self._own_layout, self._guessed = probe.answer_layout, probe.said
        self._fields = Fields(self._runner, self.input_shape, kind=self.kind)
        self._layers = {seen.name: layer_of(seen, layout, self._fields) for seen, layout in probe.layers}
        classes = None if probe.answer_kind is None or self._own_layout is None else self._own_layout.channels
        self.labels = labels_of(labels, own.labels, classes)
        self.samples: dict[str, Any] = {}
        self.dataset: Any = None  # what dataset examples are taken from where nobody says
        self.origin = ""  # where its weights are from, where it was loaded

    # ---- what it is made of ----

    @property
    def model(self) -> nn.Module:
        """The user's own module."""
        return self._runner.model

    @property
    def runner(self) -> Runner:
        """What runs the model."""
        return self._runner

    @property
    def name(self) -> str:
        """The class of the model."""
        return self._runner.name

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return self._runner.device

    @property
    def normalizes(self) -> bool:
        """Whether inputs are normalized before the model is fed."""
        return self._mean_std is not None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in the order of their first call in the forward pass."""
        return tuple(self._layers.values())

    def __getitem__(self, name: str) -> Layer:
        """The layer of that name.

        Raises:
            UnknownLayer: there is none; names the nearest.
        """
        if isinstance(name, str) and name in self._layers:
            return self._layers[name]
        names = list(self._layers)
        near = nearest(str(name), names) or names[:3]
        why = f"There is no layer {name!r}"
        if isinstance(name, str) and name and name in dict(self.model.named_modules()):
            why = f"Layer {name!r} is not called as a module in the forward pass, or gives no tensor"
        raise UnknownLayer(f"{why}. Nearest: {', '.join(near)}. `network.layers` lists all {len(names)}.")

    def module(self, name: str) -> nn.Module:
        """The module behind a layer."""
        return self._runner.module(self[name].name)

    def unit(self, unit: Unit | str) -> Unit:
        """`unit` as a Unit that this network has.

        Raises:
            UnknownLayer, UnknownUnit: it does not have it; says what there is.
        """
        unit = as_unit(unit)
        self[unit.layer].require_unit(unit)
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
        (Unit('relu1', 3), Unit('relu2', 5))
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
            PictureError: `source` is no picture, or was normalized already where this network normalizes.
        """
        return read_picture(source, self.input_shape, self.kind, self.normalizes)

    def normalized(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) in [0,1] -> what the model is fed, on its device and in its dtype; differentiable."""
        if self._mean_std is not None:
            mean, std = self._mean_std
            x = (x - mean.to(x.device)) / std.to(x.device)
        else:
            x = x.clone()  # a model may write on its input, which is the caller's
        return x.to(self._runner.device, self._runner.dtype)

    def scores(self, picture: Any) -> np.ndarray:
        """(classes,) float32 raw outputs of the model for one picture; of dense answers (classes,H,W).

        Raises:
            PictureError: no picture. NetworkError: the model fails, or answers with something else.
        """
        x = self.picture(picture)[None]
        with self.evaluation(), torch.no_grad():
            answer = self.outputs(x, [""])[""]
        return as_numpy(answer[0] if self.output_kind == "dense" else answer[0, :, 0, 0])

    def predict(self, picture: Any, k: int = 5) -> list[tuple[str, float]]:
        """The `k` classes with the largest values, [(label, value)], by what the answer means (`output_kind`).

        Probabilities, by softmax of logits and sigmoid of a logit or of several labels; numbers that are probabilities
        or values already as they are; of dense answers the share of places where a class wins.

        >>> net = nl.demo()
        >>> net.predict(net.samples["cat"], k=1)[0][0]
        'tabby cat'
        """
        meant = meaning(torch.from_numpy(self.scores(picture)), self.output_kind or "logits")
        values, indices = meant.topk(min(k, len(meant)))
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

    def batch_size(self, layers: Iterable[str] = ()) -> int:
        """How many inputs go well in one pass without gradients that keeps the answers of `layers`."""
        if self._rows == "one":
            return 1
        shapes = (layer.output_shape for layer in self._layers.values())
        kept = (self[name].output_shape for name in layers)
        return batch_size.modest(self.kind, self.input_shape, shapes, kept, self.device.type == "cuda")

    def fingerprint(self) -> str:
        """A text that changes with the weights, the architecture, the code of forward, what it reads besides, and the
        normalization.
        """
        return fingerprint(self.model, repr(self), self._mean_std, self._runner.inputs, self._runner.answer)

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

        def answer() -> dict[str, torch.Tensor]:
            answers = self._forward(self.normalized(x), layers)
            missing = [layer for layer in layers if layer not in answers]
            if missing:
                what = f"Layer {missing[0]!r}" if missing[0] else "The model"
                raise NetworkError(
                    f"{what} gave a tensor when the network was first looked at, and gives none now; make the nl.Network "
                    "anew where the model has changed."
                )
            return {
                name: layouts[name].maps(answers[layer])
                if token is None
                else layouts[name].token(answers[layer], token)
                for name, (layer, token) in wanted.items()
            }

        return self.run(answer)  # type: ignore[no-any-return]

    def layer_and_token(self, name: str) -> tuple[str, int | None]:
        """The layer and the token that "layer[2]" names, unless a layer is called that; of a plain name, no token."""
        match = None if not name or name in self._layers else _TOKEN.match(name)
        return (match[1], int(match[2])) if match else (name, None)

    @property
    def _answer_layout(self) -> Layout:
        if self._own_layout is None:
            shape = self.output_shape
            there = "no tensor" if shape is None else f"{shape[1:]}"
            raise NetworkError(
                f"{self.name} answers with {there}, not with one score per class. Units of its layers can be asked for "
                "all the same; or say which numbers of its answer are meant: nl.Network(model, ..., output=callable that "
                "makes (N,classes) of it)."
            )
        return self._own_layout

    def frozen_copy(self) -> Network:
        """A copy that shares nothing with the model: eval mode, frozen; for a worker of its own.

        Raises:
            NetworkError: the model cannot be copied.
        """
        twin = copy.copy(self)
        twin._runner = self._runner.frozen_copy()
        twin._runner.answer = self._runner.answer
        twin._fields = self._fields.of_copy(twin._runner)
        twin._layers = {name: replace(layer, _fields=twin._fields) for name, layer in self._layers.items()}
        return twin

    # ---- private ----

    def _forward(self, x: torch.Tensor, layers: Sequence[str]) -> dict[str, torch.Tensor]:
        if self._rows == "one" and len(x) > 1:
            return self._joined([self._forward(one[None], layers) for one in x])
        if self._rows == "two" and len(x) == 1:
            both = self._forward(torch.cat([x, x]), layers)
            return {name: t.narrow(self._batch_axis(name), 0, 1) for name, t in both.items()}
        weights = max((self._kernel_weights[layer] for layer in layers), default=0)
        side_by_side = self._takes_channels_last and memory_format.pays(weights, x)
        x = x.contiguous(memory_format=torch.channels_last if side_by_side else torch.contiguous_format)
        try:
            return capture.outputs(self._runner, x, layers)
        except torch.cuda.OutOfMemoryError:
            if len(x) == 1 or torch.is_grad_enabled():  # a graph would be kept of both halves
                raise
        return self._joined([self._forward(half, layers) for half in x.tensor_split(2)])

    def _joined(self, parts: Sequence[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return {name: torch.cat([part[name] for part in parts], self._batch_axis(name)) for name in parts[0]}

    def _batch_axis(self, layer: str) -> int:
        return self[layer].layout.batch_axis if layer else self._answer_layout.batch_axis

    @cached_property
    def _kernel_weights(self) -> dict[str, int]:
        """By layer, the weights of large kernels up to it; "" stands for the whole model."""
        counts = memory_format.kernel_weights(self._runner.module(name) for name in self._layers)
        return dict(zip(self._layers, counts, strict=True)) | {"": counts[-1] if counts else 0}

    def __repr__(self) -> str:
        units = sum(layer.channels for layer in self._layers.values())
        said = "; ".join(filter(None, (self._said, *self._guessed, self.origin)))
        return f"Network({self.name}, input {self.input_shape}, {len(self._layers)} layers, {units} units, {said})"


def as_network(value: Any) -> Network:
    """`value` if it is a Network.

    Raises:
        NetworkError: it is not; a model is to be wrapped once, since its layer table costs a forward pass.
    """
    if isinstance(value, Network):
        return value
    how = "wrap it once: net = nl.Network(model)" if isinstance(value, nn.Module) else "pass an nl.Network"
    raise NetworkError(f"Expected a Network, got {a_type(value)}; {how}.")


def receptive_field(net: Network, layer: str) -> ReceptiveField:
    """The theoretical receptive field of a layer's units; exact for convolutions, pooling and their branches.

    A normalization by the picture's own statistics (GroupNorm, InstanceNorm) counts as seeing its own place, as if its mean
    and deviation stood fixed; by these, any pixel moves any answer a little.

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
