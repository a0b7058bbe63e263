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
    "Network": "engine.network.network",
    "IMAGENET": "engine.network.network",
    "filters": "engine.reading.filters",
    "arithmetic": "engine.reading.arithmetic",
    "building_blocks": "engine.reading.building_blocks",
    "correlated": "engine.reading.arithmetic",
    "activations": "engine.reading.activations",
    "receptive_field": "engine.network.receptive_field",
    "maximize": "engine.maximizing.maximize",
    "maximize_steps": "engine.maximizing.maximize",
    "restarts": "engine.maximizing.restarts",
    "dataset_examples": "engine.evidence.examples",
    "dataset_examples_steps": "engine.evidence.examples",
    "attribute": "engine.evidence.attribution.attribute",
    "attribute_all": "engine.evidence.attribution.attribute",
    "occlusion_steps": "engine.evidence.attribution.attribute",
    "ablate": "engine.evidence.ablation",
    "incoming": "engine.reading.incoming",
    "embedding": "engine.evidence.embedding",
    "randomized": "engine.network.randomized",
    "linear_maximizers": "engine.maximizing.linear",
    "sample_unit": "engine.maximizing.belief",
    "demo": "networks",
    "Session": "sessions.session",
    "Lens": "widgets.lens",
    "FiltersView": "widgets.views",
    "MaximizationView": "widgets.views",
    "ActivationsView": "widgets.views",
    "ExamplesView": "widgets.views",
    "AttributionView": "widgets.views",
    "KernelLab": "widgets.kernel_lab",
}
_MODULES = {
    "objectives": "engine.maximizing.objectives",
    "parametrizations": "engine.maximizing.parametrizations",
    "transforms": "engine.maximizing.transforms",
    "directions": "engine.evidence.directions",
    "trust": "engine.evidence.trust",
}

if TYPE_CHECKING:
    from nn_lens.engine.evidence import directions as directions
    from nn_lens.engine.evidence import trust as trust
    from nn_lens.engine.evidence.ablation import ablate as ablate
    from nn_lens.engine.evidence.attribution.attribute import attribute as attribute
    from nn_lens.engine.evidence.attribution.attribute import attribute_all as attribute_all
    from nn_lens.engine.evidence.attribution.attribute import occlusion_steps as occlusion_steps
    from nn_lens.engine.evidence.embedding import embedding as embedding
    from nn_lens.engine.evidence.examples import dataset_examples as dataset_examples
    from nn_lens.engine.evidence.examples import dataset_examples_steps as dataset_examples_steps
    from nn_lens.engine.maximizing import objectives as objectives
    from nn_lens.engine.maximizing import parametrizations as parametrizations
    from nn_lens.engine.maximizing import transforms as transforms
    from nn_lens.engine.maximizing.belief import sample_unit as sample_unit
    from nn_lens.engine.maximizing.linear import linear_maximizers as linear_maximizers
    from nn_lens.engine.maximizing.maximize import maximize as maximize
    from nn_lens.engine.maximizing.maximize import maximize_steps as maximize_steps
    from nn_lens.engine.maximizing.restarts import restarts as restarts
    from nn_lens.engine.network.network import IMAGENET as IMAGENET
    from nn_lens.engine.network.network import Network as Network
    from nn_lens.engine.network.randomized import randomized as randomized
    from nn_lens.engine.network.receptive_field import receptive_field as receptive_field
    from nn_lens.engine.reading.activations import activations as activations
    from nn_lens.engine.reading.arithmetic import arithmetic as arithmetic
    from nn_lens.engine.reading.arithmetic import correlated as correlated
    from nn_lens.engine.reading.building_blocks import building_blocks as building_blocks
    from nn_lens.engine.reading.filters import filters as filters
    from nn_lens.engine.reading.incoming import incoming as incoming
    from nn_lens.errors import LensError as LensError
    from nn_lens.networks import demo as demo
    from nn_lens.sessions.session import Session as Session
    from nn_lens.units import Direction as Direction
    from nn_lens.units import Unit as Unit
    from nn_lens.widgets.kernel_lab import KernelLab as KernelLab
    from nn_lens.widgets.lens import Lens as Lens
    from nn_lens.widgets.views import ActivationsView as ActivationsView
    from nn_lens.widgets.views import AttributionView as AttributionView
    from nn_lens.widgets.views import ExamplesView as ExamplesView
    from nn_lens.widgets.views import FiltersView as FiltersView
    from nn_lens.widgets.views import MaximizationView as MaximizationView

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
