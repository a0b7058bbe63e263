"""Contributions: what each unit of a layer adds to an answer, and where in the input it takes that from.

To first order, an answer is the sum over a layer's units of their activation times the gradient of the answer by it; before
a linear head that is exact but for the head's bias. Each unit's part can be followed to the input with the other units
held, and stands beside the same of a network whose weights are shuffled.

References: Achtibat et al., 2023, "From attribution maps to human-understandable explanations through concept relevance
propagation", which ranks units so and follows each; Simonyan et al., 2014, "Deep inside convolutional networks", section 3;
Smilkov et al., 2017, "SmoothGrad"; Adebayo et al., 2018, "Sanity checks for saliency maps".
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nn_lens.engine.evidence.attribution.found import has_channels
from nn_lens.engine.evidence.attribution.methods import with_gradients
from nn_lens.engine.evidence.attribution.targets import NO_GRADIENT, Subject, TargetOutput, subject_of
from nn_lens.engine.network import capture
from nn_lens.engine.network.arrays import as_numpy
from nn_lens.engine.network.network import Network, as_network
from nn_lens.engine.network.randomized import randomized
from nn_lens.engine.pictures.results import Result
from nn_lens.errors import LensError, NetworkError
from nn_lens.units import Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COPIES = 4  # noisy ones that a unit's map is the mean of
_NOISE = 0.1  # their noise's standard deviation, as a part of the input's range
_DRAWN = 6  # units of a figure


@dataclass(frozen=True, repr=False)
class Contributions(Result):
    """What the units of `layer` add to what a network answers to one picture at a target.

    `units`: those that add most, the first most, and `values` (k,) what they add, in units of the answer. `by_channel` (C,)
    has all, in the order of channels, and `total` is their sum; `score` is the answer, and `rest` the score less the total:
    biases behind the layer, what passes it by, and what is curved. `target` says what is explained. `activations` (C,*grid):
    the layer's maps. `control`: the same of the network with its weights shuffled; None where the model cannot be copied, or
    where none was asked for, as `note` says.
    """

    layer: str
    target: str
    picture: np.ndarray
    units: tuple[Unit, ...]
    values: np.ndarray
    by_channel: np.ndarray
    total: float
    score: float
    activations: np.ndarray
    control: Contributions | None
    note: str
    _origin: _Origin

    @property
    def rest(self) -> float:
        """The score less the total."""
        return self.score - self.total

    @cached_property
    def maps(self) -> np.ndarray:
        """(k,*) float32 where in the input each of `units` takes its part from: signed, of the input's shape without
        channels, (H,W) of pictures, (T,F) of sequences.

        The gradient of the unit's part by the input, times the input, with all other units held; the mean of 4 noisy
        copies. Made when first asked for, a backward pass of the layers up to this one for each unit.

        Raises:
            LensError: no gradient comes through to the input, it is not finite, or the weights have changed since.
        """
        shape = self._origin.subject.shape
        made = list(self.each_map(self.units))
        return np.stack(made) if made else np.zeros((0, *(shape[1:] if len(shape) > 2 else shape)), np.float32)

    def each_map(self, units: Iterable[Unit | str]) -> Iterator[np.ndarray]:
        """Of some units of the layer, one after the other, what `maps` has of them; errors as there."""
        net = self._origin.subject.net
        wanted = [net.unit(unit) for unit in units]
        for unit in wanted:
            if unit.layer != self.layer:
                raise LensError(f"These are contributions of {self.layer!r}, to which {unit} does not belong.")
        return self._origin.maps([unit.channel for unit in wanted])

    @property
    def similarity_to_control(self) -> float | None:
        """Rank correlation, -1 to 1, of what all units add with what they add where weights are shuffled."""
        if self.control is None:
            return None
        from scipy.stats import spearmanr

        a, b = self.by_channel, self.control.by_channel
        if len(a) < 2 or np.ptp(a) == 0 or np.ptp(b) == 0:
            return 0.0
        return float(spearmanr(a, b).statistic)

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        first = ", ".join(f"{u} {v:+.3g}" for u, v in zip(self.units[:3], self.values[:3], strict=True))
        count = len(self.by_channel)
        text = (
            f"The {count} unit{'s' * (count > 1)} of {self.layer} add {self.total:.3g} to the {self.score:.3g} of {self.target}, "
            f"first {first}; the rest is {self.rest:+.3g}"
        )
        if self.control is not None:
            text += (
                f"; with shuffled weights {self.control.units[0]} is first, similarity {self.similarity_to_control:.2f}"
            )
        return text + (f"; {self.note}" if self.note else "")

    def figure(self) -> Figure:
        """The picture, each of the first units' activations and part of the input, and the largest values beside those of the
        shuffled network.
        """
        from nn_lens.engine.evidence.contributions_figure import draw

        return draw(self, _DRAWN)


def contributions(
    net: Network,
    picture: Any,
    target: Any,
    layer: str,
    k: int | None = None,
    *,
    at: Any = None,
    control: bool = True,
    seed: int = 0,
) -> Contributions:
    """What the units of a layer add to an answer: their activation times the answer's gradient by it, summed over places.

    Before a linear head the values sum to the score less the bias. Where the layer is called more than once, its first
    call is looked at.

    Args:
        net: the network.
        picture: as for `Network.scores`.
        target: a class index, a label, a unit of a later layer, or a pair (this, that) of such: this rather than that.
        layer: a layer before the target.
        k: how many units, those that add most; None: all of the layer.
        at: of a class of a dense answer, the place (row, column) or the boolean mask (H,W) over which its scores are summed;
            None: where it wins.
        control: whether to make the same of the network with its weights shuffled.
        seed: of the noise that the maps are averaged over.

    Raises:
        LensError: no such class, a k below 1, a layer that is not before the target or lets no gradient through, or numbers
        that are not finite. UnknownLayer, UnknownUnit: the network does not have it. PictureError: no picture.
        NetworkError: the model fails.

    >>> net = nl.demo()
    >>> why = nl.contributions(net, net.samples["cat"], "tabby cat", "pool4", k=3)
    >>> why.values.shape, why.maps.shape, abs(why.score - why.total - why.rest) < 1e-9
    ((3,), (3, 64, 64), True)
    """
    net = as_network(net)
    net[layer].require_shown()
    if k is not None and (not isinstance(k, (int, np.integer)) or isinstance(k, bool) or k < 1):
        raise LensError(f"k is a whole number of units, 1 or more, or None for all, got {k!r}.")
    subject = subject_of(net, picture, target, at)
    note = ""
    shuffled = None
    if control:
        try:
            shuffled = _of(subject.to(randomized(net)), layer, k, None, "", seed)
        except NetworkError as error:
            note = f"no control: {error}"
    return _of(subject, layer, k, shuffled, note, seed)


def _of(
    subject: Subject, layer: str, k: int | None, control: Contributions | None, note: str, seed: int
) -> Contributions:
    layout = subject.net[layer].layout
    output, gradient = _output_and_gradient(subject, layer)
    numbers = layout.numbers(output)[0].cpu().double() * layout.numbers(gradient)[0].cpu().double()
    every = numbers.sum(1)
    if not every.isfinite().all():
        raise LensError(
            f"{int((~every.isfinite()).sum())} of {len(every)} units of {layer!r} add NaN or infinity to {subject.target.text}; "
            "the network has no finite gradient there."
        )
    order = np.argsort(-every.numpy(), kind="stable")[: len(every) if k is None else k]
    by_channel = as_numpy(every)
    return Contributions(
        layer, subject.target.text, subject.picture[0].numpy().copy(), tuple(Unit(layer, int(c)) for c in order),
        by_channel[order], by_channel, float(every.sum()), subject.value, as_numpy(layout.maps(output)[0]), control, note,
        _Origin(subject, layer, gradient, seed),
    )  # fmt: skip


def _output_and_gradient(subject: Subject, layer: str) -> tuple[torch.Tensor, torch.Tensor]:
    """What a layer answers, and the gradient of the target by it, on the CPU."""
    net, kept = subject.net, {}

    def keep(output: torch.Tensor) -> torch.Tensor:
        # A leaf, so that what is before the layer costs no backward pass and may let no gradient through.
        kept["leaf"] = output.detach().clone().requires_grad_()
        return kept["leaf"].clone()

    with with_gradients(net), capture.replace_outputs(net.runner, {layer: keep}):
        answer = TargetOutput(net, subject.target)(subject.picture.clone())
        if "leaf" not in kept:
            raise LensError(f"Layer {layer!r} is not before {subject.target.text}; {_earlier(subject)}.")
        if not answer.requires_grad:
            raise LensError(f"{net.name} from layer {layer!r} to {subject.target.text}: {NO_GRADIENT}.")
        (gradient,) = torch.autograd.grad(answer[0], kept["leaf"], allow_unused=True)
    if gradient is None:
        raise LensError(f"There is no way from layer {layer!r} to {subject.target.text}; {_earlier(subject)}.")
    return kept["leaf"].detach().cpu(), gradient.cpu()


def _earlier(subject: Subject) -> str:
    names = [layer.name for layer in subject.net.layers if layer.reason is None]
    if subject.target.layer:
        names = names[: names.index(subject.target.layer)]
    return f"layers before it are {', '.join(names[-3:])}" if names else "no layer is before it"


# ---- where in the input ----


@dataclass(frozen=True)
class _Origin:
    """What is to be known to follow a unit's part to the input: the picture, and the answer's gradient by the layer."""

    subject: Subject
    layer: str
    gradient: torch.Tensor
    seed: int
    versions: tuple[Any, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "versions", _versions(self.subject.net))

    def maps(self, channels: list[int]) -> Iterator[np.ndarray]:
        """Of each channel, the gradient of its part by the input, times the input; the mean of noisy copies."""
        subject, layout = self.subject, self.subject.net[self.layer].layout
        if _versions(subject.net) != self.versions:
            raise LensError("The weights have changed since these contributions were made; ask for them again.")
        held, copies = layout.numbers(self.gradient)[:1], self._copies()
        for channel in channels:
            total = torch.zeros_like(subject.picture)
            for x, numbers in copies:
                part = (numbers[:, channel] * held.to(numbers)[:, channel]).sum()
                (gradient,) = torch.autograd.grad(part, x, retain_graph=True, allow_unused=True)
                total += 0 if gradient is None else gradient.sum(0, keepdim=True)
            evidence = as_numpy((total / _COPIES * subject.picture)[0])
            if not np.isfinite(evidence).all():
                raise LensError(
                    f"The part of {self.layer}:{channel} has no finite gradient at some places of this {subject.net.kind}."
                )
            yield evidence.sum(0) if has_channels(subject.net.kind) else evidence

    def _copies(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Noisy copies of the picture in batches, and (N,C,n) what the layer answers to them, with its graph."""
        subject, net = self.subject, self.subject.net
        picture = subject.picture
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn(_COPIES, *picture.shape[1:], generator=generator)
        spread = _NOISE * float(picture.max() - picture.min())
        parts = []
        for some in (picture + spread * noise).split(net.batch_size()):
            x = some.clone().requires_grad_()
            kept: list[torch.Tensor] = []

            def keep(output: torch.Tensor, kept: list[torch.Tensor] = kept) -> torch.Tensor:
                kept.append(output)
                return output

            with with_gradients(net), capture.replace_outputs(net.runner, {self.layer: keep}):
                net.outputs(x.clone(), [self.layer])
                numbers = net[self.layer].layout.numbers(kept[0])[: len(x)]
            if not numbers.requires_grad:
                raise LensError(f"{net.name} from the input to layer {self.layer!r}: {NO_GRADIENT}.")
            parts.append((x, numbers))
        return parts


def _versions(net: Network) -> tuple[Any, ...]:
    """What changes when a weight does."""
    return tuple((id(p), p._version) for p in (*net.model.parameters(), *net.model.buffers()))
