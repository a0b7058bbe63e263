"""The examples in the public names' docstrings run, and every public name has one.

They read as in a notebook: `nl`, `np` and `torch` are there.
"""

from __future__ import annotations

import doctest
import inspect
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

import nn_lens as nl


def documented() -> dict[str, Any]:
    """The public functions and classes by name, those of public modules too; exceptions need no example."""
    everything: dict[str, Any] = {}
    for name in nl.__all__:
        value = getattr(nl, name)
        if isinstance(value, ModuleType):
            for inner, function in inspect.getmembers(value, inspect.isfunction):
                if function.__module__ == value.__name__ and not inner.startswith("_"):
                    everything[f"{name}.{inner}"] = function
        elif callable(value) and not (inspect.isclass(value) and issubclass(value, Exception)):
            everything[name] = value
    return everything


def examples(value: Any, name: str) -> list[doctest.DocTest]:
    """The docstring's examples, and for a class those of its methods."""
    found = doctest.DocTestFinder(exclude_empty=True).find(value, name, globs={"nl": nl, "np": np, "torch": torch})
    return [test for test in found if test.examples]


@pytest.mark.parametrize("name", documented())
def test_the_examples_run(name):
    tests = examples(documented()[name], name)
    assert tests, f"{name} has no example: add two or three lines with >>> to its docstring"
    said: list[str] = []
    runner = doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE)
    for test in tests:
        runner.run(test, out=said.append)
    assert not runner.failures, "".join(said)


def test_a_name_without_an_example_is_noticed():
    def plain() -> None:
        """It has none."""

    assert not examples(plain, "plain")
    assert "directions.random" in documented()
    assert "LensError" not in documented()
    assert "IMAGENET" not in documented()
