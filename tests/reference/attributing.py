"""What the papers say about attribution, in slow plain numpy: loops where nn_lens has one call."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

Function = Callable[[np.ndarray], float]
Gradient = Callable[[np.ndarray], np.ndarray]


def occlusion(
    answer: Function, picture: np.ndarray, baseline: np.ndarray, window: tuple[int, int], stride: tuple[int, int]
) -> np.ndarray:
    """Zeiler and Fergus 2014: (H,W) mean over the windows on a pixel of how far the answer drops when one is covered."""
    _, height, width = picture.shape
    total, count = np.zeros((height, width)), np.zeros((height, width))
    whole = answer(picture)
    top, last_row = 0, False
    while not last_row:
        last_row = top + window[0] >= height
        left, last_column = 0, False
        while not last_column:
            last_column = left + window[1] >= width
            covered = picture.copy()
            inside = []
            for y in range(top, min(top + window[0], height)):
                for x in range(left, min(left + window[1], width)):
                    covered[:, y, x] = baseline[:, y, x]
                    inside.append((y, x))
            drop = whole - answer(covered)
            for place in inside:
                total[place] += drop
                count[place] += 1
            left += stride[1]
        top += stride[0]
    return total / count


def integrated_gradients(
    gradient: Gradient, picture: np.ndarray, baseline: np.ndarray, steps: int = 2000
) -> np.ndarray:
    """Sundararajan et al. 2017, equation 1, by midpoints of many small steps."""
    total = np.zeros_like(picture, dtype=float)
    for i in range(steps):
        total += gradient(baseline + (i + 0.5) / steps * (picture - baseline))
    return (picture - baseline) * total / steps


def backward(weights: list[np.ndarray], x: np.ndarray, unit: int, rule: str) -> np.ndarray:
    """The signal of an output back through Linear layers with ReLU between, by Springenberg et al. 2015, figure 1.

    rule: "backpropagation", "deconvolution" or "guided backpropagation". weights: (outputs, inputs) of each layer.
    """
    before = []
    value = x
    for i, weight in enumerate(weights):
        value = weight @ value
        if i < len(weights) - 1:
            before.append(value)
            value = np.maximum(value, 0)
    signal = np.zeros(len(weights[-1]))
    signal[unit] = 1
    for i in range(len(weights) - 1, -1, -1):
        signal = weights[i].T @ signal
        if i > 0:
            for j in range(len(signal)):
                off_forward, off_backward = before[i - 1][j] <= 0, signal[j] <= 0
                if rule in ("backpropagation", "guided backpropagation") and off_forward:
                    signal[j] = 0
                if rule in ("deconvolution", "guided backpropagation") and off_backward:
                    signal[j] = 0
    return signal


def rank_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Spearman 1904: the correlation of the ranks, equal values sharing their mean rank."""

    def ranks(values: np.ndarray) -> np.ndarray:
        return np.array([(values < v).sum() + ((values == v).sum() + 1) / 2 for v in values])

    x, y = ranks(a.ravel()), ranks(b.ravel())
    x, y = x - x.mean(), y - y.mean()
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))
