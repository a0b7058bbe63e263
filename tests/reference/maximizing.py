"""What the papers say about maximizing images, in slow plain numpy: loops where nn_lens has one call."""

from __future__ import annotations

import cmath
import math

import numpy as np


def frequency(index: int, n: int) -> float:
    """Cycles per pixel of coefficient `index` of n, from -1/2 to 1/2."""
    return (index if index < (n + 1) // 2 else index - n) / n


def inverse_transform(spectrum: np.ndarray, height: int, width: int) -> np.ndarray:
    """(height,width) real picture of (height, width//2+1) complex coefficients of a real picture, orthonormal; a double sum."""
    full = np.zeros((height, width), complex)
    for v in range(height):
        for u in range(width):
            if u <= width // 2:
                full[v, u] = spectrum[v, u]
            else:
                full[v, u] = spectrum[-v % height, width - u].conjugate()
    # What is its own mirror image has no imaginary part of its own in a real picture.
    for u in {0, width // 2} if width % 2 == 0 else {0}:
        for v in range(height):
            a, b = spectrum[v, u], spectrum[-v % height, u]
            full[v, u] = (a + b.conjugate()) / 2
    picture = np.zeros((height, width))
    for y in range(height):
        for x in range(width):
            total = 0.0
            for v in range(height):
                for u in range(width):
                    total += (full[v, u] * cmath.exp(2j * math.pi * (v * y / height + u * x / width))).real
            picture[y, x] = total / math.sqrt(height * width)
    return picture


def scaled_spectrum(free: np.ndarray, height: int, width: int, decay: float) -> np.ndarray:
    """Olah et al. 2017: each coefficient over its frequency to the power of `decay`, the lowest as one wave per picture.

    Those that stand for one wave across and not for two, the first and last, times the root of two.
    """
    spectrum = np.zeros((height, width // 2 + 1), complex)
    for v in range(height):
        for u in range(width // 2 + 1):
            f = max(math.hypot(frequency(v, height), u / width), 1 / max(height, width))
            waves = 1 if u in (0, width // 2) else 2
            spectrum[v, u] = complex(free[v, u, 0], free[v, u, 1]) / f**decay * math.sqrt(2 / waves)
    return spectrum


def maco_picture(magnitude: np.ndarray, phase: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Fel et al. 2023: (C,H,W) picture of (C,H,W//2+1) magnitudes and phases; no mean, then colour and sigmoid."""
    channels, height, half = magnitude.shape
    width = 2 * (half - 1)
    raw = np.zeros((channels, height, width))
    for c in range(channels):
        spectrum = np.zeros((height, half), complex)
        for v in range(height):
            for u in range(half):
                if (v, u) != (0, 0):
                    spectrum[v, u] = magnitude[c, v, u] * cmath.exp(1j * phase[c, v, u])
        raw[c] = inverse_transform(spectrum, height, width)
    mixed = np.zeros_like(raw)
    for o in range(channels):
        for i in range(channels):
            mixed[o] += colours[o, i] * raw[i]
    return sigmoid(mixed)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def colour_matrix(pictures: np.ndarray) -> np.ndarray:
    """Olah et al. 2017, decorrelated colour: M with M M^T proportional to the covariance of the channels."""
    channels = pictures.shape[1]
    mean = [float(np.mean(pictures[:, c])) for c in range(channels)]
    covariance = np.zeros((channels, channels))
    for a in range(channels):
        for b in range(channels):
            covariance[a, b] = float(np.mean((pictures[:, a] - mean[a]) * (pictures[:, b] - mean[b])))
    return covariance


def gram_similarity(maps: np.ndarray) -> np.ndarray:
    """Olah et al. 2017, diversity: mean cosine of each picture's Gram matrix with those of the others."""
    n, channels, height, width = maps.shape
    grams = np.zeros((n, channels, channels))
    for i in range(n):
        for a in range(channels):
            for b in range(channels):
                grams[i, a, b] = sum(maps[i, a, y, x] * maps[i, b, y, x] for y in range(height) for x in range(width))
    found = np.zeros(n)
    for i in range(n):
        for j in range(n):
            if i != j:
                length = math.sqrt((grams[i] ** 2).sum()) * math.sqrt((grams[j] ** 2).sum())
                found[i] += (grams[i] * grams[j]).sum() / length / (n - 1)
    return found
