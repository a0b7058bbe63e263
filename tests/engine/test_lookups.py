"""Tables of places that a canvas reaches beyond: known before a GPU meets the index, which would end its use."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

import nn_lens as nl
from nn_lens.engine.network import lookups

TABLE = torch.arange(12.0).view(4, 3)
FAR = torch.tensor([0, 4])
BEFORE = torch.tensor([0, -1])
LOOKS = {
    "index": lambda t, i: t[i],
    "index, second": lambda t, i: t.T[:, i],
    "index behind a mask": lambda t, i: t[None][torch.tensor([True]), i[:1]],
    "index_put": lambda t, i: t.clone().index_put((i,), torch.zeros(())),
    "set": lambda t, i: t.clone().__setitem__(i, 0.0),
    "index_select": lambda t, i: t.index_select(0, i),
    "gather": lambda t, i: t.T.gather(1, i.expand(3, 2)),
    "scatter": lambda t, i: t.T.scatter(1, i.expand(3, 2), 0.0),
    "index_add": lambda t, i: t.index_add(0, i, torch.ones(2, 3)),
    "embedding": lambda t, i: nn.functional.embedding(i, t),
    "take": lambda t, i: t.take(i * 3),
}


@pytest.mark.parametrize("name", LOOKS)
def test_an_index_out_of_range_is_told_before_the_call(name):
    look, fine = LOOKS[name], torch.tensor([3, 1])
    far = FAR.flip(0) if "mask" in name else FAR
    with lookups.Checked():
        look(TABLE, fine)
        with pytest.raises(IndexError, match=r"out of range for (4|12) entries"):
            look(TABLE, far)


def test_indices_from_the_end_are_fine_where_torch_takes_them():
    with lookups.Checked():
        assert torch.equal(TABLE[BEFORE], TABLE[[0, 3]])
        with pytest.raises(IndexError, match="index -1 is out of range for 4 entries"):
            TABLE.index_select(0, BEFORE)


def test_nothing_is_watched_where_the_device_tells_itself():
    with lookups.checked(torch.device("cpu")), pytest.raises(IndexError) as error:
        TABLE[FAR]
    assert "entries" not in str(error.value)


MET: list[int] = []  # how wide the maps were that passed the table


class Placed(nn.Module):
    """Adds a learned vector to each place, counted from the last: a canvas of another size asks for others."""

    def __init__(self, width: int = 40) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.first, self.mix = nn.Conv2d(3, 8, 4, 4), nn.Conv2d(8, 8, 3, padding=1)
        self.table, self.head = nn.Parameter(torch.randn(width // 4, 8)), nn.Linear(8, 5)

    def forward(self, x):
        x = self.first(x)
        n = x.shape[-1]
        place = (torch.arange(n) * 10) // n + (10 - n)  # of 10 places 0 to 9, of fewer some beyond
        x = x + self.table[place].T[None, :, None]
        MET.append(n)
        return self.head(self.mix(x).relu().mean((2, 3)))


@pytest.fixture
def unsafe(monkeypatch):
    """A processor stands for a device that does not tell."""
    monkeypatch.setattr(lookups, "_SAFE", ())
    told = []
    real = lookups.Checked.__torch_dispatch__

    def spied(self, func, types, args=(), kwargs=None):
        try:
            return real(self, func, types, args, kwargs)
        except IndexError as error:
            told.append(str(error))
            raise

    monkeypatch.setattr(lookups.Checked, "__torch_dispatch__", spied)
    return told


def test_a_canvas_that_asks_beyond_the_table_is_refused_by_the_trial(unsafe):
    net = nl.Network(Placed(), (3, 40, 40), False)
    MET.clear()
    found = nl.maximize(net, "mix:2", steps=3)
    assert found.images.shape == (1, 3, 40, 40)
    assert "does not take a canvas of (3, 28, 28): index 11 is out of range for 10 entries" in found.remark
    assert unsafe
    assert set(MET) == {10}  # the model never ran on by an index that is none


def test_so_is_a_size_that_was_asked_for(unsafe):
    net = nl.Network(Placed(), (3, 40, 40), False)
    for goal in ("mix:2", nl.objectives.logit(1)):
        with pytest.raises(nl.LensError, match="entries"):
            nl.maximize(net, goal, size=28, steps=3)
    assert len(unsafe) == 2


class Signal(nn.Module):
    """Adds a learned vector to each step: it reads no signal that is longer than its table."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.conv = nn.Parameter(torch.randn(20, 4)), nn.Conv1d(4, 6, 3)
        self.head = nn.Linear(6, 2)

    def forward(self, x):
        return self.head(self.conv(x + self.table[torch.arange(x.shape[-1])].T).mean(2))


def test_so_is_an_input_shape_that_is_only_a_guess(unsafe):
    with pytest.raises(nl.LensError) as error:
        nl.Network(Signal())
    assert "out of range for 20 entries" in str(error.value)
    assert "input_shape" in str(error.value)
    assert unsafe
    assert nl.Network(Signal(), (4, 20)).input_shape == (4, 20)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_lives_on():
    class OnCard(Placed):
        def forward(self, x):
            with torch.device(x.device):
                return super().forward(x)

    net = nl.Network(OnCard().cuda(), (3, 40, 40), False)
    found = nl.maximize(net, "mix:2", steps=3)
    assert "entries" in found.remark
    assert np.isfinite(net.scores(np.zeros((40, 40, 3), np.float32))).all()
