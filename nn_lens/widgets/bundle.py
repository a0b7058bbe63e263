"""The views' JavaScript, as the widgets give it to the browser."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from nn_lens.errors import LensError

BUNDLE = Path(__file__).parent.parent / "static" / "nn-lens.js"


@cache
def bundle() -> str:
    """The views' JavaScript.

    Raises:
        LensError: it was not built.
    """
    if not BUNDLE.is_file():
        raise LensError(
            "The views of nn-lens are not built. In a checkout run `pip install .` (or, with Node.js, "
            "`python nn_lens/frontend/hatch_build.py`), then restart the kernel."
        )
    return BUNDLE.read_text(encoding="utf-8")
