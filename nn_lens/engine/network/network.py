"""A network as nn-lens sees it: its layers, what it reads, what its answers are called.

The model itself is never changed. Whoever runs it does so inside `network.evaluation()`, which puts
the model into eval mode with frozen weights, and leaves flags, weights and random state as they were.
"""

from __future__ import annotations

import copy
import hashlib
import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import nn

from nn_lens.engine.network import capture, memory_format
from nn_lens.engine.network.layouts import Layout, layout_of
from nn_lens.engine.pictures.picture import read_picture
from nn_lens.errors import LensError, NetworkError, UnknownLayer, UnknownUnit, nearest
from nn_lens.units import Unit, as_unit

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""(mean, std) per channel that ImageNet networks expect their [0,1] pictures to be normalized with."""

_TOKEN = re.compile(r"^(.*)\[(\d+)\]$")
_SIDES = (224, 299, 64, 32, 28)
_BATCH = 2  # the probing batch: more than 1, so that a layer that folds the batch away shows itself


@dataclass(frozen=True)
class Layer:
    """A named module's output.

    `output_shape` is without the batch; `channels` counts its units; `parameters` its numbers.
    `reason` says why the layer cannot be shown, None if it can.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    channels: int
    parameters: int
    reason: str | None = None
    _layout: Layout | None = field(default=None, repr=False, compare=False)
    _probe: Callable[[str], Any] | None = field(default=None, repr=False, compare=False)

    @property
    def receptive_field(self) -> Any:
        """The layer's `ReceptiveField`, found when first asked for; None for a layer that cannot be shown."""
        return None if self.reason or self._probe is None else self._probe(self.name)

    @property
    def layout(self) -> Layout:
        """Where rows, columns and channels of the output are.

        Raises:
            UnknownLayer: a layer that cannot be shown.
        """
        if self._layout is None:
            raise UnknownLayer(f"Layer {self.name!r} ({self.kind}) cannot be shown: {self.reason}.")
        return self._layout


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
        self.model = model
        self._lock = threading.RLock()
        self._fields: dict[str, Any] = {}
        self._is_copy = False
        first = next(model.parameters(), None)
        self._device = torch.device("cpu") if first is None else first.device
        self._dtype = torch.float32 if first is None or not first.is_floating_point() else first.dtype
        self.input_shape, seen, answer = self._probe_shape(input_shape)
        with self.evaluation(), torch.no_grad():
            self._takes_channels_last = memory_format.same_answer(model, self._probe(self.input_shape), answer)
        self._mean_std, self._said = _normalization(model, self.input_shape, normalize)
        self.output_shape = _first_tensor_shape(answer)
        self._layers = {s.name: self._layer(s) for s in seen if s.output_shape is not None}
        self.labels = _labels(model, labels, self.output_shape)
        self.samples: dict[str, Any] = {}
        self.dataset: Any = None  # what dataset examples are taken from where nobody says

    # ---- what it is made of ----

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The layers in the order of their first call in the forward pass."""
        return tuple(self[name] for name in self._layers)

    def __getitem__(self, name: str) -> Layer:
        """The layer of that name.

        Raises:
            UnknownLayer: there is none; names the nearest.
        """
        try:
            # It holds the network, and not the other way round: a network that nobody holds goes at once, with its weights.
            return replace(self._layers[name], _probe=self._field)
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
        return x.to(self._device, self._dtype)

    def scores(self, picture: Any) -> np.ndarray:
        """(classes,) float32 raw outputs of the model for one picture.

        Raises:
            PictureError: no picture. NetworkError: the model fails, or answers with something else.
        """
        x = self.picture(picture)[None]
        with self.evaluation(), torch.no_grad():
            answer = self.outputs(x, [""])[""]
        scores: np.ndarray = answer[0, :, 0, 0].float().cpu().numpy().copy()
        return scores

    def predict(self, picture: Any, k: int = 5) -> list[tuple[str, float]]:
        """The `k` most probable classes, [(label, probability)], by softmax over the raw outputs."""
        scores = torch.from_numpy(self.scores(picture))
        values, indices = scores.softmax(0).topk(min(k, len(scores)))
        return [(self.label(int(i)), float(v)) for i, v in zip(indices, values, strict=True)]

    def label(self, index: int) -> str:
        """What output `index` is called."""
        return self.labels[index] if self.labels else f"class {index}"

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

    @contextmanager
    def evaluation(self) -> Iterator[nn.Module]:
        """The model in eval mode with frozen weights, for this thread alone; all as before on the way out."""
        with self._lock:
            every = list(self.model.modules())
            modules = [m for m in every if m.training]
            weights = [p for m in every for p in m._parameters.values() if p is not None and p.requires_grad]
            devices = [self._device] if self._device.type == "cuda" else []
            # A copy works beside the user's training: to put back the generator that both draw from would rewind the other's.
            with nullcontext() if self._is_copy else torch.random.fork_rng(devices):
                try:
                    for m in modules:
                        m.training = False
                    for p in weights:
                        p.requires_grad_(False)
                    yield self.model
                finally:
                    for m in modules:
                        m.training = True
                    for p in weights:
                        p.requires_grad_(True)

    def run(self, call: Callable[[], Any]) -> Any:
        """What `call` answers; an exception of the model becomes a NetworkError that quotes it."""
        try:
            return call()
        except LensError:
            raise
        except Exception as error:
            raise NetworkError(f"{self.name} failed in forward: {type(error).__name__}: {_one_line(error)}") from error

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
        found = self.run(lambda: self._forward(self.normalized(x), layers))
        return {
            name: layouts[name].maps(found[layer]) if token is None else layouts[name].token(found[layer], token)
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
        try:
            model = copy.deepcopy(self.model)
        except Exception as error:
            raise NetworkError(f"{self.name} cannot be copied: {type(error).__name__}: {_one_line(error)}") from error
        model.eval().requires_grad_(False)
        twin = copy.copy(self)
        twin.model, twin._lock, twin._fields, twin._is_copy = model, threading.RLock(), dict(self._fields), True
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

    @property
    def name(self) -> str:
        """The class of the model."""
        return type(self.model).__name__

    @property
    def device(self) -> torch.device:
        """Where the model's weights are."""
        return self._device

    def _field(self, name: str) -> Any:
        from nn_lens.engine.network.receptive_field import receptive_field

        if name not in self._fields:
            self._fields[name] = receptive_field(self, name)
        return self._fields[name]

    def _layer(self, seen: capture.Seen) -> Layer:
        shape = seen.output_shape or ()
        layout = layout_of(seen.module, shape, _BATCH, self.input_shape)
        known = layout if isinstance(layout, Layout) else None
        return Layer(
            name=seen.name,
            kind=type(seen.module).__name__,
            output_shape=tuple(shape[1:]),
            channels=known.channels if known else 0,
            parameters=sum(p.numel() for p in seen.module.parameters()),
            reason=None if isinstance(layout, Layout) else layout,
            _layout=known,
        )

    def _probe(self, shape: tuple[int, ...]) -> torch.Tensor:
        return torch.full((_BATCH, *shape), 0.5, device=self._device, dtype=self._dtype)

    def _probe_shape(self, given: Sequence[int] | None) -> tuple[tuple[int, ...], list[capture.Seen], Any]:
        if given is not None and not isinstance(given, (tuple, list, torch.Size)):
            raise NetworkError(f"input_shape is (channels, height, width), or (numbers,) for vectors; got {given!r}.")
        shapes = [tuple(int(n) for n in given)] if given is not None else _candidate_shapes(self.model)
        tried = []
        for shape in shapes:
            try:
                with self.evaluation(), torch.no_grad():
                    seen, answer = capture.trace(self.model, self._probe(shape))
                return shape, seen, answer
            except Exception as error:
                tried.append(f"{shape}: {type(error).__name__}: {_one_line(error)}")
                cause = error
        if not tried:
            raise NetworkError(
                f"{self.name} has no convolution and no linear layer to tell what it reads; "
                "pass nl.Network(model, input_shape=(channels, height, width))."
            )
        if given is not None:
            raise NetworkError(
                f"{self.name} failed in forward on an input of (channels, height, width) = {tried[0]}"
            ) from cause
        raise NetworkError(
            f"{self.name} failed in forward on every input tried. "
            "Pass nl.Network(model, input_shape=(channels, height, width)). Tried " + "; ".join(tried)
        ) from cause

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


