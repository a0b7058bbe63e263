"""What the Lens and the single views share: the selection, the picture, the training, and two networks side by side."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, ClassVar

import anywidget
import traitlets

from nn_lens.engine.pictures import images
from nn_lens.errors import LensError
from nn_lens.sessions.checkpoints import as_step
from nn_lens.units import Unit
from nn_lens.widgets import cells, messages
from nn_lens.widgets.atlases import session_of
from nn_lens.widgets.bundle import bundle
from nn_lens.widgets.compare import counterpart, counterparts, shown_layers
from nn_lens.widgets.conversation import Conversation
from nn_lens.widgets.geometry import Geometry
from nn_lens.widgets.outputs import Outputs
from nn_lens.widgets.pictures import Pictures
from nn_lens.widgets.questions import Look
from nn_lens.widgets.strings import STRINGS
from nn_lens.widgets.table import TABLE
from nn_lens.widgets.training import Following
from nn_lens.widgets.traits import LayerTrait, PictureTrait, StepTrait, UnitTrait
from nn_lens.widgets.turns import TakesTurns


class Panel(TakesTurns, Outputs, anywidget.AnyWidget):
    """Base of the widgets: one network, or two side by side, one selection, the views that `_views` names.

    Traits: `unit` (Unit), `layer` (text), `picture` (PIL image), `view` (text), `step` (int or None: the recorded step of
    the training that is shown, None for the model as it is), `slice` (0 to 1: which slice of volumes is seen, as a share
    of their depth); each can be read, set and linked.

    Args:
        net: a Network, a model, or a Session that several panels share.
        unit: the Unit, or its text, to begin with.
        picture: any that `nl.activations` takes; default a sample picture.
        dataset: pictures for the evidence, as `nl.dataset_examples` takes them; default the network's own.
        compare: a second network, model or session, shown side by side with the first under the same selection, and where
            all layers have the same names with one scale of colours.
        atlas: an nl.Atlas of the network, whose finished images, examples and trust are there at once. It may also be the
            first argument, without a network: what it does not hold says so.

    Raises:
        LensError: a model cannot be run, or has no such unit; `picture` cannot be read as a picture.
    """

    VIEWS: ClassVar[tuple[str, ...]] = ()

    compared: Panel | None = None
    """The panel of the network that is compared; None without one."""

    unit = UnitTrait(help="the selected unit; setting it selects its layer too")
    layer = LayerTrait(help="the selected layer; setting it keeps the channel number where it can")
    picture = PictureTrait(help="the picture whose activation maps are shown; any that nl.activations takes")
    view = traitlets.Unicode(help="which view is shown, or 'all'").tag(sync=True)
    step = StepTrait(help="the recorded step that is shown; None: the model as it is").tag(sync=True)

    slice = traitlets.Float(
        0.5,
        min=0,
        max=1,
        help="which slice of a volume is seen: 0 is the first, 1 the last; of no use for other inputs",
    ).tag(sync=True)

    selected = traitlets.Tuple(help="numbers, in the dataset, of the pictures that are brushed in the embedding").tag(
        sync=True
    )

    snapshot = traitlets.Bool(
        True, help="whether the notebook keeps a small picture of the panel, for when there is no kernel"
    ).tag(sync=True)

    _kind = traitlets.Unicode().tag(sync=True)
    _views = traitlets.List(traitlets.Unicode()).tag(sync=True)
    _network = traitlets.Dict().tag(sync=True)
    _colours = traitlets.Dict().tag(sync=True)
    _samples: Any = traitlets.List().tag(sync=True)
    _selection = traitlets.Dict().tag(sync=True, echo_update=False)
    _picture: Any = traitlets.Dict(allow_none=True).tag(sync=True)
    _weights = traitlets.Int().tag(sync=True)
    _steps: Any = traitlets.List(help="step and weights of each checkpoint").tag(sync=True)
    _compared = traitlets.Unicode(help="the model_id of the compared panel, '' without one").tag(sync=True)
    _counterparts: Any = traitlets.Dict(help="of a compared panel: its layer for each of the first's").tag(sync=True)

    _snapshot = traitlets.CBytes(help="the panel's last state as a JPEG, for when there is no kernel").tag(
        sync=True, echo_update=False
    )

    def __init__(
        self, net: Any, unit: Unit | str | None = None, picture: Any = None, dataset: Any = None, compare: Any = None,
        atlas: Any = None, **traits: Any,
    ) -> None:  # fmt: skip
        self._check(traits)
        self.session = session_of(net, dataset, atlas)
        network = self.session.net
        first = network.unit(unit) if unit is not None else Unit(shown_layers(network)[0], 0)
        self._pictures = Pictures(network, self.session.dataset)
        self._conversation = Conversation(self.session, self._look, self.send, self._picture_sent)
        self._following = Following()
        self._unwatch: Callable[[], None] = lambda: None
        if compare is not None:
            self.compared = self._beginning(compare, dataset, first, traits)
        if picture is None and not traits.get("_counterparts"):
            picture = next(iter(self._pictures.samples.values()), None)
        try:
            super().__init__(
                **self._described(),
                _selection=self._geometry.selection(first),
                **{"step": self.session.step, "snapshot": self.session.settings.snapshot, **traits},
            )
            self.session.join(self)
            self._following.chosen(self.step)
            self.unit = first
            self.picture = picture
        except BaseException:
            self.close()
            raise
        self.on_msg(lambda _, content, buffers: self._conversation.receive(content, buffers))
        if not self._counterparts:
            self._unwatch = cells.watch(self._weights_may_have_moved)
            cells.close_earlier(self)

    def _check(self, traits: Mapping[str, Any]) -> None:
        """Raises for a keyword that is no trait, before anything is made."""
        unknown = [name for name in traits if name not in self.traits()]
        if unknown:
            raise LensError(
                f"{type(self).__name__} has no {unknown[0]!r}; it takes unit, picture, dataset, compare, atlas, view "
                "and snapshot. "
                "What the network reads is said once: nl.Network(model, input_shape=...)."
            )

    def _beginning(self, compare: Any, dataset: Any, unit: Unit, traits: Mapping[str, Any]) -> Panel:
        """The panel of the network that is compared, at the counterpart of `unit`; the picture follows."""
        session, net = session_of(compare, dataset), self.session.net
        layers = counterparts(net, session.net)
        shared = {name: value for name, value in traits.items() if name != "step"}
        return type(self)(session, counterpart(unit, layers, net, session.net), _counterparts=layers, **shared)

    def _described(self) -> dict[str, Any]:
        """What the browser is told of the network and of the widget; it stays as it is."""
        return {
            "_esm": bundle(), "_kind": type(self).__name__, "_views": self._own_views(),
            "_network": {
                **messages.network(self.session.net), "crops": self._pictures.crops, "model": str(id(self.session.net.model)),
            },
            "_samples": self._pictures.thumbnails(),
            "_colours": {
                images.SEQUENTIAL: images.colour_table(self.session.settings.colour_map).tobytes(),
                images.DIVERGING: images.colour_table(images.DIVERGING).tobytes(),
            },
            "_steps": self._known_steps(), "_weights": self.session.version,
            "_compared": self.compared.model_id if self.compared else "",
        }  # fmt: skip

    def _own_views(self) -> list[str]:
        """The views that the network's kind of input has."""
        return [view for view in self.VIEWS if TABLE.views[view].reads in ("", self.session.net.kind)]

    # ---- the selection ----

    @traitlets.observe("unit")
    def _unit_changed(self, change: Any) -> None:
        unit: Unit = self.unit
        self.layer = unit.layer
        grid = self.session.net[unit.layer].layout.grid
        self.slice = self._geometry.share_for(unit, grid)
        wanted = self._geometry.selection(unit)
        if {name: self._selection.get(name) for name in wanted} != wanted:
            self._selection = wanted
        other = self.compared
        if other is not None:
            other.unit = counterpart(unit, other._counterparts, self.session.net, other.session.net)

    @traitlets.observe("layer")
    def _layer_changed(self, change: Any) -> None:
        if self.trait_has_value("unit") and self.unit.layer != change.new:
            most = self.session.net[change.new].channels - 1
            self.unit = Unit(change.new, min(self.unit.channel, most))

    @traitlets.observe("_selection")
    def _selection_changed(self, change: Any) -> None:
        new, net = change.new, self.session.net
        grid = net[new["layer"]].layout.grid
        self.unit = self._geometry.unit(new["layer"], new["channel"], new.get("row"), new.get("column"), grid)

    @property
    def _geometry(self) -> Geometry:
        return Geometry.of(self.session.net, self.slice)

    @traitlets.observe("slice")
    def _slice_changed(self, change: Any) -> None:
        """Another slice of a volume is seen: all that was told of the picture is asked again, under another key."""
        if self._geometry.depth is None or not self.trait_has_value("unit"):
            return
        if self.compared is not None:
            self.compared.slice = change.new
        grid = self.session.net[self.unit.layer].layout.grid
        if self._geometry.share_for(self.unit, grid) != self.slice:
            self.unit = Unit(self.unit.layer, self.unit.channel, self._geometry.slice_of(grid), *self.unit.place[1:])
        if self._picture:
            self._show(self.picture)

    @traitlets.validate("view")
    def _check_view(self, proposal: Any) -> str:
        value: str = proposal.value
        there = TABLE.names(self._own_views())
        if value not in ("", *there):
            raise LensError(f"There is no view {value!r}; there are {', '.join(there)}.")
        return value

    @traitlets.observe("view")
    def _view_changed(self, change: Any) -> None:
        if self.compared is not None:
            self.compared.view = change.new

    def _look(self) -> Look:
        layers = {layer["name"]: layer for layer in self._network["layers"]}
        picture, key = self.picture, (self._picture or {}).get("key")
        return Look(self.unit, layers, self._geometry, lambda: self.unit, picture, key)

    def _needed_now(self) -> list[str]:
        """The kinds of questions that the shown views need."""
        return [kind.name for kind in TABLE.needed(TABLE.shown(self.view, self._views))]

    # ---- the picture ----

    def _picture_sent(self, content: Mapping[str, Any], buffers: list[Any]) -> None:
        chosen = self._pictures.received(content, buffers)
        if chosen is not None:
            self.picture = self._pictures.choose(*chosen)

    def _show_too(self, name: str, picture: Any) -> None:
        """Shows the picture of the first network, if this one can read it; if not, its views say so."""
        try:
            self.picture = None if picture is None else self._pictures.choose(name, picture)
        except LensError:
            self.picture = None

    @traitlets.observe("picture")
    def _picture_changed(self, change: Any) -> None:
        image = change.new
        if self.compared is not None:
            self.compared._show_too(self._pictures.name(image), image)
        if image is None:
            self._picture = None
            return
        self._show(image)

    def _show(self, image: Any) -> None:
        shown = self._pictures.shown(image, self._geometry)
        if self._picture and "maps" in self._needed_now():
            self._conversation.expect("maps", replace(self._look(), key=shown["key"]))
        self._picture = shown

    def _refuse(self, error: LensError) -> None:
        self._conversation.refuse(error)

    # ---- the training ----

    @traitlets.observe("step")
    def _step_changed(self, change: Any) -> None:
        self.session.show(change.new)
        self._tell_moment()
        self._following.chosen(change.new)
        for panel in self.session.panels():
            panel.step = change.new
        if self.compared is not None:
            there = [c.step for c in self.compared.session.checkpoints]
            self.compared.step = change.new if change.new in there else None

    def record(self, step: int) -> None:
        """Keeps the weights as they are now, under a step of the training; for the training loop to call.

        A time slider goes through what was recorded: filters, maps, scores and all else as they were. A panel that shows
        the model as it is shows each step as it comes, twice a second at most. What is recorded again, and what came
        after it, is of an earlier training and goes. The weights are kept on disk while the session lives; where they would
        have more than 4 GB, or the disk has less, steps in between go, evenly. Where two networks are compared, both are
        recorded.

        Raises:
            LensError: `step` is not an integer, or the panel was closed. A model that cannot be copied, or a disk that is
                full, is a warning, for the training's sake.
        """
        if self.comm is None:
            raise LensError("The panel was closed; it records nothing any more.")
        panels = [panel for panel in (self.compared, self) if panel is not None]
        step = as_step(step)
        for panel in panels:
            try:
                panel.session.record(step)
            except LensError as error:
                panel._refuse(error)
                warnings.warn(f"A step was not recorded. {error}", stacklevel=2)
        if self._following.due():
            for panel in panels:
                panel._show_recorded()

    def _show_recorded(self) -> None:
        """Tells of the steps that there are; the newest is shown if no other was chosen."""
        steps = [c.step for c in self.session.checkpoints]
        for panel in self.session.panels():
            panel._steps = self._known_steps()
        following = self._following
        with following.moving():
            if following.newest:
                self.step = steps[-1] if steps else None
            elif self.step not in steps:
                self.step = None
        self._weights = self.session.version
        if following.newest and steps:
            for what in self._needed_now():
                if TABLE.kinds[what].ahead:
                    self._conversation.expect(what)

    def _known_steps(self) -> list[dict[str, int]]:
        return [{"step": c.step, "weights": c.version} for c in self.session.checkpoints]

    def _tell_moment(self) -> None:
        """Tells the browser which steps there are, and of which weights its answers have to be."""
        self._steps = self._known_steps()
        self._weights = self.session.version

    def _weights_may_have_moved(self) -> None:
        """Tells the browser to ask anew if a cell has changed the model, and of all steps that the cell has recorded."""
        if self.compared is not None:
            self.compared._weights_may_have_moved()
        self._steps = self._known_steps()
        if self._following.newest:
            self.step = None
        self._weights = self.session.version

    # ---- its end ----

    def close(self) -> None:
        """Stops the work and frees the widget; the session ends with its last view."""
        if self.comm is not None:
            self._conversation.close()
            self._unwatch()
            self.layout.close()
            # A notebook keeps what its cells gave: without this, the networks of all runs of a cell would live on.
            self._trait_values.pop("picture", None)
            self.session.leave(self)
            del self.session, self._pictures
        if self.compared is not None:
            self.compared.close()
            self.compared = None
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """As ipywidgets gives it; what shows no widgets gets a text that says what to do."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if data:
            data["text/plain"] = f"{self!r}: {STRINGS['text']}"
        return bundle

    def __repr__(self) -> str:
        of = self.session.net.name if hasattr(self, "session") else "a network, closed,"
        return f"<{type(self).__name__} of {of} at {self.unit}>"
