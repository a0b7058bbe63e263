"""What is kept of another network is not to be taken: the fingerprint changes with all that an answer depends on."""

from __future__ import annotations

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nn_lens as nl

FACTOR = 1.0


def scaled(x):
    return x * FACTOR


class Model(nn.Module):
    """Reads plain attributes, functions, a buffer that is not saved, and a global number."""

    def __init__(self):
        super().__init__()
        self.conv, self.head = nn.Conv2d(3, 4, 3), nn.Linear(4, 2)
        self.gain, self.act, self.function, self.options = 1.0, "relu", F.relu, {"slope": [0.1, 0.2]}
        self.register_buffer("mask", torch.ones(4), persistent=False)

    def forward(self, x):
        y = getattr(F, self.act)(self.conv(x)) * self.gain * self.mask[:, None, None]
        return self.head(scaled(self.function(y)).mean((2, 3)))


def fingerprint(model):
    return nl.Network(model, (3, 12, 12), False).fingerprint()


def changed(**attributes):
    model = copy.deepcopy(MODEL)
    for name, value in attributes.items():
        setattr(model, name, value)
    return model


MODEL = Model()
CHANGES = {
    "a factor": lambda: changed(gain=-1.0),
    "a name": lambda: changed(act="tanh"),
    "a function": lambda: changed(function=torch.sigmoid),
    "a function of one's own": lambda: changed(function=lambda x: x + 1),
    "numbers in a dictionary": lambda: changed(options={"slope": [0.1, 0.3]}),
    "a buffer that is not saved": lambda: changed(mask=torch.tensor([1.0, 1, 0, 1])),
}


@pytest.mark.parametrize("name", CHANGES)
def test_it_changes_with(name):
    assert fingerprint(CHANGES[name]()) != fingerprint(MODEL)


def test_it_stays_for_a_copy_and_after_use():
    before = fingerprint(MODEL)
    assert fingerprint(copy.deepcopy(MODEL)) == before
    net = nl.Network(MODEL, (3, 12, 12), False)
    net.scores(torch.rand(3, 12, 12))
    nl.activations(net, torch.rand(3, 12, 12), "conv")
    assert net.fingerprint() == before
    assert net.frozen_copy().fingerprint() == before


def test_it_changes_with_the_code_of_forward():
    class Same(Model):
        pass

    class Other(Model):
        def forward(self, x):
            return -super().forward(x)

    def weights_of(cls):
        model = cls()
        model.load_state_dict(MODEL.state_dict())
        return model

    one, other = weights_of(Same), weights_of(Other)
    Other.__qualname__ = Same.__qualname__
    Other.__name__ = Same.__name__
    assert fingerprint(one) != fingerprint(other)


def test_it_changes_with_a_global_number_that_forward_reads(monkeypatch):
    before = fingerprint(MODEL)
    monkeypatch.setitem(globals(), "FACTOR", 2.0)
    assert fingerprint(MODEL) != before


def test_it_changes_with_what_stands_around():
    body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    plain = nl.Network(body, (3, 12, 12), False)
    shifted = nl.Network(body, (3, 12, 12), (0.5, 0.25))
    other = nl.Network(body, (3, 12, 12), (0.5, 0.2))
    picked = nl.Network(body, (3, 12, 12), False, inputs=lambda x: 2 * x)
    prints = {net.fingerprint() for net in (plain, shifted, other, picked)}
    assert len(prints) == 4
