"""How a panel keeps up with a training that is recorded."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

OFTEN = 0.5  # seconds between recorded steps that are shown: while a cell runs, the browser cannot say that it is busy


class Following:
    """Whether a panel shows each recorded step as it comes: until somebody chooses a step, and again from the model as it is."""

    def __init__(self) -> None:
        self.newest = True
        self._moving = False
        self._shown_at = float("-inf")

    def chosen(self, step: int | None) -> None:
        """Takes note of a step that is shown now, None for the model as it is."""
        if not self._moving:
            self.newest = step is None

    @contextmanager
    def moving(self) -> Iterator[None]:
        """While the panel itself moves from step to step, nobody has chosen one."""
        self._moving = True
        try:
            yield
        finally:
            self._moving = False

    def due(self) -> bool:
        """Whether it is time to show a step; one in `OFTEN` seconds is."""
        now = time.monotonic()
        if now - self._shown_at < OFTEN:
            return False
        self._shown_at = now
        return True
