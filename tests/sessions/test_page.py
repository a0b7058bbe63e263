"""A page of maximizing images: what is looked at comes first, and each image is that of the unit alone."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from torch import nn

import nn_lens as nl
from nn_lens.engine.maximizing.maximized import Real
from nn_lens.sessions import requests


def network(side: int) -> nl.Network:
    torch.manual_seed(0)
    widths = (3, 6, 8)
    convs = [m for a, b in pairwise(widths) for m in (nn.Conv2d(a, b, 5, 2, 2), nn.ReLU())]
    wide = [nn.Conv2d(8, 8, 3, padding=8, dilation=8), nn.ReLU()] if side > 48 else []
    wider = [nn.Conv2d(8, 8, 3, padding=8, dilation=8, groups=8), nn.ReLU()] if side > 128 else []
    model = nn.Sequential(*convs, *wide, *wider, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))
    return nl.Network(model, (3, side, side + 8), False)


@pytest.mark.parametrize(("side", "first_of"), [(40, 4), (96, 1), (144, 1)])
def test_the_chosen_unit_comes_first_and_all_are_as_they_are_alone(side, first_of):
    net = network(side)
    layer = [x.name for x in net.layers if len(x.layout.grid) == 2 and x.layout.grid[0] > 1][-1]
    units = [nl.Unit(layer, c) for c in range(4)]
    session, looked_at = nl.Session(net, cache=False), [units[2]]
    seen = []

    def work(s):
        for page in requests.page(s, units, chosen=lambda: looked_at[0]):
            begun = np.flatnonzero(~np.isnan(page.activations)).tolist()
            if not seen:
                assert len(begun) == first_of
                assert 2 in begun
            if len(seen) == 3:
                looked_at[0] = units[3]
            if len(seen) == 4:
                assert 3 in begun  # at once, in the middle of another's run
            seen.append(page.step)
            yield page

    pages = session.run(work)
    session.close()
    assert [p.finished for p in pages] == [False] * (len(pages) - 1) + [True]
    assert all(a <= b for a, b in pairwise(seen))  # it goes on, and never back
    last = pages[-1]
    assert last.step <= last.steps
    for i, unit in enumerate(units):
        alone = nl.maximize(net, unit)
        assert np.abs(last.images[i] - alone.images[0]).max() <= 1 / 255
        np.testing.assert_allclose(last.activations[i], alone.activations[0], rtol=1e-3, atol=1e-5)


def test_images_kept_for_other_pictures_are_not_taken(tmp_path):
    """The contrast is that of the user's dataset: with another, or none, the image is made anew."""
    net = network(40)
    grey, black = torch.full((4, 3, 40, 48), 0.55), torch.zeros(4, 3, 40, 48)
    contrasts = []
    for dataset in (grey, black, None, grey):
        session = nl.Session(net, dataset=dataset, cache=tmp_path)
        page = session.run(lambda s: requests.page(s, [nl.Unit("1", 3)]))[-1]
        session.close()
        contrasts.append(float(np.sqrt(((page.images - 0.5) ** 2).mean())))
    assert contrasts[0] == contrasts[3]
    assert len(set(contrasts)) == 3


def test_what_a_unit_wants_most_is_the_real_picture_where_one_leads_further():
    grey, real = np.full((2, 3, 4, 4), 0.5, np.float32), np.ones((3, 4, 4), np.float32)
    notes = ("a real picture reaches 2", "dead: no gradient in 8 steps from 1 start")
    units, values = (nl.Unit("0", 0), nl.Unit("0", 1)), np.array([1.0, 0.0])
    page = requests.Page(units, grey, values, 8, True, notes, 1, real=(Real(real, 2.0), None))
    assert np.array_equal(page.wanted, np.stack([real, grey[1]]))
    assert page.dead == (False, True)
    assert np.array_equal(requests.Page(units, grey, values, 3, False, ("", ""), 1).wanted, grey)