def _candidate_shapes(model: nn.Module) -> list[tuple[int, ...]]:
    for module in model.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            return [(module.in_channels, side, side) for side in _SIDES]
        if isinstance(module, nn.Linear):
            return [(module.in_features,)]
    return []


def _normalization(model: nn.Module, shape: tuple[int, ...], given: Any) -> tuple[Any, str]:
    """((1,C,1,1) mean, std) or None, and how to say it."""
    if given is False or (given is None and len(shape) != 3):
        return None, "no normalization"
    said = "normalized as given"
    if given is None:
        transforms = getattr(getattr(model, "weights", None), "transforms", None)
        own = transforms() if callable(transforms) else None
        if own is not None and getattr(own, "mean", None) is not None:
            given, said = (own.mean, own.std), "normalized as its weights say"
        elif type(model).__module__.startswith("torchvision.models") and shape[0] == 3:
            given, said = IMAGENET, "normalized as ImageNet"
        else:
            return None, "no normalization (pass normalize=nl.IMAGENET or (mean, std) if it was trained with one)"
    try:
        mean, std = (torch.as_tensor(v, dtype=torch.float32).flatten() for v in given)
    except (TypeError, ValueError):
        raise LensError(f"normalize is None, False, nl.IMAGENET or (mean, std), got {given!r}.") from None
    if {len(mean), len(std)} - {1, shape[0]} or bool((std == 0).any()):
        raise LensError(
            f"normalize needs a mean and a std other than 0 for each of {shape[0]} channels, got {given!r}."
        )
    view = (1, -1, 1, 1) if len(shape) == 3 else (1, -1)
    return (mean.view(view), std.view(view)), said


def _labels(model: nn.Module, given: Sequence[str] | None, shape: tuple[int, ...] | None) -> tuple[str, ...] | None:
    if given is None:
        meta = getattr(getattr(model, "weights", None), "meta", None) or {}
        given = meta.get("categories")
    if given is None:
        return None
    labels = tuple(str(label) for label in given)
    if shape is not None and len(shape) == 2 and len(labels) != shape[1]:
        raise LensError(f"The model answers with {shape[1]} classes, got {len(labels)} labels.")
    return labels


def _first_tensor_shape(answer: Any) -> tuple[int, ...] | None:
    tensor = capture.first_tensor(answer)
    return None if tensor is None else tuple(tensor.shape)


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 300 else text[:297] + "..."
