"""Where the path of integrated gradients starts: at an input that stands for no evidence, and that has an answer."""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F

from nn_lens.engine.evidence.attribution.occlusion import baseline_of
from nn_lens.engine.evidence.attribution.targets import Subject, TargetOutput
from nn_lens.engine.network.inputs import places_of
from nn_lens.errors import LensError

_MEANS = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}


def start_of_path(subject: Subject, given: Any) -> tuple[torch.Tensor, float, str]:
    """A batch of one input, the network's answer to it, and what has to be said of it, "" where nothing.

    A network that standardizes each input by itself has no answer to one that is the same everywhere. Where none was
    asked for, the path then starts at the input itself, blurred. Reference: Sturmfels et al., 2020, "Visualizing the
    impact of feature attribution baselines".

    Raises:
        LensError: neither has an answer.
    """
    net = subject.net
    start = baseline_of(subject, given)
    answer = _answer(subject, start)
    if math.isfinite(answer):
        return start, answer, ""
    why = f"to {'an input of one number everywhere' if given is None else 'this baseline'} {net.name} answers {answer}"
    blurred = _blurred(net.kind, subject.picture) if given is None else None
    if blurred is not None and math.isfinite(answer := _answer(subject, blurred)):
        return blurred, answer, f"its path starts at a blurred copy of the {net.kind}, since {why}"
    raise LensError(
        f"integrated_gradients needs an answer to start from, and {why}; pass baseline= another {net.kind}."
    )


def _answer(subject: Subject, x: torch.Tensor) -> float:
    with torch.no_grad():
        return float(TargetOutput(subject.net, subject.target)(x))


def _blurred(kind: str, x: torch.Tensor) -> torch.Tensor | None:
    """Means over about a quarter of each side; None of vectors, whose numbers are no neighbours."""
    sides = places_of(kind, tuple(x.shape[1:]))
    if not sides:
        return None
    x = x.transpose(1, 2) if kind == "sequence" else x
    half = [max(1, n // 8) if n > 1 else 0 for n in sides]
    kernel = [2 * n + 1 for n in half]
    blurred = _MEANS[len(sides)](x, kernel, stride=1, padding=half, count_include_pad=False)
    return blurred.transpose(1, 2) if kind == "sequence" else blurred
