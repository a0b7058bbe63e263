"""Widgets that take turns: what one thread does to one of them is over before another thread begins.

JupyterLab sends the messages of widgets to threads beside the running cell where the kernel has them (subshells), and
traits know no threads: while one takes over a state from the browser, what another sets is neither told nor sent.

Around each message of a widget, ipykernel lets all who listen know that a cell ends, and matplotlib then shows and closes the
figures that it finds. On a thread beside the running cell these are the cell's own, half drawn: there nobody is told.

Since its version 7.4 ipykernel sends such a message not to the subshell that the browser names, but to the shell that spoke last
through the widget. Answers come from the session's worker, which it takes for the main shell: that is the running cell's.
"""

from __future__ import annotations

import threading
from typing import Any

TURN = threading.RLock()
"""Of all widgets together: they set one another's traits, so that locks of their own would wait for each other."""


class TakesTurns:
    """A widget whose messages and traits are one thread's at a time."""

    def open(self) -> None:
        """Has the widget take messages from now on."""
        super().open()  # type: ignore[misc]
        comm = self.comm  # type: ignore[attr-defined]
        handle_at_an_end = getattr(comm, "handle_msg", None)
        if handle_at_an_end is None:  # of a host of its own
            return

        def handle(message: Any) -> None:
            at_an_end = threading.current_thread() is threading.main_thread()
            (handle_at_an_end if at_an_end else self._handle_msg)(message)

        comm.handle_msg = handle
        if hasattr(comm, "_reply_subshell_for"):
            comm._reply_subshell_for = lambda _message, named: named

    def _handle_msg(self, msg: Any) -> None:
        with TURN:
            super()._handle_msg(msg)  # type: ignore[misc]

    def __setattr__(self, name: str, value: Any) -> None:
        with TURN:
            super().__setattr__(name, value)

    def set_trait(self, name: str, value: Any) -> None:
        """Sets a trait, also one that is read-only."""
        with TURN:
            super().set_trait(name, value)  # type: ignore[misc]
