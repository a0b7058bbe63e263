"""The network of an atlas: its layers, units and receptive fields, without the model and its weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import nn

from nn_lens.atlas.fields import StoredFields
from nn_lens.engine.network.layer import Layer
from nn_lens.engine.network.layouts import Layout
from nn_lens.engine.network.network import Network
from nn_lens.engine.pictures.samples import sample_pictures
from nn_lens.errors import LensError, UnknownLayer

ABSENT = "The atlas does not hold this: it takes the network itself. Where you have it, nl.Lens(net, atlas=atlas) shows both."


class StoredNetwork(Network):
    """What an atlas knows of its network. It reads and answers nothing: whatever takes the model says so."""

    def __init__(self, index: Mapping[str, Any], fields: Callable[[], StoredFields]) -> None:
        own = index["network"]
        self._own, self._fields_of = own, fields
        self.kind, self.input_shape = own["kind"], tuple(own["input_shape"])
        self.output_kind, self.output_shape = own["output_kind"], None
        self.labels = tuple(own["labels"]) if own["labels"] else None
        # Something to look at, so that each view says of itself that it takes the network.
        self.samples = dict(sample_pictures(self.input_shape)) if self.kind == "picture" else {}
        self.dataset = _NoPictures()
        self._mean_std = None
        self._filters = {entry["name"]: entry["filter"] for entry in index["layers"]}
        self._layers = {entry["name"]: self._layer(entry) for entry in index["layers"]}
        self._empty = nn.Module()

    def _layer(self, entry: Mapping[str, Any]) -> Layer:
        layout = Layout(**{**entry["layout"], "grid": tuple(entry["layout"]["grid"])})
        about = (entry["name"], entry["kind"], tuple(entry["output_shape"]), entry["channels"], entry["parameters"])
        return Layer(*about, _layout=layout, _fields=_Fields(self._fields_of))  # type: ignore[arg-type]

    @property
    def model(self) -> nn.Module:
        """A module without anything in it."""
        return self._empty

    @property
    def name(self) -> str:
        """The class of the model."""
        return str(self._own["name"])

    @property
    def device(self) -> torch.device:
        """The processor."""
        return torch.device("cpu")

    def __getitem__(self, name: str) -> Layer:
        """The layer of that name.

        Raises:
            UnknownLayer: the atlas holds none.
        """
        if name in self._layers:
            return self._layers[name]
        there = list(self._layers)
        more = f" and {len(there) - 8} more" if len(there) > 8 else ""
        raise UnknownLayer(f"The atlas holds no layer {name!r}; it holds {', '.join(there[:8])}{more}.")

    def module(self, name: str) -> nn.Module:
        """A module with weights of the shape that the layer's has, and no numbers in them."""
        shape = self._filters.get(self[name].name)
        if not shape:
            return nn.Identity()
        planes, *kernel = shape
        convolution = {1: nn.Conv1d, 2: nn.Conv2d, 3: nn.Conv3d}[len(kernel)]
        made: nn.Module = convolution(planes, self[name].channels, tuple(kernel), device="meta")  # type: ignore[arg-type]
        return made

    def picture(self, source: Any) -> torch.Tensor:
        """Raises LensError: no picture is of use."""
        raise LensError(ABSENT)

    def evaluation(self) -> AbstractContextManager[nn.Module]:
        """Raises LensError: there is no model."""
        raise LensError(ABSENT)

    def outputs(self, x: torch.Tensor, names: Sequence[str]) -> dict[str, torch.Tensor]:
        """Raises LensError: there is no model."""
        raise LensError(ABSENT)

    def fingerprint(self) -> str:
        """That of the network that the atlas was made of."""
        return str(self._own["fingerprint"])

    def frozen_copy(self) -> Network:
        """Itself: there is nothing that could change."""
        return self

    def __repr__(self) -> str:
        return str(self._own["said"])


class _Fields:
    """Receptive fields, read when the first is asked for."""

    def __init__(self, open_: Callable[[], StoredFields]) -> None:
        self._open = open_

    def of(self, layer: str, layout: Layout) -> Any:
        return self._open().of(layer, layout)


class _NoPictures(Sequence[Any]):
    """In place of the network's own pictures."""

    def __len__(self) -> int:
        raise LensError(ABSENT)

    def __getitem__(self, index: Any) -> Any:
        raise LensError(ABSENT)
