"""The mailbox: latest wins, urgency, cancel, and exactly one end per job."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref

import numpy as np
import pytest
from models import Failing, small

import nn_lens as nl
from nn_lens.sessions.jobs import Job, Mailbox, State, advance


class Ends:
    """Notes results and ends."""

    def __init__(self):
        self.results, self.ends, self.over = [], [], threading.Event()

    def __call__(self, job, result):
        if job.final:
            self.ends.append(job.state)
            self.over.set()
        else:
            self.results.append(result)


@pytest.fixture
def session():
    session = nl.Session(small(), cache=False)
    yield session
    session.close()


def test_the_latest_job_of_a_slot_wins():
    box, ends = Mailbox(), [Ends() for _ in range(5)]
    computed = []
    for i, end in enumerate(ends):
        box.put(Job("maps", lambda i=i: iter([computed.append(i)]), end))
    while (job := box.next()) is not None:
        advance(job)
        if job.final:
            box.remove(job)
            if job.slot == "maps" and job.state is State.DONE:
                break
    assert computed == [4], "superseded ones are dropped, not computed"
    assert [end.ends for end in ends] == [[State.CANCELLED]] * 4 + [[State.DONE]]


def test_urgent_jobs_go_between_the_steps_of_others(session):
    order, slow, fast = [], Ends(), Ends()
    begun = threading.Event()

    def long(_):
        for i in range(200):
            begun.set()
            order.append(i)
            time.sleep(0.002)
            yield i

    session.submit("page", long, slow, urgency=1)
    assert begun.wait(5)
    session.submit("maps", lambda _: iter([order.append("maps")]), fast)
    assert fast.over.wait(5)
    assert order.index("maps") < 190
    session.cancel("page")
    assert slow.over.wait(5)
    assert slow.ends == [State.CANCELLED]


def test_urgency_may_change_between_steps():
    """A page that is begun steps back once what is looked at is there; a card's first result goes before its others."""
    box, order, ends = Mailbox(), [], Ends()

    def work(name):
        for i in range(3):
            order.append(f"{name}{i}")
            yield i

    done = {"page": 0, "card": 0}
    levels = {"page": lambda: 1 if done["page"] < 1 else 3, "card": lambda: 0 if done["card"] < 1 else 2}
    for name in ("page", "card"):

        def deliver(job, result, name=name):
            done[name] += 1
            ends(job, result)

        box.put(Job(name, lambda name=name: work(name), deliver, levels[name]))
    while not box.empty:
        job = box.next()
        advance(job)
        if job.final:
            box.remove(job)
    assert order == ["card0", "page0", "card1", "card2", "page1", "page2"]


def test_a_cancelled_job_stops_before_its_next_step_and_is_closed(session):
    closed, ends, begun = threading.Event(), Ends(), threading.Event()

    def work(_):
        try:
            while True:
                begun.set()
                yield 1
        finally:
            closed.set()

    job = session.submit("page", work, ends)
    assert begun.wait(5)
    job.cancel()
    session.cancel("page")
    assert ends.over.wait(5)
    assert closed.is_set()
    count = len(ends.results)
    time.sleep(0.05)
    assert len(ends.results) == count
    assert ends.ends == [State.CANCELLED]


def test_a_job_that_ends_while_it_is_taken_out_ends_once():
    box, ends = Mailbox(), Ends()
    job = Job("maps", lambda: iter([]), ends)
    box.put(job)
    assert box.next() is job
    box.cancel("maps")  # another thread, just before the worker's step is over
    advance(job)
    box.remove(job)
    assert box.next() is job
    advance(job)
    assert ends.ends == [State.CANCELLED]


def test_a_storm_computes_little(session):
    computed, ends = [], [Ends() for _ in range(200)]

    def work(i):
        def results(_):
            computed.append(i)
            time.sleep(0.005)
            yield i

        return results

    for i, end in enumerate(ends):
        session.submit("maps", work(i), end)
    assert ends[-1].over.wait(5)
    assert all(end.over.wait(5) for end in ends)
    assert computed[-1] == 199
    assert len(computed) < 60
    assert all(len(end.ends) == 1 for end in ends)


def test_a_failing_job_says_so_and_the_worker_lives(session):
    ends = Ends()
    session.submit("maps", lambda _: (1 / 0 for _ in [0]), ends)
    assert ends.over.wait(5)
    assert ends.ends == [State.FAILED]
    assert session.run(lambda s: iter([s.network().input_shape])) == [(3, 20, 28)]


def test_a_receiver_that_is_gone_does_not_stop_the_worker(session):
    def gone(job, result):
        raise RuntimeError("the comm is closed")

    session.submit("maps", lambda _: iter([1]), gone)
    assert session.run(lambda _: iter([7]), timeout=5) == [7]


def test_run_raises_what_the_model_raises():
    net = nl.Network(Failing(), (3, 12, 12), False)
    session = nl.Session(net, cache=False)
    net.model.fails = True
    with pytest.raises(nl.LensError, match="the cable is out"):
        session.run(lambda s: iter([s.network().scores(np.zeros((12, 12, 3)))]))
    session.close()


def test_a_run_that_takes_too_long_is_cancelled_and_says_so(session):
    begun, go, closed = threading.Event(), threading.Event(), threading.Event()

    def slow(_):
        try:
            while True:
                begun.set()
                go.wait(5)
                yield 1
        finally:
            closed.set()

    with pytest.raises(nl.LensError, match=r"did not answer within 0.05 s; it is cancelled"):
        session.run(slow, timeout=0.05)
    assert begun.wait(5)
    assert not closed.is_set()
    go.set()
    assert closed.wait(5), "its next step is not begun"
    assert session.run(lambda _: iter([7]), timeout=5) == [7]


def test_no_thread_is_left_behind():
    before = threading.active_count()
    sessions = [nl.Session(small(), cache=False) for _ in range(4)]
    for session in sessions:
        session.run(lambda _: iter([1]))
    assert threading.active_count() > before
    for session in sessions:
        session.close()
    assert threading.active_count() == before


def test_a_closed_session_starts_anew(session):
    session.run(lambda _: iter([1]))
    session.close()
    assert session.run(lambda _: iter([2]), timeout=5) == [2]


def test_a_failed_job_keeps_nothing_of_what_it_worked_with(session):
    class Heavy:
        pass

    seen, held = [], []

    def work(_):
        heavy = Heavy()
        held.append(weakref.ref(heavy))
        yield 1
        raise ValueError("the cable is out")

    over = threading.Event()
    gc.collect()
    gc.disable()
    try:
        session.submit("slot", work, lambda job, _: (seen.append(job), job.final and over.set()))
        assert over.wait(10)
        session.run(lambda s: iter([0]))  # the worker has left the job behind
        assert held[0]() is None
    finally:
        gc.enable()
    assert "the cable is out" in str(seen[-1].error)


AT_WORK = """
import nn_lens as nl

def work(session):
    while True:
        yield nl.activations(session.network(), net.samples["cat"], "relu3")

net, begun = nl.demo(), threading.Event()
session = nl.Session(net, cache=False)
session.submit("maps", work, lambda job, result: begun.set())
assert begun.wait(60)
time.sleep(random.random() / 5)
raise SystemExit(3)
"""


def test_python_ends_in_peace_while_the_worker_is_inside_torch():
    """A thread that runs on would abort the process, so that a script's exit status was lost."""
    code = f"import random, threading, time\n{AT_WORK}"
    runs = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True) for _ in range(3)]
    assert [(run.returncode, run.stderr) for run in runs] == [(3, "")] * 3
