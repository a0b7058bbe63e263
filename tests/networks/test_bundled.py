"""The bundled networks are what their cards say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

import nn_lens as nl
import nn_lens.networks
from nn_lens.networks import digits
from nn_lens.networks.train_photos20 import accuracy, low_frequency_share, read_pictures

FOLDER = Path(nn_lens.networks.__file__).parent
CARD = json.loads((FOLDER / "photos20.json").read_text())


def test_the_photograph_network_is_what_its_card_says(demo):
    assert (FOLDER / "photos20.safetensors").stat().st_size <= 4_000_000
    assert sum(p.numel() for p in demo.model.parameters()) == CARD["parameters"]
    assert demo.labels == tuple(CARD["classes"])
    assert len(demo.labels) == 20
    assert nl.filters(demo, "conv1").weights.shape[2:] == (9, 9)
    text = (FOLDER / "photos20.md").read_text()
    assert f"{100 * CARD['accuracy']:.1f} %" in text


def test_its_first_filters_are_smooth(demo):
    share = low_frequency_share(demo.model.conv1.weight)
    assert share.median() >= 0.8
    assert float(share.median()) == pytest.approx(CARD["smoothness_median"], abs=1e-3)


def test_it_recognizes_as_many_test_pictures_as_its_card_says(demo, material):
    with np.load(material / "data" / "photos20_64px.npz") as npz:
        pictures, labels = read_pictures(npz, "test")
    assert accuracy(demo.model, pictures, labels) == pytest.approx(CARD["accuracy"], abs=0.003)
    right = sum(
        demo.predict(p, 1)[0][0] == demo.labels[y]
        for p, y in zip(pictures[:100].permute(0, 2, 3, 1).numpy(), labels, strict=False)
    )
    assert right >= 75, "the network reads pictures as it was trained to"


def test_it_says_what_everyday_pictures_are(demo):
    assert demo.predict(demo.samples["cat"], 1)[0][0] == "tabby cat"
    assert len(demo.samples) == 7
    assert len(demo.predict(demo.samples["coffee"])) == 5


def test_the_digits_network_is_trained_when_first_asked_for():
    state = torch.get_rng_state()
    net = nl.demo("digits")
    assert torch.equal(state, torch.get_rng_state())
    _, _, x, y = digits.digits()
    right = np.mean([net.scores(p).argmax() == int(label) for p, label in zip(x, y, strict=True)])
    assert right >= 0.96
    assert len(net.predict(next(iter(net.samples.values())), 1)) == 1
    again = digits.trained_digits_network()
    assert all(
        torch.equal(a, b) for a, b in zip(net.model.state_dict().values(), again.state_dict().values(), strict=True)
    )


def test_an_unknown_network_names_those_there_are():
    with pytest.raises(nl.LensError, match="photos"):
        nl.demo("photo")
