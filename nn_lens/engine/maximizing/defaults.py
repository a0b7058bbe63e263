"""What a goal is drawn and moved with where nobody says."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from nn_lens.engine.maximizing import parametrizations, transforms
from nn_lens.engine.maximizing.inputs import in_unit_range, mean_and_deviation
from nn_lens.engine.maximizing.own import own_pictures
from nn_lens.engine.maximizing.parametrizations import Parametrization
from nn_lens.engine.maximizing.plan import Plan
from nn_lens.engine.maximizing.transforms import Transform
from nn_lens.engine.network.inputs import places_of
from nn_lens.engine.network.network import Network

_DEVIATIONS = 3.5  # of a signal that a unit sees, root of the sum of squares, at least: noise seldom does better


_SMALL = 32  # pixels of a side below which a shift of some pixels would move a good part of the picture away
_CONTRASTS = 0.1, 0.35  # at least, and at most: beyond, pictures are mostly black and white


def transform_of(net: Network, plan: Plan) -> Transform:
    """The usual one of the kind of input; none where the objective is about a picture that stands still.

    Networks of small pictures get smaller shifts and less blur.
    """
    if plan.single is not None and plan.single.still:
        return transforms.NONE
    usual = transforms.of_kind(plan.kind, places_of(plan.kind, plan.shape), plan.whole)
    side = min(places_of(plan.kind, net.input_shape), default=_SMALL)
    if plan.kind != "picture" or side >= _SMALL:
        return usual
    return replace(usual, shift=min(usual.shift, side / 8), blur=usual.blur * side / _SMALL)


def parametrization_of(net: Network, plan: Plan, transform: Transform, sources: Sequence[Any] = ()) -> Parametrization:
    """Fourier, whose usual contrast is meant for what the goal sees of the canvas: all else may stay grey."""
    if plan.kind == "vector":
        return parametrizations.vector()
    sides = zip(plan.field, places_of(plan.kind, plan.shape), strict=True)
    seen = [min(1.0, (field + 2 * transform.shift) / side) for field, side in sides]
    share = math.prod(seen) ** 0.5
    if in_unit_range(plan.kind):
        return parametrizations.fourier(contrast=contrast_of(net, plan.field, sources) * share)
    mean, deviation = mean_and_deviation(net)
    numbers = math.prod(plan.field) * len(mean)
    least = _DEVIATIONS / numbers**0.5  # of few numbers, noise often has more than one deviation in all
    return parametrizations.signal(contrast=share * max(1.0, least), mean=mean, deviation=deviation)


def contrast_of(net: Network, field: Sequence[int], sources: Sequence[Any] = ()) -> float:
    """That of the network's own pictures inside a receptive field, where it has any: digits are black and white, photographs
    are not.

    sources: pictures or datasets of the user's.
    """
    own = own_pictures(net, sources)
    if own is None or not field:
        return parametrizations.CONTRAST
    least, largest = _CONTRASTS
    return min(largest, max(least, own.contrast(field)))
