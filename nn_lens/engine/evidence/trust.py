"""How far a maximizing image may be believed: numbers, each with what it says in words.

A maximizing image alone misleads. Each function here asks one question of it, and answers with a `Badge`, a number
that explains itself.
"""

from __future__ import annotations

import html
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from nn_lens.engine.evidence.disturbances import disturbances
from nn_lens.engine.evidence.examples import DatasetExamples, dataset_examples
from nn_lens.engine.maximizing.figure import inputs_figure
from nn_lens.engine.maximizing.maximize import maximize
from nn_lens.engine.maximizing.maximized import Maximized
from nn_lens.engine.maximizing.plan import central_neurons
from nn_lens.engine.maximizing.restarts import Restarts, restarts
from nn_lens.engine.network.arrays import as_numpy, correlations
from nn_lens.engine.network.network import Network, as_network, receptive_field
from nn_lens.engine.network.randomized import randomized as randomized_copy
from nn_lens.engine.pictures.images import rgb
from nn_lens.engine.pictures.results import Result, tile_figure
from nn_lens.errors import LensError
from nn_lens.units import Unit

if TYPE_CHECKING:
    from matplotlib.figure import Figure

STARTS = 9  # of `agreement`
_NATURAL = 8  # pictures of each kind that a path is compared with
# Where natural pictures resemble one another by no more than this above others, a quotient of the two would be noise.
_APART = 0.05
_RANGE = (-1, 1.5)  # of a layer's similarity, so that one layer does not rule the mean over layers
_RARELY, _ALWAYS = 0.01, 0.99


class Badge(float):
    """A number with its `name`, a `text` that says what it means here, and `warning`: whether to be careful."""

    def __new__(cls, value: float, *_words: Any) -> Badge:  # noqa: D102
        return super().__new__(cls, value)

    def __init__(self, _value: float, name: str, text: str, warning: bool) -> None:
        self.name, self.text, self.warning = name, text, warning

    def __repr__(self) -> str:
        return f"<{self.name} {float(self):.3g}{', careful' if self.warning else ''}: {self.text}>"

    def _repr_html_(self) -> str:
        sign = "&#9888; " if self.warning else ""
        return f"<p>{sign}<b>{html.escape(self.name)} {float(self):.3g}</b>: {html.escape(self.text)}</p>"

    def __reduce__(self) -> Any:
        return Badge, (float(self), self.name, self.text, self.warning)


def percentile(
    net: Network, unit: Unit | str, *, examples: DatasetExamples | None = None, maximized: Maximized | None = None
) -> Badge:
    """Percent of real pictures that move the unit less than its maximizing image does; 0 to 100.

    examples: of a pass that looked at the unit; None: over the network's own pictures. maximized: the unit's
    maximizing image, None: made here.

    >>> net = nl.demo()
    >>> examples = nl.dataset_examples(net, "relu2:3", net.samples, progress=False)
    >>> float(nl.trust.percentile(net, "relu2:3", examples=examples, maximized=nl.maximize(net, "relu2:3", steps=8)))
    100.0
    """
    net = as_network(net)
    unit = net.unit(unit)
    known = _examples(net, unit, examples)
    image = maximized or maximize(net, unit)
    reached = float(image.activations[0])
    value = known.percentile(unit, reached)
    middle, largest = (float(x) for x in known.quantiles(unit, (0.5, 1)))
    share = "all" if value >= 100 else "none" if value <= 0 else f"{value:.3g} %"
    text = (
        f"The maximizing image drives {unit} to {reached:.3g}, above {share} of {known.count:,} pictures "
        f"(half of them reach {middle:.3g}, the strongest {largest:.3g}). "
    )
    if value >= 100:
        text += (
            "It shows the peak of what the unit answers to, an exaggeration: the mode of a distribution does not look like a "
            "typical sample of it."
        )
    elif value >= 99:
        text += "It is as strong as the strongest real pictures, and none of them."
    else:
        text += "Real pictures do better here: believe them more than the image."
    return Badge(value, "percentile", text, value < 99)


