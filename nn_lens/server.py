"""A Jupyter Server extension: small messages of kernels go to the browser at once.

Jupyter Server leaves Nagle's algorithm on for its kernel websockets. A small message then waits until the browser's
operating system has acknowledged the one before, which it puts off by 40 ms: half of what passes between a slider and a
picture. A panel needs two such messages for a new picture.
"""

from __future__ import annotations

from typing import Any


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "nn_lens.server"}]


def _load_jupyter_server_extension(_app: Any) -> None:
    """Has each kernel websocket send without delay from now on."""
    from jupyter_server.services.kernels.websocket import KernelWebsocketHandler

    opened = KernelWebsocketHandler.open
    if getattr(opened, "sends_at_once", False):
        return

    async def open_at_once(self: Any, *args: Any, **kwargs: Any) -> Any:
        self.set_nodelay(True)
        return await opened(self, *args, **kwargs)

    open_at_once.sends_at_once = True  # type: ignore[attr-defined]
    KernelWebsocketHandler.open = open_at_once  # type: ignore[method-assign]
