"""Views of the panel, each on its own."""

from __future__ import annotations

from nn_lens.widgets.panel import Panel


class FiltersView(Panel):
    """The filters of a network's layers.

    Args:
        net: a Network, a model, or a Session that several panels share.
        unit: the Unit, or its text, to begin with.
        picture: any that `nl.activations` takes; default a sample picture.

    Raises:
        LensError: the model cannot be run, or has no such unit; `picture` cannot be read as a picture.

    >>> view = nl.FiltersView(nl.demo())
    >>> view
    <FiltersView of Sequential at conv1:0>
    >>> view.close()
    """

    VIEWS = ("filters",)


class MaximizationView(Panel):
    """The picture that each unit of a layer wants most, shown while it is made.

    Args:
        net: a Network, a model, or a Session that several panels share.
        unit: the Unit, or its text, to begin with.
        picture: any that `nl.activations` takes; default a sample picture.

    Raises:
        LensError: the model cannot be run, or has no such unit; `picture` cannot be read as a picture.

    >>> view = nl.MaximizationView(nl.demo(), unit="relu2:5")
    >>> view.layer
    'relu2'
    >>> view.close()
    """

    VIEWS = ("maximization",)


class ActivationsView(Panel):
    """The activation maps of a picture.

    Args:
        net: a Network, a model, or a Session that several panels share.
        unit: the Unit, or its text, to begin with.
        picture: any that `nl.activations` takes; default a sample picture.

    Raises:
        LensError: the model cannot be run, or has no such unit; `picture` cannot be read as a picture.

    >>> net = nl.demo()
    >>> view = nl.ActivationsView(net, picture=net.samples["cat"])
    >>> view.picture is net.samples["cat"]
    True
    >>> view.close()
    """

    VIEWS = ("picture", "activations")


class ExamplesView(Panel):
    """The real pictures that move a unit least to most, and how far its maximizing image may be believed.

    Args:
        net: a Network, a model, or a Session that several panels share.
        unit: the Unit, or its text, to begin with.
        dataset: pictures, as `nl.dataset_examples` takes them; default the network's own.

    Raises:
        LensError: the model cannot be run, or has no such unit.

    >>> view = nl.ExamplesView(nl.demo(), unit="relu3:1")
    >>> view.unit
    Unit('relu3', 1)
    >>> view.close()
    """

    VIEWS = ("examples",)


class AttributionView(Panel):
    """What in a picture speaks for an answer, by every method, and what the answer would be without a unit.

    Args:
        net: a Network, a model, or a Session that several panels share.
        unit: the Unit, or its text, to begin with.
        picture: any that `nl.activations` takes; default a sample picture.

    Raises:
        LensError: the model cannot be run, or has no such unit; `picture` cannot be read as a picture.

    >>> view = nl.AttributionView(nl.demo(), unit="relu3:1")
    >>> view.code()
    'nl.AttributionView(net, unit="relu3:1", picture=net.samples["cat"])'
    >>> view.close()
    """

    VIEWS = ("picture", "attribution", "ablation")
