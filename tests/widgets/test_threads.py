"""Messages of the browser may be handled in threads beside the running cell: nothing is lost, mixed or left behind."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from conversation import Conversation
from models import small

import nn_lens as nl
from nn_lens.engine.network import runner
from nn_lens.widgets.turns import TURN


@pytest.fixture(autouse=True)
def _threads_change_often():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def together(*works):
    """Runs each in a thread of its own, all from one moment on; raises what one of them raises."""
    begin, wrong = threading.Barrier(len(works)), []

    def run(work):
        begin.wait()
        try:
            work()
        except BaseException as error:
            wrong.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert not any(thread.is_alive() for thread in threads), "they wait for one another"
    if wrong:
        raise wrong[0]


def message(panel, **state):
    """What comes from the browser when it sets traits."""
    panel._handle_msg({"content": {"data": {"method": "update", "state": state, "buffer_paths": []}}, "buffers": []})


def agrees(panel):
    unit = panel.unit
    assert panel.layer == unit.layer
    assert (panel._selection["layer"], panel._selection["channel"]) == (unit.layer, unit.channel)


def test_a_slider_and_a_cell_move_the_unit_at_once():
    panel = nl.Lens(small(), compare=small())
    told = []
    panel.observe(lambda change: told.append(change.new), "unit")

    def slider():
        for i in range(150):
            message(panel, _selection={"layer": "0", "channel": i % 6})

    def cell():
        for i in range(150):
            panel.unit = nl.Unit("3", i % 5)

    together(slider, cell, slider)
    agrees(panel)
    agrees(panel.compared)
    assert panel.compared.unit == panel.unit
    assert told[-1] == panel.unit, "the last that observers were told is what there is"
    panel.close()


def test_while_a_state_is_taken_over_another_threads_change_is_not_held_back():
    """A change that is made meanwhile would be told late, or by the other thread, or never."""
    panel = nl.Lens(small())
    inside, go_on = threading.Event(), threading.Event()

    def slow(_):
        inside.set()
        go_on.wait(5)

    panel.observe(slow, "_selection")
    told = []
    panel.observe(lambda change: told.append((threading.current_thread().name, change.new)), "view")
    slider = threading.Thread(target=lambda: message(panel, _selection={"layer": "0", "channel": 3}))
    slider.start()
    assert inside.wait(5)

    def cell():
        panel.view = "filters"

    other = threading.Thread(target=cell, name="cell")
    other.start()
    other.join(0.2)
    assert other.is_alive(), "it waits for its turn"
    go_on.set()
    slider.join(5)
    other.join(5)
    assert told == [("cell", "filters")]
    panel.close()


def test_every_question_ends_though_panels_of_a_session_ask_at_once():
    session = nl.Session(small(), cache=False)
    panels = [nl.Lens(session), nl.ActivationsView(session), nl.FiltersView(session)]
    talks = [Conversation(panel) for panel in panels]

    def asks(talk):
        def work():
            asked = [talk.want("filters", layer=("0", "3")[i % 2]) for i in range(20)]
            for number in asked:
                talk.until_end(number)

        return work

    def steps():
        for i in range(10):
            panels[0].record(i)
            panels[0].step = None

    def opens():
        for _ in range(5):
            nl.FiltersView(session).close()

    together(*map(asks, talks), steps, opens)
    for talk in talks:
        ends = [c["id"] for c, _ in talk.sent if c["type"] in ("done", "cancelled", "error") and c.get("id")]
        assert len(ends) == len(set(ends)), "one end each"
        assert not [c for c, _ in talk.sent if c["type"] == "error"]
    for panel in panels:
        panel.close()
    assert session._thread is None


def test_a_panel_is_closed_while_the_browser_asks():
    for _ in range(5):
        panel = nl.Lens(small())
        talk = Conversation(panel)
        together(*[lambda t=talk: [t.want("filters", layer="0") for _ in range(30)]] * 2, panel.close)
    assert not [t for t in threading.enumerate() if t.name.startswith("nn-lens") and t.is_alive()]


def test_two_networks_of_one_model_take_turns_on_it():
    model = small().model
    model.lock = threading.Lock()  # so that it cannot be copied
    model.train()
    picture = torch.rand(3, 20, 28)
    nets = [nl.Network(model, (3, 20, 28), False) for _ in range(2)]
    expected = [nl.activations(nets[0], picture, layer).maps for layer in ("0", "3")]
    hooks = sum(len(m._forward_hooks) for m in model.modules())

    def looks(net, layer, maps):
        def work():
            for _ in range(40):
                np.testing.assert_array_equal(nl.activations(net, picture, layer).maps, maps)

        return work

    together(looks(nets[0], "0", expected[0]), looks(nets[1], "3", expected[1]), lambda: nl.Network(model, (3, 20, 28)))
    assert all(m.training for m in model.modules()), "as the user left it"
    assert all(p.requires_grad for p in model.parameters())
    assert sum(len(m._forward_hooks) for m in model.modules()) == hooks


def test_the_lock_of_a_model_goes_with_it():
    model = small().model
    lock = runner._lock_of(model)
    assert runner._lock_of(model) is lock
    assert runner._lock_of(torch.nn.DataParallel(model)) is lock, "what wraps it, runs it"
    before = len(runner._locks)
    del model
    gc.collect()
    assert len(runner._locks) < before


def test_what_is_printed_in_several_threads_is_what_is_printed_in_one(tmp_path):
    panels = [nl.FiltersView(small()) for _ in range(3)]

    def prints(panel, name):
        return lambda: panel.save_png(tmp_path / f"{name}.png", dpi=50)

    prints(panels[0], "alone")()
    together(*[prints(panel, i) for i, panel in enumerate(panels)])
    for i in range(len(panels)):
        assert (tmp_path / f"{i}.png").read_bytes() == (tmp_path / "alone.png").read_bytes()
        panels[i].close()


def test_the_kernel_lab_takes_turns_too():
    lab = nl.KernelLab()

    def stride():
        for i in range(100):
            message(lab, stride=1 + i % 4)

    def kernel():
        for i in range(100):
            lab.kernel = [[1.0, float(i)]]

    together(stride, kernel)
    assert (lab.stride, lab.kernel) == (4, [[1.0, 99.0]])
    lab.close()
    assert TURN.acquire(blocking=False), "nobody holds it"
    TURN.release()


def test_beside_a_cell_nobody_is_told_that_it_ends():
    """matplotlib would show and close the figures that the cell is still drawing."""
    code = """
