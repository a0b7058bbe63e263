"""Tensors as the arrays that results are made of, and how alike rows of numbers are."""

from __future__ import annotations

import numpy as np
import torch


def as_numpy(x: torch.Tensor) -> np.ndarray:
    """The tensor as a float32 array on the CPU, in memory of its own."""
    values: np.ndarray = x.detach().float().cpu().numpy().copy()
    return values


def widest(device: torch.device) -> torch.dtype:
    """Double precision, where a device has it: Apple's have not."""
    return torch.float32 if device.type == "mps" else torch.float64


def correlations(rows: np.ndarray) -> np.ndarray:
    """(n,n) correlations of (n, numbers) rows; a constant row has 0 with all, where np.corrcoef has NaN."""
    centred = rows.astype(np.float64) - rows.mean(1, keepdims=True)
    length = np.linalg.norm(centred, axis=1, keepdims=True)
    centred = np.divide(centred, length, out=np.zeros_like(centred), where=length > 1e-12)
    return np.asarray(centred @ centred.T)
