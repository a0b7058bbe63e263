"""A network's past: what was recorded comes back exactly, and the model never notices."""

from __future__ import annotations

import gc
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from models import small

import nn_lens as nl
from nn_lens.sessions import checkpoints


def weights_of(session):
    return session.run(lambda s: iter([s.network().model[0].weight.detach().clone()]))[-1]


def move(model, by):
    with torch.no_grad():
        model[0].weight += by


@pytest.fixture
def trained():
    """A session, its model, and its first weights after steps 0, 10 and 20."""
    net = small()
    model, session = net.model, nl.Session(net, cache=False)
    were = {}
    for step in (0, 10, 20):
        session.record(step)
        were[step] = model[0].weight.detach().clone()
        move(model, 0.1)
    yield session, model, were
    session.close()


def test_the_past_is_shown_exactly_and_the_model_stays(trained):
    session, model, were = trained
    now = model[0].weight.detach().clone()
    for step in (10, 0, 20):
        session.show(step)
        assert torch.equal(weights_of(session), were[step])
    session.show(None)
    assert torch.equal(weights_of(session), now)
    assert torch.equal(model[0].weight, now)


def test_each_moment_has_a_version_of_its_own_and_keeps_it(trained):
    session, model, _ = trained
    versions = [c.version for c in session.checkpoints]
    assert len({*versions, session.version}) == 4
    session.show(10)
    assert session.version == versions[1]
    move(model, 1)
    assert session.version == versions[1], "the past does not move"
    session.show(None)
    assert session.version not in versions


def test_weights_that_stood_still_are_kept_once():
    session = nl.Session(small(), cache=False)
    first, second = session.record(1), session.record(2)
    assert (first.version, first.file) == (second.version, second.file)
    assert session.record(2).step == 2, "again"
    assert first.file.exists()


def test_an_earlier_step_begins_a_new_training(trained):
    session, model, were = trained
    old = [c.file for c in session.checkpoints]
    session.show(20)
    move(model, 1)
    session.record(10)
    assert [c.step for c in session.checkpoints] == [0, 10]
    assert [f.exists() for f in old] == [True, False, False]
    assert session.version == session.record(11).version, "what was shown is gone: the model as it is"
    session.show(0)
    assert torch.equal(weights_of(session), were[0])


@pytest.mark.parametrize("step", [1.5, "ten", None])
def test_a_step_is_a_whole_number(trained, step):
    with pytest.raises(nl.LensError, match="whole number"):
        trained[0].record(step)
    assert trained[0].record(np.int64(30)).step == 30


def test_unknown_steps_name_the_nearest(trained):
    with pytest.raises(nl.LensError, match="3 from 0 to 20, the nearest 10"):
        trained[0].show(12)
    with pytest.raises(nl.LensError, match="No step was recorded"):
        nl.Session(small(), cache=False).show(0)


def test_a_full_disk_is_said_and_loses_nothing(trained, monkeypatch):
    session, _, were = trained

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(checkpoints.torch, "save", full)
    with pytest.raises(nl.LensError, match="No space left"):
        session.record(30)
    session.show(20)
    assert torch.equal(weights_of(session), were[20])


def test_a_job_ends_when_other_weights_take_the_place_of_its_own(trained):
    session, _, _ = trained
    seen = []

    def slow(s):
        s.network()
        for i in range(100):
            if i == 3:  # what another job does between two steps of this one
                s.show(0)
                s.network()
            seen.append(i)
            yield i

    with pytest.raises(nl.LensError, match="its model changed"):
        session.run(slow)
    assert len(seen) < 10


def test_the_files_go_with_the_session():
    session = nl.Session(small(), cache=False)
    folder = session.record(0).file.parent
    assert folder.is_dir()
    session.close()
    del session
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        gc.collect()
    assert not Path(folder).exists()


