"""A panel without a browser: what it is told, and what it would send."""

from __future__ import annotations

import io
import threading

import numpy as np
from PIL import Image

from nn_lens.widgets.table import TABLE


class Conversation:
    """A panel, and the messages that it would send to the browser."""

    def __init__(self, panel):
        self.panel, self.sent, self.ids = panel, [], 0
        self.arrived = threading.Condition()
        panel._conversation.send = self.send

    def send(self, content, buffers):
        with self.arrived:
            self.sent.append((content, buffers))
            self.arrived.notify_all()

    def tell(self, content, *buffers):
        self.panel._conversation.receive(content, list(buffers))

    def want(self, what, **content):
        """Asks; of a picture the one that is shown, and all of a layer that could come in parts."""
        self.ids += 1
        about = TABLE.kinds[what].about
        if "picture" in about:
            content.setdefault("picture", self.panel._picture["key"])
        if "where" in about:
            content.setdefault("where", None)
        if "part" in about:
            content = {"start": 0, "count": 4096, **content}
        self.tell({"type": "want", "what": what, "id": self.ids, **content})
        return self.ids

    def until_end(self, number, timeout=60):
        """All messages about a question, once it has ended."""
        ends = ("done", "cancelled", "error")

        def own():
            return [m for m in self.sent if m[0].get("id") == number]

        with self.arrived:
            assert self.arrived.wait_for(lambda: any(c["type"] in ends for c, _ in own()), timeout), "no end came"
            return own()

    def ask(self, what, **content):
        return self.until_end(self.want(what, **content))


def image_of(data: bytes) -> np.ndarray:
    """The pixels of an encoded image."""
    return np.asarray(Image.open(io.BytesIO(data)))
