"""Real pictures that installed packages ship: none is copied into nn-lens."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from PIL import Image

_FILES = {
    "cat": ("skimage", "data/chelsea.png"),
    "astronaut": ("skimage", "data/astronaut.png"),
    "coffee": ("skimage", "data/coffee.png"),
    "rocket": ("skimage", "data/rocket.jpg"),
    "flower": ("sklearn", "datasets/images/flower.jpg"),
    "temple": ("sklearn", "datasets/images/china.jpg"),
    "grace hopper": ("matplotlib", "mpl-data/sample_data/grace_hopper.jpg"),
}


def sample_pictures(input_shape: tuple[int, ...]) -> dict[str, Image.Image]:
    """RGB pictures by name, for networks that read pictures; those of a missing package are left out."""
    if len(input_shape) != 3 or input_shape[0] not in (1, 3, 4):
        return {}
    pictures = {}
    for name, (package, path) in _FILES.items():
        spec = importlib.util.find_spec(package)
        file = Path(spec.origin).parent / path if spec and spec.origin else None
        if file is not None and file.is_file():
            with Image.open(file) as image:
                pictures[name] = image.convert("RGB")
    return pictures
