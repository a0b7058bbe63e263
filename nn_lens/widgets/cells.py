"""What a notebook's cells tell a widget: that one has ended, and that the widget's own was run again."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Protocol


class Closable(Protocol):
    """What a cell makes."""

    def close(self) -> None:
        """The cell makes another."""


_made: dict[str, tuple[str, weakref.WeakSet[Any]]] = {}
"""By cell: the run in which it last made widgets, and those widgets."""


def watch(ended: Callable[[], None]) -> Callable[[], None]:
    """Calls a method after each cell, while its object lives; what `watch` gives back ends that."""
    shell = _shell()
    if shell is None:
        return lambda: None
    method = weakref.WeakMethod(ended)

    def look(*_: Any) -> None:
        call = method()
        if call is not None:
            call()

    shell.events.register("post_run_cell", look)
    return lambda: shell.events.unregister("post_run_cell", look)


def close_earlier(widget: Closable) -> None:
    """Closes the widgets that earlier runs of the running cell made, and remembers `widget` as made by this one.

    Without this they would live on unseen, held by the notebook's outputs, each with a worker and a copy of its network.
    """
    parent = getattr(getattr(_shell(), "kernel", None), "get_parent", None)
    message = parent() if parent else None
    cell = (message or {}).get("metadata", {}).get("cellId")
    if not message or cell is None:
        return
    run = message["header"]["msg_id"]
    last, widgets = _made.get(cell, (run, weakref.WeakSet()))
    if last != run:
        for earlier in list(widgets):
            earlier.close()
        widgets = weakref.WeakSet()
    widgets.add(widget)
    _made[cell] = run, widgets


def _shell() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()
