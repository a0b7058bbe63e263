"""The pictures of a panel: those it offers, those that the browser sends, and how they are shown."""

from __future__ import annotations

import io
import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from nn_lens.engine.network.network import Network
from nn_lens.engine.pictures import charts, images
from nn_lens.engine.pictures.datasets import source_of
from nn_lens.engine.pictures.picture import as_image, display_picture, open_image
from nn_lens.engine.pictures.samples import sample_pictures
from nn_lens.errors import LensError
from nn_lens.widgets.geometry import Geometry
from nn_lens.widgets.strings import STRINGS
from nn_lens.widgets.uploads import Uploads

SIDE = 448  # longest side in pixels of a picture that is sent to be shown
_THUMBNAIL = 40  # pixels
_CHART = {"width": 960, "height": 160}  # pixels of what is no picture
_SMALL = {"width": 80, "height": 50}
_OFFERED = 6  # inputs of a dataset that can be chosen where there are no samples

WORDS: dict[str, str] = STRINGS["nouns"]
"""What an input of each kind is called."""

_numbers = itertools.count(1)


def whole(key: str) -> str:
    """The name of a picture, of the key of one of its slices."""
    return key.partition("@")[0]


class Pictures:
    """The pictures that can be chosen for a network, by name; for networks that read something else, that.

    net: the network; dataset: pictures that can be chosen by their numbers, as `nl.dataset_examples` takes them.
    """

    def __init__(self, net: Network, dataset: Any = None) -> None:
        self._net, self._dataset = net, dataset
        self.samples: dict[str, Any] = dict(net.samples) or self._offered()
        self._uploads = Uploads()
        self._encoded: dict[str, bytes] = {}  # samples, encoded once
        self._chosen: tuple[str, Any] = ("", None)
        self._shown: tuple[Any, str] = (None, "")

    def _offered(self) -> dict[str, Any]:
        """The first of the dataset; of pictures, where none was given, sample pictures."""
        net = self._net
        given = self._dataset is not None or net.dataset is not None
        if net.kind == "picture" and not given:
            return dict(sample_pictures(net.input_shape))
        try:
            source = source_of(net, self._dataset)
            count = 0 if source.one_by_one else min(_OFFERED, source.total or 0)
            first = {f"{WORDS[net.kind]} {i}": source[i] for i in range(count)}
            if net.kind == "picture":
                return {name: as_image(x, net.input_shape) for name, x in first.items()}
            return {name: x.numpy() for name, x in first.items()}
        except LensError:
            return {}  # there is none, or it cannot be read, which the views of real examples say

    @property
    def crops(self) -> int:
        """Of how many samples evidence looks at crops, for want of a dataset; 0 where there is one."""
        own = self._dataset is not None or self._net.dataset is not None or self._net.kind != "picture"
        return 0 if own else len(self.samples)

    def thumbnails(self) -> list[dict[str, Any]]:
        """Small samples to choose by."""
        return [{"name": n, "data": self._small(image), "own": self.is_own(n)} for n, image in self.samples.items()]

    def is_own(self, name: str) -> bool:
        """Whether a sample is one of the network's, so that `net.samples` has it."""
        return name in self._net.samples

    def received(self, content: Mapping[str, Any], buffers: list[Any]) -> tuple[str, Any] | None:
        """The name and picture that a message of the browser chooses; None: there is more to come.

        Raises:
            LensError: there is no such picture, or what was sent cannot be read as one.
        """
        if content["type"] == "sample":
            return content["name"], self.samples[content["name"]]
        if content["type"] == "dataset":
            index = int(content["index"])
            return f"{WORDS[self._net.kind]} {index}", source_of(self._net, self._dataset)[index]
        data = self._uploads.add(content, buffers)
        if data is None:
            return None
        name = str(content.get("name", ""))
        file = io.BytesIO(data)
        file.name = name or f"the {WORDS[self._net.kind]}"  # for the message where it is none
        return name, open_image(file) if self._net.kind == "picture" else file

    def choose(self, name: str, picture: Any) -> Any:
        """The picture as an image, of other kinds an array, once it is known under a name.

        Raises:
            PictureError: it cannot be read as a picture.
        """
        image = as_image(picture, self._net.input_shape, self._net.kind, self._net.normalizes)
        self._chosen = name, image
        return image

    def name(self, image: Any) -> str:
        """The name under which an image was chosen, or that of the sample that it is; "" without one."""
        name, chosen = self._chosen
        if name and chosen is image:
            return name
        return next((sample for sample, other in self.samples.items() if other is image), "")

    def shown(self, image: Any, geometry: Geometry) -> dict[str, Any]:
        """An image for the browser, under a key that no other has; of a volume the slice that is seen, which the key names."""
        name = self.name(image)
        if self._shown[0] is not image:
            self._shown = image, f"picture {next(_numbers)}"
        key = self._shown[1] + ("" if geometry.depth is None else f"@{geometry.share:g}")
        if not geometry.is_picture:
            values = self._net.picture(image).numpy()
            drawn = charts.chart(values, geometry.kind, geometry.share, **_CHART)
            return {"key": key, "name": name, "data": images.encode(drawn)}
        sample = self.samples.get(name) is image
        data = self._encoded.get(name) if sample else None
        if data is None:
            small = display_picture(image, self._net.input_shape, SIDE)
            data = b"" if small is None else images.encode(np.asarray(small), lossless=False)
            if sample:
                self._encoded[name] = data
        return {"key": key, "name": name, "data": data}

    def _small(self, image: Any) -> bytes:
        if self._net.kind == "picture":
            small = display_picture(image, (3, _THUMBNAIL, _THUMBNAIL), _THUMBNAIL)
            return images.encode(np.asarray(small), lossless=False)
        return images.encode(charts.chart(self._net.picture(image).numpy(), self._net.kind, **_SMALL))
