"""What the Lens and the single views share: the selection, the picture, the training, and two networks side by side."""

from __future__ import annotations

import itertools
import os
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import traitlets

from nn_lens.engine.pictures import images
from nn_lens.engine.pictures.picture import display_picture
from nn_lens.engine.pictures.samples import sample_pictures
from nn_lens.errors import LensError
from nn_lens.sessions import prints
from nn_lens.sessions.checkpoints import as_step
from nn_lens.sessions.session import Session
from nn_lens.units import Unit
from nn_lens.widgets import cells, export, messages
from nn_lens.widgets.bundle import bundle
from nn_lens.widgets.compare import beside, counterparts, shown_layers
from nn_lens.widgets.conversation import Conversation
from nn_lens.widgets.traits import LayerTrait, PictureTrait, StepTrait, UnitTrait

EVIDENCE = frozenset(("examples", "attribution", "ablation", "incoming", "directions", "embedding"))
"""The views that "evidence" shows together."""
MAPPED = frozenset(("picture", "unit", "activations", "here"))
"""The views that need the activation maps of the selected layer."""
PICTURE_SIDE = 448  # longest side in pixels of the picture sent to be shown
OFTEN = 0.5  # seconds between recorded steps that are shown: while a cell runs, the browser cannot say that it is busy

_picture_numbers = itertools.count(1)


