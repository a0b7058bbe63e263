"""A live network: one worker thread that owns an evaluation copy of the model.

Nobody else runs that copy, so a training loop in the notebook and the panel never touch each other. Before
each job the copy is compared with the model, and refreshed when a weight has moved.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any

from torch import nn

from nn_lens.engine.network.network import Network
from nn_lens.errors import LensError
from nn_lens.sessions import cpu
from nn_lens.sessions.cache import DISK_MB, Cache, Latest, default_folder
from nn_lens.sessions.checkpoints import Checkpoint, Checkpoints
from nn_lens.sessions.copies import Copy, plain_attributes
from nn_lens.sessions.dataset_pass import DatasetPasses
from nn_lens.sessions.jobs import Cancelled, Job, Mailbox, State, advance
from nn_lens.sessions.settings import read_settings


class Session:
    """One network's worker, its queue of jobs and its kept results; shared by all views of that network.

    Args:
        net: a Network or a model, which is wrapped as `nl.Network(model)`.
        dataset: pictures for views that show real examples.
        cache: folder for kept results; None: that of JupyterLab's settings, $NN_LENS_CACHE before them, or the user's
            cache folder; False: memory only.
        atlas: an nl.Atlas, whose finished results are taken while the weights are those that it was made of.

    Raises:
        NetworkError: `net` is neither, or cannot be run.

    >>> session = nl.Session(nl.demo(), cache=False)
    >>> maps, filters = nl.ActivationsView(session), nl.FiltersView(session)  # two views, one worker
    >>> session.run(lambda s: iter([s.network()["conv1"].channels]))  # on the worker's own copy
    [48]
    >>> maps.close()
    >>> filters.close()  # and with its last view the worker ends
    """

    def __init__(
        self, net: Network | nn.Module, dataset: Any = None, cache: str | Path | bool | None = None, atlas: Any = None
    ) -> None:
        self.net = net if isinstance(net, Network) else Network(net)
        self.dataset, self.atlas = dataset, atlas
        self.settings = read_settings()
        """As JupyterLab's settings were when the session was made."""
        kept = cache if cache is not None else self.settings.cache_size > 0
        folder = default_folder(self.settings) if kept is True else Path(kept) if kept else None
        self.cache = Cache(folder, disk_bytes=(self.settings.cache_size or DISK_MB) << 20)
        self.latest = Latest()
        """Results that are soon asked for again; for the worker's thread alone."""
        self.passes = DatasetPasses(dataset)
        """The passes over the dataset, which jobs leave for one another; for the worker's thread alone."""
        self.checkpoints = Checkpoints()
        self._past: Checkpoint | None = None
        self._copy = Copy(self.net)
        self._seen: object = None
        self._version = 0
        self._fingerprint: tuple[int, str] | None = None
        self._mailbox = Mailbox()
        self._thread: threading.Thread | None = None
        self._lock = threading.RLock()  # a panel that is collected in between leaves from the same thread
        self.users: weakref.WeakSet[Any] = weakref.WeakSet()
        """The panels that show this session."""

    # ---- work ----

    def submit(
        self,
        slot: Hashable,
        work: Callable[[Session], Iterator[Any]],
        deliver: Callable[[Job, Any], None],
        urgency: int | Callable[[], int] = 0,
    ) -> Job:
        """Queues `work(session)`, an iterator of results, and takes the place of the slot's unfinished job.

        deliver: called on the worker's thread with (job, result), and with (job, None) once the job is
            done, cancelled or failed; `job.state` and `job.error` say which.
        urgency: smaller numbers first, also between the steps of others; a function is asked before each step.
        """
        job = Job(slot, lambda: self._of_one_moment(work), deliver, urgency)
        with self._lock:
            if not self._mailbox.put(job):
                self._mailbox = Mailbox()
                self._thread = None
                self._mailbox.put(job)
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(
                    target=_work,
                    args=(self._mailbox, self.settings.threads),
                    name=f"nn-lens {self.net.name}",
                    daemon=True,
                )
                self._thread.start()
                _started.add(self)
        return job

    def cancel(self, slot: Hashable) -> None:
        """Stops the slot's job before its next step."""
        self._mailbox.cancel(slot)

    def run(self, work: Callable[[Session], Iterator[Any]], timeout: float | None = None) -> list[Any]:
        """All results of `work` on the worker's thread, waited for; what it raises is raised here."""
        results: list[Any] = []
        over = threading.Event()

        def deliver(job: Job, result: Any) -> None:
            over.set() if job.final else results.append(result)

        job = self.submit(object(), work, deliver)
        try:
            in_time = over.wait(timeout)
        except BaseException:  # interrupted: nobody waits for it any more
            job.cancel()
            raise
        if not in_time:
            job.cancel()
            raise LensError(f"The session did not answer within {timeout} s; it is cancelled.")
        if job.error is not None:
            raise job.error
        if job.state is State.CANCELLED:
            raise LensError("The session was closed, or its model changed, while it worked.")
        return results

    def _of_one_moment(self, work: Callable[[Session], Iterator[Any]]) -> Iterator[Any]:
        """The results of `work`, until another job has put other weights in the place of those it began with."""
        began = None
        for result in work(self):
            began = self._copy.version if began is None else began
            yield result
            if self._copy.version != began:
                raise Cancelled

    # ---- its past ----

    @property
    def note(self) -> str:
        """Why the session works on the model itself; "" while it has a copy of its own, or none yet."""
        return self._copy.note

    @property
    def step(self) -> int | None:
        """The recorded step that is shown; None: the model as it is."""
        past = self._past
        return None if past is None else past.step

    def record(self, step: int) -> Checkpoint:
        """Keeps the weights as they are now under a step of the training, on disk while the session lives.

        All together have 4 GB at most, and less where the disk has: then steps in between go, so that those that stay lie
        evenly. The first, the newest and the one that is shown stay.

        Raises:
            LensError: `step` is not an integer, or the model cannot be copied. StorageError: the disk does not take them.
        """
        if not self._copy.make():
            raise LensError(f"{self.note} It has no past that can be shown.")
        version, last = self._live_version(), self.checkpoints.last
        # Weights that were changed behind torch's back, as with .data, look as if they had stood still.
        if last is not None and last.version == version and not last.holds(self.net.model):
            version = self._moved()
        added = self.checkpoints.add(step, version, self.net.model, self.step)
        if self._past is not None:
            self._past = next((c for c in self.checkpoints if c.step == self._past.step), None)
        return added

    def show(self, step: int | None) -> None:
        """From now on works with the weights that were recorded at a step; None: with the model as it is.

        Raises:
            LensError: none were recorded there; names the nearest.
        """
        self._past = None if step is None else self.checkpoints.at(step)

    # ---- the model, for the worker's thread ----

    @property
    def version(self) -> int:
        """A number for the weights that are to be shown, another once they have moved; cheap, from any thread."""
        past = self._past
        return past.version if past is not None else self._live_version()

    @property
    def running(self) -> int:
        """The version of the weights that the copy has; to be asked by jobs alone."""
        return self._copy.version

    def _live_version(self) -> int:
        now = _state(self.net.model)
        with self._lock:
            if now != self._seen:
                self._version += 1  # first: interrupted in between, it moves once more, and not once too little
                self._seen = now
            return self._version

    def _moved(self) -> int:
        with self._lock:
            self._version += 1
            return self._version

    def network(self) -> Network:
        """The copy to run, with the weights that are to be shown; to be called by jobs alone.

        Raises:
            LensError: the weights of a recorded step do not fit the model any more, or cannot be read.
        """
        past = self._past
        version = past.version if past is not None else self._live_version()
        return self._copy.with_weights(version, past.state if past is not None else None, self._live_version)

    def fingerprint(self) -> str:
        """A text that changes with the weights, the architecture and the normalization; to be called by jobs alone."""
        net = self.network()
        if self._fingerprint is None or self._fingerprint[0] != self.running:
            self._fingerprint = self.running, net.fingerprint()
        return self._fingerprint[1]

    # ---- its end ----

    def join(self, user: object) -> None:
        """Counts `user` as one who needs the worker."""
        with self._lock:
            self.users.add(user)

    def leave(self, user: object) -> None:
        """Closes the session when the last user is gone."""
        with self._lock:
            self.users.discard(user)
            last = not self.users
        if last:
            self.close()

    def panels(self) -> list[Any]:
        """Those who show this session now; from any thread."""
        with self._lock:
            return list(self.users)

    def close(self) -> None:
        """Cancels all jobs and ends the worker; the copy is let go. A later `submit` starts anew."""
        with self._lock:
            self._mailbox.close()
            thread, self._thread = self._thread, None
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout=10)
        self._copy.forget()
        self._fingerprint = None
        self.passes.clear()
        self.latest.clear()
        self.cache.forget()
        cpu.return_memory()

    def __repr__(self) -> str:
        return f"Session({self.net!r})"


