"""What an exported page holds, and what cannot be exported."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
import torch
from models import small
from PIL import Image

import nn_lens as nl


def stored(text: str) -> dict:
    return json.loads(re.search(r'id="stored">(.*?)</script>', text, re.S)[1])


def test_the_page_holds_the_layers_that_were_named(tmp_path):
    lens = nl.Lens(small(), unit="3:2")
    lens.to_html(tmp_path / "page.html", layers=["0", "3"])
    text = (tmp_path / "page.html").read_text()
    data = stored(text)
    assert [d["name"] for d in data["traits"]["_network"]["layers"]] == ["0", "3"]
    asked = [(a["question"]["what"], a["question"].get("layer")) for a in data["answers"]]
    assert ("maps", "0") in asked
    assert ("page", "3") in asked
    assert not [a for a in data["answers"] if "error" in a and a["question"]["what"] in ("maps", "page", "filters")]
    lens.close()


def test_the_browsers_own_questions_go_on(tmp_path):
    lens = nl.Lens(small(), unit="3:2")
    assert [head["type"] for head, _ in lens._conversation.answers("filters", layer="3", start=0, count=8)] == [
        "filters"
    ]
    with pytest.raises(nl.LensError, match="has no filters"):
        list(lens._conversation.answers("filters", layer="2", start=0, count=6))
    assert not lens._conversation._recorded
    lens.close()


def test_what_cannot_be_written_is_named(tmp_path):
    lens = nl.Lens(small(), unit="3:2")
    with pytest.raises(nl.LensError, match="cannot be written: there is no folder"):
        lens.to_html(tmp_path / "no" / "page.html")
    with pytest.raises(nl.LensError, match="There is no layer 'moon'"):
        lens.to_html(tmp_path / "page.html", layers=["moon"])
    with pytest.raises(nl.LensError, match="at least one layer"):
        lens.to_html(tmp_path / "page.html", layers=[])
    lens.close()


@pytest.mark.parametrize(
    "view",
    ["filters", "maximization", "unit", "activations", "arithmetic", "examples", "directions", "ablation", "incoming"],
)
def test_views_are_printed(view, tmp_path):
    lens = nl.Lens(small(), unit="3:2@1,1", dataset=torch.rand(12, 3, 20, 28))
    lens.save_png(tmp_path / "view.png", view, dpi=120)
    image = Image.open(tmp_path / "view.png")
    assert image.info["dpi"][0] == pytest.approx(120, abs=0.1)
    assert np.asarray(image.convert("L")).std() > 3
    lens.close()


def test_all_of_a_panel_is_printed_and_what_is_not_says_why(tmp_path, demo):
    lens = nl.Lens(demo, unit="conv1:3", picture=demo.samples["cat"])
    lens.save_png(tmp_path / "all.png", dpi=80)
    lens.save_png(tmp_path / "maps.png", "activations", dpi=80)
    whole, part = Image.open(tmp_path / "all.png"), Image.open(tmp_path / "maps.png")
    assert whole.height > 2 * part.height
    with pytest.raises(nl.LensError, match="'kernel' has no figure"):
        lens.save_png(tmp_path / "x.png", "kernel")
    with pytest.raises(nl.LensError, match="cannot be written"):
        lens.save_png(tmp_path / "no" / "x.png", "filters")
    lens.close()
    view = nl.FiltersView(demo, unit="conv1:3")
    view.save_png(tmp_path / "filters.png", dpi=80)
    view.close()
