"""The kernel lab: a kernel to type or paint, that slides over a picture."""

from __future__ import annotations

from typing import Any

import anywidget
import numpy as np
import traitlets

from nn_lens.engine.network.network import as_network
from nn_lens.engine.pictures import images
from nn_lens.engine.pictures.depth import eight_bits
from nn_lens.engine.pictures.picture import as_image
from nn_lens.engine.pictures.samples import sample_pictures
from nn_lens.engine.reading.arithmetic import correlated
from nn_lens.engine.reading.filters import filters
from nn_lens.errors import LensError
from nn_lens.widgets import cells
from nn_lens.widgets.bundle import bundle
from nn_lens.widgets.turns import TakesTurns

LAPLACE = [[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]
_SIDE = 128  # pixels of the picture's longer side
_MOST = 15  # rows and columns of a kernel
_FILTERS = 64


class KernelLab(TakesTurns, anywidget.AnyWidget):
    """A kernel to type or paint, that slides over a picture: window x kernel = answer, and the whole map, live.

    Traits, all of which can be set and linked: `kernel` (rows of numbers), `stride`, `padding`, `rectified` (whether
    answers below 0 become 0). `pixels` (H,W) is the grey picture, `map` what the kernel answers to it.

    Args:
        picture: any that `nl.activations` takes; default a sample picture.
        kernel: rows of numbers; default [[0, 1, 0], [1, -4, 1], [0, 1, 0]], which answers 0 to one colour, and much
            where the picture changes.
        net: a Network, whose first convolution's filters are offered, their colours added up: that is what they do to
            a grey picture.

    Raises:
        LensError: `kernel` is not rows of finite numbers, or is larger than 15x15. PictureError: `picture` cannot be read
            as a picture.

    >>> lab = nl.KernelLab(nl.demo().samples["cat"], kernel=[[-1, 0, 1]])
    >>> lab.pixels.shape, lab.map.shape
    ((85, 128), (85, 126))
    >>> lab.stride = 2
    >>> lab.map.shape
    (43, 63)
    >>> lab.close()
    """

    kernel: Any = traitlets.Any(help="rows of numbers").tag(sync=True)
    stride = traitlets.Int(1, min=1, max=8, help="pixels from place to place").tag(sync=True)
    padding = traitlets.Int(0, min=0, max=8, help="zeros around the picture").tag(sync=True)
    rectified = traitlets.Bool(False, help="whether answers below 0 become 0").tag(sync=True)

    _kind = traitlets.Unicode("KernelLab").tag(sync=True)
    _picture: Any = traitlets.Dict().tag(sync=True)
    _diverging = traitlets.Bytes().tag(sync=True)
    _filters: Any = traitlets.List().tag(sync=True)

    def __init__(self, picture: Any = None, kernel: Any = None, net: Any = None, **traits: Any) -> None:
        network = None if net is None else as_network(net)
        if picture is None:
            own = {} if network is None else network.samples
            picture = next(iter((own or sample_pictures((3, _SIDE, _SIDE))).values()))
        self.pixels = _grey(picture)
        super().__init__(
            _esm=bundle(), kernel=LAPLACE if kernel is None else kernel, _diverging=images.colour_table("diverging").tobytes(),
            _filters=[] if network is None else _own_filters(network), _picture=_sent(self.pixels), **traits,
        )  # fmt: skip
        cells.close_earlier(self)

    @traitlets.validate("kernel")
    def _check_kernel(self, proposal: Any) -> list[list[float]]:
        try:
            found = np.asarray(proposal.value, np.float64)
        except (TypeError, ValueError):
            found = np.zeros(0)
        if found.ndim != 2 or not found.size or max(found.shape) > _MOST or not np.isfinite(found).all():
            raise LensError(
                f"A kernel is rows of finite numbers, at most {_MOST}x{_MOST}, such as [[0, 1, 0], [1, -4, 1], "
                f"[0, 1, 0]]; got {proposal.value!r}."
            )
        return [[float(x) for x in row] for row in found]

    @property
    def map(self) -> np.ndarray:
        """(h,w) float32 what the kernel answers to the picture; see `nl.correlated`."""
        return correlated(self.pixels, np.asarray(self.kernel), self.stride, self.padding, self.rectified)

    def set_picture(self, picture: Any) -> None:
        """Slides over another picture."""
        self.pixels = _grey(picture)
        self._picture = _sent(self.pixels)

    def close(self) -> None:
        """Frees the widget."""
        if self.comm is not None:
            self.layout.close()
        super().close()

    def __repr__(self) -> str:
        return f"<KernelLab of a {len(self.kernel)}x{len(self.kernel[0])} kernel>"


def _grey(picture: Any) -> np.ndarray:
    image = eight_bits(as_image(picture, (3, _SIDE, _SIDE))).convert("L")
    image.thumbnail((_SIDE, _SIDE))
    return np.asarray(image, np.float32) / 255


def _sent(pixels: np.ndarray) -> dict[str, Any]:
    return {"height": pixels.shape[0], "width": pixels.shape[1], "data": pixels.tobytes()}


def _own_filters(net: Any) -> list[dict[str, Any]]:
    for layer in net.layers:
        try:
            found = filters(net, layer.name)
        except LensError:
            continue
        if min(found.weights.shape[2:]) > 1:
            kernels = found.weights[:_FILTERS].sum(1)[:, :_MOST, :_MOST]
            return [{"name": f"{layer.name}:{i}", "kernel": k.tolist()} for i, k in enumerate(kernels)]
    return []
