"""The passes of a session over its dataset, one a layer: each can be left and gone on with, for another unit too."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch

from nn_lens.engine.evidence import directions
from nn_lens.engine.evidence.examples import DatasetExamples, dataset_examples_steps
from nn_lens.engine.network.network import Network
from nn_lens.engine.pictures.datasets import Source, source_of

LAYERS = 4  # whose passes are kept
_DIRECTIONS = 3  # random ones, to compare the units with


@dataclass
class DatasetPass:
    """A layer's pass: what is still to come of it, what is known so far, and whether that is all."""

    steps: Iterator[DatasetExamples]
    known: DatasetExamples | None = None
    finished: bool = False

    def results(self) -> Iterator[tuple[DatasetExamples, bool]]:
        """(what is known, whether that is all), from where the pass is to its end."""
        while not self.finished:
            if self.known is not None:
                yield self.known, False
            with torch.inference_mode(False):
                new = next(self.steps, None)
            self.known, self.finished = new or self.known, new is None
        assert self.known is not None
        yield self.known, True


class DatasetPasses:
    """The latest passes over a dataset; for the worker's thread alone.

    dataset: pictures as `nl.dataset_examples` takes them; None: the network's own.
    """

    def __init__(self, dataset: Any = None) -> None:
        self._dataset = dataset
        self._source: Source | None = None
        self._passes: dict[tuple[int, str], DatasetPass] = {}  # by version of the weights and layer, the last used last

    def source(self, net: Network) -> Source:
        """The dataset, opened once.

        Raises:
            LensError: there is none, or it cannot be read.
        """
        if self._source is None:
            self._source = source_of(net, self._dataset)
        return self._source

    def over(self, net: Network, version: int, layer: str) -> Iterator[tuple[DatasetExamples, bool]]:
        """The results of a layer's pass, whose units are the layer's and some random directions; from where it is.

        version: of the weights that `net` has; passes of others go.
        """
        key = version, layer
        current = self._passes.pop(key, None)
        if current is None:
            units = [layer, *directions.random(net, layer, _DIRECTIONS)]
            current = DatasetPass(dataset_examples_steps(net, units, self.source(net)))
        fresh = {k: v for k, v in self._passes.items() if k[0] == version} | {key: current}
        self._passes = dict(list(fresh.items())[-LAYERS:])
        try:
            yield from current.results()
        except Exception:
            self._passes.pop(key, None)  # what failed begins anew when it is asked for again
            raise

    def clear(self) -> None:
        """Lets go of all passes, and of the opened dataset."""
        self._source = None
        self._passes = {}