_started: weakref.WeakSet[Session] = weakref.WeakSet()


@atexit.register
def _end_workers(timeout: float = 5) -> None:
    """Before Python ends: a thread that is still inside torch then would abort the process, and a script's exit status."""
    sessions = list(_started)
    for session in sessions:
        session._mailbox.close()
    for session in sessions:
        if (thread := session._thread) is not None:
            thread.join(timeout)


def _work(mailbox: Mailbox, threads: int) -> None:
    cpu.use_threads(threads)
    cpu.give_way()
    while (job := mailbox.next()) is not None:
        try:
            advance(job)
        except Exception as error:  # the receiver is gone, such as a closed notebook
            job.state, job.error = State.FAILED, error
        if job.final:
            mailbox.remove(job)
            if job.level and mailbox.empty:  # one that took its time
                cpu.return_memory()


def _state(model: nn.Module) -> tuple[Any, ...]:
    """Changes whenever a weight or buffer is written to or replaced, without looking at the numbers, whenever a plain
    attribute, such as a factor, has another value, and whenever a module is replaced by one of another class.
    """
    tensors = [*model.parameters(), *model.buffers()]
    plain = [(type(module), tuple(plain_attributes(module).items())) for module in model.modules()]
    return *((t.data_ptr(), t._version) for t in tensors if not t.is_inference()), *plain
