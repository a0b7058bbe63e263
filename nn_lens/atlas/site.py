"""An atlas as a static site: a page per layer, an address per unit, for any browser, from a disk or a web server.

Classic scripts and image files alone, nothing that a page on a disk may not load; thumbnails are sheets that come as one
scrolls, and what is said of a unit comes when it is looked at.
"""

from __future__ import annotations

import html
import json
import re
from collections.abc import Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from nn_lens.engine.network.layer import Layer
from nn_lens.engine.pictures import charts, images
from nn_lens.errors import LensError, PictureError
from nn_lens.units import Unit

if TYPE_CHECKING:
    from nn_lens.atlas.atlas import Atlas

_PAGE = 24  # units in a sheet and in a script
_THUMB = 72  # pixels
_COLUMNS = 6  # of a sheet
_PREVIEW = 6  # units of a layer on the first page
_PATCH = 72  # pixels of a real picture's part
_QUALITY = 82
_ASSETS = ("site.css", "site.js")


def write(atlas: Atlas, folder: Path) -> None:
    """Writes the site.

    Raises:
        LensError: the folder cannot be written.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name in _ASSETS:
            (folder / name).write_text(_asset(name), encoding="utf-8")
        slugs = _slugs([layer.name for layer in atlas.layers])
        layers = [_Layer(atlas, layer, slugs[layer.name]) for layer in atlas.layers]
        _script(folder / "atlas.js", "atlas", _described(atlas, layers))
        for layer in layers:
            layer.write(folder / layer.slug)
            _page(folder / f"{layer.slug}.html", f"{layer.layer.name} of {atlas.net.name}", {"layer": layer.slug})
        _page(folder / "index.html", f"Atlas of {atlas.net.name}", {})
    except OSError as error:
        raise LensError(f"The site cannot be written to {str(folder)!r} ({error.strerror or error}).") from error


def _described(atlas: Atlas, layers: Sequence[_Layer]) -> dict[str, Any]:
    about, dataset = atlas.about, atlas.about["dataset"]
    counted = f"{dataset['total']:,} pictures" if dataset else ""
    licence = (dataset or {}).get("licence")
    return {
        "name": atlas.net.name, "labels": list(atlas.net.labels or ()), "input": list(atlas.net.input_shape),
        "said": about["network"]["said"], "thumb": _THUMB, "page": _PAGE, "columns": _COLUMNS, "preview": _PREVIEW,
        "dataset": counted and f"{counted}{f', {licence}' if licence else ', whose licence is not told'}",
        "missing": [repr(m).strip("<>") for m in atlas.missing],
        "layers": [layer.described() for layer in layers],
    }  # fmt: skip


class _Layer:
    """A layer on its page."""

    def __init__(self, atlas: Atlas, layer: Layer, slug: str) -> None:
        self.atlas, self.layer, self.slug = atlas, layer, slug
        self._examples = _or_none(lambda: atlas.examples(layer.name))
        self._filters = _or_none(lambda: atlas.filters(layer.name))
        self._coloured = self._filters is not None and self._filters.reads_rgb
        patched = _or_none(lambda: self._first_example(0)) is not None
        imaged = {c for entry in atlas.shards("maximizing", layer.name) for c in entry["channels"]}
        self.pictured = [c for c in range(layer.channels) if self._coloured or patched or c in imaged]

    def described(self) -> dict[str, Any]:
        """What the first page tells of it."""
        field = self.layer.receptive_field
        return {
            "name": self.layer.name, "slug": self.slug, "kind": self.layer.kind, "channels": self.layer.channels,
            "grid": list(self.layer.layout.grid), "field": "" if field is None or field.whole else "x".join(map(str, field.size)),
            "pictured": self.pictured if len(self.pictured) < self.layer.channels else "all",
        }  # fmt: skip

    def write(self, folder: Path) -> None:
        """The sheets of its units, and what is said of each."""
        folder.mkdir(parents=True, exist_ok=True)
        preview: list[np.ndarray] = []
        for start in range(0, self.layer.channels, _PAGE):
            channels = range(start, min(start + _PAGE, self.layer.channels))
            tiles = {channel: self._tile(channel, folder) for channel in channels if channel in self.pictured}
            if tiles:
                sheet = [tiles.get(channel, _blank(_THUMB)) for channel in channels]
                _save(folder / f"sheet-{start}.jpg", images.sheet(np.stack(sheet), _COLUMNS))
                preview += list(tiles.values())[: _PREVIEW - len(preview)]
            _script(folder / f"units-{start}.js", "units", self.slug, start, [self._said(c, folder) for c in channels])
        if preview:
            _save(folder / "preview.jpg", images.sheet(np.stack(preview), len(preview)))

    def _tile(self, channel: int, folder: Path) -> np.ndarray:
        """A thumbnail: of the image, else of the filter, else of the first example. On the way, the image in its own size,
        beside that of the other side.
        """
        kind, unit = self.atlas.net.kind, Unit(self.layer.name, channel)
        try:
            both = [self.atlas.images(unit, negative).images for negative in (False, True)]
        except LensError:
            if self._filters is None or not self._coloured:
                return self._first_example(channel)
            return _thumb(self._filters.images()[channel], Image.Resampling.NEAREST)
        drawn = [charts.charts(x, kind)[0] for x in both]
        _save(folder / f"unit-{channel}.jpg", images.sheet(np.stack(drawn), 2), 90)
        return _thumb(drawn[0])

    def _first_example(self, channel: int) -> np.ndarray:
        """A thumbnail of what a unit answers to most, where the atlas holds its pixels; a LensError where not."""
        unit = Unit(self.layer.name, channel)
        found = self._examples.top[unit] if self._examples is not None else ()
        if not found:
            raise LensError(f"The atlas has no examples of {unit}.")
        return _thumb(_drawn(found[0].patch, self.atlas.net.kind))

    def _said(self, channel: int, folder: Path) -> dict[str, Any]:
        """What is told of a unit when it is looked at."""
        unit = Unit(self.layer.name, channel)
        said: dict[str, Any] = {}
        image, negative = (_or_none(lambda side=side: self.atlas.images(unit, side)) for side in (False, True))
        if image is not None and negative is not None:
            said["image"] = [
                _number(image.activations[0]),
                _number(-negative.activations[0]),
                image.notes[0],
                list(image.images.shape[-2:]),
            ]
        trust = _or_none(lambda: self.atlas.trust(unit))
        if trust:
            said["trust"] = [[b.name, _number(float(b)), b.text, b.warning] for b in trust]
        if self._examples is not None:
            said |= self._said_of_examples(unit, folder)
        return said

    def _said_of_examples(self, unit: Unit, folder: Path) -> dict[str, Any]:
        known = self._examples
        assert known is not None
        counts, edges = known.histogram(unit, 32)
        said: dict[str, Any] = {
            "histogram": [counts.tolist(), _number(edges[0]), _number(edges[-1])],
            "count": known.count,
        }
        patches: list[np.ndarray] = []
        for side, found in (("top", known.top[unit]), ("bottom", known.bottom[unit])):
            said[side] = [[e.index, _number(e.activation)] for e in found]
            try:
                patches += [_thumb(_drawn(e.patch, self.atlas.net.kind), side=_PATCH) for e in found]
            except PictureError:
                continue
        if patches:
            _save(folder / f"examples-{unit.channel}.jpg", images.sheet(np.stack(patches), len(known.top[unit])))
            said["pixels"] = True
        return said


# ---- files ----


def _asset(name: str) -> str:
    return files("nn_lens.atlas").joinpath("pages", name).read_text(encoding="utf-8")


def _page(file: Path, title: str, data: dict[str, Any]) -> None:
    text = Template(_asset("page.html")).substitute(title=html.escape(title), data=_json(data))
    file.write_text(text, encoding="utf-8")


def _script(file: Path, name: str, *values: Any) -> None:
    """A classic script that hands values over: a page on a disk can load no other data."""
    file.write_text(f"nnLensAtlas.{name}({','.join(map(_json, values))});\n", encoding="utf-8")


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).replace("<", "\\u003c")


def _save(file: Path, levels: np.ndarray, quality: int = _QUALITY) -> None:
    Image.fromarray(levels).save(file, "JPEG", quality=quality, optimize=True)


def _slugs(names: Sequence[str]) -> dict[str, str]:
    """What the pages of layers are called, all different, also where capitals do not count."""
    taken: set[str] = {"index"}
    found = {}
    for name in names:
        base = slug = re.sub(r"[^A-Za-z0-9._-]", "_", name)[:80] or "layer"
        number = 2
        while slug.lower() in taken:
            slug, number = f"{base}-{number}", number + 1
        taken.add(slug.lower())
        found[name] = slug
    return found


# ---- pictures ----


def _drawn(patch: np.ndarray, kind: str) -> np.ndarray:
    """(h,w,3) uint8 of what a neuron sees."""
    return patch if patch.dtype == np.uint8 and patch.ndim == 3 else charts.charts([patch], kind)[0]


def _thumb(drawn: np.ndarray, how: Image.Resampling = Image.Resampling.LANCZOS, side: int = _THUMB) -> np.ndarray:
    """(side,side,3): the middle square of a picture, the whole of what is wider, as charts are."""
    height, width = drawn.shape[:2]
    if not height or not width:
        return _blank(side)
    image = Image.fromarray(drawn)
    if max(height, width) <= 1.5 * min(height, width):
        least = min(height, width)
        left, top = (width - least) // 2, (height - least) // 2
        image = image.crop((left, top, left + least, top + least))
    return np.asarray(image.resize((side, side), how))


def _blank(side: int) -> np.ndarray:
    return np.full((side, side, 3), 128, np.uint8)


def _number(value: Any) -> float | None:
    number = float(value)
    return float(f"{number:.4g}") if np.isfinite(number) else None


def _or_none(ask: Any) -> Any:
    """What is there, None where it is not."""
    try:
        return ask()
    except LensError:
        return None
