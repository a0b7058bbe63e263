"""Makes the default colours and spectrum of the parametrizations; `python -m nn_lens.networks.picture_statistics DATA`.

Prints the colour matrix and writes engine/maximizing/spectrum.npy, both from the training pictures of photos20_64px.npz.
"""

from __future__ import annotations

import sys

import numpy as np

from nn_lens.engine.maximizing import parametrizations
from nn_lens.networks.train_photos20 import read_pictures

if __name__ == "__main__":
    with np.load(sys.argv[1]) as data:
        pictures = read_pictures(data, "train")[0][::5].float() / 255
    print(parametrizations.colours_of(pictures))
    np.save(parametrizations.SPECTRUM, parametrizations.spectrum_of(pictures).numpy().astype(np.float16))
