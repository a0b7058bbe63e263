"""The numbers that say how far a unit's maximizing image may be believed, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from nn_lens.engine.evidence import trust
from nn_lens.engine.evidence.examples import DatasetExamples
from nn_lens.engine.maximizing import restarts
from nn_lens.engine.maximizing.maximized import Maximized
from nn_lens.engine.network.network import Network
from nn_lens.units import Unit


def badges(net: Network, unit: Unit, known: DatasetExamples, image: Maximized) -> Iterator[trust.Badge | None]:
    """What `nl.trust` says of a maximizing image, beside a pass over a dataset; None between steps."""
    yield trust.percentile(net, unit, examples=known, maximized=image)
    if net.kind != "picture":
        return
    yield trust.transfer(net, unit, maximized=image)
    starts = restarts.start(net, unit, trust.STARTS)
    for _ in starts.steps():
        yield None
    yield trust.agreement(net, unit, starts=restarts.evaluate(starts))
    yield trust.randomized_control(net, unit, maximized=image).badge
    if sum(e.activation > 0 for e in known.top[unit]) > 1:
        yield trust.natural_path(net, unit, examples=known, maximized=image).badge
