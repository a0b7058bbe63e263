"""Which of torchvision's architectures a state dict belongs to: built on the meta device, where weights take no memory."""

from __future__ import annotations

import inspect
import re
import warnings
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from nn_lens.errors import quoted

Shapes = Mapping[str, tuple[int, ...]]

_CLOSE = 0.5  # share of names and shapes in common from which an architecture is looked at more closely
_LOOKED_AT = 6
_FAMILIES = 3
_INCEPTIONS = ("googlenet", "inception_v3")
_HEADS = 8  # tensors, at most, that depend on the number of classes
# torchvision's DenseNets were saved before names might no longer hold these dots.
_DENSE = re.compile(r"^(.*denselayer\d+\.(?:norm|relu|conv))\.([12])\.(weight|bias|running_mean|running_var)$")


@dataclass(frozen=True)
class Difference:
    """How a state dict differs from a module: names that it lacks, names too many, and (name, its shape, wanted shape)."""

    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    shapes: tuple[tuple[str, tuple[int, ...], tuple[int, ...]], ...] = ()

    def __bool__(self) -> bool:
        return bool(self.missing or self.unexpected or self.shapes)

    def __str__(self) -> str:
        parts = [_listed("missing", self.missing), _listed("unexpected", self.unexpected)]
        parts.append(_listed("other shapes", [f"{n} {a} for {b}" for n, a, b in self.shapes]))
        return "; ".join(part for part in parts if part)


@dataclass(frozen=True)
class Architecture:
    """One of torchvision's builders with the options that its weights tell of."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def home(self) -> str:
        """The module of its builder."""
        from torchvision import models

        return str(models.get_model_builder(self.name).__module__)

    def with_classes(self, count: int) -> Architecture:
        """The same with another number of classes."""
        return replace(self, options=(*self.options, ("num_classes", count)))

    @property
    def classes(self) -> int | None:
        """The number of classes that it is built with; None: its own."""
        count: int | None = dict(self.options).get("num_classes")
        return count

    def build(self) -> nn.Module:
        """The module with new weights; nothing is downloaded."""
        return _build(self.name, dict(self.options))

    @property
    def weights(self) -> Any:
        """The enumeration of torchvision's own weights, None where it has none."""
        from torchvision import models

        try:
            return models.get_model_weights(self.name)
        except ValueError:
            return None

    @property
    def line(self) -> str:
        """What `like=` takes for it."""
        from torchvision import models

        builder: Any = models.get_model_builder(self.name)
        said = ", ".join(f"{n}={v!r}" for n, v in self.options)
        place = self.home
        for package in ("torchvision.models.segmentation", "torchvision.models.video", "torchvision.models"):
            if place.startswith(package + "."):
                place = package
        if not said:
            return f'like="{place}:{builder.__name__}"'
        return f"like=lambda: {place}.{builder.__name__}({said})"

    def __str__(self) -> str:
        return f"torchvision's {self.name}"


@dataclass(frozen=True)
class Found:
    """`exact`: the architectures whose names and shapes match; else `nearest`, how the weights differ from it, and the
    `share` of names and shapes in common, 0 to 2; None where there is not one that has half of the names.
    """

    exact: tuple[Architecture, ...]
    nearest: Architecture | None = None
    difference: Difference = field(default_factory=Difference)
    share: float = 0.0


def find(shapes: Shapes, metadata: Any = None) -> Found:
    """The architectures of torchvision that weights of these names and shapes fit."""
    near = [(architecture, _table(architecture)) for family in _families_near(shapes) for architecture in family]
    ranked = sorted(
        ((_share(shapes, t), _names_shared(shapes, t), -i, a) for i, (a, t) in enumerate(near)), reverse=True
    )
    exact: list[Architecture] = []
    nearest: tuple[Architecture, Difference] | None = None
    for share, names, _, architecture in ranked[:_LOOKED_AT]:
        if names < _CLOSE or (share < _CLOSE and nearest is not None):
            break
        fitted, difference = _fit(architecture, shapes, metadata)
        if not difference:
            exact.append(fitted)
        elif nearest is None:
            nearest = fitted, difference
    if exact or nearest is None:
        return Found(tuple(exact))
    return Found((), *nearest, sum(ranked[0][:2]))


def compare(shapes: Shapes, wanted: Shapes) -> Difference:
    """How weights of these names and shapes differ from those that are wanted."""
    other = tuple((n, s, wanted[n]) for n, s in shapes.items() if n in wanted and wanted[n] != s)
    missing = tuple(n for n in wanted if n not in shapes)
    return Difference(missing, tuple(n for n in shapes if n not in wanted), other)


def shapes_of(module: nn.Module) -> Shapes:
    """The shape of each tensor of a module's state."""
    return {name: tuple(t.shape) for name, t in module.state_dict().items() if isinstance(t, torch.Tensor)}


def with_metadata(tensors: Mapping[str, Any], metadata: Any) -> Any:
    """Weights as `load_state_dict` takes them, with the versions of modules that torch keeps beside them."""
    ordered: Any = OrderedDict(tensors)
    if isinstance(metadata, Mapping):
        ordered._metadata = dict(metadata)
    return ordered


