"""`nl.load`: a checkpoint file as a Network, of which no code is run."""

from __future__ import annotations

import copy
import hashlib
import importlib
import inspect
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import nn

from nn_lens.engine.network.labels import labels_of
from nn_lens.engine.network.network import Network
from nn_lens.engine.pictures.files import name_of
from nn_lens.errors import LensError, a_type, one_line, quoted
from nn_lens.networks import architectures
from nn_lens.networks.architectures import Architecture, Difference, compare, shapes_of
from nn_lens.networks.state_dicts import StateDict, labels_in, readings, state_dict_in
from nn_lens.networks.weight_files import local_file, read_checkpoint

_FORM = '"package.module:builder"'


def load(path: Any, like: Any = None) -> Network:
    """A checkpoint as a Network, never running its code.

    What training loops put around and before weights is taken off: "state_dict", "model" and the like, averages (EMA)
    first; "module.", "model." and "_orig_mod." before names. `repr` says what was found. Names of classes that lie beside
    the weights are its labels; those of torchvision's own weights are known, with their normalization.

    Args:
        path: a .pt, .pth or .safetensors file: a path, a URL as fsspec opens them, bytes, or an open file.
        like: the architecture: a module, a class or function that makes one, or the text "package.module:builder" of
            such a function. A module is copied. What takes `num_classes` is made with as many as the weights have. None:
            the one of torchvision's architectures whose names and shapes match.

    Raises:
        LensError: no such file; one that is damaged, or would run code; weights that no architecture fits: names the
            nearest, and what differs.
        NetworkError: the model cannot be run; wrap it with what it reads: nl.Network(model, input_shape).

    >>> import io
    >>> file = io.BytesIO()
    >>> torch.save(torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.ReLU()).state_dict(), file)
    >>> net = nl.load(file.getvalue(), like=lambda: torch.nn.Sequential(torch.nn.Conv2d(3, 4, 5), torch.nn.ReLU()))
    >>> [layer.name for layer in net.layers]
    ['0', '1']
    """
    name = name_of(path)
    with local_file(path) as file:
        content, texts = read_checkpoint(file, name)
        state = state_dict_in(content, name)
        if state.labels is None and texts:
            state = replace(state, labels=_json_labels(texts))
        if like is not None:
            return _network(*_like(like, state, name), state)
        return _recognized(state, name, file)


# ---- torchvision's ----


def _recognized(state: StateDict, name: str, file: Path) -> Network:
    best = architectures.Found(())
    for reading in readings(replace(state, tensors=architectures.renamed(state.tensors))):
        found = architectures.find(reading.shapes, reading.metadata)
        if len(found.exact) > 1:
            raise LensError(
                f"{name} fits several architectures; say which: "
                + " or ".join(f"nl.load({name}, {a.line})" for a in found.exact)
            )
        if found.exact:
            architecture = found.exact[0]
            model = architecture.build()
            _fill(model, reading)
            return _torchvision_network(model, architecture, reading, file)
        if found.share > best.share:
            best = found
    near = (
        f" The nearest is {best.nearest}, which differs ({best.difference})." if best.nearest else " None comes near."
    )
    raise LensError(
        f"{name} holds weights ({len(state.tensors)} tensors: {', '.join(map(quoted, list(state.tensors)[:3]))} ...) and not "
        f"their architecture, and none of torchvision's fits.{near} Pass the module, or what makes it: "
        f"nl.load({name}, like=model) or like={_FORM}."
    )


def _torchvision_network(model: nn.Module, architecture: Architecture, state: StateDict, file: Path) -> Network:
    count = architecture.classes
    said = str(architecture) + ("" if count is None else f" with {count} classes")
    own = None if count is not None or state.said else _own_weights(architecture, file)
    if own is not None:
        model.weights = own  # as a model of torchvision that knows its weights
        said += f" {own.name}"
    net = _network(model, said, state)
    weights = architecture.weights
    if net.labels is None and own is None and count is None and weights is not None:
        net.labels = labels_of(None, weights.DEFAULT.meta.get("categories"), _classes(net))
        if net.labels:
            net.origin += ", classes named as in torchvision's weights"
    return net


