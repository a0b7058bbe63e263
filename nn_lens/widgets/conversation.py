"""A panel's conversation with the browser.

The browser asks ({type: "want", id, what, ...fields}), the session's worker computes, and every question ends in one
"done", "cancelled" or "error" under its own id. Two questions of a kind are the same if their fields are equal; a newer
question of a kind takes the older one's place. Nothing is computed in a callback. What the browser is about to ask, the
panel may ask for it ("expect").
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from queue import SimpleQueue
from typing import Any

from nn_lens.errors import LensError
from nn_lens.sessions.jobs import Job, State
from nn_lens.sessions.session import Session
from nn_lens.widgets.frames import Frames, Message
from nn_lens.widgets.geometry import Geometry
from nn_lens.widgets.messages import MESSAGES
from nn_lens.widgets.questions import WORK, Asked, Look, fields
from nn_lens.widgets.table import TABLE, Kind

_own_numbers = itertools.count(-1, -1)  # of the panel's own questions; the browser's are above 0


class Conversation:
    """Takes the browser's questions to a session, and the answers back.

    Args:
        session: whose worker answers.
        look: gives what the panel looks at.
        send: takes a message and its buffers to the browser; called from any thread.
        others: is given the messages that belong to no question, on which it may raise a LensError.
    """

    def __init__(
        self,
        session: Session,
        look: Callable[[], Look],
        send: Callable[[dict[str, Any], list[bytes]], None],
        others: Callable[[Mapping[str, Any], list[Any]], None],
    ) -> None:
        self.session: Session | None = session
        self.send = send
        self._look = look
        self._others = others
        self._frames = Frames(self._tell)
        self._jobs: dict[str, Job] = {}
        self._recorded: dict[int, SimpleQueue[Message]] = {}  # answers that do not go to the browser, by question

    def receive(self, content: Mapping[str, Any], buffers: list[Any]) -> None:
        """Takes a message of the browser."""
        session = self.session
        if session is None:
            return
        kind = content.get("type")
        try:
            if kind == "want":
                self._want(content)
            elif kind == "ack":
                self._frames.acknowledge()
            elif kind == "stop":
                session.cancel(self._slot(content["what"], own=False))
            else:
                self._others(content, buffers)
        except LensError as error:
            self._tell(
                {"type": "error", "id": content.get("id"), "what": content.get("what", kind), "text": str(error)}, []
            )

    def expect(self, what: str, look: Look | None = None) -> None:
        """Answers what the browser is about to ask, which saves its way here, and is all that gets through while a cell runs.

        look: what it is about to look at; None: what it looks at.
        """
        kind, look = TABLE.kind(what), look or self._look()
        asked, last = fields(kind, look), self._jobs.get(f"{what} ahead")
        session = self.session
        if session is None or asked is None or (last is not None and not last.final):
            return  # or it comes faster than it can be answered: the browser asks when it is ready
        number = next(_own_numbers)
        self._tell({"type": "expect", "id": number, "what": what, "weights": session.version, **asked}, [])
        self._ask(kind, number, asked, look)

    def answers(self, what: str, **asked: Any) -> Iterator[Message]:
        """All messages that answer a question, as the browser would get them; waits for them.

        Raises:
            LensError: the question cannot be answered.
        """
        kind, number = TABLE.kind(what), next(_own_numbers)
        queue: SimpleQueue[Message] = SimpleQueue()
        self._recorded[number] = queue
        try:
            self._ask(kind, number, kind.read(asked), self._look())
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
        """Says in the panel why a value was not taken."""
        self._tell({"type": "error", "what": "set", "text": str(error)}, [])

    def close(self) -> None:
        """Stops the work; nothing is sent any more."""
        self.session = None  # first: from now on other threads ask nothing any more
        for job in list(self._jobs.values()):
            job.cancel()
        self._frames.end()
        self._jobs.clear()

    def _want(self, content: Mapping[str, Any]) -> None:
        kind, look = TABLE.kind(content["what"]), self._look()
        asked = kind.read(content)
        if kind.of_picture and asked["picture"] != look.key:
            self._tell({"type": "cancelled", "id": content["id"], "what": kind.name}, [])
        else:
            self._ask(kind, content["id"], asked, look)

    def _ask(self, kind: Kind, number: int, asked: Mapping[str, Any], look: Look) -> None:
        session = self.session
        if session is None:
            raise LensError("The panel was closed; it answers nothing any more.")
        weights: int | None = None
        latest: Any = None

        def deliver(job: Job, result: Any) -> None:
            nonlocal weights, latest
            if not job.final:
                weights = session.running
                latest = latest if result is None else result
                if result is not None:
                    self._answer(kind, {"type": kind.name, "id": number, "weights": weights}, result, look.geometry)
                return
            if kind.paced:
                self._frames.end()
            if job.state is State.FAILED:
                self._tell({"type": "error", "id": number, "what": kind.name, "text": _said(job.error)}, [])
            else:
                self._tell({"type": job.state.value, "id": number, "what": kind.name, "weights": weights}, [])

        def urgency() -> int:
            if latest is None and kind.first is not None:
                return kind.first
            if kind.rest is not None and latest is not None and about.chosen() in latest.made:
                return kind.rest
            return kind.urgency

        own, name = number < 0, kind.name
        about = Asked(asked, look)
        self._jobs[f"{name} ahead" if own else name] = session.submit(
            self._slot(name, own), lambda s: WORK[name](s, about), deliver, urgency
        )

    def _answer(self, kind: Kind, head: dict[str, Any], result: Any, geometry: Geometry) -> None:
        """Sends a result; an unfinished one of a paced kind when the browser is ready for it."""

        def message() -> Message:
            own, buffers = MESSAGES[kind.name](result, geometry)
            return {**head, **own}, buffers

        if not kind.paced:
            self._tell(*message())
        elif result.finished:
            self._frames.end()
            self._tell(*message())
        elif result.preview:
            self._frames.offer(message)

    def _slot(self, what: str, own: bool) -> tuple[int, str, bool]:
        """What the panel asks itself does not take the place of what the browser asks."""
        return id(self), what, own

    def _tell(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        content = finite(content)
        recorded = self._recorded.get(content.get("id") or 0)
        if recorded is not None:
            recorded.put((content, buffers))
        elif self.session is not None:
            self.send(content, buffers)


def finite(content: Any) -> Any:
    """A message's content with NaN and infinity as JavaScript calls them: JSON has no number for them, and each host would
    write them in a way of its own, or break.
    """
    if isinstance(content, float):
        if math.isfinite(content):
            return content
        return "NaN" if math.isnan(content) else "Infinity" if content > 0 else "-Infinity"
    if isinstance(content, dict):
        return {name: finite(value) for name, value in content.items()}
    if isinstance(content, (list, tuple)):
        return type(content)(finite(value) for value in content)
    return content


def _said(error: BaseException | None) -> str:
    return str(error) if isinstance(error, LensError) else f"{type(error).__name__}: {error}"
