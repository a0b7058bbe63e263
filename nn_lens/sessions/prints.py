"""The views as figures, for print: each is the engine's own."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from nn_lens.engine.evidence.ablation import ablate
from nn_lens.engine.evidence.attribution.attribute import attribute_all
from nn_lens.engine.evidence.embedding import embedding
from nn_lens.engine.reading.activations import activations
from nn_lens.engine.reading.arithmetic import arithmetic
from nn_lens.engine.reading.building_blocks import building_blocks
from nn_lens.engine.reading.filters import filters
from nn_lens.engine.reading.incoming import incoming
from nn_lens.errors import LensError
from nn_lens.sessions import evidence
from nn_lens.sessions.requests import maximized, page_of
from nn_lens.sessions.session import Session
from nn_lens.units import Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

ALL = ("filters", "maximization", "activations")
EVIDENCE = ("examples", "attribution", "ablation", "incoming", "directions")

_Maker = Callable[[Session, Unit, Any], Any]


def _last(steps: Iterator[Any]) -> Any:
    found = None
    for found in steps:  # noqa: B007
        pass
    return found


def _examples(session: Session, unit: Unit, _picture: Any) -> Any:
    found, _ = _last(evidence.passed(session, unit.layer))
    return found.figure([_channel(unit)])


def _directions(session: Session, unit: Unit, _picture: Any) -> Any:
    found, _ = _last(evidence.passed(session, unit.layer))
    return found.figure([_channel(unit), *(u for u in found.units if not isinstance(u, Unit))])


def _channel(unit: Unit) -> Unit:
    return Unit(unit.layer, unit.channel)


_MAKERS: dict[str, _Maker] = {
    "filters": lambda s, u, p: filters(s.network(), u.layer).figure(),
    "maximization": lambda s, u, p: _last(page_of(s, u)).figure(),
    "unit": lambda s, u, p: _last(maximized(s, _channel(u))).figure(),
    "activations": lambda s, u, p: activations(s.network(), p, u.layer).figure(),
    "arithmetic": lambda s, u, p: arithmetic(s.network(), p, u).figure(),
    "blocks": lambda s, u, p: building_blocks(s.network(), p, u.layer).figure(),
    "examples": _examples,
    "directions": _directions,
    "attribution": lambda s, u, p: attribute_all(
        s.network(), p, int(np.argmax(s.network().scores(p))), control=True
    ).figure(),
    "ablation": lambda s, u, p: ablate(s.network(), [p], _channel(u)).figure(),
    "incoming": lambda s, u, p: incoming(s.network(), _channel(u)).figure(),
    "embedding": lambda s, u, p: embedding(s.network(), s.dataset, u.layer).figure(),
}


def printed(session: Session, view: str, unit: Unit, picture: Any, dpi: int) -> Iterator[Image.Image]:
    """A view, or those of "all" or "evidence" that have something to show below one another, at `dpi` dots per inch.

    Raises:
        LensError: a view that has no figure, or nothing to show; says why.
    """
    several = {"all": ALL, "evidence": EVIDENCE}.get(view)
    made, reasons = [], []
    for name in several or (view,):
        if name not in _MAKERS:
            raise LensError(f"The view {name!r} has no figure; there are all, evidence, {', '.join(_MAKERS)}.")
        try:
            made.append(_drawn(_MAKERS[name](session, unit, picture), dpi))
        except LensError as error:
            reasons.append(str(error))
            if not several:
                raise
        yield Image.new("RGB", (1, 1))  # on the way
    if not made:
        raise LensError(f"There is nothing to print: {' '.join(reasons)}")
    whole = Image.new("RGB", (max(i.width for i in made), sum(i.height for i in made)), "white")
    top = 0
    for image in made:
        whole.paste(image, (0, top))
        top += image.height
    yield whole


def side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    """Pictures beside one another, tops aligned."""
    whole = Image.new("RGB", (sum(i.width for i in images), max(i.height for i in images)), "white")
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width
    return whole


def _drawn(figure: Figure, dpi: int) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, bbox_inches="tight")
    return Image.open(file).convert("RGB")
