"""Results as messages to the browser: numbers and words in the head, pictures and tiles in the buffers.

The conversation adds type, id and weights. A message whose type is not that of the question, because it answers another
on the way, has one of its own. Each is made for a geometry, which says what rows and columns are, and which slice of a
volume is seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from itertools import takewhile
from typing import Any

import numpy as np
from PIL import Image

from nn_lens.engine.evidence.attribution.attribute import Attribution
from nn_lens.engine.evidence.trust import Badge
from nn_lens.engine.network.network import Network
from nn_lens.engine.network.receptive_field import ReceptiveField
from nn_lens.engine.pictures import charts, images
from nn_lens.engine.reading.arithmetic import Arithmetic
from nn_lens.engine.reading.filters import filter_shape
from nn_lens.engine.reading.incoming import Incoming
from nn_lens.sessions.blocks import Blocks
from nn_lens.sessions.evidence import Comparison, Plane, Reading, Spectrum
from nn_lens.sessions.overview import Stop
from nn_lens.sessions.requests import Boxes, Page, Scores, Tiles
from nn_lens.units import Unit
from nn_lens.widgets import why
from nn_lens.widgets.frames import Message
from nn_lens.widgets.geometry import Geometry
from nn_lens.widgets.groups import grouped
from nn_lens.widgets.overlay import laid_over

_STOP = 48  # pixels of a map in the map of the network
_INPUTS = 3  # of a sum that are shown
_EVIDENCE = {"width": 360, "height": 64}  # pixels of a map of what has one row
_ACROSS = 20  # thumbnails in a row of a sheet
_OF_TILES = ("ranges", "largest", "mean", "active")


def network(net: Network) -> dict[str, Any]:
    """A network's name, input and layers that can be shown."""
    geometry = Geometry.of(net)
    shown = [layer for layer in net.layers if layer.reason is None]
    labels = list(net.labels or ())
    # Each unit of the last layers is a class where there are as many.
    classes = {layer.name for layer in takewhile(lambda layer: layer.channels == len(labels), reversed(shown))}
    layers = [
        {
            "name": layer.name, "kind": layer.kind, "shape": list(layer.output_shape), "channels": layer.channels,
            "parameters": layer.parameters, "classes": layer.name in classes,
            "grid": geometry.grid(layer.layout.grid), "places": list(layer.layout.grid),
            "filter": geometry.filter(filter_shape(net, layer.name)),
        }
        for layer in shown
    ]  # fmt: skip
    return {
        "name": net.name, "kind": net.kind, "shape": list(net.input_shape), "input": geometry.input,
        "depth": geometry.depth, "answer": net.output_kind, "layers": layers,
        "labels": labels,
        "groups": [{"name": name, "layers": own} for name, own in grouped([layer.name for layer in shown])],
    }  # fmt: skip


def maps(found: Tiles, geometry: Geometry) -> Message:
    """A layer's maps, of a volume the slice that is seen, and the numbers of each."""
    dimensions = found.where.shape[1]
    # Where the largest is, as (slice, row, column).
    where = np.zeros((len(found.where), 3), np.float32)
    where[:, 3 - dimensions :] = found.where
    return _tiles(found, geometry.cut(found.levels, dimensions), where)


def filters(found: Tiles, geometry: Geometry) -> Message:
    """A layer's filters, of volumes their slices side by side, and the numbers of each."""
    laid, depth = geometry.lay(found.levels, gap=128), found.levels.shape[2] if found.levels.ndim == 5 else 1
    head, buffers = _tiles(found, laid, np.zeros((len(laid), 3), np.float32))
    return {**head, "slices": 1 if laid.shape[2:] == (1, laid.shape[3]) else depth}, buffers


def _tiles(found: Tiles, levels: np.ndarray, where: np.ndarray) -> Message:
    n, planes, height, width = levels.shape
    head = {
        "layer": found.layer, "start": found.start, "count": n, "total": found.total,
        "planes": planes, "height": height, "width": width, "colour": found.colour,
    }  # fmt: skip
    numbers = [getattr(found, name).tobytes() for name in _OF_TILES]
    return head, [np.ascontiguousarray(levels).tobytes(), *numbers, where.tobytes()]


def scores(found: Scores, _geometry: Geometry) -> Message:
    """The most probable classes."""
    return {"scores": found.classes, "shares": found.shares}, []


def page(found: Page, geometry: Geometry) -> Message:
    """Maximizing images, of volumes their middle slices; then the real pictures that lead further, where there are any."""
    tiles = charts.charts(found.images, geometry.kind)
    real = [r for r in found.real if r is not None]
    head: dict[str, Any] = {
        "layer": found.units[0].layer, "channels": [u.channel for u in found.units if isinstance(u, Unit)],
        "height": tiles.shape[1], "width": tiles.shape[2], "step": found.step, "steps": found.steps, "finished": found.finished,
        "made": [u.channel for u in found.units if isinstance(u, Unit) and u in found.made],
        "activations": [float(a) if a == a else None for a in found.activations], "notes": list(found.notes),
        "dead": list(found.dead), "reached": [None if r is None else r.activation for r in found.real],
    }  # fmt: skip
    shown = [*tiles, *(charts.charts(np.stack([r.image for r in real]), geometry.kind) if real else ())]
    return head, [images.encode(picture, lossless=found.finished) for picture in shown]


