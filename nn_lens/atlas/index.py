"""atlas.json: what a folder holds, of which network, and what is missing."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nn_lens.atlas.storage import digest, read_shard, write
from nn_lens.atlas.tasks import FORMAT, SAMPLE, SEED, K, Request, Task
from nn_lens.engine.network.network import Network
from nn_lens.engine.reading.filters import filter_shape
from nn_lens.errors import LensError, one_line

NAME = "atlas.json"
_KINDS = ("fields", "filters", "maximizing", "examples", "trust", "pictures")  # the order in which shards are listed


@dataclass(frozen=True)
class Missing:
    """What is not in an atlas: `what`, of which `layer` and `channels`, or of which pictures of the dataset; and the `reason`."""

    what: str
    layer: str
    channels: tuple[int, ...]
    pictures: tuple[int, int] | None
    reason: str

    def __repr__(self) -> str:
        units = f":{self.channels[0]} to {self.channels[-1]}" if self.channels else ""
        of = f" of {self.layer}{units}" if self.layer else ""
        over = f" over pictures {self.pictures[0]} to {self.pictures[1] - 1}" if self.pictures else ""
        return f"<{self.what}{of}{over}: {self.reason}>"


class Index:
    """The content of atlas.json, `data`, while it is made."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.data = data
        self._shards: dict[str, dict[str, Any]] = {entry["file"]: entry for entry in data["shards"]}
        self._pages = {
            (e["what"], e["layer"], tuple(e["channels"]), tuple(e.get("pictures", ()))): e["file"]
            for e in data["shards"]
        }
        self._missing: dict[str, dict[str, Any]] = {f"{i}": entry for i, entry in enumerate(data["missing"])}

    @classmethod
    def of(cls, folder: Path, request: Request) -> Index:
        """That of a folder, for what is asked for to be added; a new one where there is none.

        Raises:
            LensError: the folder holds an atlas of another network or dataset, or an atlas.json that is none.
        """
        file = folder / NAME
        data = read_index(file.read_bytes(), str(folder)) if file.is_file() else _new(request.net, request.fingerprint)
        if data["network"]["fingerprint"] != request.fingerprint:
            raise LensError(
                f"The folder {str(folder)!r} holds an atlas of other weights, code or input ({data['network']['name']}); name "
                "another folder."
            )
        own = (
            {"identity": request.dataset, "total": request.source.total, "licence": licence_of(request.source)}
            if request.source
            else None
        )
        if own and data["dataset"] and data["dataset"]["identity"] != own["identity"]:
            raise LensError(f"The atlas in {str(folder)!r} is of another dataset; name another folder.")
        data["dataset"] = own or data["dataset"]
        data["settings"]["batch"] = request.batch
        described = {entry["name"]: entry for entry in data["layers"]}
        described |= {name: _layer(request.net, name) for name in request.layers if name not in described}
        data["layers"] = [described[layer.name] for layer in request.net.layers if layer.name in described]
        # What is asked for now is missing only if it fails now.
        data["missing"] = [
            m for m in data["missing"]
            if m["what"] not in ("range", "pictures", *request.what) or (m["layer"] and m["layer"] not in request.layers)
        ]  # fmt: skip
        return cls(data)

    def has(self, task: Task) -> bool:
        """Whether it tells of a task's files."""
        return task.name in self._shards

    def add(self, task: Task, files: Mapping[str, bytes]) -> None:
        """Tells of the files of a task."""
        self._missing.pop(task.name, None)
        page = (task.what, task.layer, task.channels, task.pictures)
        self._shards.pop(self._pages.get(page, ""), None)  # what is told of a page is the latest
        self._pages[page] = task.name
        self._shards[task.name] = {
            "what": task.what, "layer": task.layer, "channels": list(task.channels), "file": task.name,
            "files": {ending: {"bytes": len(data), "digest": digest(data)} for ending, data in sorted(files.items())},
        } | ({"pictures": list(task.pictures)} if task.pictures else {})  # fmt: skip

    def forget(self, folder: Path) -> None:
        """Forgets shards whose files are not what they were: cut off, or gone."""
        for name, entry in list(self._shards.items()):
            sizes = {ending: (folder / f"{name}{ending}") for ending in entry["files"]}
            if any(not f.is_file() or f.stat().st_size != entry["files"][e]["bytes"] for e, f in sizes.items()):
                del self._shards[name]

    def miss(self, task: Task, reason: str) -> None:
        """Tells why there is nothing of a task."""
        pictures = [task.start, task.stop] if task.what == "range" else None
        self._missing[task.name] = {
            "what": task.what, "layer": task.layer, "channels": list(task.channels), "pictures": pictures, "reason": reason,
        }  # fmt: skip

    def content(self) -> dict[str, Any]:
        """All of it, the same for the same whatever came first."""
        order = {entry["name"]: i for i, entry in enumerate(self.data["layers"])}

        def place(entry: Mapping[str, Any]) -> Any:
            what = _KINDS.index(entry["what"]) if entry["what"] in _KINDS else -1
            return (
                what,
                order.get(entry["layer"], -1),
                entry["channels"],
                entry.get("file", ""),
                str(entry.get("pictures")),
            )

        return {
            **self.data, "shards": sorted(self._shards.values(), key=place),
            "missing": sorted(self._missing.values(), key=place),
        }  # fmt: skip

    def write(self, folder: Path) -> None:
        """Writes atlas.json."""
        write(folder, NAME, (json.dumps(self.content(), indent=1) + "\n").encode())


