"""The first look at a model: an input that it takes, the layers that answer to it, and its answer."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from nn_lens.engine.network import answers, capture, lookups, memory_format
from nn_lens.engine.network.carried import Carried
from nn_lens.engine.network.functions import name_of
from nn_lens.engine.network.inputs import KINDS, candidates, given_shape, kind_of, places_of, probes
from nn_lens.engine.network.layouts import Layout, Layouts
from nn_lens.engine.network.patches import grid_of_patches
from nn_lens.engine.network.runner import Runner
from nn_lens.errors import LensError, NetworkError, one_line

BATCH = 2  # more than 1, so that a layer that folds the batch away shows itself
_CLOSE = 1e-3  # of the largest number: answers that differ by less are the same


@dataclass(frozen=True)
class Probe:
    """What a model did with its first inputs.

    `layers`: (what was seen, its layout or why it has none) in the order of their first call. `answer_shape`, batch
    included, `answer_layout` and `answer_kind`: None where it is not one number per class. `takes_channels_last`:
    whether it answers the same to pictures whose channels lie side by side in memory. `rows`: how many inputs it takes
    at once: "any"; "one" where it answers otherwise in company; "two" where it does not take one alone. `said`: what
    was guessed, in words.
    """

    kind: str
    input_shape: tuple[int, ...]
    layers: tuple[tuple[capture.Seen, Layout | str], ...]
    pick: answers.Pick
    answer_shape: tuple[int, ...] | None
    answer_layout: Layout | None
    answer_kind: str | None
    takes_channels_last: bool
    rows: str
    said: tuple[str, ...]


def probe(
    runner: Runner, carried: Carried, given: Any, kind: Any, output: Any, output_kind: Any, prepare: Any
) -> Probe:
    """Runs the model on inputs of the shape that is given, else of those that it may read, until one fits.

    prepare: makes of (kind, shape) what normalizes a batch of inputs in [0,1].

    Raises:
        NetworkError: no input shape fits, or the model fails in forward; says what was tried.
    """
    _refuse(runner)
    shapes = [given_shape(given)] if given is not None else candidates(runner.model, carried)
    tried = []
    cause: BaseException | None = None
    for shape in shapes:
        own, how = kind_of(runner.model, shape, kind)
        try:
            with runner.evaluation(), torch.no_grad(), lookups.checked(runner.device):
                return _look(runner, own, how, shape, output, output_kind, prepare(own, shape))
        except (_BadGuess, Exception) as error:
            if isinstance(error, LensError) and not isinstance(error, _BadGuess):
                raise
            known = isinstance(error, _BadGuess)
            tried.append(f"{shape}: {'' if known else type(error).__name__ + ': '}{one_line(error)}")
            cause = error
    if not tried:
        raise NetworkError(
            f"{runner.name} has no convolution and no linear layer to tell what it reads; "
            "pass nl.Network(model, input_shape=(channels, height, width))."
        )
    several = ""
    if "missing" in str(cause) and "argument" in str(cause):
        several = (
            " A model of several inputs is given the others by nl.Network(model, input_shape, inputs=lambda x: (x, other)),"
            " a callable that makes its arguments of a batch."
        )
    if given is not None:
        shape = shapes[0]
        called = KINDS[kind_of(runner.model, shape, kind)[0]]
        raise NetworkError(f"{runner.name} failed in forward on an input of {called} = {tried[0]}{several}") from cause
    raise NetworkError(
        f"{runner.name} failed in forward on every input tried. "
        f"Pass nl.Network(model, input_shape=(channels, height, width)). Tried {'; '.join(tried)}{several}"
    ) from cause


class _BadGuess(LensError):
    """An input that the model takes, but does not answer picture by picture."""


def _refuse(runner: Runner) -> None:
    """Raises a NetworkError for models that cannot be looked into."""
    if isinstance(runner.model, torch.jit.ScriptModule):
        raise NetworkError(
            f"{runner.name} is TorchScript, which cannot be looked into: it takes no hooks. Load the Python model, with "
            "its weights by load_state_dict(scripted.state_dict())."
        )
    lazy = [n for n, p in runner.model.named_parameters() if isinstance(p, nn.parameter.UninitializedParameter)]
    if lazy:
        raise NetworkError(
            f"{runner.name} has layers that are built at their first call, such as {lazy[0]!r}, and no weights yet. Run "
            "it once on an input of your own, model(x), or load its weights."
        )


def _look(
    runner: Runner, kind: str, how: str, shape: tuple[int, ...], output: Any, output_kind: Any, prepare: Any
) -> Probe:
    x = prepare(probes(kind, shape, BATCH, runner.device, runner.dtype)).to(runner.device, runner.dtype)
    with _Sigmoids() as sigmoids:
        seen, answer, last = capture.trace(runner, x.clone(), runner.first_call)
    built = runner.changes.built if runner.changes else []
    if built:
        raise NetworkError(
            f"{runner.name} builds layers at its first call ({', '.join(built[:3])}), for inputs of that size. Run it once "
            "on an input of your own, model(x), or load its weights, so that it has them."
        )
    pick = answers.pick_of(answer, last, BATCH, output)
    own = pick(answer)
    alone = _alone(runner, x, pick)
    rows, axes = _rows(runner, x, pick, own, seen, alone)
    axis = 0 if own is None else _axis(tuple(own.shape), None if alone is None else alone[1])
    if own is not None and axis is None and rows == "two" and own.ndim and own.shape[0] == BATCH:
        axis = 0
    if own is not None and axis is None:
        raise _BadGuess(f"it answers with {tuple(own.shape)} to {BATCH} inputs, not with one row for each")
    shown = [s for s in seen if s.output_shape is not None]
    layouts = Layouts(kind, shape)
    layers = [(s, layouts.of(s, BATCH, axes.get(s.name))) for s in shown]
    if kind in ("picture", "volume") and not layouts.knows_a_grid:
        patches = grid_of_patches(runner, x, places_of(kind, shape), shown)
        if patches is not None:
            layouts = Layouts(kind, shape, patches)
            layers = [(s, layouts.of(s, BATCH, axes.get(s.name))) for s in shown]
    moved = None if own is None or axis is None else own.movedim(axis, 0)
    layout = None if moved is None else layouts.of_answer(tuple(moved.shape))
    if layout is not None and axis:
        layout = replace(layout, batch_axis=axis)
    means, guessed = answers.kind_of_answer(moved, layout, own is not None and sigmoids.made(own), output_kind)
    side_by_side = kind == "picture" and memory_format.same_answer(lambda y: pick(runner(y)), x, own)
    together = "depends on the other pictures of a batch, so they are run one by one" if rows == "one" else ""
    return Probe(
        kind, shape, tuple(layers), pick, None if moved is None else tuple(moved.shape), layout, means,
        side_by_side, rows, tuple(text for text in (how, pick.said, guessed, together) if text),
    )  # fmt: skip


# ---- whether a picture is answered to alone as in company ----

_Alone = tuple[list[capture.Seen], tuple[int, ...] | None, torch.Tensor | None]


def _alone(runner: Runner, x: torch.Tensor, pick: answers.Pick) -> _Alone | None:
    """The layers, the shape of the answer and the answer to the first input alone; None where it does not take one."""
    try:
        seen, answer, _ = capture.trace(runner, x[:1].clone())
        own = pick(answer)
    except Exception:
        return None
    return seen, None if own is None else tuple(own.shape), own


def _rows(
    runner: Runner, x: torch.Tensor, pick: answers.Pick, own: torch.Tensor | None, seen: list[capture.Seen],
    alone: _Alone | None,
) -> tuple[str, dict[str, int | None]]:  # fmt: skip
    """How many inputs the model takes at once, and which dimension of each layer's output counts them."""
    single = {} if alone is None else {s.name: s.output_shape for s in alone[0]}
    axes = {s.name: _axis(s.output_shape, single.get(s.name)) for s in seen if s.output_shape is not None}
    if alone is None or (own is not None and (alone[1] is None or len(alone[1]) != own.ndim)):
        return "two", axes
    if any(s.output_shape is not None and len(single.get(s.name) or ()) != len(s.output_shape) for s in seen):
        return "two", axes
    if own is None or alone[2] is None:
        return "any", axes
    if own.shape[0] == BATCH and own.shape[1:] != alone[2].shape[1:]:
        return "two", {
            s.name: 0 if axes.get(s.name) is None and (s.output_shape or (0,))[0] == BATCH else axes.get(s.name)
            for s in seen
        }
    if own.shape[0] != BATCH or own.shape[1:] != alone[2].shape[1:]:
        return "any", axes
    if _same(own[:1], alone[2]):
        return "any", axes
    again = _alone(runner, x, pick)
    random = again is not None and again[2] is not None and not _same(again[2], alone[2])
    return "any" if random else "one", axes