def here(found: Page, geometry: Geometry) -> Message:
    """Maximizing images under the name of the page that they are, whoever asked for them."""
    head, buffers = page(found, geometry)
    return {"type": "page", **head}, buffers


def blocks(answer: Blocks | Page, geometry: Geometry) -> Message:
    """Which unit is strongest at each place, and the groups; or the images of some of those units."""
    if isinstance(answer, Page):
        return here(answer, geometry)
    found = answer.found
    strongest, values, groups = (
        geometry.cut(a, found.values.ndim) for a in (found.strongest, found.values, found.groups)
    )
    height, width = values.shape
    head = {
        "layer": found.layer, "height": height, "width": width, "units": found.units,
        "drawn": answer.drawn, "shares": [float(s) for s in found.shares], "explained": found.explained,
        "alt": found.alt_text,
    }  # fmt: skip
    sheet = b""
    if answer.images is not None:
        tiles = charts.charts(answer.images, geometry.kind)
        sheet = images.encode(images.sheet(tiles, columns=len(tiles)), lossless=False)
    numbers = (strongest.astype(np.int32), values.astype(np.float32), groups.astype(np.float32))
    return head, [sheet, *(np.ascontiguousarray(n).tobytes() for n in numbers)]


def overview(found: Sequence[Stop], geometry: Geometry) -> Message:
    """The strongest map of the last layer of each group, a picture each."""
    names = {own[-1]: name for name, own in grouped([stop.layer for stop in found])}
    stops = [
        {"name": names.get(stop.layer, stop.layer), "layer": stop.layer, "channel": stop.channel, "value": stop.value}
        for stop in found
    ]  # fmt: skip
    return {"stops": stops}, [images.encode(_small(stop.map), lossless=True) for stop in found]


def _small(values: np.ndarray) -> np.ndarray:
    """(h,w,3) uint8 of a map, or of the numbers of a layer without places as bars."""
    if values.ndim == 1:
        return np.asarray(charts.chart(values.astype(np.float32), "vector", width=_STOP, height=_STOP))
    levels, _, signed = images.map_levels(values[None])
    shown = Image.fromarray(images.colour(levels, signed)[0])
    return np.asarray(shown.resize((_STOP, _STOP), Image.Resampling.NEAREST))


def field(answer: tuple[ReceptiveField, list[Boxes | None]], geometry: Geometry) -> Message:
    """What a layer's neurons see, in rows and columns of the input; along an axis where it goes on unevenly, of each."""
    found, each = answer
    return {**geometry.field(found), "each": [None, *each][-2:]}, []


def trust(found: Sequence[Badge], _geometry: Geometry) -> Message:
    """How far a maximizing image may be believed."""
    return {"badges": [badge(b) for b in found]}, []


def examples(found: Spectrum, geometry: Geometry) -> Message:
    """The patches in one sheet, and the numbers of the histogram."""
    tiles = _patches(found.patches, geometry)
    head = {
        "layer": found.unit.layer, "channel": found.unit.channel,
        "count": found.count, "total": found.total, "skipped": found.skipped, "finished": found.finished,
        "tiles": 0 if tiles is None else len(tiles), "activations": [float(a) for a in found.activations],
        "liveliness": badge(found.liveliness),
    }  # fmt: skip
    sheet = b"" if tiles is None else images.encode(images.sheet(tiles, columns=len(tiles)), lossless=False)
    return head, [sheet, *(np.asarray(a, np.float32).tobytes() for a in (found.quantiles, found.counts, found.edges))]


def _patches(patches: Sequence[np.ndarray], geometry: Geometry) -> np.ndarray | None:
    """(N,h,w,3) uint8 of what neurons see of real inputs, None where there is nothing yet."""
    if not patches:
        return None
    drawn = all(patch.dtype == np.uint8 and patch.ndim == 3 for patch in patches)
    return images.pad(patches) if drawn else charts.charts(patches, geometry.kind)


def badge(found: Badge) -> dict[str, Any]:
    """A number that explains itself; null where it is not finite."""
    value = float(found)
    return {
        "name": found.name, "value": value if np.isfinite(value) else None, "text": found.text,
        "warning": found.warning,
    }  # fmt: skip


