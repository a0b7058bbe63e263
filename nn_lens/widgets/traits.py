"""Traits whose values belong to a network: a layer's name, a unit, a picture."""

from __future__ import annotations

from typing import Any

import traitlets

from nn_lens.engine.network.network import Network
from nn_lens.engine.pictures.picture import as_image
from nn_lens.errors import LensError
from nn_lens.units import Unit


class _NetworkTrait(traitlets.TraitType[Any, Any]):
    """A trait whose value is looked up in the network; what is refused is said in the panel too.

    A value may come from a linked widget, whose errors nobody sees: the object says them by its `_refuse`.
    """

    def validate(self, obj: Any, value: Any) -> Any:
        """What `look_up` finds."""
        try:
            return self.look_up(obj, value)
        except LensError as error:
            obj._refuse(error)
            if self.metadata.get("sync") and obj.comm is not None:
                obj.send_state(self.name)  # the browser has it as it wanted
            raise

    def look_up(self, obj: Any, value: Any) -> Any:
        """The value as the trait holds it; raises LensError. Each trait has its own."""


class LayerTrait(_NetworkTrait):
    """The name of a layer that can be shown.

    Raises:
        UnknownLayer: when set to another; names the nearest.
    """

    info_text = "the name of a layer"

    def look_up(self, obj: Any, value: Any) -> str:
        """The name, once the network has found it."""
        net: Network = obj.session.net
        layer = net[value]
        layer.layout  # noqa: B018  raises for a layer that cannot be shown
        return layer.name


class UnitTrait(_NetworkTrait):
    """A Unit of the network; its text is taken too.

    Raises:
        UnknownLayer, UnknownUnit: when set to one that the network does not have.
    """

    info_text = "a Unit or its text"

    def look_up(self, obj: Any, value: Any) -> Unit:
        """The Unit, once the network has found it."""
        return obj.session.net.unit(value)  # type: ignore[no-any-return]


class StepTrait(_NetworkTrait):
    """A step of the training that was recorded, or None for the model as it is.

    Raises:
        LensError: when set to a step that was not recorded; names the nearest.
    """

    info_text = "a recorded step"
    allow_none = True
    default_value = None

    def look_up(self, obj: Any, value: Any) -> int | None:
        """The step, once its checkpoint was found."""
        return None if value is None else obj.session.checkpoints.at(value).step


class PictureTrait(_NetworkTrait):
    """A picture: paths, bytes and arrays become PIL images; compared by identity, since comparing pixels is slow.

    What other networks read, such as signals, is an array of the network's input shape, or a .npy file of one.

    Raises:
        PictureError: when set to what cannot be read as a picture.
    """

    info_text = "a picture"
    allow_none = True

    def look_up(self, obj: Any, value: Any) -> Any:
        """A PIL image, or for networks whose input no file can hold, the value that was set."""
        if value is None or value is obj._trait_values.get(self.name):
            return value
        net: Network = obj.session.net
        return as_image(value, net.input_shape, net.kind, net.normalizes)

    def set(self, obj: Any, value: Any) -> None:
        """As traitlets does, but telling of a change whenever the object is another."""
        new = self._validate(obj, value)
        old = obj._trait_values.get(self.name)
        obj._trait_values[self.name] = new
        if new is not old:
            obj._notify_trait(self.name, old, new)
