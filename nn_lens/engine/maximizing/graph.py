"""What one input's way to the goal tells before the loop begins: its last rectifiers, whether a gradient comes through, and
the memory and the work that it takes.
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import flop_registry

from nn_lens.engine.maximizing.gradients import Flowing
from nn_lens.engine.maximizing.plan import Plan
from nn_lens.engine.maximizing.rectifiers import LastRectifiers
from nn_lens.engine.network.network import Network
from nn_lens.errors import LensError


@dataclass(frozen=True)
class GraphFacts:
    """`last_rectifiers`: the calls that stand last before the goal; `bytes_each` that a picture keeps for its backward pass.

    `flowing`: whether the gradient has to be let through where the model cuts it. `cut`: the layer that no gradient
    comes from all the same, "" for the model's answer, None where there is none. `work`: multiplications and additions.
    `rectifiers`: how many calls there are in all.
    """

    last_rectifiers: frozenset[int]
    bytes_each: int
    flowing: bool = False
    cut: str | None = None
    work: float = 0.0
    rectifiers: int = 0

    def opened(self, more: int) -> frozenset[int]:
        """The last rectifiers, and as many `more` as stand nearest before them."""
        before = [n for n in range(self.rectifiers) if n not in self.last_rectifiers]
        return self.last_rectifiers | frozenset(before[-more:])


class Work(TorchDispatchMode):
    """Counts, into `total`, the multiplications and additions of what is called inside the block, by torch's own formulas."""

    supports_higher_order_operators = True

    def __init__(self) -> None:
        super().__init__()
        self.total = 0.0

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Asked by torch, which else gets its compiler ready for the first pass, for seconds."""
        return False

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        formula = flop_registry.get(getattr(func, "overloadpacket", None))
        if formula is not None:
            self.total += formula(*args, **(kwargs or {}), out_val=result)
        return result


def graph_facts(net: Network, plan: Plan) -> GraphFacts:
    """Of one forward pass of a grey picture."""
    facts = _facts(net, plan, False)
    if facts.cut is None:
        return facts
    try:
        through = _facts(net, plan, True)
    except LensError:  # what needs numbers without a graph, such as a detour through numpy
        return facts
    return facts if through.cut is not None else through


def _facts(net: Network, plan: Plan, flowing: bool) -> GraphFacts:
    kept: dict[int, torch.UntypedStorage] = {}

    def count(t: torch.Tensor) -> Any:
        # Weights are kept anyway, and views share their bytes. Nothing is given back, as there is no backward pass: a
        # layer's own answer, kept by its graph, would keep the graph alive for ever.
        if not t.requires_grad or t.grad_fn is not None:
            kept[t.untyped_storage().data_ptr()] = t.untyped_storage()

    weights = {p.untyped_storage().data_ptr() for p in net.model.parameters()}
    x = torch.full((1, *plan.shape), 0.5)
    work = Work()
    with net.evaluation(), torch.enable_grad(), LastRectifiers() as noted, Flowing() if flowing else nullcontext():
        with torch.autograd.graph.saved_tensors_hooks(count, lambda nothing: nothing), work:
            maps = net.outputs(x.requires_grad_(), plan.objective([0]).layers)
        last = frozenset[int]().union(*(noted.behind(m) for m in maps.values()))
    cut = next((name for name, m in maps.items() if not m.requires_grad), None)
    bytes_each = sum(s.nbytes() for pointer, s in kept.items() if pointer not in weights)
    return GraphFacts(last, bytes_each, flowing, cut, work.total, noted.calls)
