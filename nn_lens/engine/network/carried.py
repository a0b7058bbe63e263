"""What a model carries of its own training: the input that it was made for, its normalization, names of its classes.

torchvision's weights, timm's `pretrained_cfg` and a Hugging Face `config` say so; they are read by their attributes, so
that none of these packages is needed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from nn_lens.engine.network.runner import unwrapped

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""(mean, std) per channel that ImageNet networks expect their [0,1] pictures to be normalized with."""

# Video networks of torchvision, whose weights say how clips are normalized, by their class.
_KINETICS = ((0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989))
_CLIPS = {"VideoResNet": _KINETICS, "S3D": _KINETICS, "MViT": ((0.45,) * 3, (0.225,) * 3)}


@dataclass(frozen=True)
class Carried:
    """`input_shape`, `mean_std` and `labels` as the model carries them, each None where it does not.

    `normalizes_itself`: the model normalizes inside. `source` says where it stands, `classes` whether the normalization
    is that of its class of networks rather than of its weights.
    """

    input_shape: tuple[int, ...] | None = None
    mean_std: tuple[Any, Any] | None = None
    labels: Any = None
    normalizes_itself: bool = False
    source: str = ""


def carried_by(model: nn.Module) -> Carried:
    """What the model carries, inside wrappers too."""
    model = unwrapped(model)
    for read in (_weights, _pretrained_cfg, _config):
        found = read(model)
        if found is not None:
            return found
    return _torchvision(model)


def _weights(model: Any) -> Carried | None:
    """Torchvision's weights, where the user has kept them as `model.weights`."""
    weights = getattr(model, "weights", None)
    transforms, meta = getattr(weights, "transforms", None), getattr(weights, "meta", None)
    if not callable(transforms) or not isinstance(meta, Mapping):
        return None
    own = transforms()
    sizes = getattr(own, "crop_size", None)
    size = tuple(sizes) * 2 if sizes is not None and len(sizes) == 1 else sizes
    mean = getattr(own, "mean", None)
    return Carried(
        None if size is None else (3, *map(int, size[:2])), None if mean is None else (mean, own.std),
        meta.get("categories"), mean is None and _detects(model), "its weights",
    )  # fmt: skip


def _pretrained_cfg(model: Any) -> Carried | None:
    config = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    if config is not None and not isinstance(config, Mapping) and hasattr(config, "to_dict"):
        config = config.to_dict()
    if not isinstance(config, Mapping) or "input_size" not in config:
        return None
    mean, std = config.get("mean"), config.get("std")
    return Carried(
        tuple(int(n) for n in config["input_size"]), None if mean is None or std is None else (mean, std),
        config.get("label_names"), False, "its pretrained_cfg",
    )  # fmt: skip


def _config(model: Any) -> Carried | None:
    config = getattr(model, "config", None)
    names = getattr(config, "id2label", None)
    if names is None and not hasattr(config, "image_size"):
        return None
    size = getattr(config, "image_size", None)
    sides = (size, size) if isinstance(size, int) else tuple(size) if isinstance(size, Sequence) else None
    shape = None if sides is None else (int(getattr(config, "num_channels", 3)), *map(int, sides))
    plain = isinstance(names, Mapping) and all(str(v) == f"LABEL_{k}" for k, v in names.items())
    return Carried(shape, None, None if plain else names, False, "its config")


def _torchvision(model: Any) -> Carried:
    """What is known of torchvision's classes of networks, whatever their weights."""
    module = type(model).__module__
    if not module.startswith("torchvision.models"):
        return Carried()
    if module.startswith("torchvision.models.video"):
        return Carried(mean_std=_CLIPS.get(type(model).__name__, IMAGENET), source="torchvision's video networks")
    if _detects(model) or module.startswith("torchvision.models.optical_flow"):
        return Carried(normalizes_itself=True, source="torchvision's networks of its kind")
    return Carried(mean_std=IMAGENET, source="ImageNet")


def _detects(model: Any) -> bool:
    return type(model).__module__.startswith("torchvision.models.detection")
