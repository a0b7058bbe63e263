"""Gradients through normalizations are right however tensors lie in memory; torch's own on the CPU are not always. Those
through recurrent layers are there on the GPU too, where cuDNN has them in training only.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode

import nn_lens as nl
from nn_lens.engine.evidence.attribution.methods import METHODS
from nn_lens.engine.network.sound_gradients import SoundGradients, in_training


def lying(x: torch.Tensor, order: tuple[int, ...], row: int | None) -> torch.Tensor:
    """`x` with its dimensions in that order in memory; a single row is said to be `row` numbers long."""
    strides, size = [0] * x.ndim, 1
    for d in reversed(order):
        strides[d] = size
        size *= x.shape[d]
    if row is not None:
        strides[0] = row
    return torch.empty_strided(x.shape, strides, dtype=x.dtype).copy_(x)


@pytest.mark.parametrize("by_name", [False, True])
@pytest.mark.parametrize("kind", ["BatchNorm", "InstanceNorm"])
@pytest.mark.parametrize("shape", [(1, 4, 5), (1, 4, 3, 5), (2, 4, 3, 5), (1, 4, 2, 3, 5)])
def test_whatever_order_a_tensor_and_its_gradient_have_in_memory(shape, kind, by_name):
    torch.manual_seed(0)
    mean, var, weight, bias = torch.randn(4), torch.rand(4) + 0.5, torch.randn(4), torch.randn(4)
    x, gradient = torch.randn(shape), torch.randn(shape)
    per_channel = (1, -1, *[1] * (len(shape) - 2))

    def of_torch(y):
        if kind == "InstanceNorm":
            return (
                F.instance_norm(input=y, weight=weight, bias=bias)
                if by_name
                else F.instance_norm(y, None, None, weight, bias)
            )
        if by_name:
            return F.batch_norm(input=y, running_mean=mean, running_var=var, weight=weight, bias=bias)
        return torch.batch_norm(y, weight, bias, mean, var, False, 0.1, 1e-5, False)

    def by_hand(y):
        m, v, w, b = (t.double().view(per_channel) for t in (mean, var, weight, bias))
        if kind == "InstanceNorm":
            places = list(range(2, y.ndim))
            m, v = y.mean(places, keepdim=True), y.var(places, keepdim=True, correction=0)
        return (y - m) / (v + 1e-5).sqrt() * w + b

    y = x.double().requires_grad_()
    (expected,) = torch.autograd.grad(by_hand(y), y, gradient.double())
    rows = (None, 1, 4) if len(x) == 1 else (None,)
    for order in permutations(range(x.ndim)):
        for row in rows:
            for turned in (order, tuple(range(x.ndim))):
                for own, other in ((order, turned), (turned, order)):
                    y = lying(x, own, row).requires_grad_()
                    with SoundGradients():
                        answer = of_torch(y)
                    (found,) = torch.autograd.grad(answer, y, lying(gradient, other, row))
                    assert torch.allclose(found.double(), expected, atol=1e-4), (own, other, row)


class ByHand(nn.Module):
    """What a normalization computes, of sums."""

    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.norm = [norm]  # hidden from modules()

    def forward(self, x):
        norm = self.norm[0]
        mean, var = (
            (x.mean((2, 3)), x.var((2, 3), correction=0))
            if norm.running_mean is None
            else (norm.running_mean, norm.running_var)
        )
        mean, var = (t.view(-1, x.shape[1], 1, 1) for t in (mean, var))
        w, b = (t.view(1, -1, 1, 1) for t in (norm.weight, norm.bias))
        return (x - mean) / (var + norm.eps).sqrt() * w + b


class Tokens(nn.Module):
    """A map that is normalized, read as tokens, made a map again and normalized once more, as in EfficientFormer."""

    def __init__(self, norm: type[nn.Module]) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv, self.first = nn.Conv2d(3, 8, 3, 2, padding=1), norm(8, affine=True)
        self.mix, self.second = nn.Linear(8, 8), norm(8, affine=True)
        self.act, self.head = nn.ReLU(), nn.Linear(8, 5)
        for norm in (self.first, self.second):
            nn.init.uniform_(norm.weight, -2, 2)
            if norm.running_mean is not None:
                nn.init.uniform_(norm.running_mean, -1, 1)

    def forward(self, x):
        x = self.first(self.conv(x))
        n, c, h, w = x.shape
        x = self.mix(x.flatten(2).transpose(1, 2)).transpose(1, 2).reshape(n, c, h, w)
        x = self.act(self.second(x))
        return self.head((x * x).mean((2, 3)))


def both(norm, dtype):
    """A network and its twin whose normalizations are made of sums."""
    model = Tokens(norm).eval().to(dtype)
    twin = Tokens(norm).eval().to(dtype)
    twin.first, twin.second = ByHand(twin.first), ByHand(twin.second)
    return [nl.Network(m, input_shape=(3, 24, 20)) for m in (model, twin)]


def size_of_parts(model, x):
    """(C,) sums of |activation times gradient| over the places of each channel of the convolution, of class 1."""
    kept = []
    with model.conv.register_forward_hook(lambda module, args, y: kept.append(y)):
        (gradient,) = torch.autograd.grad(model(x)[0, 1], kept)
    return (kept[0] * gradient).abs().sum((0, 2, 3)).detach().numpy()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.InstanceNorm2d])
def test_evidence_is_that_of_normalizations_made_of_sums(norm, dtype):
    net, twin = both(norm, dtype)
    picture = np.random.default_rng(0).random((24, 20, 3)).astype(np.float32)
    alone = {"occlusion"} | ({"grad_cam"} if norm is nn.InstanceNorm2d else set())  # no gradient, or of mean 0
    for method in (m for m in METHODS if m not in alone):
        for target in (1, "second:3"):
            found, expected = (nl.attribute(n, picture, target, method).map for n in (net, twin))
            assert np.abs(expected).max() > 0
            assert np.allclose(found, expected, rtol=1e-3, atol=1e-3 * np.abs(expected).max()), (method, target)
    found, expected = (nl.contributions(n, picture, 1, "conv").by_channel for n in (net, twin))
    summed = size_of_parts(twin.model, torch.from_numpy(picture).permute(2, 0, 1)[None].to(dtype))
    # behind an instance norm the parts of a unit cancel: what is left of them in float32 is no more exact than they are
    assert np.allclose(found, expected, rtol=1e-3, atol=1e-6 * summed.max())


@pytest.mark.parametrize("n", [1, 2])
@pytest.mark.parametrize("norm", [nn.BatchNorm2d, nn.InstanceNorm2d])
def test_an_image_climbs_by_the_gradient_of_normalizations_made_of_sums(norm, n):
    gradients = []
    for net in both(norm, torch.float32):
        x = torch.rand(n, 3, 24, 20, generator=torch.Generator().manual_seed(1)).requires_grad_()
        with net.evaluation():
            maps = net.outputs(x, ["second"])["second"]
        gradients += torch.autograd.grad(maps[:, 3, 5, 5].sum(), x)
    assert torch.allclose(*gradients, rtol=1e-3, atol=1e-3 * float(gradients[1].abs().max()))


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_in_training_recurrent_layers_answer_as_in_evaluation(kind, packed):
    flags = []

    class Trained(TorchFunctionMode):
        def __torch_function__(self, func, types, args=(), kwargs=None):
            if func in (torch.lstm, torch.gru, torch.rnn_tanh):
                args = in_training(args)
                flags.append(args[-2:] if packed else args[-3:])
            return func(*args, **(kwargs or {}))

    layer, x = kind(5, 6, 2, dropout=0.5).eval(), torch.randn(7, 3, 5, generator=torch.Generator().manual_seed(0))
    given = nn.utils.rnn.pack_padded_sequence(x, [7, 5, 3]) if packed else x
    expected = layer(given)[0]
    with Trained():
        found = layer(given)[0]
    assert flags[0][0] is True
    assert torch.equal(*(y.data if packed else y for y in (found, expected)))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU, nn.RNN])
def test_an_image_climbs_through_recurrent_layers_on_the_gpu(kind):
    class Classifier(nn.Module):
        def __init__(self):
            super().__init__()
            self.cell, self.head = kind(5, 12, batch_first=True), nn.Linear(12, 4)

        def forward(self, x):
            return self.head(self.cell(x)[0][:, -1])

    net = nl.Network(Classifier().eval().cuda(), input_shape=(9, 5))
    assert nl.maximize(net, "cell:3", steps=8).history[-1] > nl.maximize(net, "cell:3", steps=1).history[0]
