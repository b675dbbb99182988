"""MNIST and Fashion-MNIST, from IDX files."""

import hashlib
from pathlib import Path

import numpy as np

from export import UserError
from model.data import archives, download
from model.data.dataset import Dataset

FASHION_CLASSES = (
    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
)  # fmt: skip
IDX_SHAPES = {"train-images": (60000, 28, 28), "train-labels": (60000,), "t10k-images": (10000, 28, 28), "t10k-labels": (10000,)}


def load(name: str, data_dir: str | Path | None = None) -> Dataset:
    """``mnist`` or ``fashion-mnist``.

    Raises:
        UserError: a file is missing or damaged.
    """
    directory = download.directory(name, data_dir)
    sha, arrays = hashlib.sha256(), {}
    for part, shape in IDX_SHAPES.items():
        content = _read(directory, f"{part}-idx{len(shape)}-ubyte")
        sha.update(content)
        arrays[part] = _parse_idx(content, shape, directory / f"{part}-idx{len(shape)}-ubyte")
    for part in ("train-labels", "t10k-labels"):
        if set(np.unique(arrays[part])) != set(range(10)):
            raise UserError(f"{directory}: {part} must hold the labels 0 to 9, not {np.unique(arrays[part]).tolist()}")
    return Dataset(
        name=name,
        class_names=FASHION_CLASSES if name == "fashion-mnist" else tuple("0123456789"),
        digest=sha.hexdigest(),
        split="the original one, 60,000 and 10,000 frames",
        train_images=arrays["train-images"].reshape(60000, 784),
        train_labels=arrays["train-labels"].astype(np.int64),
        test_images=arrays["t10k-images"].reshape(10000, 784),
        test_labels=arrays["t10k-labels"].astype(np.int64),
        image_shape=(28, 28),
    )


def _read(directory: Path, name: str) -> bytes:
    """The uncompressed content of ``name`` or ``name.gz``."""
    if (path := directory / f"{name}.gz").is_file():
        return archives.uncompressed(path)
    if (path := directory / name).is_file():
        return path.read_bytes()
    raise UserError(f"data directory {directory} must have {name}.gz, but it is missing")


def _parse_idx(content: bytes, shape: tuple[int, ...], path: Path) -> np.ndarray:
    """An IDX file: two zero bytes, type 8 (uint8), number of dimensions, each dimension as big-endian uint32, the values."""
    header = bytes([0, 0, 8, len(shape)]) + np.array(shape, ">u4").tobytes()
    if content[: len(header)] != header:
        raise UserError(f"{path}: IDX header must say uint8 {shape} ({header.hex()}), not {content[: len(header)].hex()}")
    expected = len(header) + int(np.prod(shape))
    if len(content) != expected:
        raise UserError(f"{path}: uncompressed, must have {expected} bytes, not {len(content)}")
    return np.frombuffer(content, np.uint8, offset=len(header)).reshape(shape)
