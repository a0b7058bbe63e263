"""Attribution: the evidence in a picture for a class or a unit, by Captum's methods.

A map of evidence convinces whether or not it depends on what the network learned, so each can be put beside the same
map of a network whose weights are shuffled. Reference: Adebayo et al., 2018, "Sanity checks for saliency maps".
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from nn_lens.engine.evidence.attribution.found import Evidence
from nn_lens.engine.evidence.attribution.methods import METHODS, check_options, evidence
from nn_lens.engine.evidence.attribution.occlusion import baseline_of, drop_steps, windows
from nn_lens.engine.evidence.attribution.targets import Subject, subject_of
from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.network.randomized import randomized
from nn_lens.engine.pictures.figures import aspect, draw_input, draw_map, input_figure, kind_of_map
from nn_lens.engine.pictures.results import Result
from nn_lens.errors import LensError

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COLUMNS = 4  # of the figure of all methods
_FAR = 0.2  # completeness error from which on the evidence is not to be added up
_NAMES = {
    "picture": ("row", "column"), "signal": ("place",), "volume": ("slice", "row", "column"),
    "sequence": ("step", "feature"), "vector": ("number",),
}  # fmt: skip


@dataclass(frozen=True, repr=False)
class Attribution(Result):
    """The evidence in one picture, or whatever else the network reads, for one target.

    `map` float32, signed, of the input's shape without its channels, for the target where positive: (H,W) of pictures,
    (L,) of signals, (D,H,W) of volumes, (T,F) of sequences, (F,) of vectors. `channels` as the method gives them:
    of the input's shape, of Grad-CAM (1,h,w) on the grid of its `layer`.
    `target` says what the evidence is for, and `answer` what the network answers there.
    `completeness_error`, of integrated gradients, else None: how far the sum of the evidence is from the answer less
    the answer to the baseline, as a part of that. `control`: the map of the same network with its weights
    shuffled, and `similarity_to_control`, -1 to 1, the rank correlation of the magnitudes: evidence that does not
    depend on what was learned is near 1. Both None unless asked for. `progress` 0 to 1, below 1 while it grows.
    `note`: what else is to be known, such as a baseline that took the place of the usual one; "" where nothing.
    """

    method: str
    target: str
    picture: np.ndarray
    map: np.ndarray
    channels: np.ndarray
    answer: float
    layer: str | None = None
    completeness_error: float | None = None
    control: np.ndarray | None = None
    similarity_to_control: float | None = None
    progress: float = 1.0
    note: str = ""

    @property
    def strongest(self) -> tuple[int, ...]:
        """Where in the map the largest magnitude is: (row, column) of pictures, as many numbers as the map has sides."""
        return tuple(int(i) for i in np.unravel_index(int(np.abs(self.map).argmax()), self.map.shape))

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        at = f" at layer {self.layer}" if self.layer else ""
        text = f"Evidence for {self.target} by {_words(self.method)}{at}"
        if self.progress < 1:
            text += f", {self.progress:.0%} done"
        value = float(self.map[self.strongest])
        text += f", strongest {'for' if value > 0 else 'against'} it at {self._place()}" if value else ", none anywhere"
        if self.note:
            text += f"; {self.note}"
        if self.completeness_error is not None:
            text += f"; completeness error {self.completeness_error:.2%}"
            if self.completeness_error > _FAR:
                text += ", so its sum is not the answer: more n_steps= or another baseline= may help"
        if self.similarity_to_control is not None:
            text += f"; similarity to the shuffled network {self.similarity_to_control:.2f}"
        return text

    def figure(self) -> Figure:
        """Picture, map and control side by side; evidence for the target is orange, against it blue, none white."""
        panels = [(self.map, _title(self))]
        if self.control is not None:
            panels.append((self.control, f"weights shuffled\nsimilarity {self.similarity_to_control:.2f}"))
        return input_figure(self.picture, _input_title(self), panels)

    def _place(self) -> str:
        names = _NAMES[kind_of_map(self.picture, self.map)]
        if self.method in ("grad_cam", "occlusion"):  # of sequences they know steps only
            names = names[:1] if names == _NAMES["sequence"] else names
        return ", ".join(f"{name} {i}" for name, i in zip(names, self.strongest, strict=False))


@dataclass(frozen=True, repr=False)
class Attributions(Result):
    """All methods on one target: `attributions` by method, and for those that are not valid here, `reasons`."""

    attributions: dict[str, Attribution]
    reasons: dict[str, str]

    def __getitem__(self, method: str) -> Attribution:
        """What a method found.

        Raises:
            LensError: it is not valid for this network, or there is no such method; says why.
        """
        if method in self.reasons:
            raise LensError(self.reasons[method])
        if method not in self.attributions:
            check_options(method, {})
        return self.attributions[method]

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        first = next(iter(self.attributions.values()))
        left_out = f"; not valid for this network: {', '.join(map(_words, self.reasons))}" if self.reasons else ""
        return f"Evidence for {first.target} by {', '.join(map(_words, self.attributions))}{left_out}"

    def figure(self) -> Figure:
        """The picture and a panel per method; one that is not valid says why."""
        from matplotlib.figure import Figure

        first = next(iter(self.attributions.values()))
        methods = [m for m in METHODS if m in self.attributions or m in self.reasons]
        rows = math.ceil((1 + len(methods)) / _COLUMNS)
        side = aspect(first.picture, first.map)
        figure = Figure(figsize=(2.5 * _COLUMNS, rows * (2.4 * side + 0.5)))
        draw_input(figure.add_subplot(rows, _COLUMNS, 1), first.picture, first.map, _input_title(first))
        for i, method in enumerate(methods):
            axes = figure.add_subplot(rows, _COLUMNS, 2 + i)
            if method in self.attributions:
                one = self.attributions[method]
                draw_map(axes, one.picture, one.map, _title(one))
            else:
                why = textwrap.shorten(self.reasons[method], 200, placeholder=" ...")
                axes.text(0.5, 0.5, textwrap.fill(why, 32), ha="center", va="center", fontsize=6)
                axes.set_title(_words(method), fontsize=8)
                axes.set_axis_off()
        figure.tight_layout()
        return figure


def attribute(
    net: Network,
    picture: Any,
    target: Any,
    method: str = "integrated_gradients",
    *,
    at: Any = None,
    control: bool = False,
    **options: Any,
) -> Attribution:
    """The evidence in a picture for a target, as the (H,W) map of a method; of other kinds as `Attribution` says.

    Evidence refers to the picture in [0,1]; the network's own normalization is a part of what is explained.

    Args:
        net: the network.
        picture: as for `Network.scores`.
        target: a class index, a label, or a unit; of a channel, its strongest place, which the result names. A class of
            a dense answer, one score per class and place, is its sum over the places where it wins in this picture.
            A pair of classes, or of units of a layer, is the difference of their answers: what speaks for this rather
            than for that.
        at: of a class of a dense answer, the place (row, column) or the boolean mask (H,W) of places to sum over.
        method: see options.
        control: whether to make the map of the network with its weights shuffled, too.
        **options: of each method:
            "saliency": abs=True, the gradient's magnitude; False: the gradient.
            "integrated_gradients": baseline=None, n_steps=50. baseline: a number in [0,1] or a picture that stands for
                no evidence; None: mid grey, 0.5, of pictures and of volumes with values in [0,1], 0 of other kinds, and
                a blurred copy where the network has no answer to that, as `note` then says.
            "smooth_grad": nt_samples=5, stdevs=0.15, abs=False, seed=0: the mean gradient of noisy copies.
            "grad_cam": layer=None, the last before the target whose places have a gradient, of transformers the last
                whose tokens the class token reads. Not for vectors.
            "guided_backprop", "deconvolution": no options; only where each rectifier is an nn.ReLU module of its own.
            "occlusion": window=None, stride=None, baseline=None. window: a side or (height, width), of volumes
                (depth, height, width), of signals places, of sequences steps; None: an eighth of each side, of volumes
                a quarter, of signals and sequences a 32nd; stride: None: half of the window; baseline: as above. The
                map is the drop of the answer, its mean over the windows that cover a place.

    Raises:
        LensError: no such method, option, class or label; a class that wins nowhere, without at=; a method that is not
        valid for this network, such as a gradient where none comes through; numbers that are not finite.
        UnknownLayer, UnknownUnit: no such unit. PictureError: no picture. NetworkError: the model fails.

    >>> net = nl.demo()
    >>> nl.attribute(net, net.samples["coffee"], 0, "saliency").map.shape
    (64, 64)
    """
    check_options(method, options)
    return _attribution(subject_of(as_network(net), picture, target, at), method, control, options)


def attribute_all(net: Network, picture: Any, target: Any, *, at: Any = None, control: bool = False) -> Attributions:
    """The evidence by every method; those that are not valid for this network are given with their reason.

    Arguments and errors as for `attribute`.

    >>> net = nl.Network(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()), (4,))
    >>> every = nl.attribute_all(net, [0.1, 0.2, 0.3, 0.4], 1)
    >>> every["saliency"].map.shape, list(every.reasons)
    ((4,), ['grad_cam'])
    """
    subject = subject_of(as_network(net), picture, target, at)
    attributions: dict[str, Attribution] = {}
    reasons: dict[str, str] = {}
    for method in METHODS:
        try:
            attributions[method] = _attribution(subject, method, control, {})
        except LensError as error:
            reasons[method] = str(error)
    if not attributions:
        raise LensError(f"No method works on {subject.net.name}: {next(iter(reasons.values()))}")
    return Attributions(attributions, reasons)


def occlusion_steps(
    net: Network, picture: Any, target: Any, *, at: Any = None, window: Any = None, stride: Any = None,
    baseline: Any = None,
) -> Iterator[Attribution]:  # fmt: skip
    """What `attribute(..., "occlusion")` knows after each batch of windows, which come scattered over the picture.

    Arguments and errors as for `attribute`; `progress` says how far it is, and the last one is the whole. Closing the
    iterator stops within a batch.

    >>> net = nl.demo()
    >>> steps = list(nl.occlusion_steps(net, net.samples["coffee"], 0, window=32))
    >>> steps[-1].progress, steps[-1].map.shape
    (1.0, (64, 64))
    """
    subject = subject_of(as_network(net), picture, target, at)
    plan = windows(subject.net.kind, subject.shape, window, stride)
    parts = drop_steps(subject, plan, baseline_of(subject, baseline))

    def steps() -> Iterator[Attribution]:
        for map_, progress in parts:
            channels = np.broadcast_to(map_, subject.shape).copy()  # a window covers all channels
            yield _result(subject, "occlusion", Evidence(channels, map_), progress=progress)

    return steps()


def _attribution(subject: Subject, method: str, control: bool, options: dict[str, Any]) -> Attribution:
    own = evidence(subject, method, options)
    if not control:
        return _result(subject, method, own)
    if own.layer is not None:
        options = {**options, "layer": own.layer}
    other = evidence(subject.to(randomized(subject.net)), method, options).map
    return _result(subject, method, own, control=other, similarity_to_control=_similarity(own.map, other))


def _result(subject: Subject, method: str, own: Evidence, **more: Any) -> Attribution:
    return Attribution(
        method, subject.target.text, subject.picture[0].numpy().copy(), own.map, own.channels, subject.value,
        own.layer, own.completeness_error, note=own.note, **more,
    )  # fmt: skip


def _similarity(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman's rank correlation of the magnitudes; a constant map agrees with none."""
    from scipy.stats import spearmanr

    a, b = np.abs(a).ravel(), np.abs(b).ravel()
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return 0.0
    return float(spearmanr(a, b).statistic)


# ---- drawing ----


def _words(method: str) -> str:
    return "Grad-CAM" if method == "grad_cam" else method.replace("_", " ")


def _title(one: Attribution) -> str:
    if one.layer:
        return f"{_words(one.method)}\n{one.layer}"
    if one.completeness_error is not None:
        return f"{_words(one.method)}\ncompleteness error {one.completeness_error:.2%}"
    return _words(one.method)


def _input_title(one: Attribution) -> str:
    return f"{textwrap.shorten(one.target, 40, placeholder='...')}\nanswer {one.answer:.3g}"
