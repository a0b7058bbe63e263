"""A plugin of pytest for nbval: a cell whose output should be a picture has one, not the text of an object."""

from __future__ import annotations

import pytest

TEXTS = ("<Figure", "<Axes", "(<", "[<", "<Maximized", "<Restarts")
"""Beginnings of texts that stand for what should have been a picture."""


@pytest.hookimpl(trylast=True)
def pytest_runtest_call(item: pytest.Item) -> None:
    """Fails a cell that has run and shows the text of a figure."""
    for output in getattr(item, "test_outputs", None) or ():
        data = output.get("data", {})
        text = data.get("text/plain", "").lstrip()
        if text.startswith(TEXTS) and not {"image/png", "text/html"} & data.keys():
            pytest.fail(f"a cell shows text in place of a picture: {text[:80]}", pytrace=False)
        if "image/png" in data:
            print(f"picture in {item.name}")  # counted by the test that runs this
