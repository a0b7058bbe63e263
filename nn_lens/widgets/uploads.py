"""Files that the browser sends in pieces, since messages over some megabytes are dropped silently."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nn_lens.errors import PictureError

LARGEST = 64 << 20  # bytes


class Uploads:
    """Puts pieces together: messages {upload, index, count} with one buffer each, in order."""

    def __init__(self) -> None:
        self._id: Any = None
        self._pieces: list[bytes] = []

    def add(self, content: Mapping[str, Any], buffers: list[Any]) -> bytes | None:
        """The whole file with its last piece, None before. A new upload takes the place of an unfinished one.

        Raises:
            PictureError: a piece is missing, or the file is too large.
        """
        index, count = int(content["index"]), int(content["count"])
        if index == 0:
            self._id, self._pieces = content["upload"], []
        if content["upload"] != self._id:
            return None  # a piece of an upload that a newer one replaced
        if index != len(self._pieces) or not buffers:
            self._forget()
            raise PictureError("The upload was interrupted: a piece is missing. Drop the file again.")
        self._pieces.append(bytes(buffers[0]))
        if sum(map(len, self._pieces)) > LARGEST:
            self._forget()
            raise PictureError(f"The file is larger than {LARGEST >> 20} MB; make it smaller first.")
        if len(self._pieces) < count:
            return None
        data = b"".join(self._pieces)
        self._forget()
        return data

    def _forget(self) -> None:
        self._id, self._pieces = None, []