def _own_weights(architecture: Architecture, file: Path) -> Any:
    """Which of torchvision's own weights a file is: their addresses end in the first digits of their digest."""
    there = list(architecture.weights or ())
    if not there:
        return None
    with file.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return next((w for w in there if w.url.rpartition("-")[2].partition(".")[0] == digest[:8]), None)


# ---- what the user says that it is ----


def _like(like: Any, state: StateDict, name: str) -> tuple[nn.Module, str]:
    """The module that `like` stands for with the weights, and how to say it."""
    make, said = _maker(like)
    model = make({})
    best: Difference | None = None
    for reading in readings(state):
        found = compare(reading.shapes, shapes_of(model))
        count = architectures.classes_of(found)
        if count is not None and _takes_classes(like):
            model, found = make({"num_classes": count}), Difference()
        try:
            _fill(model, reading)
        except RuntimeError:
            best = found if best is None or _size(found) < _size(best) else best
            continue
        return model.eval(), "; ".join((said, *reading.said))
    why = f": {best}" if best else ""
    raise LensError(f"The weights in {name} are not those of {said}{why}.")


def _maker(like: Any) -> tuple[Callable[[Mapping[str, Any]], nn.Module], str]:
    """What makes a module of keyword arguments, and what to call it."""
    if isinstance(like, Network):
        like = like.model
    if isinstance(like, nn.Module):
        return lambda _: _copied(like), type(like).__name__
    if isinstance(like, str):
        like = _imported(like)
    if not callable(like):
        raise LensError(f"like is a module, a class or function that makes one, or {_FORM}; got {a_type(like)}.")
    said = getattr(like, "__qualname__", type(like).__name__)

    def make(options: Mapping[str, Any]) -> nn.Module:
        try:
            with torch.random.fork_rng([]):
                made = like(**options)
        except Exception as error:
            raise LensError(
                f"{said}() cannot be made ({type(error).__name__}: {one_line(error)}). What needs arguments goes into a "
                f"function: nl.load(path, like=lambda: {said}(...))."
            ) from error
        if not isinstance(made, nn.Module):
            raise LensError(f"{said}() gives {a_type(made)}, not a torch.nn.Module.")
        return made

    return make, said


def _imported(text: str) -> Any:
    module, colon, path = text.partition(":")
    if not colon or not module or not path:
        raise LensError(f'like as text is {_FORM}, such as "torchvision.models:resnet18"; got {text!r}.')
    try:
        found: Any = importlib.import_module(module)
        for part in path.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever the module's own code raises
        raise LensError(f"{text!r} cannot be imported ({type(error).__name__}: {one_line(error)}).") from error
    return found


def _takes_classes(like: Any) -> bool:
    if isinstance(like, (nn.Module, Network)):
        return False
    try:
        builder = _imported(like) if isinstance(like, str) else like
        takes = inspect.signature(builder).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.name == "num_classes" or p.kind is p.VAR_KEYWORD for p in takes)


def _copied(model: nn.Module) -> nn.Module:
    try:
        return copy.deepcopy(model)
    except Exception as error:
        raise LensError(
            f"{type(model).__name__} cannot be copied ({one_line(error)}); pass what makes it: like=lambda: ..."
        ) from error


# ---- shared ----


def _fill(model: nn.Module, state: StateDict) -> None:
    """Gives a module the weights.

    Raises:
        RuntimeError: their names or shapes are others.
    """
    model.load_state_dict(architectures.with_metadata(state.tensors, state.metadata))


def _network(model: nn.Module, said: str, state: StateDict) -> Network:
    net = Network(model)
    net.origin = "; ".join(dict.fromkeys((f"weights of {said}", *state.said)))
    if state.labels is not None:
        try:
            net.labels = labels_of(None, state.labels, _classes(net)) or net.labels
        except LensError:
            net.origin += "; the names beside the weights are no names of its classes"
    return net


def _classes(net: Network) -> int | None:
    return None if net.output_shape is None else net.output_shape[1]


def _json_labels(texts: Mapping[str, str]) -> Any:
    """Names of classes in what a safetensors file says of itself, where all values are texts."""

    def read() -> Iterator[tuple[str, Any]]:
        for key, text in texts.items():
            try:
                yield key, json.loads(text)
            except (ValueError, RecursionError):
                continue

    return labels_in(dict(read()))


def _size(found: Difference) -> int:
    return len(found.missing) + len(found.unexpected) + len(found.shapes)
