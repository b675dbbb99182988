"""Faces and motorbikes of Caltech-101, as oriented edges.

As in S4NN (Kheradpisheh and Masquelier, Temporal Backpropagation for Spiking Neural Networks with One Spike per Neuron, 2020), 200 random
images of each category are for training and all others for testing, and images become grey, 160 × 250. S4NN's network takes these; here
the strength of edges in four directions is taken from them.
"""

import hashlib
import io
import sys
import warnings
from pathlib import Path

import numpy as np

from export import UserError
from model.data import archives, download
from model.data.dataset import Dataset, cached_frames

NAME = "caltech"
IMAGES = {"Faces": 435, "Motorbikes": 798}
TRAINING = 200  # of each category
HEIGHT, WIDTH = 160, 250
BLUR = 1.5
ORIENTATIONS = 4
BLOCK = 10
MAX_PIXELS = 1 << 24  # of an image that is read
SATURATED = 2.0


def load(data_dir: str | Path | None = None) -> Dataset:
    """The 400 training images and the 833 test images, as oriented edges: four planes of 16 × 25.

    Raises:
        UserError: the archive is missing or damaged, or does not hold the images.
        OSError: it cannot be read.
    """
    path = download.file(NAME, data_dir)
    jpegs = archives.members(path, r"(Faces|Motorbikes)/(image_\d{4}\.jpg)")
    names = sorted(jpegs)
    labels = np.array([list(IMAGES).index(category) for category, _ in names], np.int64)
    for label, (category, count) in enumerate(IMAGES.items()):
        if (found := int((labels == label).sum())) != count:
            raise UserError(f"{path}: must hold {count} images {category}/image_….jpg, not {found}")
    sha = hashlib.sha256()
    for name in names:
        sha.update("/".join(name).encode() + hashlib.sha256(jpegs[name]).digest())
    code = (sys.modules[__name__],)
    images = cached_frames(
        NAME, sha.hexdigest(), code, lambda: np.stack([intensities(oriented_edges(_read(path, name, jpegs[name]))) for name in names])
    )
    train = split(labels)
    test = np.setdiff1d(np.arange(len(labels)), train)
    return Dataset(
        name=NAME,
        class_names=tuple(IMAGES),
        digest=sha.hexdigest(),
        split=f"{TRAINING} images of each category for training, chosen with seed 0, the other {len(test)} for testing",
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
        image_shape=(ORIENTATIONS, HEIGHT // BLOCK, WIDTH // BLOCK),
    )


def split(labels: np.ndarray) -> np.ndarray:
    """Indices of the training images, 200 of each label, chosen with seed 0. (By file order, other people's faces would be tested.)"""
    random = np.random.RandomState(0)
    chosen = [random.permutation(np.flatnonzero(labels == label))[:TRAINING] for label in range(len(IMAGES))]
    return np.sort(np.concatenate(chosen))


def grey(jpeg: bytes) -> np.ndarray:
    """The image in grey, uint8 (160, 250), whatever its own shape.

    Raises:
        OSError, SyntaxError, ValueError: what Pillow raises on damaged images; or the image is larger than any photograph of the data set.
    """
    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(jpeg), formats=["JPEG"])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ValueError(error) from None
    with image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"{image.width} x {image.height} pixels are more than {MAX_PIXELS}")
        return np.asarray(image.convert("L").resize((WIDTH, HEIGHT), Image.Resampling.BOX))


def oriented_edges(image: np.ndarray) -> np.ndarray:
    """Strength of edges by direction and place, float64 (4, 16, 25): like complex cells of the visual cortex.

    The blurred image's gradient (Sobel) gives its size to the nearest of four directions: vertical edges first, then in steps of 45°; dark
    to bright is as good as bright to dark. Of each direction the mean over blocks of 10 × 10 pixels is taken.

    Parameters:
        image: uint8 (160, 250).
    """
    from scipy import ndimage

    blurred = ndimage.gaussian_filter(image.astype(np.float64), BLUR)
    across, down = ndimage.sobel(blurred, 1), ndimage.sobel(blurred, 0)
    direction = np.round(np.arctan2(down, across) / np.pi * ORIENTATIONS).astype(int) % ORIENTATIONS
    blocks = np.arange(HEIGHT)[:, None] // BLOCK * (WIDTH // BLOCK) + np.arange(WIDTH) // BLOCK
    places = direction * (HEIGHT * WIDTH // BLOCK**2) + blocks
    sums = np.bincount(places.ravel(), np.sqrt(across**2 + down**2).ravel(), ORIENTATIONS * HEIGHT * WIDTH // BLOCK**2)
    return sums.reshape(ORIENTATIONS, HEIGHT // BLOCK, WIDTH // BLOCK) / BLOCK**2


def intensities(edges: np.ndarray) -> np.ndarray:
    """Edges as uint8 (inputs,): the strongest 2 % of the image's are 255, so that contrast and exposure do not matter."""
    full = max(np.percentile(edges, 100 - SATURATED), 1e-9)
    return np.minimum(255, edges * (255 / full)).astype(np.uint8).ravel()


def _read(path: Path, name: tuple[str, ...], jpeg: bytes) -> np.ndarray:
    try:
        return grey(jpeg)
    except (OSError, SyntaxError, ValueError) as error:
        raise UserError(f"{path}: {'/'.join(name)} must be a whole JPEG image: {error}") from None
