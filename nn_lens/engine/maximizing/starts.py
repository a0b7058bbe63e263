"""Where a picture starts: from noise, and of signals, sequences and volumes from the best of several noises.

Their networks are steep where those of pictures are wide: a layer with attention or memory has maxima that one start in
three does not find, and a look at a few more costs less than a step.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from nn_lens.engine.maximizing.batch import Settings
from nn_lens.engine.maximizing.objective import Answers

_TRIED = {"signal": 16, "sequence": 16, "volume": 4}


def first_variables(settings: Settings, rows: Sequence[int], generators: Sequence[torch.Generator]) -> torch.Tensor:
    """The free variables that pictures `rows` of the plan start from, each drawn by a generator of its own."""
    plan, drawn_as = settings.plan, settings.parametrization
    tried = _TRIED.get(plan.kind, 1)
    if tried == 1 or drawn_as.source is not None or not plan.apart:
        return drawn_as.start(plan.shape, generators).to(settings.net.device)
    return torch.stack([_best(settings, row, tried, g) for row, g in zip(rows, generators, strict=True)])


def _best(settings: Settings, row: int, tried: int, generator: torch.Generator) -> torch.Tensor:
    """Of several starts of one picture the one that reaches most; always as many, whatever else is in the batch."""
    net, plan, drawn_as = settings.net, settings.plan, settings.parametrization
    free = drawn_as.start(plan.shape, [generator] * tried).to(net.device)
    objective = plan.objective([row] * tried)
    with net.evaluation(), torch.no_grad():
        pictures = drawn_as.picture(free, plan.shape)
        maps = net.outputs(pictures, objective.layers)
        answers = Answers(maps, pictures, plan.centres, net.labels, net.kind, net.output_kind)
        return free[int(torch.nan_to_num(objective.value(answers), nan=-torch.inf).argmax())]