import threading
from IPython.core.interactiveshell import InteractiveShell
from models import small
import nn_lens as nl

ends = []
InteractiveShell.instance().events.register("post_execute", lambda: ends.append(threading.current_thread()))
lens, lab = nl.Lens(small(), unit="3:0"), nl.KernelLab(nl.demo().samples["cat"])
for widget, state, taken in (
    (lens, {"_selection": {"layer": "3", "channel": 1}}, lambda: lens.unit == nl.Unit("3", 1)),
    (lab, {"stride": 2}, lambda: lab.stride == 2),
):
    data = {"method": "update", "state": state, "buffer_paths": []}
    message = {"content": {"data": data}, "buffers": []}
    beside = threading.Thread(target=widget.comm.handle_msg, args=(message,))
    beside.start()
    beside.join()
    assert taken() and ends == [], ends
    widget.comm.handle_msg(message)
    assert ends == [threading.main_thread()], ends
    ends.clear()
    widget.close()
"""
    tests = Path(__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], cwd=tests, check=True, timeout=120)


def test_messages_go_to_the_subshell_that_they_name_whoever_spoke_last():
    """ipykernel would send them to the shell that did: the session's worker counts as the main one, where the cell runs."""
    code = """
import ipykernel.ipkernel
from ipykernel.comm.comm import BaseComm
from models import small
import nn_lens as nl

for widget in (nl.Lens(small(), unit="3:0"), nl.KernelLab(nl.demo().samples["cat"])):
    assert isinstance(widget.comm, BaseComm)
    if hasattr(BaseComm, "_reply_subshell_for"):
        widget.comm._reply_subshell_id = None
        assert widget.comm._reply_subshell_for({"method": "custom"}, "beside") == "beside"
    widget.close()
"""
    tests = Path(__file__).parent.parent
    subprocess.run([sys.executable, "-c", code], cwd=tests, check=True, timeout=120)
