"""Why this answer, unit by unit, as messages to the browser; see `messages`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from nn_lens.engine.evidence.contributions import Contributions
from nn_lens.engine.evidence.mistakes import Mistake
from nn_lens.engine.pictures import charts, images
from nn_lens.sessions.why import EXAMPLES, Gallery, Later, Reasons, Steered
from nn_lens.widgets.frames import Message
from nn_lens.widgets.geometry import Geometry
from nn_lens.widgets.overlay import laid_over

_CLASSES = 6  # whose scores move most
_PAIRS = 6  # of classes that are confused
_MOVED = 5  # units whose contributions move most
_CELLS = 24  # along the longer side of a unit's part of a picture, whose single pixels are noisy
_EVIDENCE = {"width": 360, "height": 64}  # pixels of a map of what has one row


def contributions(answer: Reasons, geometry: Geometry) -> Message:
    """The units with what they add; their maps, parts of the input, maximizing images and examples, in a sheet each."""
    found = answer.found
    control = found.control
    head: dict[str, Any] = {
        "layer": found.layer, "target": found.target, "score": found.score, "total": found.total, "rest": found.rest,
        "count": len(found.by_channel), "alt": found.alt_text, "note": found.note,
        "unfollowed": answer.unfollowed,
        "units": [{"channel": u.channel, "value": float(v)} for u, v in zip(found.units, found.values, strict=True)],
        "control": None,
    }  # fmt: skip
    if control is not None:
        head["control"] = {
            "units": [{"channel": u.channel, "value": float(v)} for u, v in zip(control.units, control.values, strict=True)],
            "similarity": _finite(found.similarity_to_control),
        }  # fmt: skip
    maps = np.stack([found.activations[u.channel] for u in found.units])
    drawn = _drawn_maps(maps, geometry) if maps[0].size > 1 else None
    blank = np.full((1, 1, 3), 128, np.uint8)  # where there is none yet
    drawn_parts = {u: _over(part, found, geometry) for u, part in answer.parts.items()}
    parts = [drawn_parts.get(u, blank) for u in found.units] if drawn_parts else []
    pictures = [charts.chart(answer.images[u], geometry.kind) for u in found.units if u in answer.images]
    real = [_padded(answer.examples[u], geometry) for u in found.units if u in answer.examples]
    examples = [patch for row in real for patch in row]
    head |= {"columns": len(found.units), "examples": EXAMPLES if examples else 0}
    return head, [_sheet(drawn), _sheet(parts), _sheet(pictures), _sheet(examples)]


def steering(answer: Steered, _geometry: Geometry) -> Message:
    """The classes whose scores move most, compared with random other units, and what becomes of the accuracy."""
    own, dataset = answer.found, answer.dataset
    delta = own.delta[0]
    control = own.control.delta[0] if own.control is not None else None
    # Of a slider at rest the classes with the largest scores.
    shown = np.argsort(-np.abs(delta) if delta.any() else -own.before[0], kind="stable")[:_CLASSES]
    names = own.labels or [f"class {c}" for c in range(len(delta))]
    rows = [
        {
            "label": names[c], "before": float(own.before[0, c]), "after": float(own.after[0, c]),
            "control": None if control is None else float(control[c]),
        }
        for c in shown
    ]  # fmt: skip
    head: dict[str, Any] = {
        "scale": answer.factor, "present": answer.present, "value": answer.value, "place": own.place, "rows": rows,
        "alt": own.alt_text,
    }  # fmt: skip
    if dataset is not None and dataset.accuracy_change is not None and dataset.per_class is not None:
        worst = min(dataset.per_class, key=lambda c: dataset.per_class[c])  # type: ignore[index]
        head["accuracy"] = {
            "count": len(dataset.before), "change": dataset.accuracy_change,
            "control": None if dataset.control is None else dataset.control.accuracy_change,
            "worst": names[worst], "worstChange": dataset.per_class[worst],
        }  # fmt: skip
    return head, []


def later(answer: Later, geometry: Geometry) -> Message:
    """Of some later layers the unit that changes most, as it is and steered, and the contributions that move most."""
    tiles, units = [], []
    for unit, before, after in answer.maps:
        both = np.stack([before, after])
        units.append({
            "layer": unit.layer, "channel": unit.channel, "before": float(before.flat[np.abs(before).argmax()]),
            "after": float(after.flat[np.abs(after).argmax()]),
        })  # fmt: skip
        tiles += list(_drawn_maps(both, geometry, together=True))
    head: dict[str, Any] = {"units": units, "moved": [], "layer": "", "target": ""}
    if answer.before is not None and answer.after is not None:
        before, after = answer.before.by_channel, answer.after.by_channel
        most = [c for c in np.argsort(-np.abs(after - before), kind="stable")[:_MOVED] if after[c] != before[c]]
        head |= {
            "layer": answer.before.layer, "target": answer.before.target,
            "moved": [{"channel": int(c), "before": float(before[c]), "after": float(after[c])} for c in most],
        }  # fmt: skip
    return head, [_sheet(tiles)]


def mistakes(answer: Gallery, _geometry: Geometry) -> Message:
    """The pictures that are called wrong, or least surely, as thumbnails in a sheet; pairs that are confused."""
    found = answer.found
    shown = 0 if answer.thumbnails is None else len(answer.thumbnails)
    rows = []
    for one in (found.wrong or found.unsure)[:shown]:
        true = one.true if isinstance(one, Mistake) else None
        rows.append({
            "index": one.picture, "said": found.name(one.said), "probability": one.probability,
            "true": None if true is None else found.name(true), "trueIndex": true,
        })  # fmt: skip
    pairs = [
        {"true": found.name(pair.true), "said": found.name(pair.said), "count": pair.pictures}
        for pair in found.confusions[:_PAIRS]
    ]
    worst = sorted(found.accuracy or {}, key=lambda c: (found.accuracy or {})[c])[:3]
    head = {
        "rows": rows, "pairs": pairs, "count": found.count, "labelled": found.labelled, "wrong": found.wrong_count,
        "total": found.total, "accuracy": found.overall, "skipped": len(found.skipped), "finished": answer.finished,
        "worst": [{"name": found.name(c), "share": (found.accuracy or {})[c]} for c in worst], "alt": found.alt_text,
    }  # fmt: skip
    return head, [_sheet(answer.thumbnails)]


# ---- drawing ----


def _over(part: np.ndarray, found: Contributions, geometry: Geometry) -> np.ndarray:
    """A unit's part of the input, over the picture."""
    if geometry.is_picture:
        return laid_over(part, found.picture, _CELLS)
    own = _EVIDENCE if geometry.is_row else {}
    return charts.evidence(part, found.picture, geometry.kind, geometry.share, **own)


