"""The views as figures, for print: each is the engine's own."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator, Sequence
from typing import Any

from PIL import Image

from nn_lens.engine.pictures.images import rgb, sequential_colours
from nn_lens.errors import LensError
from nn_lens.sessions import blocks, evidence, requests, why
from nn_lens.sessions.session import Session
from nn_lens.units import Unit

FIGURES: dict[str, requests.Figure] = {**requests.FIGURES, **blocks.FIGURES, **evidence.FIGURES, **why.FIGURES}
"""By view, what it shows as a figure; a view that is not here has none."""


_drawing = threading.Lock()  # matplotlib keeps fonts and settings for the whole process

HEAD = 0.8  # inches of the line above the views
_WIDE = 6.0  # inches of that line


def printed(
    session: Session, views: Sequence[str], unit: Unit, picture: Any, dpi: int, title: str = ""
) -> Iterator[Image.Image | None]:
    """The views that have something to show below one another, at `dpi` dots per inch, below a line with the picture, the
    unit and a title; None: on the way.

    Raises:
        LensError: none of them has a figure and something to show; says why.
    """
    drawn = [view for view in views if view in FIGURES]
    if not drawn:
        raise LensError(f"The view {views[-1]!r} has no figure; there are {', '.join(FIGURES)}.")
    made, reasons = [], []
    for view in drawn:
        try:
            with _drawing, sequential_colours(session.settings.colour_map):
                made.append(_drawn(FIGURES[view](session, unit, picture), dpi))
        except LensError as error:
            reasons.append(error)
        yield None
    if not made:
        raise (
            reasons[0] if len(reasons) == 1 else LensError(f"There is nothing to print: {' '.join(map(str, reasons))}")
        )
    made.insert(0, _head(session, unit, picture, dpi, title))
    whole = Image.new("RGB", (max(i.width for i in made), sum(i.height for i in made)), "white")
    top = 0
    for image in made:
        whole.paste(image, (0, top))
        top += image.height
    yield whole


def side_by_side(images: Sequence[Image.Image]) -> Image.Image:
    """Pictures in a row, tops aligned."""
    whole = Image.new("RGB", (sum(i.width for i in images), max(i.height for i in images)), "white")
    left = 0
    for image in images:
        whole.paste(image, (left, 0))
        left += image.width
    return whole


def _head(session: Session, unit: Unit, picture: Any, dpi: int, title: str) -> Image.Image:
    """What the views are about: the picture, the unit, the title."""
    from matplotlib.figure import Figure

    net = session.network()
    figure = Figure(figsize=(_WIDE, HEAD))
    if picture is not None and net.kind == "picture":
        axes = figure.add_axes((0.01, 0.05, HEAD / _WIDE, 0.9))
        axes.imshow(rgb(net.picture(picture)[None].numpy())[0])
        axes.set_axis_off()
    figure.text(0.16, 0.62, f"{unit} of {net.name}", fontsize=11, va="center", fontweight="bold")
    figure.text(0.16, 0.3, title, fontsize=8, va="center", color="0.35")
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi)
    return Image.open(file).convert("RGB")


def _drawn(figure: Any, dpi: int) -> Image.Image:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=dpi, bbox_inches="tight")
    return Image.open(file).convert("RGB")
