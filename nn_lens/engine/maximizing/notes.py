"""What a run says of pictures that are no maximum, and why they are none."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from nn_lens.engine.maximizing.plan import Plan
from nn_lens.engine.maximizing.revival import Start
from nn_lens.engine.network.network import Network

_DEAD = "dead"  # how the note of a unit begins that nothing turned on


@dataclass(frozen=True)
class Seen:
    """A run's end: (N,) final `activations`, whether each row `moved` at all, which rows are `dead`, after how many `steps`
    from how many `starts`; which real pictures were `tried`, and by row the one that does most. `cut`: the layer at which the
    gradient ends, "" where no one knows, None where it does not.
    """

    net: Network
    plan: Plan
    cut: str | None
    activations: np.ndarray
    moved: np.ndarray
    dead: Sequence[int]
    steps: int
    starts: int
    tried: str
    real: Mapping[int, Start]


def notes_of(seen: Seen) -> tuple[str, ...]:
    """Of each picture, "" or why it is no maximum."""
    return tuple(_note(seen, row, float(value)) for row, value in enumerate(seen.activations))


def _note(seen: Seen, row: int, value: float) -> str:
    single = seen.plan.single
    if not np.isfinite(value):
        return f"its answer is no number{_broken(seen.net)}"
    if seen.cut is not None:
        layer = f"its layer {seen.cut!r} " if seen.cut else ""
        return (
            f"no gradient comes through: the model runs {layer}under torch.inference_mode or torch.no_grad, on "
            f"detached or on quantized numbers; this is where it started, not a maximum"
        )
    if (row in seen.dead and value <= 0) or (value == 0 and seen.plan.unit(row)):
        return _why_dead(seen, bool(seen.moved[row]))
    if not seen.moved[row]:
        return f"no gradient in {seen.steps} steps, this is where it started, not a maximum{_broken(seen.net)}"
    if value == 0 and single and "" in single.layers and seen.net.output_kind == "dense":
        return "the class wins at no place of this picture; say where it is looked for, such as logit(index, at=place)"
    real = seen.real.get(row)
    if real is None or real.reached <= value:
        return ""
    if real.value > value:
        return f"a real picture reaches {real.value:.3g}"
    return f"a real picture reaches {real.reached:.3g}, where the border helps"


def says_dead(note: str) -> bool:
    """Whether a unit is dead, of what is said of it."""
    return note.startswith(_DEAD)


def _why_dead(seen: Seen, moved: bool) -> str:
    if moved:
        text = f"{_DEAD}: its gradient did not lift it above 0 in {seen.steps} steps"
    else:
        text = f"{_DEAD}: no gradient in {seen.steps} steps from {seen.starts} start{'s' * (seen.starts > 1)}"
    text += f"; never above 0 on the {seen.tried} tried" if seen.tried else ""
    return text if moved else text + _broken(seen.net)


def _broken(net: Network) -> str:
    """Which weights are no numbers; "" where all are."""
    state = (*net.model.named_parameters(), *net.model.named_buffers())
    floats = ((name, t) for name, t in state if t.is_floating_point())
    names = [name for name, t in floats if not bool(torch.isfinite(t).all())]
    several = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f": {names[0]}{several} of the network's weights holds NaN or infinite values" if names else ""