@dataclass(frozen=True, repr=False)
class NaturalPath(Result):
    """How alike the maximizing image and natural pictures travel to a unit, layer by layer.

    `similarity` (layers,): rank correlation of the layer's mean answers to the image with those to the pictures that
    move the unit most, where 1 is what those pictures have among themselves, and 0 what they have with others.
    """

    unit: Unit
    layers: tuple[str, ...]
    similarity: np.ndarray
    badge: Badge

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        return f"Natural-path similarity of {self.unit} over {len(self.layers)} layers, mean {float(self.badge):.2f}"

    def figure(self) -> Figure:
        """The similarity from layer to layer."""
        from matplotlib.figure import Figure

        figure = Figure(figsize=(max(4, 0.32 * len(self.layers)), 2.6))
        axes = figure.add_subplot()
        axes.plot(range(len(self.layers)), self.similarity, marker="o")
        axes.axhline(1, linestyle=":", linewidth=1)
        axes.axhline(0, linestyle=":", linewidth=1)
        axes.set_xticks(range(len(self.layers)), self.layers, rotation=90, fontsize=6)
        axes.set_ylabel("1: as natural pictures", fontsize=7)
        axes.set_title(str(self.unit), fontsize=8)
        figure.tight_layout()
        return figure


def natural_path(
    net: Network, unit: Unit | str, *, examples: DatasetExamples | None = None, maximized: Maximized | None = None
) -> NaturalPath:
    """Whether the maximizing image takes the way through the network that natural pictures take.

    A picture that reaches the unit through features that no natural picture uses says little about what the
    unit does with those. Reference: Geirhos et al., 2023, "Don't trust your eyes: on the (un)reliability of
    feature visualizations", section 5, here with the mean over places of each channel.

    Raises:
        LensError: a network of vectors, which have no places, fewer than 2 pictures that move the unit, or no
        layer of more than 3 channels.

    >>> net = nl.demo()
    >>> examples = nl.dataset_examples(net, "relu2:3", net.samples, progress=False)
    >>> path = nl.trust.natural_path(net, "relu2:3", examples=examples, maximized=nl.maximize(net, "relu2:3", steps=8))
    >>> path.layers, path.similarity.shape
    (('conv1', 'norm1', 'relu1', 'conv2', 'norm2', 'relu2'), (6,))
    """
    from scipy.stats import rankdata

    net = as_network(net)
    unit = net.unit(unit)
    if net.kind == "vector":
        raise LensError(
            "natural_path compares pictures, or parts of other inputs, by what layers answer on the way to a unit on "
            "average over places; this network reads vectors, which have none."
        )
    known = _examples(net, unit, examples, _NATURAL)
    image = torch.from_numpy((maximized or maximize(net, unit)).images[0])
    natural = [x for x in known.top[unit] if x.activation > 0][:_NATURAL]
    others = known.spectrum(unit, _NATURAL + 2)[1:-1]
    if len(natural) < 2 or len(others) < 2:
        raise LensError(f"Fewer than 2 pictures move {unit} above 0: there is no natural path to compare with.")
    field = receptive_field(net, unit.layer)
    cuts = [field.cut(known.picture(x), x.place, image.shape) for x in (*natural, *others)]
    layers = _up_to(net, unit.layer)
    if not layers:
        raise LensError(f"No layer up to {unit.layer!r} has more than 3 channels, whose ranks could be compared.")
    with net.evaluation(), torch.no_grad():
        maps = net.outputs(torch.stack([image, *cuts]).float(), layers)
    similarity = []
    for name in layers:
        ranks = np.stack([rankdata(code) for code in as_numpy(maps[name].float().flatten(2).mean(2))])
        between = correlations(ranks)
        a, b = slice(1, 1 + len(natural)), slice(1 + len(natural), None)
        own = between[a, a][np.triu_indices(len(natural), 1)].mean()
        rest = between[a, b].mean()
        similarity.append((between[0, a].mean() - rest) / max(own - rest, _APART))
    values = np.clip(similarity, *_RANGE).astype(np.float32)
    return NaturalPath(unit, tuple(layers), values, _path_badge(unit, layers, values))


