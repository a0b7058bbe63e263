"""What a notebook's cells tell a widget, with a stand-in for IPython's shell."""

from __future__ import annotations

import gc
from types import SimpleNamespace

import pytest
import torch
from models import small

import nn_lens as nl
from nn_lens.widgets import cells


class Shell:
    """Has the events and the kernel that cells.py looks at."""

    def __init__(self):
        self.calls, self.parent = [], {}
        self.events = SimpleNamespace(
            register=lambda name, call: self.calls.append((name, call)),
            unregister=lambda name, call: self.calls.remove((name, call)),
        )
        self.kernel = SimpleNamespace(get_parent=lambda: self.parent)

    def run(self, cell, run):
        self.parent = {"header": {"msg_id": run}, "metadata": {"cellId": cell}}

    def end(self):
        for name, call in list(self.calls):
            assert name == "post_run_cell"
            call(SimpleNamespace(result=None))


@pytest.fixture
def shell(monkeypatch):
    made = Shell()
    monkeypatch.setattr(cells, "_shell", lambda: made)
    monkeypatch.setattr(cells, "_made", {})
    return made


def test_a_panel_looks_at_its_weights_after_each_cell(shell):
    lens = nl.Lens(nl.Session(small(), cache=False))
    before = lens._weights
    with torch.no_grad():
        lens.session.net.model[0].weight.add_(1)
    assert lens._weights == before
    shell.end()
    assert lens._weights != before
    lens.close()
    assert not shell.calls


def test_of_two_networks_one_panel_watches_for_both(shell):
    lens = nl.Lens(nl.Session(small(), cache=False), compare=nl.Session(small(seed=1), cache=False))
    assert len(shell.calls) == 1
    before = lens.compared._weights
    with torch.no_grad():
        lens.compared.session.net.model[0].weight.add_(1)
    shell.end()
    assert lens.compared._weights != before
    lens.close()
    assert not shell.calls


def test_a_cell_that_is_run_again_closes_what_it_made(shell):
    shell.run("a", "first run")
    session = nl.Session(small(), cache=False)
    first, second = nl.FiltersView(session), nl.KernelLab()
    shell.run("b", "another cell")
    other = nl.FiltersView(session)
    assert all(widget.comm is not None for widget in (first, second, other)), "one cell may make several"
    shell.run("a", "second run")
    third = nl.FiltersView(session)
    assert (first.comm, second.comm) == (None, None)
    assert other.comm is not None
    assert third.comm is not None
    other.close()
    third.close()


def test_a_kernel_lab_watches_no_cells(shell):
    lab = nl.KernelLab()
    assert not shell.calls
    lab.close()


def test_what_is_watched_is_not_kept_alive(shell):
    class Watcher:
        seen = 0

        def ended(self):
            Watcher.seen += 1

    watcher = Watcher()
    end = cells.watch(watcher.ended)
    shell.end()
    assert Watcher.seen == 1
    del watcher
    gc.collect()
    shell.end()
    assert Watcher.seen == 1
    end()
    assert not shell.calls


def test_without_a_notebook_there_is_nothing_to_watch():
    cells.watch(test_without_a_notebook_there_is_nothing_to_watch)()
    lab = nl.KernelLab()
    cells.close_earlier(lab)
    assert lab.comm is not None
    lab.close()
