"""What the Lens and the single views share: the selection, and the conversation with the browser.

The browser asks ({type: "want", id, what, ...}), the session's worker computes, and every question ends in one
"done", "cancelled" or "error" under its own id. A newer question of the same kind takes the older one's
place. Nothing is computed in a callback.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ClassVar

import anywidget
import numpy as np
import traitlets

from nn_lens.engine import images
from nn_lens.engine.datasets import source_of
from nn_lens.engine.filters import filter_shape
from nn_lens.engine.network import Network
from nn_lens.engine.pictures import display_picture, open_image
from nn_lens.engine.samples import sample_pictures
from nn_lens.engine.trust import Badge
from nn_lens.errors import LensError
from nn_lens.sessions import evidence, prints, requests
from nn_lens.sessions.jobs import Job, State
from nn_lens.sessions.session import Session
from nn_lens.units import Unit
from nn_lens.widgets import cells, export, messages
from nn_lens.widgets.frames import Frames, Message
from nn_lens.widgets.traits import LayerTrait, PictureTrait, UnitTrait
from nn_lens.widgets.uploads import Uploads

BUNDLE = Path(__file__).parent.parent / "static" / "nn-lens.js"
EVIDENCE = frozenset(("examples", "attribution", "ablation", "incoming", "directions", "embedding"))
"""The views that "evidence" shows together."""
STACK = ("levels", "ranges", "largest", "mean", "active", "where")  # buffers of a "stack" message
PICTURE_SIDE = 448  # longest side in pixels of the picture sent to be shown

_picture_numbers = itertools.count(1)
_questions = itertools.count(-1, -1)  # of `answers`; the browser's own are above 0


@cache
def bundle() -> str:
    """The views' JavaScript.

    Raises:
        LensError: it was not built.
    """
    if not BUNDLE.is_file():
        raise LensError(
            "The views of nn-lens are not built. In a checkout run `pip install .` (or, with Node.js, "
            "`python nn_lens/frontend/hatch_build.py`), then restart the kernel."
        )
    return BUNDLE.read_text(encoding="utf-8")


class Panel(anywidget.AnyWidget):
    """Base of the widgets: one network, one selection, the views that `_views` names.

    Traits: `unit` (Unit), `layer` (text), `picture` (PIL image), `view` (text); each can be read, set and linked.
    """

    VIEWS: ClassVar[tuple[str, ...]] = ()

    unit = UnitTrait(help="the selected unit; setting it selects its layer too")
    layer = LayerTrait(help="the selected layer; setting it keeps the channel number where it can")
    picture = PictureTrait(help="the picture whose activation maps are shown; any that nl.activations takes")
    view = traitlets.Unicode(help="which view is shown, or 'all'").tag(sync=True)

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

    def __init__(
        self, net: Any, unit: Unit | str | None = None, picture: Any = None, dataset: Any = None, **traits: Any
    ) -> None:
        unknown = [name for name in traits if name not in self.traits()]
        if unknown:
            raise LensError(
                f"{type(self).__name__} has no {unknown[0]!r}; it takes unit, picture, dataset and view. "
                "What the network reads is said once: nl.Network(model, input_shape=...)."
            )
        self.session = net if isinstance(net, Session) else Session(net, dataset)
        network = self.session.net
        layers = [layer for layer in network.layers if layer.reason is None]
        if not layers:
            why = network.layers[0].reason if network.layers else "no module inside it gives a tensor"
            raise LensError(f"{network.name} has no layer that can be shown: {why}.")
        self._frames = Frames(self._post)
        self._uploads = Uploads()
        self._jobs: dict[str, Job] = {}
        self._recorded: dict[int, SimpleQueue[Message]] = {}  # answers that do not go to the browser, by question
        self._told = 0, -1  # the last question that was answered in parts, and how many
        samples = network.samples or sample_pictures(network.input_shape)
        first = network.unit(unit) if unit is not None else Unit(layers[0].name, 0)
        self._sources = dict(samples)
        super().__init__(
            _esm=bundle(), _kind=type(self).__name__, _views=list(self.VIEWS), _network=_description(network), _weights=self.session.version,
            _colours={name: images.colour_table(name).tobytes() for name in (images.SEQUENTIAL, images.DIVERGING)},
            _samples=[_thumbnail(name, image) for name, image in samples.items()], **traits,
        )  # fmt: skip
        self.session.join(self)
        self.unit = first
        if picture is None and samples:
            name, picture = next(iter(samples.items()))
            self._name_next = name
        self.picture = picture
        self.on_msg(self._receive)
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
        if change.new is None:
            self._picture = None
            return
        shown = display_picture(change.new, self.session.net.input_shape, PICTURE_SIDE)
        key = f"picture {next(_picture_numbers)}"
        data = b"" if shown is None else images.encoded(np.asarray(shown), lossless=False)
        self._picture = {"key": key, "name": name, "data": data}

    @traitlets.validate("view")
    def _check_view(self, proposal: Any) -> str:
        value: str = proposal.value
        there = ("all", *(["evidence"] if EVIDENCE.intersection(self.VIEWS) else []), *self.VIEWS)
        if value not in ("", *there):
            raise LensError(f"There is no view {value!r}; there are {', '.join(there)}.")
        return value

    # ---- the conversation ----

    def _receive(self, _widget: Any, content: dict[str, Any], buffers: list[Any]) -> None:
        kind = content.get("type")
        try:
            if kind == "want":
                self._want(content)
            elif kind == "ack":
                self._frames.acknowledge()
            elif kind == "stop":
                self._stop(str(content.get("what")))
            elif kind == "sample":
                self._choose(content["name"], self._sources[content["name"]])
            elif kind == "dataset":
                index = int(content["index"])
                source = source_of(self.session.net, self.session.dataset)
                self._choose(f"picture {index}", source[index])
            elif kind == "upload":
                data = self._uploads.add(content, buffers)
                if data is not None:
                    self._choose(str(content.get("name", "")), open_image(data))
        except LensError as error:
            self._post({"type": "error", "id": content.get("id"), "what": kind, "text": str(error)}, [])

    def _choose(self, name: str, image: Any) -> None:
        self._name_next = name
        self.picture = image

    def _want(self, content: dict[str, Any]) -> None:
        what, number = content["what"], content["id"]
        layer, channel = content.get("layer", ""), int(content.get("channel", 0))
        if what in ("maps", "scores", "arithmetic"):
            if self._picture is None or self._picture["key"] != content["picture"]:
                self._post({"type": "cancelled", "id": number, "what": what}, [])
                return
            picture, key = self.picture, f"{id(self.session)} {content['picture']}"
            if what == "maps":
                self._ask(what, number, lambda s: requests.maps(s, picture, key, layer, channel), self._stack)
            elif what == "arithmetic":
                unit = Unit(layer, channel, int(content["row"]), int(content["column"]))
                self._ask(what, number, lambda s: requests.sum_of(s, picture, unit), self._arithmetic)
            else:
                self._ask(what, number, lambda s: requests.scores(s, picture), self._scores)
        elif what == "filters":
            self._ask(what, number, lambda s: requests.layer_filters(s, layer, channel), self._stack)
        elif what == "negative":
            unit = Unit(layer, channel)
            self._ask(what, number, lambda s: requests.page(s, [unit], negative=True), self._finished_page, urgency=2)
        elif what == "field":
            self._ask(what, number, lambda s: requests.field(s, layer), self._field)
        elif what == "here":
            units = [Unit(layer, int(c)) for c in content["channels"]]
            self._ask(what, number, lambda s: requests.page(s, units), self._finished_page, urgency=1)
        elif what == "examples":
            unit = Unit(layer, channel)
            self._ask(what, number, lambda s: evidence.examples(s, unit), self._spectrum, urgency=2)
        elif what == "trust":
            unit = Unit(layer, channel)
            self._ask(what, number, lambda s: evidence.badges(s, unit), self._badges, urgency=2)
        elif what == "incoming":
            unit = Unit(layer, channel)
            self._ask(what, number, lambda s: evidence.feeding(s, unit), self._feeding, urgency=2)
        elif what == "directions":
            unit = Unit(layer, channel)
            self._ask(what, number, lambda s: evidence.beside_directions(s, unit), self._directions, urgency=2)
        elif what == "embedding":
            self._ask(what, number, lambda s: evidence.embedded(s, layer), self._embedding, urgency=3)
        elif what in ("attribution", "ablation"):
            self._want_of_picture(what, number, content)
        elif what == "page":
            units = [Unit(layer, int(c)) for c in content["channels"]]
            self._ask(what, number, lambda s: requests.page(s, units), self._page, urgency=1)
        else:
            raise LensError(f"The panel asked for {what!r}, which this version does not know; reload the page.")

    def _want_of_picture(self, what: str, number: int, content: dict[str, Any]) -> None:
        picture, unit = self.picture, Unit(content["layer"], int(content["channel"]))
        if what == "attribution":
            target = unit if content["target"] is None else int(content["target"])
            self._ask(what, number, lambda s: evidence.attributions(s, picture, target), self._attribution, urgency=2)
        else:
            scale = float(content["scale"])
            self._ask(what, number, lambda s: evidence.ablations(s, picture, unit, scale), self._ablation)

    def _ask(
        self, what: str, number: int, work: Callable[[Session], Any], show: Callable[[int, Any], None], urgency: int = 0
    ) -> None:
        def deliver(job: Job, result: Any) -> None:
            if not job.final:
                if result is not None:
                    show(number, result)
            elif job.state is State.FAILED:
                self._post({"type": "error", "id": number, "what": what, "text": _said(job.error)}, [])
            else:
                self._post({"type": job.state.value, "id": number, "what": what}, [])

        # What an export asks for does not take the place of what the browser asks for.
        slot = (id(self), what, number in self._recorded)
        self._jobs[what] = self.session.submit(slot, work, deliver, urgency)

    def _stop(self, what: str) -> None:
        self.session.cancel((id(self), what, False))

    def _post(self, content: dict[str, Any], buffers: list[bytes]) -> None:
        recorded = self._recorded.get(content.get("id", 0))
        if recorded is not None:
            recorded.put((content, buffers))
        elif self.comm is not None:
            self.send(content, buffers)

    def answers(self, what: str, **content: Any) -> Iterator[Message]:
        """All messages that answer a question, as the browser would get them; waits for them.

        Raises:
            LensError: the question cannot be answered.
        """
        number = next(_questions)
        queue: SimpleQueue[Message] = SimpleQueue()
        self._recorded[number] = queue
        try:
            self._want({"what": what, "id": number, **content})
            while True:
                head, buffers = queue.get()
                if head["type"] == "error":
                    raise LensError(str(head["text"]))
                if head["type"] in ("done", "cancelled"):
                    return
                yield head, buffers
        finally:
            del self._recorded[number]

    def to_html(self, path: str | os.PathLike[str], layers: Sequence[str] | None = None) -> None:
        """Writes the panel as one HTML file that still scrubs, hovers and switches views, with no kernel and no network.

        layers: what it holds, all units of each; None: the selected layer. Of the evidence it holds the selected unit's.

        Raises:
            UnknownLayer: no such layer. LensError: the file cannot be written.
        """
        export.write(self, Path(path).expanduser(), list(layers) if layers is not None else [self.layer])

    def save_png(self, path: str | os.PathLike[str], view: str | None = None, dpi: int = 300) -> None:
        """Writes a view as a picture for print, drawn by matplotlib.

        view: a view's name, "all" or "evidence"; None: the one that is shown. dpi: dots per inch.

        Raises:
            LensError: a view that has no figure or nothing to show, or a file that cannot be written.
        """
        name = view or self.view or "all"
        if view is None and name == "all" and len(self.VIEWS) <= 2:
            name = self.VIEWS[-1]
        unit, picture = self.unit, self.picture
        image = self.session.run(lambda s: prints.printed(s, name, unit, picture, dpi))[-1]
        try:
            image.save(Path(path).expanduser(), format="PNG", dpi=(dpi, dpi))
        except OSError as error:
            raise LensError(f"{str(path)!r} cannot be written: {error.strerror or error}.") from error

    def refuse(self, error: LensError) -> None:
        """Shows in the panel why a value was not taken."""
        self._post({"type": "error", "what": "set", "text": str(error)}, [])

    # ---- results, sent from the worker's thread ----

    def _stack(self, number: int, stack: requests.Stack) -> None:
        n, planes, height, width = stack.levels.shape
        head = {
            "type": "stack", "id": number, "layer": stack.layer, "start": stack.start, "count": n, "total": stack.total,
            "planes": planes, "height": height, "width": width, "colour": stack.colour, "weights": stack.version,
        }  # fmt: skip
        self._post(head, [getattr(stack, name).tobytes() for name in STACK])

    def _scores(self, number: int, found: list[tuple[str, float]]) -> None:
        self._post({"type": "scores", "id": number, "scores": found}, [])

    def _page(self, number: int, page: requests.Page) -> None:
        def make() -> Message:
            if page.images.ndim != 4:
                raise LensError("Inputs that are no pictures cannot be drawn; see nl.maximize(net, unit).images.")
            tiles = images.rgb(page.images)
            sheet = images.sheet(tiles, columns=len(tiles))
            head = {
                "type": "page", "id": number, "layer": page.units[0].layer, "channels": [u.channel for u in page.units],
                "height": tiles.shape[1], "width": tiles.shape[2], "step": page.step, "finished": page.finished,
                "activations": [float(a) for a in page.activations], "notes": list(page.notes), "weights": page.version,
            }  # fmt: skip
            return head, [images.encoded(sheet, lossless=page.finished)]

        if page.finished:
            self._frames.close()
            self._post(*make())
        elif page.preview:
            self._frames.offer(make)

    def _finished_page(self, number: int, page: requests.Page) -> None:
        if page.finished:
            self._page(number, page)

    def _field(self, number: int, field: Any) -> None:
        head = {"size": list(field.size), "stride": list(field.stride), "offset": list(field.offset)}
        self._post({"type": "field", "id": number, **head}, [])

    def _arithmetic(self, number: int, found: Any) -> None:
        self._post(*messages.arithmetic(number, found))

    def _spectrum(self, number: int, found: evidence.Spectrum) -> None:
        self._post(*messages.spectrum(number, found))

    def _badges(self, number: int, found: tuple[Badge, ...]) -> None:
        if self._told != (number, len(found)):
            self._told = number, len(found)
            self._post({"type": "trust", "id": number, "badges": [messages.badge(b) for b in found]}, [])

    def _attribution(self, number: int, found: tuple[str, Any]) -> None:
        self._post(*messages.attribution(number, *found))

    def _feeding(self, number: int, found: tuple[Any, Any]) -> None:
        if self._told != (number, len(found[1])):
            self._told = number, len(found[1])
            self._post(*messages.feeding(number, *found))

    def _directions(self, number: int, found: tuple[Any, int]) -> None:
        self._post(*messages.beside(number, *found))

    def _embedding(self, number: int, found: Any) -> None:
        self._post(*messages.embedding(number, found, finished=found.method != "pca"))

    def _ablation(self, number: int, found: tuple[Any, Any]) -> None:
        self._post(messages.ablation(number, *found), [])

    # ---- its end ----

    def weights_may_have_moved(self) -> None:
        """Tells the browser to ask anew if a cell has changed the model."""
        self._weights = self.session.version

    def code(self) -> str:
        """Python text that makes this panel again, for a network called `net`."""
        name = (self._picture or {}).get("name")
        picture = f', picture=net.samples["{name}"]' if name in self._sources else ""
        view = f', view="{self.view}"' if self.view not in ("", "all") else ""
        return f'nl.{type(self).__name__}(net, unit="{self.unit}"{picture}{view})'

    def close(self) -> None:
        """Stops the work and frees the widget; the session ends with its last view."""
        if self.comm is not None:
            for what in self._jobs:
                self._stop(what)
            self._frames.close()
            self._unwatch()
            self.layout.close()
            # A notebook keeps what its cells gave: without this, the networks of all runs of a cell would live on.
            self._jobs.clear()
            self._sources.clear()
            self._trait_values.pop("picture", None)
            self.session.leave(self)
            del self.session
        super().close()

    def __repr__(self) -> str:
        of = self.session.net.name if hasattr(self, "session") else "a network, closed,"
        return f"<{type(self).__name__} of {of} at {self.unit}>"


def _said(error: BaseException | None) -> str:
    return str(error) if isinstance(error, LensError) else f"{type(error).__name__}: {error}"


def _description(net: Network) -> dict[str, Any]:
    layers = [
        {
            "name": layer.name, "kind": layer.kind, "shape": list(layer.output_shape), "channels": layer.channels,
            "grid": list(layer.layout.grid), "filter": filter_shape(net, layer.name),
        }
        for layer in net.layers
        if layer.reason is None
    ]  # fmt: skip
    return {"name": net.name, "input": list(net.input_shape), "layers": layers}


def _thumbnail(name: str, image: Any) -> dict[str, Any]:
    small = display_picture(image, (3, 40, 40), 40)
    return {"name": name, "data": images.encoded(np.asarray(small), lossless=False)}