class Panel(Conversation):
    """Base of the widgets: one network, or two side by side, one selection, the views that `_views` names.

    Traits: `unit` (Unit), `layer` (text), `picture` (PIL image), `view` (text), `step` (int or None: the recorded step of
    the training that is shown, None for the model as it is); each can be read, set and linked.

    Args:
        net: a Network, a model, or a Session that several panels share.
        unit: the Unit, or its text, to begin with.
        picture: any that `nl.activations` takes; default a sample picture.
        dataset: pictures for the evidence, as `nl.dataset_examples` takes them; default the network's own.
        compare: a second network, model or session, shown beside the first with the same selection, and where
            all layers have the same names with one scale of colours.

    Raises:
        LensError: a model cannot be run, or has no such unit; the picture is none.
    """

    VIEWS: ClassVar[tuple[str, ...]] = ()

    compared: Panel | None = None
    """The panel of the network that is compared; None without one."""

    unit = UnitTrait(help="the selected unit; setting it selects its layer too")
    layer = LayerTrait(help="the selected layer; setting it keeps the channel number where it can")
    picture = PictureTrait(help="the picture whose activation maps are shown; any that nl.activations takes")
    view = traitlets.Unicode(help="which view is shown, or 'all'").tag(sync=True)
    step = StepTrait(help="the recorded step that is shown; None: the model as it is").tag(sync=True)

    selected = traitlets.Tuple(help="numbers, in the dataset, of the pictures that are brushed in the embedding").tag(
        sync=True
    )

    _kind = traitlets.Unicode().tag(sync=True)
    _views = traitlets.List(traitlets.Unicode()).tag(sync=True)
    _network = traitlets.Dict().tag(sync=True)
    _colours = traitlets.Dict().tag(sync=True)
    _samples: Any = traitlets.List().tag(sync=True)
    _selection = traitlets.Dict().tag(sync=True, echo_update=False)
    _picture: Any = traitlets.Dict(allow_none=True).tag(sync=True)
    _weights = traitlets.Int().tag(sync=True)
    _steps: Any = traitlets.List(help="step and weights of each checkpoint").tag(sync=True)
    _beside = traitlets.Unicode(help="the model_id of the panel that is drawn beside this one").tag(sync=True)
    _follows: Any = traitlets.Dict(help="for each layer of the panel that this one is beside, its own").tag(sync=True)

    _snapshot = traitlets.CBytes(help="the panel's last state as a JPEG, for when there is no kernel").tag(
        sync=True, echo_update=False
    )

    def __init__(
        self, net: Any, unit: Unit | str | None = None, picture: Any = None, dataset: Any = None, compare: Any = None,
        **traits: Any,
    ) -> None:  # fmt: skip
        unknown = [name for name in traits if name not in self.traits()]
        if unknown:
            raise LensError(
                f"{type(self).__name__} has no {unknown[0]!r}; it takes unit, picture, dataset, compare and view. "
                "What the network reads is said once: nl.Network(model, input_shape=...)."
            )
        self.session = net if isinstance(net, Session) else Session(net, dataset)
        network = self.session.net
        self._begin()
        self._told_at = float("-inf")  # when a step was last shown as it was recorded
        self._unwatch: Callable[[], None] = lambda: None
        samples = network.samples or sample_pictures(network.input_shape)
        first = network.unit(unit) if unit is not None else Unit(shown_layers(network)[0], 0)
        self._sources = dict(samples)
        self._encoded: dict[str, bytes] = {}
        if compare is not None:
            other = compare if isinstance(compare, Session) else Session(compare, dataset)
            pairs = counterparts(network, other.net)
            shared = {name: value for name, value in traits.items() if name != "step"}
            self.compared = type(self)(other, unit=beside(first, pairs, network, other.net), _follows=pairs, **shared)
        if picture is None and samples and not traits.get("_follows"):
            name, picture = next(iter(samples.items()))
            self._name_next = name
        try:
            super().__init__(
                _esm=bundle(), _kind=type(self).__name__, _views=list(self.VIEWS), _network=messages.network(network),
                _colours={name: images.colour_table(name).tobytes() for name in (images.SEQUENTIAL, images.DIVERGING)},
                _samples=[messages.thumbnail(name, image) for name, image in samples.items()], _steps=self._known_steps(),
                _beside=self.compared.model_id if self.compared else "", _weights=self.session.version,
                **{"step": self.session.step, **traits},
            )  # fmt: skip
            self.session.join(self)
            self._keeps_up = self.step is None  # whether recorded steps are shown as they come
            self.unit = first
            self.picture = picture
        except BaseException:
            self.close()
            raise
        self.on_msg(self._receive)
        if not self._follows:
            self._unwatch = cells.watch(self)
            cells.close_earlier(self)

    # ---- the selection ----

    @traitlets.observe("unit")
    def _unit_changed(self, change: Any) -> None:
        self.layer = change.new.layer
        wanted = {
            "layer": self.unit.layer,
            "channel": self.unit.channel,
            "row": self.unit.row,
            "column": self.unit.column,
        }
        if {k: self._selection.get(k) for k in wanted} != wanted:
            self._selection = wanted
        if self.compared is not None:
            self.compared.unit = beside(self.unit, self.compared._follows, self.session.net, self.compared.session.net)

    @traitlets.observe("layer")
    def _layer_changed(self, change: Any) -> None:
        if self.trait_has_value("unit") and self.unit.layer != change.new:
            most = self.session.net[change.new].channels - 1
            self.unit = Unit(change.new, min(self.unit.channel, most))

    @traitlets.observe("_selection")
    def _selection_changed(self, change: Any) -> None:
        new = change.new
        self.unit = Unit(new["layer"], new["channel"], new.get("row"), new.get("column"))

    @traitlets.observe("picture")
    def _picture_changed(self, change: Any) -> None:
        name, self._name_next = getattr(self, "_name_next", ""), ""
        name = name or next((n for n, image in self._sources.items() if image is change.new), "")
        if self.compared is not None:
            self.compared._name_next = name
            try:
                self.compared.picture = change.new
            except LensError:  # which its views say
                self.compared.picture = None
        if change.new is None:
            self._picture = None
            return
        key = f"picture {next(_picture_numbers)}"
        picture = {"key": key, "name": name, "data": self._shown(name, change.new)}
        if self._picture and self._shows(MAPPED):
            self._answer_ahead("maps", picture)
        self._picture = picture

    def choose(self, name: str, image: Any) -> None:
        """Makes a picture the one that is shown, under a name."""
        self._name_next = name
        self.picture = image

    def _shown(self, name: str, picture: Any) -> bytes:
        """A picture as the browser shows it; those to choose from are encoded once."""
        if self._sources.get(name) is picture and name in self._encoded:
            return self._encoded[name]
        shown = display_picture(picture, self.session.net.input_shape, PICTURE_SIDE)
        data = b"" if shown is None else images.encoded(np.asarray(shown), lossless=False)
        if self._sources.get(name) is picture:
            self._encoded[name] = data
        return data

    @traitlets.validate("view")
    def _check_view(self, proposal: Any) -> str:
        value: str = proposal.value
        there = ("all", *(["evidence"] if EVIDENCE.intersection(self.VIEWS) else []), *self.VIEWS)
        if value not in ("", *there):
            raise LensError(f"There is no view {value!r}; there are {', '.join(there)}.")
        return value

    @traitlets.observe("view")
    def _view_changed(self, change: Any) -> None:
        if self.compared is not None:
            self.compared.view = change.new

    def _shows(self, views: frozenset[str]) -> bool:
        shown = self.VIEWS if self.view in ("", "all", "evidence") else (self.view,)
        return not views.isdisjoint(shown)

    # ---- the training ----

    @traitlets.observe("step")
    def _step_changed(self, change: Any) -> None:
        self.session.show(change.new)
        self._steps = self._known_steps()
        self._weights = self.session.version
        self._keeps_up = change.new is None
        for panel in list(self.session.users):
            panel.step = change.new
        if self.compared is not None:
            there = [c.step for c in self.compared.session.checkpoints]
            self.compared.step = change.new if change.new in there else None

    def record(self, step: int) -> None:
        """Keeps the weights as they are now, under a step of the training; for the training loop to call.

        A time slider goes through what was recorded: filters, maps, scores and all else as they were. A panel that shows
        the model as it is shows each step as it comes, twice a second at most. What is recorded again, and what came
        after it, is of an earlier training and goes. The weights are kept on disk while the session lives. Where two
        networks are compared, both are recorded.

        Raises:
            LensError: the step is no whole number, or the panel was closed. A model that cannot be copied, or a disk that is
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
                panel.refuse(error)
                warnings.warn(f"A step was not recorded. {error}", stacklevel=2)
        now = time.monotonic()
        if now - self._told_at >= OFTEN:
            self._told_at = now
            for panel in panels:
                panel._show_recorded()

    def _show_recorded(self) -> None:
        """Tells of the steps that there are; the newest is shown if no other was chosen."""
        steps = self._known_steps()
        keeps_up, last = self._keeps_up, steps[-1]["step"] if steps else None
        for panel in list(self.session.users):
            panel._steps = steps
        if keeps_up:
            self.step = last
        elif all(known["step"] != self.step for known in steps):
            self.step = None
        self._weights = self.session.version
        self._keeps_up = keeps_up
        if keeps_up and last is not None:
            self._answer_ahead("filters", None)
            if self._picture:
                for what in ("maps", "scores"):
                    self._answer_ahead(what, self._picture)

    def _known_steps(self) -> list[dict[str, int]]:
        return [{"step": c.step, "weights": c.version} for c in self.session.checkpoints]

    # ---- what goes out of it ----

    def to_html(self, path: str | os.PathLike[str], layers: Sequence[str] | None = None) -> None:
        """Writes the panel as one HTML file that still scrubs, hovers and switches views, with no kernel and no network.

        layers: what it holds, all units of each; None: the selected layer. Of the evidence it holds the selected unit's.

        Raises:
            UnknownLayer: no such layer. LensError: the file cannot be written.
        """
        export.write(self, Path(path).expanduser(), list(layers) if layers is not None else [self.layer])

    def save_png(self, path: str | os.PathLike[str], view: str | None = None, dpi: int = 300) -> None:
        """Writes a view as a picture for print, drawn by matplotlib; of two networks side by side.

        view: a view's name, "all" or "evidence"; None: the one that is shown. dpi: dots per inch.

        Raises:
            LensError: a view that has no figure or nothing to show, or a file that cannot be written.
        """
        name = view or self.view or "all"
        if view is None and name == "all" and len(self.VIEWS) <= 2:
            name = self.VIEWS[-1]
        panels = [panel for panel in (self, self.compared) if panel is not None]
        image = prints.side_by_side([panel._printed(name, dpi) for panel in panels])
        try:
            image.save(Path(path).expanduser(), format="PNG", dpi=(dpi, dpi))
        except OSError as error:
            raise LensError(f"{str(path)!r} cannot be written: {error.strerror or error}.") from error

    def _printed(self, name: str, dpi: int) -> Any:
        self.weights_may_have_moved()
        unit, picture = self.unit, self.picture
        return self.session.run(lambda s: prints.printed(s, name, unit, picture, dpi))[-1]

    # ---- its end ----

    def weights_may_have_moved(self) -> None:
        """Tells the browser to ask anew if a cell has changed the model, and of all steps that the cell has recorded."""
        if self.compared is not None:
            self.compared.weights_may_have_moved()
        steps = self._known_steps()
        if steps != self._steps:
            self._steps = steps
        if self._keeps_up:
            self.step = None
        self._weights = self.session.version

    def code(self) -> str:
        """Python text that makes this panel again, for a network called `net`, beside one called `other`."""
        name = (self._picture or {}).get("name")
        picture = f', picture=net.samples["{name}"]' if name in self._sources else ""
        view = f', view="{self.view}"' if self.view not in ("", "all") else ""
        beside = "" if self.compared is None else ", compare=other"
        return f'nl.{type(self).__name__}(net, unit="{self.unit}"{picture}{view}{beside})'

    def close(self) -> None:
        """Stops the work and frees the widget; the session ends with its last view."""
        if self.comm is not None:
            for job in self._jobs.values():
                job.cancel()
            self._frames.close()
            self._unwatch()
            self.layout.close()
            # A notebook keeps what its cells gave: without this, the networks of all runs of a cell would live on.
            self._jobs.clear()
            self._sources.clear()
            self._trait_values.pop("picture", None)
            self.session.leave(self)
            del self.session
        if self.compared is not None:
            self.compared.close()
            self.compared = None
        super().close()

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        """As ipywidgets gives it; what shows no widgets gets a text that says what to do."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data = bundle[0] if isinstance(bundle, tuple) else bundle
        if data:
            data["text/plain"] = f"{self!r}: run the cell in JupyterLab, Notebook or Voila to make it live"
        return bundle

    def __repr__(self) -> str:
        of = self.session.net.name if hasattr(self, "session") else "a network, closed,"
        return f"<{type(self).__name__} of {of} at {self.unit}>"
