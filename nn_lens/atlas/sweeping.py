"""Computing an atlas: what is not there yet, on any executor, written by the caller alone."""

from __future__ import annotations

import contextlib
import os
import shutil
import time
from collections.abc import Iterable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from nn_lens.atlas import crew as crews
from nn_lens.atlas import examples as examples_of
from nn_lens.atlas import recipe as recipes
from nn_lens.atlas.atlas import Atlas
from nn_lens.atlas.index import Index, kept
from nn_lens.atlas.storage import sweep_parts, write
from nn_lens.atlas.tasks import WHAT, Request, Task, identity
from nn_lens.atlas.work import Done, Result, files_of
from nn_lens.engine.maximizing.own import own_pictures
from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.pictures.datasets import Source, source_of
from nn_lens.errors import LensError, nearest, one_line
from nn_lens.units import Direction, Unit

_SAVED_EVERY = 5.0  # seconds: the index, so that what is there can be opened while the rest is made


def sweep(
    net: Network,
    out: str | os.PathLike[str],
    layers: Sequence[str] | str | None = None,
    units: Any = None,
    dataset: Any = None,
    what: Sequence[str] | str = WHAT,
    executor: Executor | None = None,
    pixels: bool = False,
    progress: bool = True,
    *,
    workers: int | None = None,
) -> Atlas:
    """Computes what can be known of every unit and keeps it in a folder, for anybody to open without the network.

    What is there is not made again: a sweep that was stopped goes on when it is called once more, and other layers,
    or more of each, are added to a folder in a call of their own.

    Args:
        net: the network.
        out: the folder of the atlas; workers on other machines have to see it under the same path, and `out` + ".recipe"
            beside it, where the weights lie while it is made.
        layers: names; None: all that can be shown, or those of `units`.
        units: those whose maximizing images and trust are made; None: all of the layers.
        dataset: pictures as `nl.dataset_examples` takes them, of which each can be asked for; None: the network's own.
        what: of "filters", "maximizing" (the images that units want most and least), "examples" (of the dataset, most
            and least, with quantiles) and "trust" (which takes the examples along).
        executor: any of `concurrent.futures`, or one with that interface, such as dask.distributed's
            `Client.get_executor()`; None: processes of its own.
        pixels: whether the pictures among the examples are kept too; else their numbers, boxes and hashes alone.
        progress: whether to show a bar with rate and time left.
        workers: of its own processes; None: as many as there are processors.

    What fails is listed in the atlas's `missing`, each with its reason, and tried again by the next call.

    Raises:
        LensError: no such layer, unit or `what`; a dataset that can only be gone through; a network that cannot be sent
            to other processes; a folder that holds an atlas of another network.

    >>> import tempfile, concurrent.futures
    >>> net = nl.Network(torch.nn.Sequential(torch.nn.Conv2d(3, 2, 5), torch.nn.ReLU()), (3, 16, 24))
    >>> with tempfile.TemporaryDirectory() as folder, concurrent.futures.ThreadPoolExecutor(1) as executor:
    ...     nl.sweep(net, folder, what="filters", executor=executor, progress=False)
    <Atlas of Sequential: 2 layers, filters of 1>
    """
    if recipes.is_starting():
        raise LensError(
            'A sweep starts processes, each of which reads this script: put the call under `if __name__ == "__main__":`.'
        )
    request = request_of(as_network(net), layers, units, dataset, what, pixels)
    folder = Path(out).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    index = Index.of(folder, request)
    index.forget(folder)
    making = _Making(folder, request, index, progress)
    beside = folder.absolute().with_name(f"{folder.absolute().name}.recipe")
    count = workers or crews.own_workers()
    try:
        first, second = making.first(), making.second()
        if first or second or making.unmerged or making.pixels():
            recipe = recipes.written(request.net, request.source, beside, folder, crews.share(executor, count))
            with crews.Crew(executor, recipe, count) as crew:
                making.make(crew, first, second)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
        making.end()
    return Atlas(folder, index=making.index)


