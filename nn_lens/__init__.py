"""nn-lens: what has my network learned, which features does it look for, and why?

Names load when they are first used (PEP 562): importing nn_lens loads no torch.
"""

from __future__ import annotations

import importlib
import importlib.metadata
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "LensError": "errors",
    "Unit": "units",
    "Direction": "units",
    "Network": "engine.network",
    "IMAGENET": "engine.network",
    "filters": "engine.filters",
    "arithmetic": "engine.arithmetic",
    "building_blocks": "engine.blocks",
    "correlated": "engine.arithmetic",
    "activations": "engine.activations",
    "receptive_field": "engine.receptive_field",
    "maximize": "engine.maximize",
    "maximize_steps": "engine.maximize",
    "restarts": "engine.restarts",
    "dataset_examples": "engine.examples",
    "dataset_examples_steps": "engine.examples",
    "attribute": "engine.attribution",
    "attribute_all": "engine.attribution",
    "occlusion_steps": "engine.attribution",
    "ablate": "engine.ablation",
    "incoming": "engine.incoming",
    "embedding": "engine.embedding",
    "randomized": "engine.randomized",
    "linear_maximizers": "engine.linear",
    "sample_unit": "engine.belief",
    "demo": "networks",
    "Session": "sessions.session",
    "Lens": "widgets.lens",
    "FiltersView": "widgets.filters",
    "MaximizationView": "widgets.maximization",
    "ActivationsView": "widgets.activations",
    "ExamplesView": "widgets.examples",
    "AttributionView": "widgets.attribution",
    "KernelLab": "widgets.kernel_lab",
}
_MODULES = {
    "objectives": "engine.objectives",
    "parametrizations": "engine.parametrizations",
    "transforms": "engine.transforms",
    "directions": "engine.directions",
    "trust": "engine.trust",
}

if TYPE_CHECKING:
    from nn_lens.engine import directions as directions
    from nn_lens.engine import objectives as objectives
    from nn_lens.engine import parametrizations as parametrizations
    from nn_lens.engine import transforms as transforms
    from nn_lens.engine import trust as trust
    from nn_lens.engine.ablation import ablate as ablate
    from nn_lens.engine.activations import activations as activations
    from nn_lens.engine.arithmetic import arithmetic as arithmetic
    from nn_lens.engine.arithmetic import correlated as correlated
    from nn_lens.engine.attribution import attribute as attribute
    from nn_lens.engine.attribution import attribute_all as attribute_all
    from nn_lens.engine.attribution import occlusion_steps as occlusion_steps
    from nn_lens.engine.belief import sample_unit as sample_unit
    from nn_lens.engine.blocks import building_blocks as building_blocks
    from nn_lens.engine.embedding import embedding as embedding
    from nn_lens.engine.examples import dataset_examples as dataset_examples
    from nn_lens.engine.examples import dataset_examples_steps as dataset_examples_steps
    from nn_lens.engine.filters import filters as filters
    from nn_lens.engine.incoming import incoming as incoming
    from nn_lens.engine.linear import linear_maximizers as linear_maximizers
    from nn_lens.engine.maximize import maximize as maximize
    from nn_lens.engine.maximize import maximize_steps as maximize_steps
    from nn_lens.engine.network import IMAGENET as IMAGENET
    from nn_lens.engine.network import Network as Network
    from nn_lens.engine.randomized import randomized as randomized
    from nn_lens.engine.receptive_field import receptive_field as receptive_field
    from nn_lens.engine.restarts import restarts as restarts
    from nn_lens.errors import LensError as LensError
    from nn_lens.networks import demo as demo
    from nn_lens.sessions.session import Session as Session
    from nn_lens.units import Direction as Direction
    from nn_lens.units import Unit as Unit
    from nn_lens.widgets.activations import ActivationsView as ActivationsView
    from nn_lens.widgets.attribution import AttributionView as AttributionView
    from nn_lens.widgets.examples import ExamplesView as ExamplesView
    from nn_lens.widgets.filters import FiltersView as FiltersView
    from nn_lens.widgets.kernel_lab import KernelLab as KernelLab
    from nn_lens.widgets.lens import Lens as Lens
    from nn_lens.widgets.maximization import MaximizationView as MaximizationView

__all__ = sorted([*_PUBLIC, *_MODULES])


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"nn_lens.{_MODULES[name]}")
    if name in _PUBLIC:
        value = getattr(importlib.import_module(f"nn_lens.{_PUBLIC[name]}"), name)
        globals()[name] = value
        return value
    if name == "__version__":
        return importlib.metadata.version("nn-lens")
    from nn_lens.errors import nearest

    near = nearest(name, __all__)
    hint = f"; did you mean {', '.join(near)}?" if near else ""
    raise AttributeError(f"nn_lens has no {name!r}{hint}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