def _path_badge(unit: Unit, layers: Sequence[str], values: np.ndarray) -> Badge:
    value, lowest = float(values.mean()), int(values.argmin())
    text = (
        f"On its way to {unit} the maximizing image resembles the pictures that move the unit most by {value:.2f} on "
        f"average, where 1 is as they resemble one another and 0 as they resemble others; least in {layers[lowest]} "
        f"({values[lowest]:.2f})."
    )
    if value < 0.5:
        text += " It takes a way of its own: what it shows need not be what the unit sees in pictures."
    return Badge(value, "natural path", text, value < 0.5)


@dataclass(frozen=True, repr=False)
class RandomizedControl(Result):
    """The maximizing image beside that of the same unit of a network whose weights were shuffled.

    `images` (2,C,H,W): of the network, of the shuffled one; `kind` says what they are. `badge`: what the second drives the real unit to, as a
    share of what the first does.
    """

    unit: Unit
    images: np.ndarray
    badge: Badge
    kind: str = "picture"

    @property
    def alt_text(self) -> str:
        """What the figure shows."""
        return f"Maximizing image of {self.unit} beside that of a shuffled network, which drives it {float(self.badge):.2f} as far"

    def figure(self) -> Figure:
        """Both pictures."""
        titles = [str(self.unit), "shuffled weights"]
        if self.kind != "picture":
            return inputs_figure(self.kind, self.images, titles)
        return tile_figure(rgb(self.images), titles, side=2.0)


def randomized_control(
    net: Network, unit: Unit | str, *, maximized: Maximized | None = None, seed: int = 0
) -> RandomizedControl:
    """Whether the picture says anything about what was learned: the same picture-making on shuffled weights.

    Reference: Adebayo et al., 2018, "Sanity checks for saliency maps".

    >>> net = nl.Network(torch.nn.Sequential(torch.nn.Linear(4, 3), torch.nn.ReLU()), (4,))
    >>> nl.trust.randomized_control(net, "1:2").images.shape
    (2, 4)
    """
    net = as_network(net)
    unit = net.unit(unit)
    image = maximized or maximize(net, unit)
    twin = randomized_copy(net, seed)
    control = maximize(twin, unit)
    reached = float(_answers(net, unit, torch.from_numpy(control.images))[0])
    own = float(image.activations[0])
    value = reached / own if own > 0 else float("nan")
    text = (
        f"A picture made in the same way on shuffled weights drives {unit} to {reached:.3g}, {value:.0%} of what its own "
        f"picture does. The less, the more of the picture was learned and not drawn by the method."
    )
    images = np.concatenate([image.images[:1], control.images])
    return RandomizedControl(unit, images, Badge(value, "randomized", text, not value < 0.5), net.kind)


def transfer(net: Network, unit: Unit | str, *, maximized: Maximized | None = None, seed: int = 0) -> Badge:
    """What is left of the activation when the picture is changed in ways that it was not made for; 1 is all.

    The mean over noise, JPEG compression, less contrast, brighter and darker, a blur twice as wide as that of the loop,
    and a shift; of signals, volumes and sequences without JPEG and brightness.

    Raises:
        LensError: a network of vectors, whose numbers have no neighbours to blur or shift them into.

    >>> net = nl.demo()
    >>> nl.trust.transfer(net, "relu2:3", maximized=nl.maximize(net, "relu2:3", steps=8)) > 0.5
    True
    """
    net = as_network(net)
    unit = net.unit(unit)
    if net.kind == "vector":
        raise LensError(
            "transfer changes pictures and other inputs with places, such as by a blur and a shift; this network reads "
            "vectors, whose numbers have no neighbours."
        )
    image = maximized or maximize(net, unit)
    x = torch.from_numpy(image.images[0])
    changed = {name: change(x, torch.Generator().manual_seed(seed)) for name, change in disturbances(net.kind).items()}
    answers = _answers(net, unit, torch.stack([x, *changed.values()]))
    shares = answers[1:] / answers[0] if answers[0] > 0 else np.full(len(changed), np.nan)
    value = float(shares.mean())
    each = ", ".join(f"{name} {share:.0%}" for name, share in zip(changed, shares, strict=True))
    text = f"Changed in ways that it was not made for, the picture keeps {value:.0%} of its activation: {each}."
    if not value >= 0.5:
        text += " It relies on details that these changes destroy: do not read much into them."
    return Badge(value, "transfer", text, not value >= 0.5)


