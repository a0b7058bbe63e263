"""The control of every picture: the same network, with what it learned shuffled.

Reference: Adebayo et al., 2018, "Sanity checks for saliency maps".
"""

from __future__ import annotations

import torch

from nn_lens.engine.network.network import Network, as_network


def randomized(net: Network, seed: int = 0) -> Network:
    """A copy of `net` in which the values of each weight are in random order; biases and statistics stay.

    Each layer keeps the size of its answers, and loses what it learned.

    Raises:
        NetworkError: the model cannot be copied.

    >>> net = nl.demo()
    >>> own, shuffled = net.model.conv1.weight, nl.randomized(net).model.conv1.weight
    >>> torch.equal(own, shuffled), torch.equal(own.flatten().sort()[0], shuffled.flatten().sort()[0])
    (False, True)
    """
    copy = as_network(net).frozen_copy()
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for weight in copy.model.parameters():
            if weight.ndim > 1:
                order = torch.randperm(weight.numel(), generator=generator).to(weight.device)
                weight.copy_(weight.flatten()[order].view_as(weight))
    return copy
