"""Frames for the browser, at the pace at which it takes them: the newest wins, nothing piles up."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

Message = tuple[dict[str, Any], list[bytes]]
"""What goes to the browser: a head, and buffers."""

IN_FLIGHT = 2  # frames sent and not acknowledged
PACE = 0.08  # seconds between frames at least: more only takes time from the sliders
PATIENCE = 0.5  # seconds without an acknowledgement: the kernel may be busy with a cell and hear nothing


class Frames:
    """Sends frames, each made only when it goes out. Offer from any one thread, acknowledge from any other.

    A frame that may not go out yet is held, in place of the one held before. While neither an acknowledgement
    nor a newer frame comes, the held one goes out after `PATIENCE`.
    """

    def __init__(self, send: Callable[[dict[str, Any], list[bytes]], None]) -> None:
        self._send = send
        self._lock = threading.Lock()
        self._in_flight = 0
        self._held: Callable[[], Message] | None = None
        self._timer: threading.Timer | None = None
        self._last = float("-inf")

    def offer(self, make: Callable[[], Message]) -> None:
        """Sends what `make` gives, now or when the browser is ready, unless a newer frame comes first."""
        with self._lock:
            if self._in_flight >= IN_FLIGHT or time.monotonic() - self._last < PACE:
                self._held = make
                if self._timer is None:
                    wait = max(0.0, self._last + PATIENCE - time.monotonic())
                    self._timer = threading.Timer(wait, self._run_out_of_patience)
                    self._timer.daemon = True
                    self._timer.start()
                return
            self._stop_timer()
            self._go(make)

    def acknowledge(self) -> None:
        """The browser has drawn a frame."""
        with self._lock:
            self._in_flight = max(0, self._in_flight - 1)
            if self._held is not None and time.monotonic() - self._last >= PACE:
                self._stop_timer()
                self._go(self._held)

    def end(self) -> None:
        """Forgets all frames, those in flight too: what they show is no longer asked for, so nobody acknowledges them. The
        next frame goes out at once.
        """
        with self._lock:
            self._held, self._in_flight, self._last = None, 0, float("-inf")
            self._stop_timer()

    def _run_out_of_patience(self) -> None:
        with self._lock:
            self._timer = None
            if self._held is not None:
                self._in_flight = IN_FLIGHT - 1
                self._go(self._held)

    def _go(self, make: Callable[[], Message]) -> None:
        self._held = None
        self._in_flight += 1
        self._last = time.monotonic()
        self._send(*make())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