def _drawn_maps(maps: np.ndarray, geometry: Geometry, together: bool = False) -> np.ndarray:
    """(N,h,w,3) uint8 of (N,*grid) activation maps, each on a scale of its own, or all on one."""
    planes = geometry.cut(maps, maps.ndim - 1)
    if together:
        levels, _, signed = images.map_levels(planes[None])
        levels = levels[0]
    else:
        levels, _, signed = images.map_levels(planes)
    if levels.shape[1] == 1:
        levels = np.repeat(levels, max(1, levels.shape[2] // 4), 1)  # a row, thick enough to be seen
    return images.colour(levels, signed)


def _padded(patches: Sequence[np.ndarray], geometry: Geometry) -> list[np.ndarray]:
    """As many small pictures as are shown of each unit, grey where there are fewer."""
    drawn = [p if p.dtype == np.uint8 and p.ndim == 3 else charts.chart(p, geometry.kind) for p in patches]
    return [*drawn, *[np.full((1, 1, 3), 128, np.uint8)] * (EXAMPLES - len(drawn))]


def _sheet(tiles: Any) -> bytes:
    """Tiles side by side as one picture, empty where there are none."""
    if tiles is None or not len(tiles):
        return b""
    padded = images.pad(list(tiles))
    return images.encode(images.sheet(padded, columns=len(padded)), lossless=True)


def _finite(value: float | None) -> float | None:
    return value if value is not None and np.isfinite(value) else None
