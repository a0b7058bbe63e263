"""Passes over a dataset: one a layer, left and gone on with, few at a time."""

from __future__ import annotations

import pytest
import torch
from models import small

import nn_lens as nl
from nn_lens.sessions import dataset_pass
from nn_lens.sessions.dataset_pass import DatasetPasses
from nn_lens.units import Direction

X = torch.rand(70, 3, 20, 28, generator=torch.Generator().manual_seed(0))


@pytest.fixture
def net():
    return small()


def test_a_pass_that_was_left_goes_on(net):
    passes, calls = DatasetPasses(X), []
    handle = net.model.register_forward_pre_hook(lambda _m, inputs: calls.append(len(inputs[0])))
    first = passes.over(net, 1, "3")
    known, finished = next(first)
    assert (finished, 0 < known.count < 70) == (False, True)
    first.close()
    *_, (known, finished) = passes.over(net, 1, "3")
    handle.remove()
    assert (finished, known.count) == (True, 70)
    assert sum(calls) <= 70 + 2, "no picture is looked at twice, but for what the graph of the network is"
    assert [type(unit) for unit in known.units].count(Direction) == 3
    expected = nl.dataset_examples(net, ["3:2"], X, progress=False).top["3:2"]
    assert [e.index for e in known.top["3:2"]] == [e.index for e in expected]


def test_of_many_layers_the_last_used_are_kept(net, monkeypatch):
    monkeypatch.setattr(dataset_pass, "LAYERS", 2)
    passes = DatasetPasses(X)
    for layer in ("0", "1", "0", "3"):
        next(passes.over(net, 1, layer))
    assert list(passes._passes) == [(1, "0"), (1, "3")]


def test_passes_of_other_weights_go_and_so_does_the_surplus(net, monkeypatch):
    monkeypatch.setattr(dataset_pass, "LAYERS", 2)
    passes = DatasetPasses(X)
    steps = {layer: passes.over(net, 2, layer) for layer in ("1", "3")}
    for results in steps.values():
        next(results)
    passes._passes = {(1, "0"): passes._passes[2, "1"], **passes._passes}  # left over from other weights
    next(passes.over(net, 2, "0"))
    assert list(passes._passes) == [(2, "3"), (2, "0")]


def test_a_pass_that_failed_begins_anew(net):
    class Shaky(torch.utils.data.Dataset):
        broken = True

        def __len__(self):
            return 70

        def __getitem__(self, index):
            if self.broken and index > 40:
                raise RuntimeError("the disk is out")
            return X[index]

    data = Shaky()
    passes = DatasetPasses(data)
    with pytest.raises(RuntimeError, match="the disk is out"):
        list(passes.over(net, 1, "3"))
    assert not passes._passes
    data.broken = False
    assert [known.count for known, _ in passes.over(net, 1, "3")][-1] == 70


def test_clearing_lets_go_of_the_dataset(net):
    passes = DatasetPasses(X)
    source = passes.source(net)
    assert passes.source(net) is source
    passes.clear()
    assert passes.source(net) is not source
