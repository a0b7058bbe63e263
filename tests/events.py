"""Random events in the life of two sessions of one network, as a person and a training loop make them, and what must hold."""

from __future__ import annotations

import random
import threading
import time

import numpy as np
import torch
from conversation import Conversation
from models import small

import nn_lens as nl
from nn_lens.sessions import requests
from nn_lens.sessions.jobs import State

LAYERS = ("0", "1", "2", "3", "4")
ENDS = ("done", "cancelled", "error")


class Life:
    """A network, panels of two sessions of it, and what they were asked; the same events for the same seed."""

    def __init__(self, seed: int = 0) -> None:
        self.net, self.random = small(), random.Random(seed)
        self.sessions = [nl.Session(self.net, dataset=torch.rand(12, 3, 20, 28), cache=False) for _ in range(2)]
        self.talks: list[Conversation] = []
        self.asked: list[tuple[Conversation, int]] = []
        self.jobs: list[list[State]] = []
        self.latest: dict[object, list] = {}
        self.steps = 0
        self.counts: dict[str, int] = {}
        for session in self.sessions:
            self.open(session)

    # ---- events ----

    def happen(self) -> None:
        """One of the events, of which the most frequent are those of a slider."""
        names, weights = zip(*EVENTS.items(), strict=True)
        (name,) = self.random.choices(names, weights)
        self.counts[name] = self.counts.get(name, 0) + 1
        getattr(self, name)()

    def want(self) -> None:
        """A question about the layer that is looked at, or another."""
        talk = self.random.choice(self.talks)
        layer = self.random.choice(LAYERS)
        channel = self.random.randrange(self.net[layer].channels)
        what, fields = self.random.choice(
            [
                ("maps", {"layer": layer}), ("filters", {"layer": self.random.choice("03")}), ("scores", {}),
                ("field", {"layer": layer}), ("page", {"layer": layer, "channels": [channel]}),
                ("incoming", {"layer": layer, "channel": channel}), ("overview", {}),
            ]
        )  # fmt: skip
        self.asked.append((talk, talk.want(what, **fields)))

    def fail(self) -> None:
        """A question that cannot be answered."""
        talk = self.random.choice(self.talks)
        self.asked.append((talk, talk.want("filters", layer=self.random.choice(("1", "99")))))

    def submit(self) -> None:
        """Work of a session, in steps, of which the newest in its slot counts; some of it fails."""
        session, slot = self.random.choice(self.sessions), self.random.randrange(3)
        fails, steps, ends = self.random.random() < 0.2, self.random.randrange(1, 6), list[State]()

        def work(s):
            for i in range(steps):
                if fails and i == steps - 1:
                    raise nl.LensError("as it was to be")
                yield s.network()["0"].channels

        def deliver(job, result):
            if job.final:
                ends.append(job.state)

        session.submit(slot, work, deliver)
        self.jobs.append(ends)
        self.latest[id(session), slot] = [ends, State.FAILED if fails else State.DONE]

    def cancel(self) -> None:
        """The browser, or somebody else, wants it no more."""
        talk = self.random.choice(self.talks)
        talk.tell({"type": "stop", "what": self.random.choice(("maps", "page", "filters"))})
        session, slot = self.random.choice(self.sessions), self.random.randrange(3)
        session.cancel(slot)
        self.latest.pop((id(session), slot), None)

    def look(self) -> None:
        """Another layer and unit, chosen in the browser or in Python."""
        panel, layer = self.random.choice(self.talks).panel, self.random.choice(LAYERS)
        channel = self.random.randrange(self.net[layer].channels)
        if self.random.random() < 0.5:
            panel.unit = nl.Unit(layer, channel)
        else:
            panel.set_state({"_selection": {"layer": layer, "channel": channel}})

    def picture(self) -> None:
        """Another picture: a sample, an array, or something that is none."""
        talk = self.random.choice(self.talks)
        kind = self.random.randrange(3)
        if kind == 0:
            talk.tell({"type": "dataset", "index": self.random.randrange(12)})
        elif kind == 1:
            talk.panel.picture = np.full((20, 28, 3), self.random.random(), np.float32)
        else:
            talk.tell({"type": "upload", "upload": 1, "index": 0, "count": 1, "name": "a.png"}, b"no picture")

    def train(self) -> None:
        """A step of a training, which is recorded now and then; an answer of a moment before is cancelled."""
        with torch.no_grad():
            self.net.model[0].weight.mul_(self.random.choice((0.9, 1.1)))
        self.steps += 1
        if self.random.random() < 0.5:
            self.random.choice(self.talks).panel.record(self.steps)
        self.latest.clear()

    def go_back(self) -> None:
        """To a recorded step, or to the model as it is."""
        panel = self.random.choice(self.talks).panel
        panel.step = self.random.choice([None, *(c.step for c in panel.session.checkpoints)])
        self.latest.clear()

    def close(self) -> None:
        """A panel is closed, with the last of a session its worker; another is opened in its place."""
        talk = self.random.choice(self.talks)
        session = talk.panel.session
        self.talks.remove(talk)
        talk.panel.close()
        self.asked = [(other, number) for other, number in self.asked if other is not talk]
        if not session.panels():
            self.latest = {key: value for key, value in self.latest.items() if key[0] != id(session)}
        if session.panels() and self.random.random() < 0.5 and len(self.talks) > 1:
            return
        self.open(session)

    def open(self, session: nl.Session | None = None) -> None:
        """One more panel, of at most four."""
        if len(self.talks) < 4:
            made = self.random.choice((nl.Lens, nl.FiltersView, nl.ActivationsView))
            self.talks.append(Conversation(made(session or self.random.choice(self.sessions))))

    def begin_anew(self) -> None:
        """All panels closed and one of each session opened, so that a moment can be compared with another."""
        for talk in self.talks:
            talk.panel.close()
        self.talks, self.asked, self.latest = [], [], {}
        for session in self.sessions:
            self.talks.append(Conversation(nl.Lens(session)))

    # ---- what must hold ----

    def settle(self, timeout: float = 60) -> None:
        """Every question has ended, once; the newest of each slot as it should; answers are those of plain torch."""
        until = time.monotonic() + timeout
        while any(not ends for ends in self.jobs) or any(not self._ends(*a) for a in self.asked):
            assert time.monotonic() < until, "a question got no end"
            time.sleep(0.005)
        assert all(len(ends) == 1 for ends in self.jobs)
        assert all(len(self._ends(*asked)) == 1 for asked in self.asked)
        for ends, expected in self.latest.values():
            assert ends == [expected]
        for talk in self.talks:
            unit = talk.panel.unit
            assert (talk.panel.layer, talk.panel._selection["layer"]) == (unit.layer, unit.layer)
        self._answers_are_right()
        self.asked, self.jobs = [], []
        for talk in self.talks:
            talk.sent.clear()

    def _ends(self, talk: Conversation, number: int) -> list[str]:
        return [c["type"] for c, _ in list(talk.sent) if c.get("id") == number and c["type"] in ENDS]

    def _answers_are_right(self) -> None:
        for session in self.sessions:
            state = self.net.model.state_dict()
            if session.step is not None:
                state = session.checkpoints.at(session.step).state()
            peak = np.abs(state["0.weight"].numpy()).max((1, 2, 3))
            shown = session.run(lambda s: requests.filters(s, "0"), timeout=30)[-1]
            np.testing.assert_allclose(shown.ranges[:, 1], peak, rtol=1e-5)

    def end(self) -> None:
        """All is closed, and nothing is left of it."""
        for talk in self.talks:
            talk.panel.close()
        for session in self.sessions:
            session.close()
        self.talks = []
        assert not [t for t in threading.enumerate() if t.name.startswith("nn-lens") and t.is_alive()]
        for module in self.net.model.modules():
            assert not module._forward_hooks
            assert not module._forward_pre_hooks
        assert all(p.requires_grad for p in self.net.model.parameters())


EVENTS = {
    "want": 10, "look": 6, "submit": 5, "cancel": 3, "picture": 2, "fail": 2, "train": 1, "go_back": 1, "close": 1, "open": 1,
}  # fmt: skip
"""By name, how often each happens."""
