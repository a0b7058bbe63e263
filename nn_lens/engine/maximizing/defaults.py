"""What a goal is drawn and moved with where nobody says."""

from __future__ import annotations

import math

from nn_lens.engine.maximizing import parametrizations, transforms
from nn_lens.engine.maximizing.inputs import in_unit_range, mean_and_deviation
from nn_lens.engine.maximizing.parametrizations import Parametrization
from nn_lens.engine.maximizing.plan import Plan
from nn_lens.engine.maximizing.transforms import Transform
from nn_lens.engine.network.inputs import places_of
from nn_lens.engine.network.network import Network

_DEVIATIONS = 3.5  # of a signal that a unit sees, root of the sum of squares, at least: noise seldom does better


def transform_of(plan: Plan) -> Transform:
    """The usual one of the kind of input; none where the objective is about a picture that stands still."""
    if plan.single is not None and plan.single.still:
        return transforms.NONE
    return transforms.of_kind(plan.kind, places_of(plan.kind, plan.shape), plan.whole)


def parametrization_of(net: Network, plan: Plan, transform: Transform) -> Parametrization:
    """Fourier, whose usual contrast is meant for what the goal sees of the canvas: all else may stay grey."""
    if plan.kind == "vector":
        return parametrizations.vector()
    sides = zip(plan.field, places_of(plan.kind, plan.shape), strict=True)
    seen = [min(1.0, (field + 2 * transform.shift) / side) for field, side in sides]
    share = math.prod(seen) ** 0.5
    if in_unit_range(plan.kind):
        return parametrizations.fourier(contrast=parametrizations.CONTRAST * share)
    mean, deviation = mean_and_deviation(net)
    numbers = math.prod(plan.field) * len(mean)
    least = _DEVIATIONS / numbers**0.5  # of few numbers, noise often has more than one deviation in all
    return parametrizations.signal(contrast=share * max(1.0, least), mean=mean, deviation=deviation)
