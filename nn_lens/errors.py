"""Errors that say what was asked, what there is, the nearest match and the way out."""

from __future__ import annotations

import difflib
import linecache
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType


class LensError(ValueError):
    """Something that was asked of nn-lens cannot be done; the message says why and what to do.

    Notebooks show the message below the line that it is about, without what lies between.
    """

    def _render_traceback_(self) -> list[str]:
        """Lines for IPython, which asks errors that know better than a traceback."""
        said = f"{type(self).__name__}: {self}"
        line = _asked_in(self.__traceback__)
        return [line, said] if line else [said]


class UnknownLayer(LensError):
    """A layer name that the network does not have, or a layer that cannot be shown."""


class UnknownUnit(LensError):
    """A unit that cannot be read, or that lies outside its layer."""


class PictureError(LensError):
    """A file or array that is no picture, or not one that the network can see."""


class NetworkError(LensError):
    """A model that cannot be run: wrong input shape, or an exception in its forward."""


class MemoryShort(NetworkError):
    """A device whose memory does not hold what was asked."""


class StorageError(LensError):
    """The disk did not take what was to be kept."""


def _asked_in(step: TracebackType | None) -> str:
    """The last line on the way to an error before it enters nn_lens, "" where there is none to be read."""
    own, found = str(Path(__file__).parent), ""
    while step is not None:
        file, number = step.tb_frame.f_code.co_filename, step.tb_lineno
        if file.startswith(own):
            break
        text = linecache.getline(file, number).strip()
        found = f"line {number}: {text}" if text else ""
        step = step.tb_next
    return found


def nearest(asked: str, there: Iterable[str], count: int = 3) -> list[str]:
    """The names in `there` that look most like `asked`, best first, at most `count`."""
    names = list(there)
    close = difflib.get_close_matches(asked, names, count, cutoff=0.4)
    inside = [name for name in names if asked and asked.lower() in name.lower()]
    return list(dict.fromkeys(close + inside))[:count]


def one_line(error: BaseException) -> str:
    """What an error says, on one line of at most 300 characters that can be printed, to be quoted in another."""
    text = " ".join(str(error).split())
    text = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return text if len(text) <= 300 else text[:297] + "..."


def quoted(name: object) -> str:
    """A name that comes out of a file, fit for a message: on one line, plain, of at most 80 characters."""
    text = name.decode("utf-8", "replace") if isinstance(name, bytes) else str(name)
    return ascii(text if len(text) <= 80 else text[:77] + "...")


def a_type(value: object) -> str:
    """What sort of thing somebody passed: "an int", "a Tensor", "None"."""
    if value is None:
        return "None"
    name = type(value).__name__
    return f"{'an' if name[0].lower() in 'aeiou' else 'a'} {name}"