def attribution(answer: tuple[str, Attribution | str], geometry: Geometry) -> Message:
    """A method's map and that of shuffled weights side by side, or why there is none."""
    method, found = answer
    head: dict[str, Any] = {"method": method.replace("_", " ")}
    if isinstance(found, str):
        return head | {"reason": found}, []
    both = [found.map] if found.control is None else [found.map, found.control]
    own = _EVIDENCE if geometry.is_row else {}
    if geometry.is_picture:
        tiles = np.stack([laid_over(m, found.picture) for m in both])
    else:
        tiles = np.stack([charts.evidence(m, found.picture, geometry.kind, geometry.share, **own) for m in both])
    similarity, error = found.similarity_to_control, found.completeness_error
    head |= {
        "target": found.target, "alt": found.alt_text, "tiles": len(tiles),
        "similarity": similarity if similarity is not None and np.isfinite(similarity) else None,
        "error": error if error is not None and np.isfinite(error) else None,
    }  # fmt: skip
    columns, gap = (1, 2) if geometry.is_row else (len(tiles), 0)
    return head, [images.encode(images.sheet(tiles, columns, gap), lossless=True)]


def incoming(answer: tuple[Incoming, Mapping[Unit, np.ndarray]], geometry: Geometry) -> Message:
    """The units that feed another, and their maximizing images in one sheet, grey where there is none yet."""
    found, pictures = answer
    units = [
        {"layer": u.layer, "channel": u.channel, "weight": w, "picture": u in pictures}
        for u, w in found
    ]  # fmt: skip
    head = {
        "units": units, "count": found.count, "through": found.through,
        "share": found.share, "notes": list(found.notes), "alt": found.alt_text,
    }  # fmt: skip
    if not pictures:
        return head, []
    blank = np.full((1, 1, 3), 128, np.uint8)
    tiles = images.pad([charts.chart(pictures[u], geometry.kind) if u in pictures else blank for u, _ in found])
    return head, [images.encode(images.sheet(tiles, columns=len(tiles)), lossless=False)]


def arithmetic(found: Arithmetic, _geometry: Geometry) -> Message:
    """The strongest inputs' windows, kernels and products; the others as one sum. Slices stand below one another."""
    shown = found.strongest[:_INPUTS]
    *rows, width = found.kernel.shape[1:]
    sums = found.sums
    head = {
        "unit": str(found.unit),
        "inputs": [{"number": int(found.inputs[i]), "sum": float(sums[i])} for i in shown],
        "height": math.prod(rows), "width": width,
        "rest": float(np.delete(sums, shown).sum()), "restCount": len(sums) - len(shown), "bias": found.bias,
        "value": found.value, "then": [list(pair) for pair in found.then], "alt": found.alt_text,
    }  # fmt: skip
    values = np.stack([part[shown] for part in (found.window, found.kernel, found.products)])
    return head, [np.ascontiguousarray(values, np.float32).tobytes()]


def directions(answer: tuple[Sequence[Comparison], int], geometry: Geometry) -> Message:
    """A unit and random directions: a sheet with a row of pictures for each."""
    rows, count = answer
    head = {
        "count": count,
        "rows": [
            {
                "name": row.name, "activations": [float(a) for a in row.activations],
                "apart": row.apart if np.isfinite(row.apart) else None,
            }
            for row in rows
        ],
    }  # fmt: skip
    tiles = _patches([patch for row in rows for patch in row.patches], geometry)
    if tiles is None:
        return head, []
    return head, [images.encode(images.sheet(tiles, columns=len(tiles)), lossless=False)]


def embedding(plane: Plane | Reading, _geometry: Geometry) -> Message:
    """The points, (N,2) from 0 to 1, the pictures' numbers, the thumbnails in one sheet, the nearest of each, the classes;
    at first how many pictures have been read.
    """
    if isinstance(plane, Reading):
        return {"layer": plane.layer, "method": "", "read": plane.read, "total": plane.total, "near": 0}, [b""] * 5
    found = plane.found
    low, span = found.points.min(0), np.ptp(found.points, axis=0)
    points = ((found.points - low) / np.where(span > 0, span, 1)).astype(np.float32)
    small = found.thumbnails
    columns = _ACROSS if small is not None else 0
    head = {
        "layer": found.layer, "method": found.method, "columns": columns,
        "height": 0 if small is None else small.shape[1], "width": 0 if small is None else small.shape[2],
        "skipped": len(found.skipped), "alt": found.alt_text, "finished": found.method != "pca",
    }  # fmt: skip
    sheet = b"" if small is None else images.encode(images.sheet(small, columns=columns), lossless=False)
    head["near"] = plane.near.shape[1]
    numbers = [np.ascontiguousarray(n, np.int32).tobytes() for n in (found.indices, plane.near, plane.classes)]
    return head, [points.tobytes(), numbers[0], sheet, *numbers[1:]]


MESSAGES: dict[str, Callable[[Any, Geometry], Message]] = {
    "maps": maps,
    "filters": filters,
    "scores": scores,
    "overview": overview,
    "field": field,
    "arithmetic": arithmetic,
    "here": here,
    "page": page,
    "negative": page,
    "blocks": blocks,
    "examples": examples,
    "trust": trust,
    "attribution": attribution,
    "contributions": why.contributions,
    "ablation": why.steering,
    "later": why.later,
    "incoming": incoming,
    "directions": directions,
    "embedding": embedding,
    "mistakes": why.mistakes,
}
"""By kind, the head and buffers that tell of one of its results."""
