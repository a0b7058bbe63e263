"""The real pictures that move a unit least to most, and how far its maximizing image may be believed."""

from __future__ import annotations

from nn_lens.widgets.panel import Panel


class ExamplesView(Panel):
    """The real pictures that move a unit least to most, and how far its maximizing image may be believed.

    Args:
        net: a Network, a model, or a Session that several panels share.
        unit: the Unit, or its text, to begin with.
        dataset: pictures, as `nl.dataset_examples` takes them; default the network's own.

    Raises:
        LensError: the model cannot be run, or has no such unit.
    """

    VIEWS = ("examples",)
