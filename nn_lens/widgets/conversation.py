"""A panel's conversation with the browser.

The browser asks ({type: "want", id, what, ...}), the session's worker computes, and every question ends in one
"done", "cancelled" or "error" under its own id. A newer question of the same kind takes the older one's
place. Nothing is computed in a callback. What the browser is about to ask, the panel may ask for it ("expect").
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from queue import SimpleQueue
from typing import Any, cast

import anywidget

from nn_lens.engine.pictures.datasets import source_of
from nn_lens.engine.pictures.picture import open_image
from nn_lens.errors import LensError
from nn_lens.sessions.jobs import Job, State
from nn_lens.sessions.session import Session
from nn_lens.units import Unit
from nn_lens.widgets.frames import Frames
from nn_lens.widgets.messages import Message
from nn_lens.widgets.questions import OF_PICTURE, Question, question
from nn_lens.widgets.uploads import Uploads

_questions = itertools.count(-1, -1)  # of the panel itself; the browser's own are above 0


class Conversation(anywidget.AnyWidget):
    """Takes the browser's questions to the session, and the answers back."""

    session: Session
    unit: Unit
    picture: Any
    _picture: Any
    _sources: dict[str, Any]

    def choose(self, name: str, image: Any) -> None:
        """Makes a picture the one that is shown, under a name. A panel has its own."""

    def weights_may_have_moved(self) -> None:
        """Looks whether the model has changed. A panel has its own."""

    def _begin(self) -> None:
        self._frames = Frames(lambda *message: self._post(*message))
        self._uploads = Uploads()
        self._jobs: dict[str, Job] = {}
        self._recorded: dict[int, SimpleQueue[Message]] = {}  # answers that do not go to the browser, by question

    def _receive(self, _widget: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        kind = content.get("type")
        try:
            if kind == "want":
                self._want(content)
            elif kind == "ack":
                self._frames.acknowledge()
            elif kind == "stop":
                self._stop(str(content.get("what")))
            elif kind == "sample":
                self.choose(content["name"], self._sources[content["name"]])
            elif kind == "dataset":
                index = int(content["index"])
                source = source_of(self.session.net, self.session.dataset)
                self.choose(f"picture {index}", source[index])
            elif kind == "upload":
                data = self._uploads.add(content, buffers)
                if data is not None:
                    self.choose(str(content.get("name", "")), open_image(data))
        except LensError as error:
            self._post({"type": "error", "id": content.get("id"), "what": kind, "text": str(error)}, [])

    def _want(self, content: dict[str, Any]) -> None:
        what, number = content["what"], content["id"]
        shown = (self._picture or {}).get("key")
        if what in OF_PICTURE and content["picture"] != shown:
            self._post({"type": "cancelled", "id": number, "what": what}, [])
        else:
            self._ask(what, number, question(content, self.picture, f"{id(self.session)} {shown}"))

    def _answer_ahead(self, what: str, picture: dict[str, Any] | None) -> None:
        """Answers what the browser is about to ask, which saves its way here and is all that gets through while a cell runs."""
        last = self._jobs.get(f"{what} ahead")
        if self.comm is None or (last is not None and not last.final):
            return  # it comes faster than it can be answered: the browser asks when it is ready
        number, key = next(_questions), picture and picture["key"]
        content = {"what": what, "layer": self.unit.layer, "channel": self.unit.channel, "picture": key}
        self._post({"type": "expect", "id": number, "weights": self.session.version, **content}, [])
        self._ask(what, number, question(content, self.picture, f"{id(self.session)} {key}"))

    def _ask(self, what: str, number: int, asked: Question) -> None:
        weights: int | None = None

        def deliver(job: Job, result: Any) -> None:
            nonlocal weights
            if not job.final:
                weights = self.session.running
                if result is not None:
                    show(result)
            elif job.state is State.FAILED:
                self._post({"type": "error", "id": number, "what": what, "text": _said(job.error)}, [])
            else:
                self._post({"type": job.state.value, "id": number, "what": what, "weights": weights}, [])

        def show(result: Any) -> None:
            if asked.paced and not result.finished:
                if result.preview:
                    self._frames.offer(lambda: cast(Message, asked.answer(number, result)))
                return
            if asked.paced:
                self._frames.close()
            message = asked.answer(number, result)
            if message is not None:
                head, buffers = message
                self._post({"weights": weights, **head}, buffers)

        # What the panel asks itself does not take the place of what the browser asks.
        slot = (id(self), what, number < 0)
        name = f"{what} ahead" if number < 0 else what
        self._jobs[name] = self.session.submit(slot, asked.work, deliver, asked.urgency)

    def _stop(self, what: str) -> None:
        self.session.cancel((id(self), what, False))

    def _post(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        recorded = self._recorded.get(content.get("id", 0))
        if recorded is not None:
            recorded.put((content, buffers))
        elif self.comm is not None:
            self.send(content, buffers)

    def answers(self, what: str, **content: Any) -> Iterator[Message]:
        """All messages that answer a question, as the browser would get them; waits for them.

        Raises:
            LensError: the question cannot be answered.
        """
        self.weights_may_have_moved()  # it may be asked from within a cell, which is not over
        number = next(_questions)
        queue: SimpleQueue[Message] = SimpleQueue()
        self._recorded[number] = queue
        try:
            self._want({"what": what, "id": number, **content})
            while True:
                head, buffers = queue.get()
                if head["type"] == "error":
                    raise LensError(str(head["text"]))
                if head["type"] in ("done", "cancelled"):
                    return
                yield head, buffers
        finally:
            del self._recorded[number]

    def refuse(self, error: LensError) -> None:
        """Shows in the panel why a value was not taken."""
        self._post({"type": "error", "what": "set", "text": str(error)}, [])


def _said(error: BaseException | None) -> str:
    return str(error) if isinstance(error, LensError) else f"{type(error).__name__}: {error}"
