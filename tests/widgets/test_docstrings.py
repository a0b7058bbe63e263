"""The examples in the docstrings of the widgets and of the session do what they say."""

from __future__ import annotations

import doctest

import pytest

import nn_lens as nl
from nn_lens.sessions import session
from nn_lens.widgets import kernel_lab, lens, views

EXAMPLES = [
    test
    for module in (session, lens, views, kernel_lab)
    for test in doctest.DocTestFinder().find(module, extraglobs={"nl": nl})
    if test.examples
]


def test_every_public_widget_has_an_example():
    names = {test.name.rsplit(".", 1)[1] for test in EXAMPLES}
    assert names >= {name for name in nl.__all__ if name.endswith("View")} | {"Lens", "KernelLab", "Session"}


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda test: test.name)
def test_examples_do_what_they_say(example):
    assert doctest.DocTestRunner().run(example).failed == 0
