"""What the browser may ask, as work for a session and the messages that answer it; the other side is store.ts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from nn_lens.errors import LensError
from nn_lens.sessions import evidence, requests
from nn_lens.sessions.blocks import blocks
from nn_lens.sessions.session import Session
from nn_lens.units import Unit
from nn_lens.widgets import messages
from nn_lens.widgets.messages import Message

OF_PICTURE = frozenset(("maps", "scores", "arithmetic", "blocks", "attribution", "ablation"))
"""Questions about the picture that is shown; they name it, and are void once another is."""


@dataclass(frozen=True)
class Question:
    """`work` for the session's worker, and `answer`, the message for one of its results (None: nothing new to tell).

    urgency: 0 is what follows a slider, 3 what fills the time. paced: whether the browser takes unfinished results as
    frames, of which the newest wins.
    """

    work: Callable[[Session], Iterator[Any]]
    answer: Callable[[int, Any], Message | None]
    urgency: int = 0
    paced: bool = False


@dataclass(frozen=True)
class Asked:
    """What a question is about. `key` names the picture in the cache."""

    layer: str
    channel: int
    picture: Any
    key: str
    content: Mapping[str, Any]

    @property
    def unit(self) -> Unit:
        """The channel."""
        return Unit(self.layer, self.channel)

    @property
    def neuron(self) -> Unit:
        """The channel at the place that is asked for."""
        return Unit(self.layer, self.channel, int(self.content["row"]), int(self.content["column"]))

    @property
    def units(self) -> list[Unit]:
        """The channels of a page."""
        return [Unit(self.layer, int(c)) for c in self.content["channels"]]

    @property
    def target(self) -> Unit | int:
        """What evidence is asked for: the rank of a class, or the unit."""
        target = self.content["target"]
        return self.unit if target is None else int(target)


def _finished(number: int, page: requests.Page) -> Message | None:
    return messages.page(number, page) if page.finished else None


def _as_it_grows(
    message: Callable[[int, Any], Message], size: Callable[[Any], int]
) -> Callable[[int, Any], Message | None]:
    """Tells of a result only once it has grown."""
    told = -1

    def answer(number: int, found: Any) -> Message | None:
        nonlocal told
        if size(found) == told:
            return None
        told = size(found)
        return message(number, found)

    return answer


_QUESTIONS: dict[str, Callable[[Asked], Question]] = {
    "maps": lambda a: Question(lambda s: requests.maps(s, a.picture, a.key, a.layer, a.channel), messages.stack),
    "filters": lambda a: Question(lambda s: requests.layer_filters(s, a.layer, a.channel), messages.stack),
    "scores": lambda a: Question(lambda s: requests.scores(s, a.picture), messages.scores),
    "arithmetic": lambda a: Question(lambda s: requests.sum_of(s, a.picture, a.neuron), messages.arithmetic),
    "blocks": lambda a: Question(lambda s: blocks(s, a.picture, a.layer), messages.blocks, urgency=2),
    "field": lambda a: Question(lambda s: requests.field(s, a.layer), messages.field, urgency=1),
    "page": lambda a: Question(lambda s: requests.page(s, a.units), messages.page, urgency=1, paced=True),
    "here": lambda a: Question(lambda s: requests.page(s, a.units), _finished, urgency=1),
    "negative": lambda a: Question(lambda s: requests.page(s, [a.unit], negative=True), _finished, urgency=2),
    "examples": lambda a: Question(lambda s: evidence.examples(s, a.unit), messages.spectrum, urgency=2),
    "trust": lambda a: Question(lambda s: evidence.badges(s, a.unit), _as_it_grows(messages.trust, len), urgency=2),
    "incoming": lambda a: Question(
        lambda s: evidence.feeding(s, a.unit), _as_it_grows(messages.feeding, lambda found: len(found[1])), urgency=2
    ),
    "directions": lambda a: Question(lambda s: evidence.beside_directions(s, a.unit), messages.beside, urgency=2),
    "embedding": lambda a: Question(lambda s: evidence.embedded(s, a.layer), messages.embedding, urgency=3),
    "attribution": lambda a: Question(
        lambda s: evidence.attributions(s, a.picture, a.target), messages.attribution, urgency=2
    ),
    "ablation": lambda a: Question(
        lambda s: evidence.ablations(s, a.picture, a.unit, float(a.content["scale"])), messages.ablation
    ),
}  # fmt: skip


def question(content: Mapping[str, Any], picture: Any, key: str) -> Question:
    """The question that a message asks.

    Raises:
        LensError: this version does not know it.
    """
    what = content["what"]
    if what not in _QUESTIONS:
        raise LensError(f"The panel asked for {what!r}, which this version does not know; reload the page.")
    return _QUESTIONS[what](Asked(content.get("layer", ""), int(content.get("channel", 0)), picture, key, content))
