"""The kernel lab without a browser: its traits, its map, its errors."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage

import nn_lens as nl

PICTURE = Image.fromarray(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))


@pytest.fixture
def lab():
    made = nl.KernelLab(PICTURE)
    yield made
    made.close()


def test_it_starts_with_the_laplacian(lab):
    assert lab.kernel == [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
    assert lab.pixels.shape == (40, 60)
    expected = ndimage.correlate(lab.pixels, np.array(lab.kernel))[1:-1, 1:-1]
    np.testing.assert_allclose(lab.map, expected, atol=1e-5)
    assert repr(lab) == "<KernelLab of a 3x3 kernel>"


def test_its_traits_make_the_map(lab):
    lab.kernel = np.ones((5, 3)) / 15
    lab.stride, lab.padding, lab.rectified = 2, 2, True
    np.testing.assert_array_equal(lab.map, nl.correlated(lab.pixels, np.ones((5, 3)) / 15, 2, 2, True))


@pytest.mark.parametrize("kernel", [[], [[]], [[1, 2], [3]], [["a"]], [[float("nan")]], [[0.0] * 16], 3, "x"])
def test_what_is_no_kernel_is_refused_and_the_old_stays(lab, kernel):
    with pytest.raises(nl.LensError, match="A kernel is rows of finite numbers"):
        lab.kernel = kernel
    assert lab.kernel == [[0, 1, 0], [1, -4, 1], [0, 1, 0]]


def test_the_networks_own_filters_are_offered(demo):
    lab = nl.KernelLab(net=demo)
    weights = nl.filters(demo, "conv1").weights
    assert [f["name"] for f in lab._filters] == [f"conv1:{i}" for i in range(len(weights))]
    np.testing.assert_allclose(lab._filters[3]["kernel"], weights[3].sum(0), rtol=1e-6)
    lab.close()


def test_another_picture(lab):
    lab.set_picture(np.zeros((20, 20), np.uint8))
    assert lab.pixels.shape == (20, 20)
    assert not lab.map.any()
    with pytest.raises(nl.LensError):
        lab.set_picture("no such file.png")
    assert lab.pixels.shape == (20, 20)
