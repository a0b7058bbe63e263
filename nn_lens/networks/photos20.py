"""The bundled photograph network: 20 everyday classes at 64x64, trained by `train_photos20.py`.

A small residual network after the "ResNet-9" plan (Page, 2018), with one change made for looking
at it: the first layer is a 9x9 convolution of stride 2, wide enough for its filters to be pictures.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

CLASSES_COUNT = 20
INPUT_SHAPE = (3, 64, 64)
MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)


class Residual(nn.Module):
    """Two 3x3 convolutions whose answer is added to their input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm1 = nn.BatchNorm2d(channels)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm2 = nn.BatchNorm2d(channels)
        self.relu2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(N,C,H,W) -> the same shape."""
        y: torch.Tensor = self.relu1(self.norm1(self.conv1(x)))
        y = self.relu2(x + self.norm2(self.conv2(y)))
        return y


def photos20_network(
    widths: tuple[int, int, int, int] = (48, 96, 176, 240), classes: int = CLASSES_COUNT
) -> nn.Sequential:
    """The untrained network: (N,3,64,64) normalized pictures -> (N,classes) raw outputs."""
    a, b, c, d = widths

    def conv(i: int, o: int, size: int, stride: int = 1) -> nn.Conv2d:
        return nn.Conv2d(i, o, size, stride, padding=size // 2, bias=False)

    return nn.Sequential(
        OrderedDict(
            conv1=conv(3, a, 9, 2), norm1=nn.BatchNorm2d(a), relu1=nn.ReLU(),
            conv2=conv(a, b, 3), norm2=nn.BatchNorm2d(b), relu2=nn.ReLU(), pool2=nn.MaxPool2d(2),
            block2=Residual(b),
            conv3=conv(b, c, 3), norm3=nn.BatchNorm2d(c), relu3=nn.ReLU(), pool3=nn.MaxPool2d(2),
            conv4=conv(c, d, 3), norm4=nn.BatchNorm2d(d), relu4=nn.ReLU(),
            block4=Residual(d),
            pool4=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), classifier=nn.Linear(d, classes),
        )
    )  # fmt: skip
