"""Networks for the tests: torchvision's with random weights, real ones from the material, and awkward little ones."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
import torchvision
from torch import nn

import nn_lens as nl


@cache
def torchvision_network(name: str) -> nl.Network:
    """alexnet, squeezenet1_1, resnet18 or vgg11 with random weights."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nl.Network(getattr(torchvision.models, name)(weights=None))


def squeezenet(material: Path, **options: Any) -> nl.Network:
    """SqueezeNet 1.1 with its ImageNet weights."""
    from safetensors.torch import load_file

    model = torchvision.models.squeezenet1_1()
    model.load_state_dict(
        {k: v.float() for k, v in load_file(material / "models" / "squeezenet1_1_torchvision.safetensors").items()}
    )
    return nl.Network(model.eval(), **options)


def material_network(material: Path, name: str, shape: tuple[int, ...], normalize: Any = False) -> nl.Network:
    """One of the material's own architectures with its weights."""
    from safetensors.torch import load_file

    sys.path.insert(0, str(material))
    try:
        import networks
    finally:
        sys.path.pop(0)
    make = {
        "cifar10_resnet20": lambda: networks.ResNetCifar(3),
        "mnist_cnn_kerasjs": networks.MnistCNN,
        "fashion_crp": networks.FashionCRP,
    }[name]
    model = make()
    model.load_state_dict({k: v.float() for k, v in load_file(material / "models" / f"{name}.safetensors").items()})
    return nl.Network(model.eval(), shape, normalize)


def small(channels: int = 3, side: tuple[int, int] = (20, 28), seed: int = 0) -> nl.Network:
    """Two convolutions, a pooling and a classifier; rows and columns differ, so that mixing them up shows."""
    torch.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(channels, 6, 5, stride=2, padding=1), nn.ReLU(inplace=True), nn.MaxPool2d(2),
        nn.Conv2d(6, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Dropout(0.5), nn.Linear(8, 4),
    )  # fmt: skip
    return nl.Network(model, (channels, *side), False)


class Functional(nn.Module):
    """Rectifies with functions, in place and as statements, and joins two branches."""

    def __init__(self) -> None:
        super().__init__()
        self.a = nn.Conv2d(3, 4, 3, padding=1)
        self.b = nn.Conv2d(3, 5, 1)
        self.c = nn.Conv2d(9, 7, 3)
        self.join = nn.Identity()
        self.last = nn.Identity()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        a = self.a(x)
        F.relu_(a)
        joined = self.join(torch.cat([a, F.relu(self.b(x))], 1))
        return self.last(F.max_pool2d(self.c(joined).clamp(min=0), 2)).mean((2, 3))


class Failing(nn.Module):
    """Works when its layers are listed, and fails afterwards."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.then = nn.ReLU()
        self.fails = False

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv(x)
        if self.fails:
            raise RuntimeError("the cable is out")
        return self.then(y).mean((2, 3))


def state(model: nn.Module) -> list[Any]:
    """Everything of a model that a call might leave changed."""
    hooks = [
        len(m._forward_hooks) + len(m._forward_pre_hooks) + len(m._backward_hooks) + len(m._backward_pre_hooks)
        for m in model.modules()
    ]
    weights = [
        (p.requires_grad, p.grad is None, p.dtype, p.device, p._version, p.data_ptr()) for p in model.parameters()
    ]
    values = [b.clone() for b in model.state_dict().values()]
    return [hooks, weights, [m.training for m in model.modules()], values, torch.get_rng_state()]


def same(a: Any, b: Any) -> bool:
    """Whether two states are equal."""
    if isinstance(a, torch.Tensor):
        return torch.equal(a, b)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))
    return bool(a == b)


class Closed(nn.Module):
    """No gradient comes to its input, but one to what is behind the closed part."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.then, self.head = nn.Conv2d(3, 5, 3), nn.Conv2d(5, 4, 3), nn.Linear(4, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            y = self.body(x)
        return self.head(self.then(y).relu().mean((2, 3)))
