"""The public names, and where they are: read by type checkers, and by __init__.py itself."""

from nn_lens.atlas.atlas import Atlas as Atlas
from nn_lens.atlas.sweeping import sweep as sweep
from nn_lens.engine.evidence import directions as directions
from nn_lens.engine.evidence import trust as trust
from nn_lens.engine.evidence.ablation import ablate as ablate
from nn_lens.engine.evidence.attribution.attribute import attribute as attribute
from nn_lens.engine.evidence.attribution.attribute import attribute_all as attribute_all
from nn_lens.engine.evidence.attribution.attribute import occlusion_steps as occlusion_steps
from nn_lens.engine.evidence.contributions import contributions as contributions
from nn_lens.engine.evidence.embedding import embedding as embedding
from nn_lens.engine.evidence.examples import dataset_examples as dataset_examples
from nn_lens.engine.evidence.examples import dataset_examples_steps as dataset_examples_steps
from nn_lens.engine.evidence.mistakes import mistakes as mistakes
from nn_lens.engine.evidence.mistakes import mistakes_steps as mistakes_steps
from nn_lens.engine.evidence.steering import steer as steer
from nn_lens.engine.maximizing import objectives as objectives
from nn_lens.engine.maximizing import parametrizations as parametrizations
from nn_lens.engine.maximizing import transforms as transforms
from nn_lens.engine.maximizing.belief import sample_unit as sample_unit
from nn_lens.engine.maximizing.linear import linear_maximizers as linear_maximizers
from nn_lens.engine.maximizing.maximize import maximize as maximize
from nn_lens.engine.maximizing.maximize import maximize_steps as maximize_steps
from nn_lens.engine.maximizing.restarts import restarts as restarts
from nn_lens.engine.network.carried import IMAGENET as IMAGENET
from nn_lens.engine.network.network import Network as Network
from nn_lens.engine.network.network import receptive_field as receptive_field
from nn_lens.engine.network.randomized import randomized as randomized
from nn_lens.engine.reading.activations import activations as activations
from nn_lens.engine.reading.arithmetic import arithmetic as arithmetic
from nn_lens.engine.reading.arithmetic import correlated as correlated
from nn_lens.engine.reading.building_blocks import building_blocks as building_blocks
from nn_lens.engine.reading.filters import filters as filters
from nn_lens.engine.reading.incoming import incoming as incoming
from nn_lens.errors import LensError as LensError
from nn_lens.networks import demo as demo
from nn_lens.networks.loading import load as load
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

__all__: list[str]
__version__: str