@dataclass
class _Making:
    """One sweep at work."""

    folder: Path
    request: Request
    index: Index
    progress: bool
    failed: bool = False
    _saved: float = field(default_factory=time.monotonic)
    _bar: Any = None

    def first(self) -> list[Task]:
        """What is not there and needs no examples, with the parts that examples are merged of."""
        first = [task for task in self.request.of_layers() if not self._is_there(task)]
        return [*first, *(task for task in self._ranges() if kept(self.folder, task) is None)]

    def second(self) -> list[Task]:
        """What is not there and needs the examples of its layer."""
        request = self.request
        trust = [t for layer in request.layers for t in request.trust(layer)] if "trust" in request.what else []
        return [task for task in trust if not self._is_there(task)]

    @property
    def unmerged(self) -> list[str]:
        """The layers whose examples are asked for and not there."""
        return [layer for layer in self._of_dataset if not self._is_there(self.request.examples(layer))]

    @property
    def _of_dataset(self) -> Sequence[str]:
        return self.request.layers if {"examples", "trust"} & set(self.request.what) else ()

    def _ranges(self) -> list[Task]:
        """The parts of the dataset, of all layers as long as one is not merged: whoever stops in between finds them again."""
        return list(self.request.ranges(self._of_dataset)) if self.unmerged else []

    def make(self, crew: crews.Crew, first: Sequence[Task], second: Sequence[Task]) -> None:
        """All tasks, in two rounds: trust is of a layer's examples, pixels are of all."""
        from tqdm.auto import tqdm

        with tqdm(total=len(first) + len(second), unit=" tasks", disable=not self.progress, smoothing=0.1) as self._bar:
            crew.work(first, self._done)
            self._merge()
            lacking = set(self.unmerged)
            for task in second:
                if task.layer in lacking:
                    self.index.miss(task, f"the examples of {task.layer} are not complete")
            ready = [task for task in second if task.layer not in lacking]
            pictures = self.pixels() if not self.failed else []
            self._bar.total += len(pictures)
            crew.work([] if self.failed else [*pictures, *ready], self._done)

    def end(self) -> None:
        """Says what there is."""
        sweep_parts(self.folder)
        try:
            self.index.write(self.folder)
        except OSError:  # a full disk: what there was before is still told, and shards are found by their names
            self.failed = True

    # ---- one task after the other ----

    def _is_there(self, task: Task) -> bool:
        """Whether a task's files are, which are then told of."""
        if self.index.has(task):
            return True
        found = kept(self.folder, task)
        if found is not None:
            self.index.add(task, found)
        return found is not None

    def _done(self, task: Task, done: Done) -> bool:
        """Writes what a worker has made; whether to go on."""
        if self._bar is not None:
            self._bar.update()
            self._bar.set_postfix_str(str(task), refresh=False)
        if done.reason:
            self.index.miss(task, done.reason)
        else:
            self._write(task, done.files)
        if time.monotonic() - self._saved > _SAVED_EVERY and not self.failed:
            self._saved = time.monotonic()
            self._tell(task)
        return not self.failed

    def _write(self, task: Task, files: dict[str, bytes]) -> None:
        try:
            for ending, data in files.items():
                write(self.folder, task.name + ending, data)
        except OSError as error:  # such as a full disk: what comes after it would be made in vain
            self.failed = True
            self.index.miss(task, f"it could not be written ({error.strerror or one_line(error)})")
            return
        if task.what != "range":
            self.index.add(task, files)

    def _tell(self, task: Task) -> None:
        try:
            self.index.write(self.folder)
        except OSError as error:
            self.failed = True
            self.index.miss(task, f"the index could not be written ({error.strerror or one_line(error)})")

    # ---- of examples ----

    def _merge(self) -> None:
        """Makes one shard a layer of the ranges, which then go, once they are all there."""
        unmerged, ranges = self.unmerged, self._ranges()
        lacking = sum(kept(self.folder, task) is None for task in ranges)
        for layer in unmerged if lacking else ():
            reason = f"{lacking} of {len(ranges)} parts of the dataset are missing"
            self.index.miss(self.request.examples(layer), reason)
        if lacking:
            return
        for layer in unmerged:
            if not self.failed:
                self._write_examples(layer, ranges)
        if ranges and not self.failed:
            for task in ranges:
                (self.folder / task.shard).unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # where parts of another sweep are
                (self.folder / "ranges").rmdir()

    def _write_examples(self, layer: str, ranges: Sequence[Task]) -> None:
        parts, abouts = zip(*(examples_of.read_part(self.folder / task.shard, layer) for task in ranges), strict=True)
        task, net = self.request.examples(layer), self.request.net
        assert self.request.source is not None
        about = {
            "count": sum(a["count"] for a in abouts), "skipped": [text for a in abouts for text in a["skipped"]],
            "total": self.request.source.total,
        }  # fmt: skip
        self._write(task, files_of(task, Result(examples_of.merged(net, layer, parts), about)))

    def pixels(self) -> list[Task]:
        """What keeps the pictures that stand among the examples."""
        if not self.request.pixels:
            return []
        wanted: set[int] = set()
        for layer in self._of_dataset:
            if self._is_there(self.request.examples(layer)):
                wanted |= examples_of.shown(self.request.net, layer, self.folder / self.request.examples(layer).shard)
        return [task for task in self.request.pictures(sorted(wanted)) if not self._is_there(task)]


