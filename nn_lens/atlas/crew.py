"""Tasks on an executor: what breaks is tried again, an own pool of processes is built anew, what fails has its reason."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import connection
from typing import Any

from nn_lens.atlas.recipe import Recipe
from nn_lens.atlas.tasks import Task
from nn_lens.atlas.work import Done, run
from nn_lens.errors import LensError, one_line
from nn_lens.sessions import cpu

ATTEMPTS = 3
"""Times that a task is tried whose worker dies."""

_AHEAD = 2  # tasks for each worker that the executor has at once
_LOST = 2  # pools in which nothing was ever done
_LOOK = 1.0  # seconds
_UNKNOWN = 64  # of an executor that does not say how many workers it has


def own_workers() -> int:
    """As many processes as there are processors."""
    return cpu.available()


def share(executor: Executor | None, workers: int) -> int | None:
    """Threads of torch for a worker, so that all together have the machine's; None: not known here."""
    own = workers if executor is None else getattr(executor, "_max_workers", None)
    return max(1, cpu.available() // own) if isinstance(own, int) else None


class Crew:
    """Does tasks on an executor; None: on processes of its own, as many as `workers`.

    Use it as a context: at the end its own processes end.
    """

    def __init__(self, executor: Executor | None, recipe: Recipe, workers: int) -> None:
        self._given, self._recipe, self._workers = executor, recipe, workers
        self._pool: ProcessPoolExecutor | None = None
        self._attempts: Counter[str] = Counter()
        self._lost, self._done = 0, False  # pools of its own that broke; whether any worker ever did anything

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._end_pool()

    def work(self, tasks: Iterable[Task], done: Callable[[Task, Done], bool]) -> None:
        """Does all tasks; `done` gets each with its files, or the reason why there are none, and says whether to go on.

        A task whose worker has died is tried again alone, so that only what kills workers is given up.

        Raises:
            LensError: no worker of its own lives long enough to do anything.
        """
        waiting, suspects = deque(tasks), deque[Task]()
        running: dict[Future[Done], Task] = {}
        room = _AHEAD * (getattr(self._given, "_max_workers", _UNKNOWN // _AHEAD) if self._given else self._workers)
        try:
            while waiting or suspects or running:
                queue = suspects or waiting
                while queue and len(running) < (1 if queue is suspects else room):
                    task = queue.popleft()
                    try:
                        running[self._submit(task)] = task
                    except RuntimeError as error:  # the executor is broken, or was shut down
                        if not self._tried(task, error, suspects, done):
                            return
                        break
                wait(running, _LOOK, FIRST_COMPLETED)  # which does not return for what was only cancelled
                finished = [future for future in running if future.done()]
                # What was done is kept before anything is said of what was not.
                for future in sorted(finished, key=lambda f: f.cancelled() or f.exception() is not None):
                    task = running.pop(future)
                    lost = _error_of(future)
                    if lost is None:
                        self._done = True
                        if not done(task, future.result()):
                            return
                    elif not self._tried(task, lost, suspects, done):
                        return
        finally:
            for future in running:
                future.cancel()
            if running:
                self._end_pool()

    def _submit(self, task: Task) -> Future[Done]:
        attempt = self._attempts[task.name]
        if self._given is not None:
            return self._given.submit(run, self._recipe, task, attempt)
        try:
            return self._own_pool().submit(run, self._recipe, task, attempt)
        except BrokenProcessPool:
            self._end_pool()
            return self._own_pool().submit(run, self._recipe, task, attempt)

    def _tried(self, task: Task, error: BaseException, again: deque[Task], done: Callable[[Task, Done], bool]) -> bool:
        """Puts a task whose worker died among those to be tried `again`, or gives it up; whether to go on."""
        if isinstance(error, BrokenProcessPool) and self._given is None:
            self._end_pool()
            self._lost += 1
            if self._lost >= _LOST and not self._done:
                raise LensError(
                    f"The workers end as soon as they begin ({one_line(error)}). A script that sweeps does so under "
                    '`if __name__ == "__main__":`, since each worker reads it; else there may be too little memory: workers=1.'
                ) from error
        self._attempts[task.name] += 1
        if self._attempts[task.name] < ATTEMPTS:
            again.append(task)
            return True
        said = one_line(error) if isinstance(error, Exception) and str(error) else ""
        reason = f"its worker ended {ATTEMPTS} times ({type(error).__name__}{said and f': {said}'})"
        return done(task, Done({}, reason))

    # ---- own processes ----

    def _own_pool(self) -> ProcessPoolExecutor:
        if self._pool is None:
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(self._workers, context, _end_with_the_caller)
        return self._pool

    def _end_pool(self) -> None:
        pool, self._pool = self._pool, None
        if pool is None:
            return
        processes = list((getattr(pool, "_processes", None) or {}).values())
        pool.shutdown(wait=False, cancel_futures=True)
        for process in processes:  # also in the middle of a task
            with contextlib.suppress(OSError, ValueError):
                process.terminate()
        for process in processes:
            with contextlib.suppress(OSError, ValueError):
                process.join(5)


def _error_of(future: Future[Any]) -> BaseException | None:
    """Why a future has no result. What a task itself says is no error of a future: its worker was lost."""
    if future.cancelled():
        return RuntimeError("it was cancelled")
    return future.exception()


def _end_with_the_caller() -> None:
    """In a worker: ends with the process that has started it, also where that was killed."""
    caller = multiprocessing.parent_process()
    if caller is None:
        return

    def watch() -> None:
        connection.wait([caller.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True, name="nn-lens caller").start()
