"""Receptive fields against numbers worked out by hand, and against what changes a neuron."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models import Functional, small, torchvision_network
from torch import nn

import nn_lens as nl
from nn_lens.engine.network.reach.marks import Marks, TooLarge, join

# (network, layer, size, stride, offset), from kernel, stride and padding of each layer by
# size += (k - 1) * stride, offset -= padding * stride, stride *= s.
BY_HAND = [
    ("alexnet", "features.0", 11, 4, -2),
    ("alexnet", "features.2", 19, 8, -2),
    ("alexnet", "features.3", 51, 8, -18),
    ("alexnet", "features.12", 195, 32, -66),
    ("squeezenet1_1", "features.0", 3, 2, 0),
    ("squeezenet1_1", "features.3", 15, 4, -4),
    ("squeezenet1_1", "features.12", 207, 16, -88),
    ("resnet18", "conv1", 7, 2, -3),
    ("resnet18", "maxpool", 11, 4, -5),
    ("resnet18", "layer1", 43, 4, -21),
    ("resnet18", "layer2", 99, 8, -49),
    ("resnet18", "layer4", 435, 32, -217),
    ("vgg11", "features.2", 4, 2, -1),
    ("vgg11", "features.20", 150, 32, -59),
]


@pytest.mark.parametrize(("name", "layer", "size", "stride", "offset"), BY_HAND)
def test_against_hand_numbers(name, layer, size, stride, offset):
    field = nl.receptive_field(torchvision_network(name), layer)
    assert (field.size, field.stride, field.offset) == ((size, size), (stride, stride), (offset, offset))


def test_oblong_kernels_and_dilation():
    model = nn.Sequential(
        nn.Conv2d(3, 4, (3, 5), stride=(2, 1), padding=(1, 0)),
        nn.MaxPool2d((1, 2)),
        nn.Conv2d(4, 5, 3, dilation=(1, 2)),
    )
    field = nl.receptive_field(nl.Network(model, (3, 40, 60), False), "2")
    assert (field.size, field.stride, field.offset) == ((7, 14), (2, 2), (-1, 0))


@pytest.mark.parametrize("layer", ["0", "2", "3"])
def test_a_neuron_changes_inside_its_box_and_only_there(layer):
    net = small()
    field = nl.receptive_field(net, layer)
    rows, columns = net[layer].output_shape[1:]
    row, column = rows // 2, columns // 2
    top, left, bottom, right = field.box(row, column)
    x = torch.rand(3, 20, 28)
    base = nl.activations(net, x, layer).maps[:, row, column]
    outside = torch.rand(3, 20, 28)
    outside[:, top:bottom, left:right] = x[:, top:bottom, left:right]
    np.testing.assert_allclose(nl.activations(net, outside, layer).maps[:, row, column], base, atol=1e-6)
    for r, c in ((top, left), (bottom - 1, right - 1)):
        moved = x.clone()
        moved[:, r, c] = 25.0
        assert not np.allclose(nl.activations(net, moved, layer).maps[:, row, column], base, atol=1e-6), (r, c)


def test_a_vector_sees_everything():
    field = nl.receptive_field(torchvision_network("alexnet"), "classifier.1")
    assert field.size == (224, 224)
    assert field.whole
    assert field.box(0, 0) == (0, 0, 224, 224)


def test_branches_and_functions():
    field = nl.receptive_field(nl.Network(Functional(), (3, 24, 24), False), "c")
    assert (field.size, field.stride, field.offset) == ((5, 5), (1, 1), (-1, -1))


def test_boxes_are_cut_at_the_border():
    field = nl.receptive_field(torchvision_network("resnet18"), "conv1")
    assert field.box(0, 0) == (0, 0, 4, 4)
    assert field.box(111, 111) == (219, 219, 224, 224)


@pytest.mark.parametrize(("dilation", "side"), [(60, 144), (60, 130), (20, 144), (24, 64), (7, 33)])
def test_dilated_kernels_with_weights_in_the_padding(dilation, side):
    """A box whose outer weight lies in the padding ends inside the input, and is no whole one."""
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=dilation, dilation=dilation), nn.Conv2d(4, 4, 5, padding=2), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 2),
    )  # fmt: skip
    net = nl.Network(model, (3, side, side + 9), False)
    for layer, size in (("0", 2 * dilation + 1), ("1", 2 * dilation + 5)):
        field = nl.receptive_field(net, layer)
        assert field.size == (size, size)
        assert field.stride == (1, 1)
        assert field.offset == (-(size // 2), -(size // 2))


def test_marks_that_would_be_too_many_are_never_made():
    """Of the attention of all places to all, of a large canvas, they would fill the memory."""
    rows, columns = (Marks(torch.ones(shape), shape) for shape in ((1, 1 << 20, 1), (1, 1, 1 << 20)))
    with pytest.raises(TooLarge):
        join([rows, columns])
