"""Prints the colour matrix of the Fourier parametrization; `python -m nn_lens.networks.colour_statistics DATA`."""

from __future__ import annotations

import sys

import numpy as np
import torch

from nn_lens.networks.train_photos20 import read_pictures


def colour_matrix(pictures: torch.Tensor) -> torch.Tensor:
    """(3,3) square root of the covariance of RGB over (N,3,H,W) pictures in [0,1], largest column of length 1."""
    values = pictures.permute(1, 0, 2, 3).reshape(3, -1).double()
    axes, variances, _ = torch.linalg.svd(torch.cov(values))
    root = axes * variances.sqrt()
    root = root * torch.where(root[0] < 0, -1, 1)
    scaled: torch.Tensor = root / root.norm(dim=0).max()
    return scaled


if __name__ == "__main__":
    with np.load(sys.argv[1]) as data:
        x, _ = read_pictures(data, "train")
    print(colour_matrix(x[::5].float() / 255))
