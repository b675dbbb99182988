"""Images as several planes, each a part of the range of intensities: a thermometer code, for inputs that spike once.

At any step, spikes of a plane tell whether an intensity has reached one level, so those of several planes tell several levels apart,
where one plane gives a black and white image: after J. Buckman et al., "Thermometer Encoding: One Hot Way To Resist Adversarial
Examples", ICLR 2018. A latency code of each plane goes on within its part.
"""

import hashlib
from dataclasses import replace

import numpy as np

from model.data.dataset import Dataset

SUFFIX = "-thermometer"
PLANES = 8


def planes(dataset: Dataset) -> Dataset:
    """The same frames with ``PLANES`` planes: ``min(255, max(0, PLANES · (p - 256 k / PLANES)))`` is plane ``k`` of intensity ``p``.

    Parameters:
        dataset: of images of a single plane.
    """
    levels = np.arange(256) - np.arange(PLANES)[:, None] * (256 // PLANES)
    table = np.clip(PLANES * levels, 0, 255).astype(np.uint8)

    def part(images: np.ndarray | None) -> np.ndarray | None:
        return None if images is None else np.concatenate([plane[images] for plane in table], axis=1)

    assert dataset.image_shape is not None
    return replace(
        dataset,
        name=dataset.name + SUFFIX,
        digest=hashlib.sha256(f"{dataset.digest}, {PLANES} planes".encode()).hexdigest(),
        train_images=part(dataset.train_images),
        test_images=part(dataset.test_images),
        image_shape=(PLANES, *dataset.image_shape),
    )
