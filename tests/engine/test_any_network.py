"""Six small networks of the sweep, asked everything; tests/benchmarks/any_network.py does it with all of them."""

from __future__ import annotations

import pytest
from benchmarks.any_network import QUESTIONS, Trial

HAVE_NO_SENSE = {
    "own lstm": {"incoming": "made by lstm, which is no weighted sum"},
    "own table": {"grad_cam": "which have no places"},
}
NAMES = (
    "own residual", "own unet", "own lstm", "own table",
    "torchvision shufflenet_v2_x0_5", "torchvision mobilenet_v3_small",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_everything_works_and_is_what_plain_torch_says(name):
    cells = dict(Trial(name).cells())
    assert set(cells) == set(QUESTIONS)
    for question, (outcome, said, _) in cells.items():
        why = HAVE_NO_SENSE.get(name, {}).get(question)
        assert outcome == ("says why" if why else "works"), (question, said)
        assert (why or "") in said
