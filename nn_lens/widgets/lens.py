"""The panel of linked views: picture, filters, maximizing images, activation maps and evidence of one network."""

from __future__ import annotations

from nn_lens.widgets.panel import Panel
from nn_lens.widgets.table import TABLE


class Lens(Panel):
    """The panel of linked views: picture, filters, maximizing images, activation maps and evidence of one network.

    Args:
        net: a Network, a model, or a Session that several panels share.
        unit: the Unit, or its text, to begin with.
        picture: any that `nl.activations` takes; default a sample picture.
        dataset: pictures for the evidence, as `nl.dataset_examples` takes them; default the network's own.
        snapshot: whether the notebook keeps a small picture of the panel's last state, which is seen where there is no kernel.
        compare: a second network, model or session, shown side by side with the first under the same selection.
        atlas: an nl.Atlas of the network, whose finished images, examples and trust are there at once. As the first argument,
            `nl.Lens(atlas)`, it is shown without the network: what it does not hold says so.

    Raises:
        LensError: the model cannot be run, or has no such unit; `picture` cannot be read as a picture.

    >>> lens = nl.Lens(nl.demo(), unit="relu3:1")
    >>> lens.layer, lens.unit.channel, lens.picture.size
    ('relu3', 1, (451, 300))
    >>> lens.layer = "conv1"  # the panel follows
    >>> lens.code()
    'nl.Lens(net, unit="conv1:1", picture=net.samples["cat"])'
    >>> lens.close()
    """

    VIEWS = tuple(TABLE.views)
