"""Widgets that take turns: what one thread does to one of them is over before another thread begins.

JupyterLab sends the messages of widgets to threads beside the running cell where the kernel has them (subshells), and
traits know no threads: while one takes over a state from the browser, what another sets is neither told nor sent.
"""

from __future__ import annotations

import threading
from typing import Any

TURN = threading.RLock()
"""Of all widgets together: they set one another's traits, so that locks of their own would wait for each other."""


class TakesTurns:
    """A widget whose messages and traits are one thread's at a time."""

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
