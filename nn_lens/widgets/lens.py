"""The panel of linked views: picture, filters, maximizing images, activation maps and evidence of one network."""

from __future__ import annotations

from nn_lens.widgets.panel import Panel


class Lens(Panel):
    """The panel of linked views: picture, filters, maximizing images, activation maps and evidence of one network.

    Args:
        net: a Network, a model, or a Session that several panels share.
        unit: the Unit, or its text, to begin with.
        picture: any that `nl.activations` takes; default a sample picture.
        dataset: pictures for the evidence, as `nl.dataset_examples` takes them; default the network's own.
        compare: a second network, model or session, shown beside the first with the same selection.

    Raises:
        LensError: the model cannot be run, or has no such unit; the picture is none.
    """

    VIEWS = (
        "picture",
        "unit",
        "filters",
        "maximization",
        "activations",
        "here",
        "arithmetic",
        "blocks",
        "kernel",
        "examples",
        "attribution",
        "ablation",
        "incoming",
        "directions",
        "embedding",
    )