def liveliness(net: Network, unit: Unit | str, *, examples: DatasetExamples | None = None) -> Badge:
    """Share of the pictures, 0 to 1, that move the unit above 0: dead, rarely, often or always active.

    >>> net = nl.demo()
    >>> examples = nl.dataset_examples(net, "relu2:3", net.samples, progress=False)
    >>> float(nl.trust.liveliness(net, "relu2:3", examples=examples))
    1.0
    """
    net = as_network(net)
    unit = net.unit(unit)
    known = _examples(net, unit, examples)
    value = known.active(unit)
    of = f"of {known.count} pictures"
    if value == 0:
        text = (
            f"{unit} is dead: no picture {of} moves it above 0. Its maximizing image shows what would, not what does."
        )
    elif value < _RARELY:
        text = f"{unit} is rarely active: {value:.2%} {of} move it above 0. Look at those before the maximizing image."
    elif value > _ALWAYS:
        text = f"{unit} is always active: {value:.2%} {of} move it above 0. Compare how strongly, not whether."
    else:
        text = f"{unit} is active for {value:.1%} {of}."
    return Badge(value, "liveliness", text, not _RARELY <= value <= _ALWAYS)


def agreement(net: Network, unit: Unit | str, *, starts: Restarts | None = None) -> Badge:
    """How far random starts agree on what the unit looks for, 0 to 1; see `nl.restarts`.

    starts: of `nl.restarts`; None: 9 are made here. Reference: Erhan et al., 2009, section 4.

    >>> net = nl.demo()
    >>> 0 <= nl.trust.agreement(net, "relu1:3", starts=nl.restarts(net, "relu1:3", 2)) <= 1
    True
    """
    net = as_network(net)
    unit = net.unit(unit)
    made = starts or restarts(net, unit, STARTS)
    value = made.agreement
    text = (
        f"{len(made.images)} random starts lead to pictures that the layer answers to alike by {value:.2f}, where 1 is in "
        f"the same mixture of features; their pixels agree by {made.picture_agreement:.2f}, and their activations "
        f"spread by {made.spread:.0%}."
    )
    if value < 0.5:
        text += " One picture is not all that drives this unit: look at several."
    return Badge(value, "agreement", text, value < 0.5)


# ---- helpers ----


def _examples(net: Network, unit: Unit, examples: DatasetExamples | None, k: int = 9) -> DatasetExamples:
    if examples is None:
        return dataset_examples(net, unit, k=k, progress=False)
    examples.require(unit)
    return examples


def _up_to(net: Network, layer: str) -> list[str]:
    """Layers with maps from the first to `layer`, at most 24 of them, evenly."""
    names = [x.name for x in net.layers if x.reason is None and x.channels and x.channels > 3]
    names = names[: names.index(layer) + 1] if layer in names else names
    picks = np.unique(np.linspace(0, len(names) - 1, min(24, len(names))).round().astype(int))
    return [names[i] for i in picks]


def _answers(net: Network, unit: Unit, images: torch.Tensor) -> np.ndarray:
    """(N,) what a unit answers to images; of a channel, its central neuron, which images are made for."""
    place = unit.place or central_neurons(net, [unit.layer], tuple(images.shape[1:])).get(unit.layer)
    with net.evaluation(), torch.no_grad():
        maps = net.outputs(images, [unit.layer])[unit.layer][:, unit.channel]
    there: Any = (slice(None), *(place or (0,) * (maps.ndim - 1)))
    return as_numpy(maps[there])
