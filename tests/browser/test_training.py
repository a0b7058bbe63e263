"""A training that the panel follows, and a slider that goes back through it, in a real JupyterLab."""

from __future__ import annotations

import numpy as np
import pytest

from browser.panel import Panel

MAKE = """import pathlib, time, torch, nn_lens as nl
torch.manual_seed(0)
model = torch.nn.Sequential(
    torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Conv2d(8, 12, 3), torch.nn.ReLU(),
    torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(12, 10))
net = nl.Network(model, (1, 16, 16), False)
lens = nl.Lens(net, picture=nl.demo().samples["cat"])
lens"""
TRAIN = """optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
x = torch.rand(64, 1, 16, 16)
for step in range(6):
    optimizer.zero_grad()
    torch.nn.functional.cross_entropy(model(x), torch.arange(64) % 10).backward()
    with torch.no_grad():
        for p in model.parameters():
            p += 0.3 * torch.randn_like(p)
    optimizer.step()
    lens.record(10 * step)
    for _ in range(1200):  # until the test has seen this step, for a minute at most
        if pathlib.Path(f"seen {10 * step}").exists():
            break
        time.sleep(0.05)
    time.sleep(0.6)  # of the steps recorded within half a second the panel shows one"""


@pytest.fixture(scope="module")
def panel(opened):
    notebook = opened("training.ipynb", [MAKE])
    panel = Panel(notebook, 120_000)
    panel.wait("canvas.map", "e.dataset.shown?.endsWith(' 0:0')")
    panel.wait(".card.filters", "e.dataset.shown === '0:0'")
    yield panel
    assert not notebook.problems, "the console is free of errors"


def shown(panel: Panel) -> tuple[bytes, bytes]:
    """The pixels of the selected unit's map and filter."""
    return panel.pixels("canvas.map").tobytes(), panel.pixels(".unit-row canvas").tobytes()


def settle(panel: Panel, text: str) -> None:
    panel.wait(".time + .text", f"e.textContent.startsWith({text!r})")
    panel.page.wait_for_function(
        "() => !document.querySelector('.nn-lens canvas.map.stale, .nn-lens .card.filters.stale')"
    )


def test_the_panel_follows_a_training_in_a_running_cell(panel, lab):
    assert panel.page.locator(".nn-lens .time").is_hidden(), "nothing is recorded yet"
    before = shown(panel)
    kernel = "window.jupyterapp.shell.currentWidget.sessionContext.session.kernel"
    panel.page.evaluate(
        f"""(code) => {{
          window.trained = false;
          window.training = {kernel}.requestExecute({{ code }}).done.then(() => {{ window.trained = true; }});
        }}""",
        TRAIN,
    )
    seen = set()
    for step in range(0, 60, 10):
        settle(panel, f"step {step} ")
        assert not panel.page.evaluate("() => window.trained"), "while the cell runs"
        seen.add(shown(panel)[0])
        (lab[1] / f"seen {step}").touch()
    assert len(seen) == 6
    assert before[0] not in seen
    panel.page.evaluate("() => window.training")
    settle(panel, "the model as it is")
    assert "6 recorded" in panel.text(".time + .text")


def test_the_slider_goes_through_the_training(panel):
    pictures = []
    for position in (0, 1, 5):
        panel.slide("time", position)
        settle(panel, f"step {10 * position} ")
        pictures.append(shown(panel))
        panel.notebook.until("result = lens.step", 10 * position)
    assert len({p[0] for p in pictures}) == len({p[1] for p in pictures}) == 3
    panel.slide("time", 0)
    settle(panel, "step 0 ")
    assert shown(panel) == pictures[0], "the same again"
    expected = panel.notebook.python(
        "import numpy as np\n"
        "old = lens.session.run(lambda s: iter([s.network().model[0].weight[0, 0].numpy().tolist()]))[-1]\n"
        "result = old"
    )
    weights = np.array(expected)
    pixels = panel.pixels(".unit-row canvas").astype(int)
    orange = pixels[..., 0] > pixels[..., 2]
    strong = np.abs(weights) > 0.2 * np.abs(weights).max()
    assert (orange == (weights > 0))[strong].all(), "the filter that is drawn is that of step 0"


def test_a_storm_on_the_slider_ends_where_it_ends(panel):
    for i in range(60):
        panel.slide("time", (i * 5) % 7)
    panel.slide("time", 3)
    settle(panel, "step 30 ")
    storm = shown(panel)
    panel.slide("time", 6)
    settle(panel, "the model as it is")
    panel.slide("time", 3)
    settle(panel, "step 30 ")
    assert shown(panel) == storm
    panel.notebook.until("result = lens.step", 30)


def test_python_moves_the_slider(panel):
    panel.notebook.python("lens.step = 20; result = 0")
    settle(panel, "step 20 ")
    assert panel.page.locator(".nn-lens .time").input_value() == "2"
    panel.notebook.python("lens.step = None; result = 0")
    settle(panel, "the model as it is")


@pytest.mark.parametrize("theme", ["JupyterLab Light", "JupyterLab Dark"])
def test_axe_finds_no_serious_fault(panel, theme):
    panel.theme(theme)
    assert not panel.faults()
