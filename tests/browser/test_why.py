"""Why this answer, unit by unit, in a real page: walking to a unit, steering it, comparing classes, looking at a mistake."""

from __future__ import annotations

import re

import pytest
import torch
from models import Closed

import nn_lens as nl
from browser.panel import Panel

CELL = (
    "import nn_lens as nl\nnet = nl.demo('digits')\n"
    "lens = nl.Lens(net, unit='relu2:3', picture=net.samples['digit 0'], view='evidence')\nlens"
)
SHOWN = "(card) => document.querySelector(`.nn-lens .card.${card}`).dataset.shown"


@pytest.fixture(scope="module")
def panel(opened):
    notebook = opened("why.ipynb", [CELL])
    yield Panel(notebook, 120_000)
    assert not notebook.problems, "the console is free of errors"


def until(panel, card, test):
    panel.page.wait_for_function(f"() => {{ const shown = ({SHOWN})('{card}'); return {test} }}", timeout=90_000)


def test_a_click_walks_to_a_unit_that_speaks_for_the_answer(panel):
    until(panel, "contributions", "shown.endsWith(' 4')")
    net = nl.demo("digits")
    sample = net.samples["digit 0"]
    expected = nl.contributions(net, sample, int(net.scores(sample).argmax()), "relu2", 8, control=False)
    rows = panel.page.locator(".nn-lens .contributions button.speaks")
    assert [r.split(" ")[0] for r in rows.evaluate_all("all => all.map(e => e.ariaLabel)")] == list(
        map(str, expected.units)
    )
    assert panel.pixels(".contributions button.speaks:nth-child(2) .seen canvas:nth-child(2)").std() > 5
    words = panel.text(".contributions .sum").replace("− ", "-").replace("+ ", "+")
    score, *parts = [float(number) for number in re.findall(r"[-+]?\d+(?:\.\d+)?", words)]
    assert score == pytest.approx(net.scores(sample).max(), rel=0.01)
    assert score == pytest.approx(sum(parts), abs=1e-9), "it adds up as it stands"
    rows.first.click()
    panel.notebook.until("result = str(lens.unit)", str(expected.units[0]))
    panel.notebook.python("lens.unit = 'relu2:3'; result = 0")


def test_the_words_above_the_columns_stay_in_sight(panel):
    """Under the controls, as far as the rows go."""
    page = panel.page
    edges = """() => ['.controls', '.contributions .speaks.head', '.contributions button.speaks:last-child'].map((part) => {
      const box = document.querySelector(`.nn-lens ${part}`).getBoundingClientRect(); return [box.top, box.bottom] })"""
    page.locator(".nn-lens .contributions button.speaks").last.evaluate("row => row.scrollIntoView({block: 'center'})")
    page.wait_for_function(
        f"() => {{ const [bar, head, row] = ({edges})(); return head[0] >= bar[1] - 1 && head[1] <= row[0] + 1 }}"
    )
    head = page.locator(".nn-lens .contributions .speaks.head")
    assert head.evaluate("e => e.contains(document.elementFromPoint(e.getBoundingClientRect().x + 20, "
                         "e.getBoundingClientRect().y + 5))"), "nothing covers them"  # fmt: skip
    head.evaluate("e => e.closest('.card').scrollIntoView({block: 'start'})")
    page.wait_for_function(f"() => {{ const [bar, head] = ({edges})(); return head[0] >= bar[1] - 1 }}")


def test_rather_than_another_class_is_asked_of_both_cards(panel):
    panel.page.select_option(".nn-lens .contributions select[aria-label^=rather]", index=1)
    until(panel, "attribution", "shown.includes(' rather than ')")
    panel.page.wait_for_function(
        "() => document.querySelector('.nn-lens .contributions .note').textContent.includes('rather than')"
    )
    panel.page.select_option(".nn-lens .contributions select[aria-label^=rather]", index=0)


def test_a_unit_is_steered_at_the_locked_place(panel):
    until(panel, "ablation", "shown === 'relu2:3 1'")
    panel.notebook.python("lens.unit = 'relu2:3@1,1'; result = 0")
    panel.page.select_option(".nn-lens .ablation .steer select", "here")
    panel.page.locator(".nn-lens .ablation input[type=range]").focus()
    panel.page.keyboard.press("Home")
    until(panel, "ablation", "shown === 'relu2:3 0 at 1,1'")
    panel.page.wait_for_function("() => !document.querySelector('.nn-lens .later').classList.contains('stale')")
    panel.notebook.python("lens.unit = 'relu2:3'; result = 0")


def test_a_mistake_becomes_the_picture_and_asks_why(panel):
    panel.page.click(".nn-lens .mistakes button.look")
    until(panel, "mistakes", "shown.endsWith(' finished')")
    expected = nl.mistakes(nl.demo("digits"), progress=False)
    first = panel.page.locator(".nn-lens .mistakes .tile").first
    one = expected.wrong[0]
    assert first.get_attribute("title").startswith(f"{one.true}, called {one.said}, ")
    first.click()
    until(panel, "attribution", f"shown.includes('{one.said} rather than {one.true}')")


def test_cards_say_why_parts_are_missing_and_whom_the_slider_steers(shown):
    """A body that runs under no_grad: its units add something, but where they take it from cannot be followed."""
    net = nl.Network(Closed(), (3, 20, 24), False)
    lens = nl.Lens(net, unit="then:1", view="evidence", picture=torch.rand(3, 20, 24), dataset=torch.rand(6, 3, 20, 24))
    panel = shown(lens)
    panel.wait(".contributions .unfollowed", "e.textContent.includes('no gradient comes through')")
    panel.wait(".contributions", "e.dataset.shown.endsWith(' 3')")  # maps, images, real pictures
    heads = panel.page.locator(".nn-lens .contributions .head .seen span").all_inner_texts()
    assert heads == ["its map", "it wants", "real pictures of it"]
    assert panel.page.locator(".nn-lens .contributions button.speaks").first.locator("canvas").count() == 5
    assert "coloured picture" not in panel.text(".contributions .note")
    panel.wait(".ablation .note", "e.textContent.includes('All other cards show the network as it is')")
