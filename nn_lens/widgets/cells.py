"""What a notebook's cells tell a panel: that the model may have changed, and that its own cell was run again."""

from __future__ import annotations

import weakref
from collections.abc import Callable
from typing import Any, Protocol


class CellPanel(Protocol):
    """What is told of cells."""

    def weights_may_have_moved(self) -> None:
        """A cell has ended."""

    def close(self) -> None:
        """The cell that made the panel makes another."""


_made: dict[str, tuple[str, weakref.WeakSet[Any]]] = {}
"""By cell: the run in which it last made panels, and those panels."""


def watch(panel: CellPanel) -> Callable[[], None]:
    """Tells `panel` after each cell that the weights may have moved; what it gives back ends that."""
    shell = _shell()
    if shell is None:
        return lambda: None
    reference = weakref.ref(panel)

    def look(*_: Any) -> None:
        found = reference()
        if found is not None:
            found.weights_may_have_moved()

    shell.events.register("post_run_cell", look)
    return lambda: shell.events.unregister("post_run_cell", look)


def close_earlier(panel: CellPanel) -> None:
    """Closes the panels that earlier runs of the running cell made, and remembers `panel` as made by this one.

    Without this they would live on unseen, held by the notebook's outputs, each with a worker and a copy of its network.
    """
    parent = getattr(getattr(_shell(), "kernel", None), "get_parent", None)
    message = parent() if parent else None
    cell = (message or {}).get("metadata", {}).get("cellId")
    if not message or cell is None:
        return
    run = message["header"]["msg_id"]
    last, panels = _made.get(cell, (run, weakref.WeakSet()))
    if last != run:
        for earlier in list(panels):
            earlier.close()
        panels = weakref.WeakSet()
    panels.add(panel)
    _made[cell] = run, panels


def _shell() -> Any:
    try:
        from IPython import get_ipython
    except ImportError:
        return None
    return get_ipython()
