"""The activation maps of a picture."""

from __future__ import annotations

from nn_lens.widgets.panel import Panel


class ActivationsView(Panel):
    """The activation maps of a picture.

    Args:
        net: a Network, a model, or a Session that several panels share.
        unit: the Unit, or its text, to begin with.
        picture: any that `nl.activations` takes; default a sample picture.

    Raises:
        LensError: the model cannot be run, or has no such unit; the picture is none.
    """

    VIEWS = (
        "picture",
        "activations",
    )
