"""The pictures of a panel: those it offers, those that the browser sends, and how they are shown."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from nn_lens.engine.network.network import Network
from nn_lens.engine.pictures import images
from nn_lens.engine.pictures.datasets import source_of
from nn_lens.engine.pictures.picture import as_image, display_picture, open_image
from nn_lens.engine.pictures.samples import sample_pictures
from nn_lens.widgets.uploads import Uploads

SIDE = 448  # longest side in pixels of a picture that is sent to be shown
_THUMBNAIL = 40  # pixels

_numbers = itertools.count(1)


class Pictures:
    """The pictures that can be chosen for a network, by name.

    net: the network; dataset: pictures that can be chosen by their numbers, as `nl.dataset_examples` takes them.
    """

    def __init__(self, net: Network, dataset: Any = None) -> None:
        self._net, self._dataset = net, dataset
        self.samples: dict[str, Any] = dict(net.samples or sample_pictures(net.input_shape))
        self._uploads = Uploads()
        self._encoded: dict[str, bytes] = {}  # samples, encoded once
        self._chosen: tuple[str, Any] = ("", None)

    def thumbnails(self) -> list[dict[str, Any]]:
        """Small samples to choose by."""
        return [{"name": name, "data": _small(image)} for name, image in self.samples.items()]

    def received(self, content: Mapping[str, Any], buffers: list[Any]) -> tuple[str, Any] | None:
        """The name and picture that a message of the browser chooses; None: there is more to come.

        Raises:
            LensError: there is no such picture, or what was sent cannot be read as one.
        """
        if content["type"] == "sample":
            return content["name"], self.samples[content["name"]]
        if content["type"] == "dataset":
            index = int(content["index"])
            return f"picture {index}", source_of(self._net, self._dataset)[index]
        data = self._uploads.add(content, buffers)
        return None if data is None else (str(content.get("name", "")), open_image(data))

    def choose(self, name: str, picture: Any) -> Any:
        """The picture as an image, once it is known under a name.

        Raises:
            PictureError: it cannot be read as a picture.
        """
        image = as_image(picture, self._net.input_shape)
        self._chosen = name, image
        return image

    def name(self, image: Any) -> str:
        """The name under which an image was chosen, or that of the sample that it is; "" without one."""
        name, chosen = self._chosen
        if name and chosen is image:
            return name
        return next((sample for sample, other in self.samples.items() if other is image), "")

    def shown(self, image: Any) -> dict[str, Any]:
        """An image for the browser, under a key that no other has."""
        name = self.name(image)
        sample = self.samples.get(name) is image
        data = self._encoded.get(name) if sample else None
        if data is None:
            small = display_picture(image, self._net.input_shape, SIDE)
            data = b"" if small is None else images.encode(np.asarray(small), lossless=False)
            if sample:
                self._encoded[name] = data
        return {"key": f"picture {next(_numbers)}", "name": name, "data": data}


def _small(image: Any) -> bytes:
    return images.encode(np.asarray(display_picture(image, (3, _THUMBNAIL, _THUMBNAIL), _THUMBNAIL)), lossless=False)