def test_a_state_of_any_kind_comes_back():
    class Extra(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = torch.nn.Conv2d(3, 4, 3)
            self.register_buffer("passing", torch.zeros(1), persistent=False)

        def get_extra_state(self):
            return Path("here")

        def set_extra_state(self, state):
            assert state == Path("here")

        def forward(self, x):
            return self.conv(x).mean((2, 3)) + self.passing

    model = Extra()
    session = nl.Session(nl.Network(model, (3, 8, 8), False), cache=False)
    session.run(lambda s: iter([s.network()]))
    session.record(0)
    then = model.conv.weight.detach().clone()
    with torch.no_grad():
        model.passing += 5
        model.conv.weight += 1
    assert session.run(lambda s: iter([s.network().model.passing.item()])) == [5], "what is not saved is taken over too"
    session.show(0)
    assert torch.equal(session.run(lambda s: iter([s.network().model.conv.weight.detach().clone()]))[0], then)
    session.close()


def test_a_model_whose_layers_change_is_copied_anew(trained):
    session, model, _ = trained
    weights_of(session)
    model[0].bias = None
    move(model, 0.1)
    assert torch.equal(weights_of(session), model[0].weight)
    session.show(0)
    with pytest.raises(nl.LensError, match="layers have changed"):
        weights_of(session)
    session.show(None)
    assert torch.equal(weights_of(session), model[0].weight)


def test_a_disk_that_is_nearly_full_is_left_to_others(trained, monkeypatch):
    monkeypatch.setattr(checkpoints, "_LEFT", 1 << 60)
    with pytest.raises(nl.LensError, match="Record fewer steps"):
        trained[0].record(30)


# ---- a budget ----


def size_of(model):
    return sum(t.numel() * t.element_size() for t in model.state_dict().values())


def recorded(count, budget, model, shown=None, stride=1):
    kept = checkpoints.Checkpoints(budget * size_of(model))
    for i in range(count):
        kept.add(i * stride, i, model, shown)
    return kept


@pytest.mark.parametrize(
    ("count", "budget", "stride"), [(100, 10, 1), (37, 5, 50), (1000, 16, 1), (9, 9, 1), (64, 3, 7)]
)
def test_steps_are_thinned_out_evenly(count, budget, stride):
    """The first and the newest are there, and no gap is wider than twice another, but for the one that still grows."""
    kept = recorded(count, budget, small().model, stride=stride)
    steps = [c.step for c in kept]
    assert (steps[0], steps[-1], len(steps)) == (0, (count - 1) * stride, budget)
    gaps = np.diff(steps)[:-1]
    assert not len(gaps) or gaps.max() <= 2 * gaps.min()
    files = [c.file for c in kept]
    assert all(file.exists() for file in files)
    assert len(list(files[0].parent.iterdir())) == len(files), "what went has left nothing"


def test_by_hand():
    """Of 0 1 2 3 with room for three 1 goes, of 0 2 3 4 again what is odd, and of 0 2 4 5 what is no multiple of 4."""
    kept = checkpoints.Checkpoints(3 * size_of(model := small().model))
    seen = []
    for i in range(7):
        kept.add(i, i, model)
        seen.append([c.step for c in kept])
    assert seen[3:] == [[0, 2, 3], [0, 2, 4], [0, 4, 5], [0, 4, 6]]


def test_what_is_shown_stays():
    steps = [c.step for c in recorded(50, 4, small().model, shown=3)]
    assert {0, 3, 49} <= set(steps)
    assert len(steps) == 4


def test_the_session_goes_on_showing_its_step_while_others_go(monkeypatch):
    net = small()
    session = nl.Session(net, cache=False)
    session.checkpoints = checkpoints.Checkpoints(4 * size_of(net.model))
    for step in range(3):
        session.record(step)
        move(net.model, 0.1)
    then = session.run(lambda s: iter([s.network().model[0].weight.detach().clone()]))[0]
    session.show(1)
    at_one = weights_of(session)
    for step in range(3, 30):
        session.record(step)
        move(net.model, 0.1)
    assert session.step == 1
    assert torch.equal(weights_of(session), at_one)
    assert not torch.equal(at_one, then)
    session.close()


def test_where_the_disk_has_little_left_steps_make_room(monkeypatch):
    model = small().model
    size = size_of(model)
    kept = recorded(6, 100, model)
    usage = checkpoints.shutil.disk_usage("/")

    def little(_):
        there = len(list(next(iter(kept)).file.parent.iterdir()))
        return usage._replace(free=checkpoints._LEFT + (6 - there) * size)

    monkeypatch.setattr(checkpoints.shutil, "disk_usage", little)
    for i in range(6, 20):
        kept.add(i, i, model)
        assert len(list(kept)) == 6
    assert [c.step for c in kept][:: len(list(kept)) - 1] == [0, 19]
    before = [c.step for c in kept]
    monkeypatch.setattr(checkpoints.shutil, "disk_usage", lambda _: usage._replace(free=0))
    with pytest.raises(nl.LensError, match="Record fewer steps"):
        kept.add(20, 20, model)
    assert [c.step for c in kept] == before, "nothing went in vain"
    assert all(c.file.exists() for c in kept)