# ---- what is asked for ----


def request_of(net: Network, layers: Any, units: Any, dataset: Any, what: Any, pixels: bool) -> Request:
    """What the arguments of `sweep` ask for.

    Raises:
        LensError: no such layer, unit or `what`, or a dataset that can only be gone through.
    """
    asked = (what,) if isinstance(what, str) else tuple(what)
    for name in asked:
        if name not in WHAT:
            near = nearest(str(name), WHAT) or WHAT
            raise LensError(
                f"There is no {name!r} to sweep for; did you mean {' or '.join(map(repr, near))}? There are {', '.join(WHAT)}."
            )
    source = _source(net, dataset) if {"examples", "trust"} & set(asked) else None
    channels = _channels(net, layers, units)
    own = own_pictures(net)
    of_source = identity(source) if source else ""
    return Request(net, source, channels, asked, pixels, net.fingerprint(), of_source, own.digest if own else "")


def _source(net: Network, dataset: Any) -> Source:
    source = source_of(net, dataset)
    if source.one_by_one or source.total is None:
        raise LensError(
            "The dataset can only be gone through from its beginning, and workers each take a part of it: pass a folder, a "
            "list, or a Dataset with __getitem__ and __len__; or what=('filters', 'maximizing'), which need none."
        )
    return source


def _channels(net: Network, layers: Any, units: Any) -> dict[str, tuple[int, ...]]:
    """By layer, in the order of the network, the channels that are asked for."""
    chosen = [] if units is None else list(net.units_and_directions(units, layers=True))
    if any(isinstance(unit, Direction) or unit.place is not None for unit in chosen):
        raise LensError("A sweep is of channels; directions and single neurons have nl.maximize.")
    own = [unit for unit in chosen if isinstance(unit, Unit)]
    names = _names(net, layers if layers is not None else list(dict.fromkeys(u.layer for u in own)) or None)
    found: dict[str, tuple[int, ...]] = {}
    for name in names:
        mine = sorted({unit.channel for unit in own if unit.layer == name})
        found[name] = tuple(mine) if units is not None else tuple(range(net[name].layout.channels))
    return found


def _names(net: Network, layers: Iterable[str] | str | None) -> list[str]:
    shown = [layer.name for layer in net.layers if layer.reason is None]
    if layers is None:
        return shown
    asked = [layers] if isinstance(layers, str) else list(layers)
    for name in asked:
        net[name].require_shown()
    return [name for name in shown if name in asked]