def _axis(shape: tuple[int, ...] | None, single: tuple[int, ...] | None) -> int | None:
    """The dimension that counts the inputs: the first that goes with them, from `BATCH` to 1."""
    if not shape:
        return None
    if single is None or len(single) != len(shape):
        return 0 if shape[0] == BATCH else None
    return next((i for i, (two, one) in enumerate(zip(shape, single, strict=True)) if (two, one) == (BATCH, 1)), None)


def _same(a: torch.Tensor, b: torch.Tensor) -> bool:
    most = float(torch.nan_to_num(a.abs()).max()) if a.numel() else 0.0
    return torch.allclose(a, b, rtol=_CLOSE, atol=_CLOSE * most, equal_nan=True)


class _Sigmoids(TorchFunctionMode):
    """Notes which tensors a sigmoid made; what only views one shares its memory."""

    def __init__(self) -> None:
        super().__init__()
        self._made: list[torch.Tensor] = []

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        answer = func(*args, **(kwargs or {}))
        if name_of(func) in ("sigmoid", "sigmoid_", "hardsigmoid") and isinstance(answer, torch.Tensor):
            self._made.append(answer)
        return answer

    def made(self, tensor: torch.Tensor) -> bool:
        """Whether a sigmoid made it."""
        own = tensor.untyped_storage().data_ptr()
        return any(t.untyped_storage().data_ptr() == own for t in self._made)
