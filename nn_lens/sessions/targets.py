"""What evidence is asked for, as views name it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from nn_lens.engine.network.answers import meaning
from nn_lens.engine.network.network import Network
from nn_lens.errors import LensError
from nn_lens.sessions.session import Session
from nn_lens.units import Unit

Target = int | str | Unit | list[Any] | tuple[Any, ...]
"""The rank of a class among a network's answers, 0 the most probable; "#7", the class of that index; a unit or its text; or
two of these: this rather than that."""


def ranked(net: Network, picture: Any) -> list[int]:
    """The classes, those with the largest values first, as `Network.predict` ranks them."""
    meant = meaning(torch.from_numpy(net.scores(picture)), net.output_kind or "logits")
    return [int(i) for i in np.argsort(-meant.numpy(), kind="stable")]


def resolved(session: Session, picture: Any, key: str, target: Target) -> Any:
    """A target as the engine takes it. key: names the picture."""
    if isinstance(target, (list, tuple)):
        return tuple(resolved(session, picture, key, one) for one in target)
    if isinstance(target, int):
        net = session.network()
        order = session.latest.get(("ranked", session.running, key), lambda: ranked(net, picture))
        if not 0 <= target < len(order):
            raise LensError(f"{net.name} has {len(order)} classes, of which none is number {target + 1}.")
        return order[target]
    if isinstance(target, str) and target.startswith("#"):
        return int(target[1:])
    return target if isinstance(target, Unit) else Unit.parse(target)