def renamed(tensors: Mapping[str, Any]) -> dict[str, Any]:
    """Weights under the names that today's torchvision has for them."""
    return {_DENSE.sub(r"\1\2.\3", name): tensor for name, tensor in tensors.items()}


def classes_of(difference: Difference) -> int | None:
    """The number of classes of weights that differ from a module in that number alone; None where there is more to it."""
    if difference.missing or difference.unexpected or not 0 < len(difference.shapes) <= _HEADS:
        return None
    counts = {own[0] for _, own, _ in difference.shapes if own}
    same = all(own[1:] == wanted[1:] and own for _, own, wanted in difference.shapes)
    return counts.pop() if same and len(counts) == 1 else None


def _fit(architecture: Architecture, shapes: Shapes, metadata: Any) -> tuple[Architecture, Difference]:
    """The architecture with the number of classes that the weights have, and what still differs."""
    module = _build(architecture.name, dict(architecture.options), weightless=True)
    found = _difference(module, shapes, metadata)
    count = classes_of(found)
    if count is None:
        return architecture, found
    fitted = architecture.with_classes(count)
    try:
        module = _build(fitted.name, dict(fitted.options), weightless=True)
    except TypeError:  # a builder without that option
        return architecture, found
    return fitted, _difference(module, shapes, metadata)


def _difference(module: nn.Module, shapes: Shapes, metadata: Any) -> Difference:
    """As `compare`, with a module on the meta device, which knows what its weights were called formerly."""
    own = shapes_of(module)
    plain = compare(shapes, own)
    named = {n: torch.empty(own.get(n, s), device="meta") for n, s in shapes.items()}
    there = with_metadata(named, metadata)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loaded = module.load_state_dict(there, strict=False, assign=True)
    except (RuntimeError, TypeError, AttributeError):  # renamed ones of another shape, or metadata that are none
        return plain
    return Difference(tuple(loaded.missing_keys), tuple(loaded.unexpected_keys), plain.shapes)


def _families_near(shapes: Shapes) -> list[list[Architecture]]:
    """Architectures whose layers have such names; of each family one is built to see that."""
    families: dict[str, list[Architecture]] = {}
    for architecture in _architectures():
        families.setdefault(architecture.home, []).append(architecture)
    ranked = sorted(((_in_common(shapes, _table(f[0])), -i, f) for i, f in enumerate(families.values())), reverse=True)
    return [family for common, _, family in ranked[:_FAMILIES] if common]


@cache
def _table(architecture: Architecture) -> Shapes:
    """The names and shapes of an architecture's weights; none where it cannot be built without data."""
    try:
        return shapes_of(_build(architecture.name, dict(architecture.options), weightless=True))
    except Exception:  # a builder that others have registered
        return {}


def _architectures() -> Iterator[Architecture]:
    """Torchvision's networks that read pictures or clips and answer with classes, in each of their forms."""
    from torchvision import models

    for home in (models, models.segmentation, models.video):
        for name in models.list_models(module=home):
            takes = inspect.signature(models.get_model_builder(name)).parameters
            # torchvision's own weights of these two normalize once more inside.
            inner = (("transform_input", True),) if name in _INCEPTIONS else ()
            auxiliary = "aux_logits" if inner else "aux_loss" if "aux_loss" in takes else ""
            for form in (False, True) if auxiliary else (None,):
                yield Architecture(name, inner if form is None else (*inner, (auxiliary, form)))


def _build(name: str, options: dict[str, Any], weightless: bool = False) -> nn.Module:
    from torchvision import models

    builder: Callable[..., Any] = models.get_model_builder(name)
    takes = inspect.signature(builder).parameters
    nothing = {option: None for option in ("weights", "weights_backbone") if option in takes}
    if name in _INCEPTIONS:
        nothing["init_weights"] = False  # type: ignore[assignment]
    with torch.random.fork_rng([]), _Weightless() if weightless else nullcontext(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        module: nn.Module = builder(**nothing, **options)
    return module.eval()


class _Weightless(TorchFunctionMode):
    """Weights are made on the meta device, and what is computed on the way to them is not."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        given = dict(kwargs or {})
        if func in (torch.empty, torch.zeros, torch.ones) and given.get("device") is None:
            given["device"] = "meta"
        return func(*args, **given)


def _share(shapes: Shapes, other: Shapes) -> float:
    """How much of two tables of names and shapes is the same, 0 to 1."""
    both = sum(other.get(name) == shape for name, shape in shapes.items())
    return both / max(1, len(shapes) + len(other) - both)


def _names_shared(shapes: Shapes, other: Shapes) -> float:
    """How many of the names the other table has, too, 0 to 1."""
    return len(shapes.keys() & other.keys()) / max(1, len(shapes))


def _in_common(shapes: Shapes, other: Shapes) -> float:
    """How many of the names of two tables are the same, as a share of the smaller one."""
    return len(shapes.keys() & other.keys()) / max(1, min(len(shapes), len(other)))


def _listed(what: str, names: Any) -> str:
    if not names:
        return ""
    shown = ", ".join(quoted(n)[1:-1] for n in list(names)[:4])
    more = f" and {len(names) - 4} more" if len(names) > 4 else ""
    return f"{what}: {shown}{more}"
