"""What a worker does: a task's results as the bytes of files, by their endings."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from nn_lens.atlas import examples as examples_of
from nn_lens.atlas.fields import packed
from nn_lens.atlas.jpegs import fits, jpeg
from nn_lens.atlas.recipe import Recipe
from nn_lens.atlas.storage import digest, read_shard, shard, zipped
from nn_lens.atlas.tasks import SEED, Task
from nn_lens.engine.evidence import trust as trust_of
from nn_lens.engine.evidence.badges import badges
from nn_lens.engine.maximizing.maximize import maximize
from nn_lens.engine.maximizing.maximized import Maximized
from nn_lens.engine.network.network import Network
from nn_lens.engine.pictures.datasets import Source
from nn_lens.engine.reading.filters import filters as filters_of
from nn_lens.errors import LensError, PictureError, one_line
from nn_lens.sessions.requests import against

SIDES = ("positive", "negative")
"""The pictures that a unit wants most, and least."""


@dataclass
class Result:
    """What a task has made: numbers, what is to be said of them, pictures by name; or why it has not."""

    tensors: dict[str, np.ndarray] = field(default_factory=dict)
    about: dict[str, Any] = field(default_factory=dict)
    pictures: dict[str, bytes] = field(default_factory=dict)


@dataclass(frozen=True)
class Done:
    """The files of a task, by their endings, in the order in which they are to be written; `reason`: why there are none."""

    files: dict[str, bytes]
    reason: str = ""


def run(recipe: Recipe, task: Task, _attempt: int = 0) -> Done:
    """Does a task in this process.

    _attempt: another for each time that it is tried, as some schedulers give what is asked again the answer that they have.
    """
    try:
        net, source = recipe.opened()
        made = _WORK[task.what](net, source, task, Path(recipe.atlas))
    except LensError as error:
        return Done({}, str(error))
    except Exception as error:  # of a network, or of a machine with too little memory: the others go on
        return Done({}, f"{type(error).__name__}: {one_line(error)}")
    return Done(files_of(task, made))


def files_of(task: Task, made: Result) -> dict[str, bytes]:
    """The zip of the pictures, where there are any, and then the shard, which knows it."""
    files: dict[str, bytes] = {}
    about = {"key": task.key, **made.about}
    if made.pictures:
        files[".zip"], made.tensors["places"] = zipped(made.pictures)
        about["zip"] = digest(files[".zip"])
    files[".safetensors"] = shard(made.tensors, about)
    return files


def _fields(net: Network, _source: Source | None, _task: Task, _atlas: Path) -> Result:
    return Result(*packed(net))


def _filters(net: Network, _source: Source | None, task: Task, _atlas: Path) -> Result:
    found = filters_of(net, task.layer)
    return Result({"weights": found.weights}, {"reads_rgb": bool(found.reads_rgb)})


def _maximizing(net: Network, _source: Source | None, task: Task, _atlas: Path) -> Result:
    made = Result(about={"channels": task.channels})
    for side in SIDES:
        goals: list[Any] = [unit if side == SIDES[0] else against(net, unit) for unit in task.units]
        _add_images(made, maximize(net, goals, seed=SEED), side, task)
    return made


def _add_images(made: Result, found: Maximized, side: str, task: Task) -> None:
    made.tensors |= {f"{side}_activations": found.activations, f"{side}_history": found.history}
    made.about[side] = {
        "goals": found.goals, "notes": found.notes, "remark": found.remark, "canvases": found.canvases,
        "steps": found.steps, "shape": found.images.shape[1:],
    }  # fmt: skip
    if fits(found.images.shape[1:], found.kind):
        made.pictures |= {f"{c:05d}-{side}.jpg": jpeg(x) for c, x in zip(task.channels, found.images, strict=True)}
    else:
        made.tensors[f"{side}_images"] = found.images.astype(np.float32)


def _range(net: Network, source: Source | None, task: Task, _atlas: Path) -> Result:
    assert source is not None
    part = source.part(task.start, task.stop)
    over = examples_of.RangePass(net, task.layers, source.total or 0)
    batch = int(task.about("batch"))
    for pictures in part.batches(batch):
        over.take(pictures)
    return Result(over.arrays(), {"count": over.count, "skipped": part.skipped})


def _trust(net: Network, source: Source | None, task: Task, atlas: Path) -> Result:
    tensors, about = read_shard((atlas / task.needs).read_bytes())
    known = examples_of.opened(net, source, task.layer, tensors, about)
    image = maximize(net, list(task.units), seed=SEED)
    said = []
    for row, unit in enumerate(task.units):
        own = Maximized(
            image.goals[row : row + 1], image.images[row : row + 1], image.activations[row : row + 1],
            image.history[:, row : row + 1], image.steps, 0.0, image.notes[row : row + 1], image.kind, image.remark,
        )  # fmt: skip
        found = [trust_of.liveliness(net, unit, examples=known), *badges(net, unit, known, own)]
        said.append([b for b in found if b is not None])
    values = np.full((len(said), max(map(len, said))), np.nan)
    for row, each in enumerate(said):
        values[row, : len(each)] = [float(b) for b in each]
    words = [[[b.name, b.text, bool(b.warning)] for b in each] for each in said]
    return Result({"values": values}, {"channels": task.channels, "badges": words})


def _pictures(net: Network, source: Source | None, task: Task, _atlas: Path) -> Result:
    assert source is not None
    read: dict[int, torch.Tensor] = {}
    for index in task.pictures:
        try:
            read[index] = source[index]
        except PictureError:  # it could be read before
            continue
    made = Result({"indices": np.array(list(read), np.int64)})
    if fits(net.input_shape, net.kind):
        made.pictures = {f"{index:08d}.jpg": jpeg(x.numpy()) for index, x in read.items()}
    else:
        made.tensors["inputs"] = np.stack([x.numpy() for x in read.values()]).astype(np.float32)
    return made


_WORK: dict[str, Callable[[Network, Source | None, Task, Path], Result]] = {
    "fields": _fields,
    "filters": _filters,
    "maximizing": _maximizing,
    "range": _range,
    "trust": _trust,
    "pictures": _pictures,
}
