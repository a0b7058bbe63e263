"""What in a picture speaks for an answer, by every method, and what the answer would be without a unit."""

from __future__ import annotations

from nn_lens.widgets.panel import Panel


class AttributionView(Panel):
    """What in a picture speaks for an answer, by every method, and what the answer would be without a unit.

    Args:
        net: a Network, a model, or a Session that several panels share.
        unit: the Unit, or its text, to begin with.
        picture: any that `nl.activations` takes; default a sample picture.

    Raises:
        LensError: the model cannot be run, or has no such unit; the picture is none.
    """

    VIEWS = ("picture", "attribution", "ablation")