def read_index(data: bytes, where: str) -> dict[str, Any]:
    """The content of an atlas.json.

    Raises:
        LensError: it is none, or of a later format.
    """
    try:
        found = json.loads(data)
        later = int(found["format"]) > FORMAT
        _ = found["network"]["fingerprint"], found["layers"], found["shards"], found["missing"], found["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise LensError(
            f"{NAME} in {where} is no atlas of nn-lens ({type(error).__name__}: {one_line(error)})."
        ) from None
    if later:
        raise LensError(
            f"The atlas in {where} has format {found['format']}, and this nn-lens reads up to {FORMAT}; upgrade nn-lens."
        )
    return dict(found)


def kept(folder: Path, task: Task) -> dict[str, bytes] | None:
    """The files of a task that was done before, None where they are not whole."""
    try:
        files = {".safetensors": (folder / task.shard).read_bytes()}
        _, about = read_shard(files[".safetensors"])
        if about["key"] != task.key:
            return None
        if "zip" in about:
            files = {".zip": (folder / f"{task.name}.zip").read_bytes(), **files}
            if digest(files[".zip"]) != about["zip"]:
                return None
    except (OSError, LensError, KeyError):
        return None
    return files


def licence_of(source: Any) -> str | None:
    """What a dataset says of the licence of its pictures: its attribute `licence` or `license`, or the first line of such a
    file in its folder.
    """
    items = source.items
    own = getattr(items, "licence", None) or getattr(items, "license", None)
    if isinstance(own, str):
        return own
    if isinstance(items, list) and items and isinstance(items[0], Path):
        for name in ("LICENSE", "LICENCE", "LICENSE.txt", "LICENCE.txt", "LICENSE.md"):
            file = items[0].parent / name
            if file.is_file():
                return next(iter(file.read_text(errors="replace").strip().splitlines()), None)
    return None


def _new(net: Network, fingerprint: str) -> dict[str, Any]:
    return {
        "format": FORMAT,
        "network": {
            "name": net.name, "kind": net.kind, "input_shape": list(net.input_shape), "output_kind": net.output_kind,
            "labels": list(net.labels) if net.labels else None, "fingerprint": fingerprint,
            "said": repr(net),
        },
        "settings": {"seed": SEED, "k": K, "sample": SAMPLE},
        "dataset": None, "layers": [], "shards": [], "missing": [],
    }  # fmt: skip


def _layer(net: Network, name: str) -> dict[str, Any]:
    layer = net[name]
    layout = layer.layout
    return {
        "name": name, "kind": layer.kind, "output_shape": list(layer.output_shape), "channels": layer.channels,
        "parameters": layer.parameters, "filter": list(filter_shape(net, name) or ()) or None,
        "layout": {
            "kind": layout.kind, "channels": layout.channels, "grid": list(layout.grid), "extra": layout.extra,
            "batch_axis": layout.batch_axis,
        },
    }  # fmt: skip
