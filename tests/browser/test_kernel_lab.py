"""The kernel lab and the arithmetic of the panel in a real JupyterLab."""

from __future__ import annotations

import numpy as np
import pytest

import nn_lens as nl
from browser.panel import Panel
from nn_lens.widgets.bundle import BUNDLE

LAB = "import nn_lens as nl\n\nnet = nl.demo()\nlab = nl.KernelLab(net=net)\nlab"
LENS = 'import nn_lens as nl\n\nnet = nl.demo()\nlens = nl.Lens(net, unit="relu1:3", picture=net.samples["cat"])\nlens'


@pytest.fixture(scope="module")
def kernels(opened):
    notebook = opened("lab.ipynb", [LAB])
    panel = Panel(notebook, 120_000)
    panel.page.wait_for_function("() => document.querySelector('.nn-lens .lab')?.dataset.answer")
    yield panel
    assert not notebook.problems, "the console is free of errors"


def answer(panel: Panel) -> tuple[int, int, float]:
    place, value = panel.page.locator(".nn-lens .lab").get_attribute("data-answer").split()
    row, column = place.split(",")
    return int(row), int(column), float(value)


def python_answer(panel: Panel, row: int, column: int) -> float:
    return float(panel.notebook.python(f"result = float(lab.map[{row}, {column}])"))


def test_typing_in_the_kernel_changes_answer_and_map(kernels):
    row, column, value = answer(kernels)
    assert value == pytest.approx(python_answer(kernels, row, column), abs=1e-5)
    kernels.page.locator(".nn-lens .cells input").nth(4).fill("2.5")
    kernels.notebook.until("result = lab.kernel[1][1]", 2.5)
    assert answer(kernels)[2] == pytest.approx(python_answer(kernels, row, column), abs=1e-5)
    products = kernels.page.locator(".nn-lens .equation table").nth(2).locator("td").all_inner_texts()
    assert sum(map(float, products)) == pytest.approx(answer(kernels)[2], abs=0.2)


def test_presets_stride_padding_and_relu(kernels):
    for preset in ("stripes (Gabor)", "left to right (Sobel)", "conv1:5"):
        kernels.page.select_option(".nn-lens .lab select >> nth=0", label=preset)
        kernels.page.locator(".nn-lens input[aria-label=stride]").fill("2")
        kernels.page.locator(".nn-lens input[aria-label=stride]").blur()
        kernels.page.locator(".nn-lens input[aria-label=padding]").fill("3")
        kernels.page.locator(".nn-lens input[aria-label=padding]").blur()
        kernels.notebook.until("result = [lab.stride, lab.padding]", [2, 3])
        row, column, value = answer(kernels)
        assert value == pytest.approx(python_answer(kernels, row, column), abs=1e-5)
    kernels.page.locator(".nn-lens .lab label:has-text('ReLU') input").check()
    kernels.notebook.until("result = lab.rectified", True)
    low = kernels.page.locator(".nn-lens .lab-row figure:last-child figcaption").inner_text()
    assert ": 0 to" in low


def test_the_kernel_slides_with_the_pointer_and_the_keys(kernels):
    frame = kernels.page.locator(".nn-lens .slides").nth(1)
    box = frame.bounding_box()
    kernels.page.mouse.move(box["x"] + box["width"] / 3, box["y"] + box["height"] / 3)
    row, column, value = answer(kernels)
    assert value == pytest.approx(python_answer(kernels, row, column), abs=1e-5)
    frame.focus()
    kernels.page.keyboard.press("ArrowDown")
    assert answer(kernels)[:2] == (row + 1, column)


def test_painting(kernels):
    kernels.page.select_option(".nn-lens .lab select >> nth=0", label="nothing (one)")
    kernels.page.locator(".nn-lens .lab label:has-text('paint') input[type=checkbox]").check()
    kernels.page.locator(".nn-lens input[aria-label=brush]").fill("3")
    cells = kernels.page.locator(".nn-lens .cells input")
    first, last = cells.nth(0).bounding_box(), cells.nth(2).bounding_box()
    kernels.page.mouse.move(first["x"] + 5, first["y"] + 5)
    kernels.page.mouse.down()
    kernels.page.mouse.move(last["x"] + 5, last["y"] + 5, steps=8)
    kernels.page.mouse.up()
    kernels.notebook.until("result = lab.kernel[0]", [3, 3, 3])


def test_python_sets_the_kernel(kernels):
    kernels.notebook.python("lab.kernel = [[1, 2], [3, 4]]; lab.stride = 1; result = 0")
    kernels.page.wait_for_function("() => document.querySelectorAll('.nn-lens .cells input').length === 4")
    row, column, value = answer(kernels)
    assert value == pytest.approx(python_answer(kernels, row, column), abs=1e-5)


def test_the_whole_map_equals_torch(kernels):
    """The browser's own arithmetic, for every place, against `nl.correlated`."""
    random = np.random.default_rng(0)
    picture, kernel = random.random((17, 23), np.float32), random.standard_normal((5, 3)).astype(np.float32)
    source = BUNDLE.read_text(encoding="utf-8")
    for stride, padding, rectified in ((1, 0, False), (2, 1, True), (3, 2, False)):
        found = kernels.page.evaluate(
            """async ([source, picture, kernel, stride, padding, rectified]) => {
              const url = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
              const { correlate } = await import(url);
              const plane = ([height, width, values]) => ({ height, width, values: new Float32Array(values) });
              const found = correlate(plane(picture), { kernel: plane(kernel), stride, padding, rectified });
              return [found.height, found.width, [...found.values]];
            }""",
            [source, [*picture.shape, picture.ravel().tolist()], [*kernel.shape, kernel.ravel().tolist()], stride, padding,
             rectified],
        )  # fmt: skip
        expected = nl.correlated(picture, kernel, stride, padding, rectified)
        assert tuple(found[:2]) == expected.shape
        np.testing.assert_allclose(np.reshape(found[2], expected.shape), expected, atol=1e-5)


def test_the_multiplication_behind_a_place(opened):
    notebook = opened("arithmetic.ipynb", [LENS])
    panel = Panel(notebook, 120_000)
    panel.wait_for_unit("relu1:3")
    panel.notebook.python("lens.unit = 'relu1:3@10,12'; result = 0")
    found = nl.arithmetic(nl.demo(), nl.demo().samples["cat"], "relu1:3@10,12")
    panel.wait(".card.arithmetic", "e.dataset.shown.startsWith('conv1:3@10,12')")
    shown = panel.page.locator(".nn-lens .arithmetic").get_attribute("data-shown").split()
    assert float(shown[1]) == pytest.approx(found.value, abs=1e-4)
    assert panel.page.locator(".nn-lens .arithmetic .equation").count() == 3
    words = panel.page.locator(".nn-lens .arithmetic .total").inner_text()
    assert "→ norm1 →" in words
    assert "→ relu1 →" in words
    panel.notebook.python("lens.unit = 'pool2:3@2,2'; result = 0")
    panel.wait(".card.arithmetic .note", "e.textContent.includes('is no convolution')")
    panel.notebook.python("lens.unit = 'conv1:3'; lens.view = 'kernel'; result = 0")
    panel.page.select_option(".nn-lens .kernel-lab select >> nth=0", label="conv1:3, its colours added up")
    assert not notebook.problems
