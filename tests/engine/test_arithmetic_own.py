"""The multiplication behind a number of convolutions that work on their weights, or read signals and volumes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nn_lens as nl


class Standardized(nn.Conv2d):
    def own(self) -> torch.Tensor:
        w = self.weight
        return (w - w.mean((1, 2, 3), keepdim=True)) / (w.std((1, 2, 3), keepdim=True) + 1e-5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.own(), self.bias, self.stride, self.padding, self.dilation, self.groups)


class Masked(nn.Conv2d):
    def own(self) -> torch.Tensor:
        mask = torch.ones(self.kernel_size)
        mask[1:] = 0
        return self.weight * mask

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(input=x, weight=self.own(), bias=self.bias, padding=self.padding)


class Equalized(nn.Module):
    """No convolution by its class, and its weights are scaled when they are used."""

    def __init__(self, inputs: int, outputs: int, size: int) -> None:
        super().__init__()
        self.weight, self.bias = (
            nn.Parameter(torch.randn(outputs, inputs, size, size)),
            nn.Parameter(torch.randn(outputs)),
        )

    def own(self) -> torch.Tensor:
        return self.weight * (2 / self.weight[0].numel()) ** 0.5

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(x, self.own(), self.bias)


class Same(nn.Conv2d):
    """As in TensorFlow: more is added behind than before."""

    def own(self) -> torch.Tensor:
        return self.weight

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return F.conv2d(F.pad(x, (0, 1, 0, 1)), self.weight, self.bias, stride=2)


class Doubled(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return 2 * super().forward(x)


def plain(conv: nn.Module) -> nn.Module:
    conv.own = lambda: conv.weight
    return conv


def spectral(conv: nn.Module) -> nn.Module:
    return plain(nn.utils.parametrizations.spectral_norm(conv))


KINDS: dict[str, Callable[[], nn.Module]] = {
    "standardized": lambda: Standardized(5, 6, 3, stride=2, padding=1),
    "masked": lambda: Masked(5, 6, 3, padding=1),
    "equalized": lambda: Equalized(5, 6, 3),
    "same": lambda: Same(5, 6, 3, stride=2),
    "weight norm": lambda: plain(nn.utils.parametrizations.weight_norm(nn.Conv2d(5, 6, 3))),
    "spectral norm": lambda: spectral(nn.Conv2d(5, 6, 3)),
    "even kernel": lambda: plain(nn.Conv2d(5, 6, 4, padding="same")),
}


def network(conv: nn.Module) -> nl.Network:
    model = nn.Sequential(
        nn.Conv2d(3, 5, 3), nn.ReLU(inplace=True), conv, nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(6, 4),
    )  # fmt: skip
    return nl.Network(model.eval(), (3, 16, 17), False)


@pytest.mark.parametrize("name", KINDS)
def test_the_kernel_is_the_one_that_was_used(name):
    torch.manual_seed(0)
    net = network(KINDS[name]())
    conv, picture = net.model[2], torch.rand(3, 16, 17)
    with torch.no_grad():
        answers = net.model[:3](picture[None])[0]
    for place in ((0, 0), (3, 2), (answers.shape[1] - 1, answers.shape[2] - 1)):
        found = nl.arithmetic(net, picture, nl.Unit("3", 1, *place))
        assert found.value == pytest.approx(float(answers[(1, *place)]), abs=1e-5)
        assert found.sums.sum() + found.bias == pytest.approx(found.value, abs=1e-5)
        np.testing.assert_allclose(found.kernel, conv.own()[1].detach(), rtol=1e-6)
        assert str(found.unit).startswith("2:1@")


@pytest.mark.parametrize("dimensions", [1, 3])
def test_signals_and_volumes(dimensions):
    torch.manual_seed(0)
    conv, pool = ((nn.Conv1d, nn.AdaptiveAvgPool1d), None, (nn.Conv3d, nn.AdaptiveAvgPool3d))[dimensions - 1]
    second = conv(4, 6, 3, stride=2, padding=1, groups=2)
    model = nn.Sequential(conv(2, 4, 3), nn.ReLU(), second, nn.ReLU(), pool(1), nn.Flatten(), nn.Linear(6, 3))
    shape = (2, *(11, 9, 8)[:dimensions])
    net, picture = nl.Network(model.eval(), shape, False), torch.rand(shape)
    with torch.no_grad():
        fed = model[:2](picture[None])
        answers = second(fed)[0]
    place = tuple(n - 1 for n in answers.shape[1:])
    found = nl.arithmetic(net, picture, nl.Unit("3", 4, *place))
    assert found.window.shape == found.kernel.shape == found.products.shape == (2, *[3] * dimensions)
    assert found.inputs.tolist() == [2, 3]
    np.testing.assert_array_equal(found.kernel, second.weight[4].detach())
    padded = F.pad(fed[0, 2:], [1] * 2 * dimensions)
    inside = tuple(slice(2 * i, 2 * i + 3) for i in place)
    np.testing.assert_allclose(found.window, padded[(slice(None), *inside)], rtol=1e-6)
    assert found.sums.sum() + found.bias == pytest.approx(float(answers[(4, *place)]), abs=1e-5)
    assert len(found.figure().axes) == 6
    shown = found.figure().axes[1].images[0].get_array()
    kernel = found.kernel[found.strongest[0]]
    np.testing.assert_array_equal(shown, kernel[None] if dimensions == 1 else kernel[1])


def test_a_layer_that_does_more_than_the_products_says_so():
    torch.manual_seed(0)
    net, picture = network(Doubled(5, 6, 3)), torch.rand(3, 16, 17)
    with pytest.raises(nl.LensError, match=r"'2' does more than a convolution's products: .* nl\.activations\(net"):
        nl.arithmetic(net, picture, "2:1@3,3")
    with pytest.raises(nl.LensError, match="is no convolution"):
        nl.arithmetic(net, picture, "6:1@0,0")
