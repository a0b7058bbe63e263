"""The multiplication behind a number is the convolution's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from drawn import pixel
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import nn

import nn_lens as nl
from nn_lens.engine.pictures.images import colour_table

CASES = {
    "plain": {"kernel_size": 3},
    "stride and padding": {"kernel_size": (3, 5), "stride": (2, 1), "padding": (1, 2)},
    "dilation": {"kernel_size": 3, "dilation": 2, "padding": 2},
    "groups": {"kernel_size": 3, "groups": 2, "padding": 1, "bias": False},
    "depthwise": {"kernel_size": 3, "groups": 4, "padding": 1},
    "same": {"kernel_size": 5, "padding": "same"},
    "reflect": {"kernel_size": 3, "padding": 1, "padding_mode": "reflect"},
    "circular": {"kernel_size": 5, "padding": 2, "padding_mode": "circular"},
}


@pytest.mark.parametrize("name", CASES)
def test_products_and_bias_add_up_to_the_answer(name):
    torch.manual_seed(0)
    conv = nn.Conv2d(4, 8, **CASES[name])
    net = nl.Network(
        nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), conv, nn.BatchNorm2d(8), nn.ReLU()), (3, 15, 18), False
    )
    picture = torch.rand(3, 15, 18)
    maps = nl.activations(net, picture, "2").maps
    fed = nl.activations(net, picture, "1").maps
    for channel, row, column in ((0, 0, 0), (5, 3, 4), (7, maps.shape[1] - 1, maps.shape[2] - 1)):
        found = nl.arithmetic(net, picture, nl.Unit("2", channel, row, column))
        assert found.value == pytest.approx(float(maps[channel, row, column]), abs=1e-5)
        assert found.sums.sum() + found.bias == pytest.approx(found.value, abs=1e-5)
        np.testing.assert_array_equal(found.kernel, conv.weight[channel].detach().numpy())
        assert [layer for layer, _ in found.then] == ["3", "4"]
        for layer, value in found.then:
            assert value == pytest.approx(
                float(nl.activations(net, picture, layer).maps[channel, row, column]), abs=1e-5
            )
        assert set(found.window[0][found.window[0] != 0].round(5)) <= set(fed[found.inputs[0]].round(5).ravel())
    assert np.abs(found.sums[found.strongest[0]]) == np.abs(found.sums).max()


def test_a_layer_behind_a_convolution_is_read_back_to_it(demo):
    found = nl.arithmetic(demo, demo.samples["cat"], "relu1:3@10,12")
    assert str(found.unit) == "conv1:3@10,12"
    assert [layer for layer, _ in found.then] == ["norm1", "relu1"]
    assert "after relu1" in found.alt_text
    assert len(found.figure().axes) == 9


def test_its_figure_has_the_panels_colours(demo):
    """A cell's pixel is the diverging table's colour of 128 + 127 times its share of the largest magnitude."""
    found = nl.arithmetic(demo, demo.samples["cat"], "relu1:3@10,12")
    axes = found.figure().axes[1]  # the strongest input's kernel
    kernel = found.kernel[found.strongest[0]]
    table = colour_table("diverging").astype(int)
    for row, column in np.ndindex(*kernel.shape):
        level = round(128 + 127 * float(kernel[row, column]) / float(np.abs(kernel).max()))
        near = table[max(0, level - 1) : level + 2]
        assert (abs(near - pixel(axes, row, column)).max(1) <= 1).any()


def test_what_has_no_multiplication_says_so(demo):
    with pytest.raises(nl.LensError, match="name one neuron of it"):
        nl.arithmetic(demo, demo.samples["cat"], "conv1:3")
    with pytest.raises(nl.LensError, match="'pool2' is no convolution"):
        nl.arithmetic(demo, demo.samples["cat"], "pool2:3@0,0")


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2), st.booleans(), st.integers(0, 99))
def test_a_sliding_kernel_equals_scipy(height, width, stride, padding, rectified, seed):
    random = np.random.default_rng(seed)
    picture, kernel = random.random((9, 11)), random.standard_normal((height, width))
    found = nl.correlated(picture, kernel, stride, padding, rectified)
    padded = np.pad(picture, padding)
    whole = np.zeros_like(padded)
    for i in range(height):
        for j in range(width):
            shifted = ndimage.shift(padded, (-i, -j), order=0, mode="constant")
            whole += kernel[i, j] * shifted
    expected = whole[: padded.shape[0] - height + 1 : stride, : padded.shape[1] - width + 1 : stride]
    np.testing.assert_allclose(found, np.maximum(expected, 0) if rectified else expected, atol=1e-5)


def test_an_odd_kernel_equals_scipys_correlate():
    picture = np.random.default_rng(0).random((20, 23))
    for kernel in ([[0, 1, 0], [1, -4, 1], [0, 1, 0]], np.arange(15).reshape(3, 5), np.ones((5, 5)) / 25):
        found = nl.correlated(picture, kernel)
        kh, kw = np.shape(kernel)
        inner = ndimage.correlate(picture, np.asarray(kernel, float))[kh // 2 : -(kh // 2), kw // 2 : -(kw // 2)]
        np.testing.assert_allclose(found, inner, atol=1e-5)


def test_the_laplacian_is_0_on_one_colour_and_large_at_an_edge():
    flat, edge = np.full((8, 8), 0.7), np.repeat([[1.0], [1.0], [0.0], [0.0]], 6, 1)
    laplacian = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
    np.testing.assert_allclose(nl.correlated(flat, laplacian), 0, atol=1e-6)
    assert np.abs(nl.correlated(edge, laplacian)).min() == 1


def test_kernels_that_cannot_slide_are_named():
    with pytest.raises(nl.LensError, match="larger than the picture"):
        nl.correlated(np.zeros((4, 4)), np.zeros((5, 5)))
    with pytest.raises(nl.LensError, match="one channel"):
        nl.correlated(np.zeros((3, 4, 4)), np.zeros((3, 3)))
    with pytest.raises(nl.LensError, match="stride is 1 or more"):
        nl.correlated(np.zeros((4, 4)), np.zeros((3, 3)), stride=0)
    with pytest.raises(nl.LensError, match="finite"):
        nl.correlated(np.zeros((4, 4)), [[np.nan]])
