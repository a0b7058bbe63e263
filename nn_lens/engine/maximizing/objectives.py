"""What to maximize: units, directions, layers, classes, several pictures at once, and penalties.

Objectives add up: `channel(unit) - 0.1 * total_variation()` is one too, and `-neuron(unit)` is the unit's negative
side. Reference: Olah, Mordvintsev and Schubert, 2017, "Feature visualization".
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from nn_lens.engine.maximizing.objective import Answers, Objective, mean_of_each
from nn_lens.engine.maximizing.penalties import blur as blur
from nn_lens.engine.maximizing.penalties import l1 as l1
from nn_lens.engine.maximizing.penalties import l2 as l2
from nn_lens.engine.maximizing.penalties import total_variation as total_variation
from nn_lens.engine.network.answers import class_scores, mask_of
from nn_lens.engine.network.labels import this_and_that
from nn_lens.engine.network.network import Network, as_network
from nn_lens.errors import LensError
from nn_lens.units import Direction, Unit, as_unit

_SIMILARITIES = ("dot", "cosine", "dot_cosine")


# ---- units, layers, directions, classes ----


def neuron(unit: Unit | str) -> Objective:
    """The activation at the unit's place, or without one in the middle of the canvas.

    >>> nl.objectives.neuron("relu3:1") / 2
    Objective(0.5 * neuron(relu3:1))
    """
    unit = as_unit(unit)
    return Objective(
        f"neuron({unit})", (unit.layer,), lambda a: a.neuron(unit), (unit,), local=unit.place is None
    )  # fmt: skip


def channel(unit: Unit | str) -> Objective:
    """The mean of the unit's activation map.

    >>> nl.objectives.channel("relu3:1").layers
    ('relu3',)
    """
    unit = as_unit(unit)
    return Objective(
        f"channel({unit})", (unit.layer,), lambda a: mean_of_each(a.maps[unit.layer][:, unit.channel]), (unit,)
    )  # fmt: skip


def layer(name: str) -> Objective:
    """The mean square of all activations of a layer (DeepDream; Mordvintsev et al., 2015).

    >>> nl.maximize(nl.demo(), nl.objectives.layer("relu1"), steps=2).images.shape  # it looks at the whole canvas
    (1, 3, 64, 64)
    """
    return Objective(f"layer({name})", (name,), lambda a: mean_of_each(a.maps[name].square()))


def token(unit: Unit | str, index: int = 0) -> Objective:
    """The unit's activation at a token that has no place in the picture: 0 is a vision transformer's class token.

    >>> nl.objectives.token("encoder.layers.0:3")
    Objective(token(encoder.layers.0:3, 0))
    """
    unit = as_unit(unit)
    name = f"{unit.layer}[{int(index)}]"
    return Objective(f"token({unit}, {index})", (name,), lambda a: a.maps[name][:, unit.channel, 0, 0], (unit,))


def direction(
    direction: Direction, similarity: str = "dot", power: float = 2.0, at: tuple[int, ...] | str | None = None
) -> Objective:
    """How far the answers point in a direction, which is scaled to length 1.

    similarity: "dot", the length of the projection; "cosine", -1 to 1; "dot_cosine", dot times cosine^`power`
        (cosine from .1), which asks for both (Carter et al., 2019, "Activation atlas").
    at: the place of one neuron, such as (row, column), "centre" for the one in the middle of the canvas; None: the mean
        over all places.

    Raises:
        LensError: another similarity or place.

    >>> nl.objectives.direction(nl.Direction("conv1", [1.0] * 48), "cosine", at="centre")
    Objective(direction(conv1:direction of 48 channels, cosine, at centre))
    """
    if similarity not in _SIMILARITIES:
        raise LensError(f"similarity is one of {', '.join(_SIMILARITIES)}, got {similarity!r}.")
    if not (at is None or at == "centre" or (isinstance(at, tuple) and 1 <= len(at) <= 3)):
        raise LensError(f'at is None, "centre" or a place such as (row, column), got {at!r}.')

    def value(a: Answers) -> torch.Tensor:
        maps = a.maps[direction.layer]
        if at is not None:
            place = a.place(direction.layer) if isinstance(at, str) else at
            if len(place) != maps.ndim - 2 or any(p >= n for p, n in zip(place, maps.shape[2:], strict=True)):
                raise LensError(f"There is no place {place} in a map of {direction.layer!r}, {tuple(maps.shape[2:])}.")
            maps = maps[(slice(None), slice(None), *(slice(p, p + 1) for p in place))]
        dots = torch.einsum("nc...,c->n...", maps, unit_vector(direction, maps))
        if similarity != "dot":
            cosine = dots / maps.norm(dim=1).clamp(min=1e-6)
            dots = cosine if similarity == "cosine" else dots * cosine.clamp(min=0.1) ** power
        return mean_of_each(dots)

    where = "" if at is None else f", at {at}"
    return Objective(
        f"direction({direction}, {similarity}{where})", (direction.layer,), value, (direction,), local=at == "centre"
    )


def logit(index: Any, at: Any = None) -> Objective:
    """The raw output of a class, given by its index or label; of a pair (this, that), by how much it is above that of
    the other, at the same places.

    at: of a network that answers at each place, the place, such as (row, column), or a boolean mask of the places whose
    scores are summed; None: those where the class wins. Where it wins nowhere that is 0, with the gradient of what it lacks
    to win, so that it can begin to.

    >>> nl.maximize(nl.demo(), nl.objectives.logit("tabby cat"), steps=2).goals
    ('logit(tabby cat)',)
    """
    this, that = this_and_that(index)

    def value(a: Answers) -> torch.Tensor:
        answer, which = a.maps[""], a.class_index(this)
        lead = answer[:, which] if that is None else answer[:, which] - answer[:, _another(a, this, that)]
        grid = tuple(answer.shape[2:])
        if at is not None:
            return lead.flatten(1)[:, mask_of(grid, at).flatten().to(lead.device)].sum(1)
        if grid == (1, 1):
            return lead.flatten(1)[:, 0]
        wins = answer.argmax(1) == which
        scores = torch.where(wins, lead, torch.zeros_like(lead)).flatten(1).sum(1)
        begin = mean_of_each(answer[:, which] - answer.amax(1))
        return torch.where(wins.flatten(1).any(1), scores, begin - begin.detach())

    return Objective(f"logit({_said(this, that)}{_where(at)})", ("",), value)


def probability(index: Any, at: Any = None) -> Objective:
    """The probability of a class, given by its index or label: softmax or sigmoid of its score, by what it means. Of a
    pair (this, that), by how much it is above that of the other.

    at: as for `logit`; of dense answers it is the mean of the class's probability over those places, None: over all.

    Raises:
        LensError: when it is used with a network whose answers are values.

    >>> nl.objectives.probability(3) / 2
    Objective(0.5 * probability(3))
    """
    this, that = this_and_that(index)
    if that is not None:
        return replace(
            probability(this, at) - probability(that, at), name=f"probability({_said(this, that)}{_where(at)})"
        )

    def value(a: Answers) -> torch.Tensor:
        answer, which = a.maps[""], a.class_index(this)
        if a.output_kind == "values":
            raise LensError("The network answers with values, which have no probability; maximize objectives.logit.")
        if a.output_kind == "probabilities":
            return class_scores(answer, at)[:, which]
        if a.output_kind != "dense":
            scores = class_scores(answer, at)
            return (scores.sigmoid() if a.output_kind in ("logit", "multilabel") else scores.softmax(1))[:, which]
        each = answer.sigmoid() if answer.shape[1] == 1 else answer.softmax(1)
        if at is None:
            return mean_of_each(each[:, which])
        mask = mask_of(tuple(answer.shape[2:]), at).flatten().to(answer.device)
        return each[:, which].flatten(1)[:, mask].mean(1)

    return Objective(f"probability({this}{_where(at)})", ("",), value)


# ---- several pictures at once ----


def diversity(unit: Unit | str, n: int = 4, weight: float = 1.0) -> Objective:
    """`n` pictures that all drive the unit and look different: a unit may look for several things.

    Each picture's value is its activation, less `weight` times the page's mean activation times the mean cosine
    similarity of its Gram matrix, at the unit's layer, to those of the others (Olah et al., 2017, "Diversity").

    Raises:
        LensError: n below 2.

    >>> nl.maximize(nl.demo(), nl.objectives.diversity("relu1:5", n=2), steps=2).goals
    ('diversity(relu1:5) [1 of 2]', 'diversity(relu1:5) [2 of 2]')
    """
    unit = as_unit(unit)

    def value(a: Answers) -> torch.Tensor:
        reached = a.neuron(unit)
        return reached - weight * reached.detach().abs().mean() * gram_similarity(a.maps[unit.layer])

    return Objective(f"diversity({unit})", (unit.layer,), value, (unit,), _several(n), unit.place is None)


def between(a: Unit | str, b: Unit | str, n: int = 5) -> Objective:
    """`n` pictures from one unit to another: picture i drives (1-t) a + t b, t from 0 to 1.

    Raises:
        LensError: n below 2.

    >>> nl.maximize(nl.demo(), nl.objectives.between("relu1:5", "relu1:9", n=3), steps=2).images.shape
    (3, 3, 25, 25)
    """
    first, second = as_unit(a), as_unit(b)
    t = torch.linspace(0, 1, _several(n))

    def value(answers: Answers) -> torch.Tensor:
        x, y = answers.neuron(first), answers.neuron(second)
        share = t.to(x)
        return (1 - share) * x + share * y

    layers = tuple(dict.fromkeys((first.layer, second.layer)))
    local = first.place is None and second.place is None
    return Objective(f"between({first}, {second})", layers, value, (first, second), n, local)


# ---- what a layer keeps of a picture ----


def caricature(net: Network, picture: Any, layer: str, power: float = 1.0) -> Objective:
    """A picture that exaggerates what a layer sees in `picture`: dot times cosine^`power` of all its maps.

    Reference: Olah et al., 2018, "The building blocks of interpretability"; lucid's caricatures.

    >>> net = nl.demo()
    >>> nl.objectives.caricature(net, net.samples["cat"], "relu3")
    Objective(caricature(relu3))
    """
    target = _target(net, picture, layer)

    def value(a: Answers) -> torch.Tensor:
        maps, goal = _alike(a.maps[layer], target, layer)
        dot: torch.Tensor = (maps * goal).flatten(1).sum(1) / goal.norm()
        cosine = dot / maps.flatten(1).norm(dim=1).clamp(min=1e-6)
        both: torch.Tensor = dot * cosine.clamp(min=0.1) ** power
        return both

    return Objective(f"caricature({layer})", (layer,), value, still=True)


def inversion(net: Network, picture: Any, layer: str) -> Objective:
    """A picture that a layer cannot tell from `picture`: minus the squared distance of their maps, relative.

    0 is reached when they are equal, -1 is the score of an all-zero map. Reference: Mahendran and Vedaldi, 2015,
    "Understanding deep image representations by inverting them".

    >>> net = nl.demo()
    >>> nl.maximize(net, nl.objectives.inversion(net, net.samples["cat"], "relu1"), steps=2).images.shape
    (1, 3, 64, 64)
    """
    target = _target(net, picture, layer)

    def value(a: Answers) -> torch.Tensor:
        maps, goal = _alike(a.maps[layer], target, layer)
        return -(maps - goal).square().flatten(1).sum(1) / goal.square().sum().clamp(min=1e-12)

    return Objective(f"inversion({layer})", (layer,), value, still=True)


# ---- for the engine ----


def at_centre(goals: Sequence[Unit | Direction]) -> Objective:
    """Picture i's own goal: the neuron of its unit, or its direction, in the middle of the canvas; units keep their places.

    >>> goal = nl.objectives.at_centre([nl.Unit("relu1", 5), nl.Unit("relu1", 6)])
    >>> nl.maximize(nl.demo(), goal, size=32, steps=2).images.shape
    (2, 3, 32, 32)
    """
    name = goals[0].layer
    channels = torch.tensor([g.channel if isinstance(g, Unit) else 0 for g in goals])
    n = torch.arange(len(goals))

    def value(a: Answers) -> torch.Tensor:
        maps = a.maps[name]
        middle = a.place(name)
        places = [g.place or middle if isinstance(g, Unit) else middle for g in goals]
        where = tuple(torch.tensor(places).T)
        if all(isinstance(g, Unit) for g in goals):
            return maps[(n, channels, *where)]
        directions = [Direction.of(g, maps.shape[1]) if isinstance(g, Unit) else g for g in goals]
        weights = torch.stack([unit_vector(d, maps) for d in directions])
        return (maps.movedim(1, -1)[(n, *where)] * weights).sum(1)

    return Objective(f"{len(goals)} units of {name}", (name,), value, tuple(goals), len(goals), True)


def gram_similarity(maps: torch.Tensor) -> torch.Tensor:
    """(N,) mean cosine similarity of each picture's Gram matrix over channels to those of the others; (N,C,*grid) maps.

    >>> nl.objectives.gram_similarity(torch.eye(2)[:, :, None, None])  # two pictures with no channel in common
    tensor([0., 0.])
    """
    flat = maps.flatten(2)
    grams = F.normalize((flat @ flat.transpose(1, 2)).flatten(1), dim=1, eps=1e-12)
    alike = grams @ grams.T
    return (alike.sum(1) - alike.diagonal()) / max(1, len(maps) - 1)


def unit_vector(direction: Direction, maps: torch.Tensor) -> torch.Tensor:
    """(C,) the direction at length 1, on the device of `maps`.

    >>> nl.objectives.unit_vector(nl.Direction("relu1", [3, 0, 4]), torch.zeros(1, 3, 5, 5))
    tensor([0.6000, 0.0000, 0.8000])
    """
    direction.require(maps.shape[1])
    v = torch.tensor(direction.vector, dtype=maps.dtype, device=maps.device)
    unit: torch.Tensor = v / v.norm()
    return unit


def _several(n: int) -> int:
    if not isinstance(n, int) or n < 2:
        raise LensError(f"n is a whole number of pictures, 2 or more, got {n!r}.")
    return n


def _target(net: Network, picture: Any, layer: str) -> torch.Tensor:
    net = as_network(net)
    with net.evaluation(), torch.no_grad():
        return net.outputs(net.picture(picture)[None], [layer])[layer].clone()


def _alike(maps: torch.Tensor, target: torch.Tensor, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
    if maps.shape[1:] != target.shape[1:]:
        raise LensError(
            f"On this canvas {layer!r} answers with {tuple(maps.shape[1:])}, to the picture it answered with "
            f"{tuple(target.shape[1:])}; leave out size, so that the canvas is the network's input."
        )
    return maps, target.to(maps)


def _another(a: Answers, this: Any, that: Any) -> int:
    """The class that is the second of a pair.

    Raises:
        LensError: it is the first again.
    """
    if a.class_index(this) == a.class_index(that):
        raise LensError(f"{this} rather than itself is always 0; pass two classes that differ.")
    return a.class_index(that)


def _said(this: Any, that: Any) -> str:
    return f"{this}" if that is None else f"{this} rather than {that}"


def _where(at: Any) -> str:
    if at is None:
        return ""
    return f" at {tuple(map(int, at))}" if np.ndim(at) == 1 else " on a mask"
