"""Sessions hold to whatever happens in whatever order: every question has one end, and what is shown is right."""

from __future__ import annotations

import gc
import random
import signal
import threading
import time

import numpy as np
import pytest
import torch
from events import EVENTS, Life
from hypothesis import HealthCheck, settings, strategies
from hypothesis.stateful import RuleBasedStateMachine, rule, run_state_machine_as_test
from models import small

import nn_lens as nl
from nn_lens.sessions import requests


class Lives(RuleBasedStateMachine):
    """Two sessions of one network, and panels of both."""

    def __init__(self):
        super().__init__()
        self.life = Life()

    @rule(name=strategies.sampled_from(list(EVENTS)), random=strategies.randoms(use_true_random=False))
    def happens(self, name, random):
        self.life.random = random
        getattr(self.life, name)()

    @rule()
    def settles(self):
        self.life.settle()

    def teardown(self):
        self.life.settle()
        self.life.end()


def test_random_events_leave_nothing_undone():
    patient = settings(
        max_examples=8, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), database=None
    )
    run_state_machine_as_test(Lives, settings=patient)


def test_the_same_life_leaves_no_threads_and_no_models_behind():
    def lived(seed):
        life = Life(seed)
        for _ in range(40):
            life.happen()
        life.settle()
        life.end()
        return id(life.net)

    lived(0)
    gc.collect()
    before = threading.active_count(), sum(type(o) is torch.nn.Conv2d for o in gc.get_objects())
    for seed in (1, 2):
        lived(seed)
    gc.collect()
    assert (threading.active_count(), sum(type(o) is torch.nn.Conv2d for o in gc.get_objects())) == before


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of Unix")
def test_an_interrupt_at_any_moment_leaves_a_working_session():
    net = small()
    session, panel = nl.Session(net, cache=False), nl.FiltersView(net)
    main, picked, interrupted = threading.main_thread().ident, random.Random(2), 0

    def interrupt(wait):
        time.sleep(wait)
        signal.pthread_kill(main, signal.SIGINT)

    for i in range(80):
        try:
            threading.Thread(target=interrupt, args=(picked.random() / 50,)).start()
            for _ in range(2000):  # some interrupt may be lost in what must not raise
                with torch.no_grad():
                    net.model[0].weight.mul_(picked.choice((0.9, 1.1)))
                session.record(i)
                panel.unit = nl.Unit(picked.choice("03"), picked.randrange(5))
                session.run(lambda s: requests.maps(s, torch.rand(3, 20, 28), "p", "3"))
        except KeyboardInterrupt:
            interrupted += 1
    assert interrupted > 70
    session.show(None)
    shown = session.run(lambda s: requests.filters(s, "0"), timeout=30)[-1]
    peak = net.model[0].weight.detach().abs().amax((1, 2, 3)).numpy()
    np.testing.assert_allclose(shown.ranges[:, 1], peak, rtol=1e-5)
    panel.unit = "0:2"
    assert (panel.layer, panel._selection["channel"]) == ("0", 2)
    panel.close()
    session.close()
    assert not [t for t in threading.enumerate() if t.name.startswith("nn-lens") and t.is_alive()]
    assert not any(m._forward_hooks for m in net.model.modules())


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="signals of Unix")
def test_what_nobody_waits_for_any_more_is_stopped():
    session, seen, main = nl.Session(small(), cache=False), [], threading.main_thread().ident

    def endless(_):
        while True:
            seen.append(time.sleep(0.001))
            yield None

    threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
    with pytest.raises(KeyboardInterrupt, match=r"^$"):
        session.run(endless)
    session.run(lambda s: iter([None]), timeout=10)
    count = len(seen)
    time.sleep(0.1)
    assert len(seen) == count > 0
    session.close()
