"""What one forward pass tells before the loop begins: its work as torch counts it, without torch's compiler."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from models import small, torchvision_network
from torch.utils.flop_counter import FlopCounterMode
from zoo import NETWORKS

import nn_lens as nl
from nn_lens.engine.maximizing.graph import graph_facts
from nn_lens.engine.maximizing.plan import read_goal


def squeezenet() -> nl.Network:
    return torchvision_network("squeezenet1_1")


def transformer() -> nl.Network:
    model, options = NETWORKS["vision transformer"]()
    return nl.Network(model, **options)


@pytest.mark.parametrize("make", [small, squeezenet, transformer])
def test_the_work_is_what_torch_counts(make):
    net = make()
    layer = net.layers[-1].name
    plan = read_goal(net, f"{layer}:0", net.input_shape[1:])
    counter = FlopCounterMode(display=False)
    x = net.normalized(torch.full((1, *net.input_shape), 0.5)).requires_grad_()
    with net.evaluation(), counter:
        net.model(x)
    assert graph_facts(net, plan).work == counter.get_total_flops() > 0


def test_the_first_picture_does_not_wait_for_torchs_compiler():
    code = (
        "import sys, nn_lens as nl; net = nl.demo(); nl.maximize(net, 'relu2:1', steps=2);"
        " nl.contributions(net, net.samples['cat'], 0, 'relu2'); assert 'torch._dynamo' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
