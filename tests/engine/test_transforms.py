"""Moves and blur: what they do to a picture, and how they are drawn."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage

import nn_lens as nl


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_blur_is_a_gaussian():
    x = np.random.default_rng(0).random((2, 3, 13, 18)).astype(np.float32)
    found = nl.transforms.blur(0.7).apply(torch.from_numpy(x), torch.eye(2, 3).expand(2, 2, 3)).numpy()
    expected = ndimage.gaussian_filter(x.astype(np.float64), (0, 0, 0.7, 0.7), mode="nearest", radius=(0, 0, 2, 2))
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_blurs_and_moves_add_up():
    t = nl.transforms
    both = t.compose([t.blur(0.6), t.jitter(2), t.blur(0.8), t.jitter(1), t.rotate(5), t.scale(0.1), t.pad(3)])
    assert both.blur == pytest.approx(1.0)
    assert (both.shift, both.angle, both.padding) == (3, 5, 3)
    assert both.zoom == pytest.approx(0.1)


def test_a_shift_moves_by_whole_pixels():
    x = torch.rand(1, 1, 9, 12, generator=generator())
    jitter = nl.transforms.jitter(3)
    moved = jitter.apply(x, jitter.matrices(torch.tensor([[0.0, 1.0, 2.0, -3.0]]), 9, 12))
    # Row r shows what was at r + 2, column c what was at c - 3.
    torch.testing.assert_close(moved[:, :, :7, 3:], x[:, :, 2:, :9], atol=1e-5, rtol=0)


def test_a_quarter_turn_of_an_oblong_picture():
    x = torch.zeros(1, 1, 9, 13)
    x[0, 0, 4, 8] = 1  # two to the right of the middle
    turn = nl.transforms.rotate(90)
    moved = turn.apply(x, turn.matrices(torch.tensor([[np.pi / 2, 1.0, 0.0, 0.0]]), 9, 13))
    assert divmod(int(moved.argmax()), 13) == (2, 6)
    assert moved.max() == pytest.approx(1, abs=1e-4)


def test_draws_cover_their_ranges_evenly():
    moves = nl.transforms.standard(100).draw(generator(3), 64).numpy()
    again = nl.transforms.standard(100).draw(generator(3), 64).numpy()
    np.testing.assert_array_equal(moves, again)
    assert not np.array_equal(moves, nl.transforms.standard(100).draw(generator(4), 64).numpy())
    # Of 64 draws, each quarter of a range gets 16.
    largest = np.array([np.deg2rad(8), 0.08, 6.0, 6.0])
    share = ((moves - [0, 1, 0, 0]) / largest + 1) / 2
    for column in share.T:
        assert np.bincount((column * 4).astype(int).clip(0, 3), minlength=4).tolist() == [16] * 4


@pytest.mark.parametrize("name", ["jitter", "rotate", "blur", "pad"])
def test_negative_ranges_are_refused(name):
    with pytest.raises(nl.LensError, match="must be 0 or more, got -1"):
        getattr(nl.transforms, name)(-1)
