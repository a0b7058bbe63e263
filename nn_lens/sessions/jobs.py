"""Jobs of one worker: their states, and the mailbox in which a newer job takes the older one's place."""

from __future__ import annotations

import itertools
import threading
import traceback
from collections.abc import Callable, Hashable, Iterator
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

_numbers = itertools.count(1)


class State(Enum):
    """Where a job is; the last three are final, and a job reaches exactly one of them."""

    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


class Cancelled(Exception):
    """What a job's own iterator raises once nobody can want its results any more."""


@dataclass(eq=False)
class Job:
    """Work in steps for one slot.

    start: makes the iterator of results; called, advanced and closed on the worker's thread alone.
    deliver: called with (job, result) for every result, and with (job, None) once `state` is final.
    urgency: a job with a smaller number goes first, also between the steps of another; may be asked anew before each step.
    """

    slot: Hashable
    start: Callable[[], Iterator[Any]]
    deliver: Callable[[Job, Any], None]
    urgency: int | Callable[[], int] = 0
    number: int = field(default_factory=lambda: next(_numbers))
    state: State = State.WAITING
    error: BaseException | None = None
    results: Iterator[Any] | None = None
    turn: int = 0
    _cancelled: threading.Event = field(default_factory=threading.Event)

    @property
    def level(self) -> int:
        """How urgent it is by now."""
        return self.urgency() if callable(self.urgency) else self.urgency

    def cancel(self) -> None:
        """Stops the job before its next step; from any thread, also more than once."""
        self._cancelled.set()

    @property
    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._cancelled.is_set()

    @property
    def final(self) -> bool:
        """Whether the job is over."""
        return self.state in (State.DONE, State.CANCELLED, State.FAILED)


class Mailbox:
    """One place per slot. A job that is put there cancels the one that was there: the latest wins."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._jobs: dict[Hashable, Job] = {}
        self._leaving: list[Job] = []
        self._closed = False
        self._turns = itertools.count(1)

    def put(self, job: Job) -> bool:
        """Takes a job in; False if the mailbox is closed."""
        with self._changed:
            if self._closed:
                return False
            self._take_out(job.slot)
            self._jobs[job.slot] = job
            self._changed.notify()
            return True

    def cancel(self, slot: Hashable) -> None:
        """Cancels the job of a slot, if there is one."""
        with self._changed:
            self._take_out(slot)
            self._changed.notify()

    def next(self) -> Job | None:
        """The job to go on with, waiting for one; a cancelled one first, so that it is told. None once closed and empty."""
        with self._changed:
            while not (self._jobs or self._leaving or self._closed):
                self._changed.wait()
            if self._leaving:
                return self._leaving.pop()
            if not self._jobs:
                return None
            job = min(self._jobs.values(), key=lambda j: (j.level, j.turn))
            job.turn = next(self._turns)
            return job

    def remove(self, job: Job) -> None:
        """Takes a finished job out."""
        with self._changed:
            if self._jobs.get(job.slot) is job:
                del self._jobs[job.slot]

    @property
    def empty(self) -> bool:
        """Whether there is nothing to do."""
        with self._changed:
            return not (self._jobs or self._leaving)

    def close(self) -> None:
        """Cancels everything; nothing is taken in any more."""
        with self._changed:
            self._closed = True
            for slot in list(self._jobs):
                self._take_out(slot)
            self._changed.notify_all()

    def _take_out(self, slot: Hashable) -> None:
        old = self._jobs.pop(slot, None)
        if old is not None:
            old.cancel()
            self._leaving.append(old)


def advance(job: Job) -> None:
    """One step of a job on the calling thread: a result, or its end. Nothing is raised but from `deliver`."""
    if job.final:
        return  # it ended while it was being taken out of the mailbox, and has been told so
    try:
        if job.cancelled:
            job.state = State.CANCELLED
        else:
            if job.results is None:
                job.state = State.RUNNING
                job.results = iter(job.start())
            result = next(job.results)
            if not job.cancelled:
                job.deliver(job, result)
            return
    except StopIteration:
        job.state = State.DONE
    except Cancelled:
        job.state = State.CANCELLED
    except Exception as error:
        # The frames hold what they worked with, such as a network, and this one the job itself.
        inside = error.__traceback__ and error.__traceback__.tb_next
        traceback.clear_frames(inside)
        job.state, job.error = State.FAILED, error.with_traceback(inside)
    close = getattr(job.results, "close", None)
    if close is not None and job.state is not State.FAILED:
        close()
    job.results = None
    job.deliver(job, None)
