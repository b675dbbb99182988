"""Small data sets and PyTorch twins of networks, for the tests of ``model``."""

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import torch

from export import Network
from model import checkpoint
from model.data.dataset import Dataset
from model.layers import SingleSpikeNetwork

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

FIGURES = {
    "format": "firstspike-figures",
    "version": 1,
    "title": "Side by side",
    "command": "python -m model bench",
    "date": "2027-01-02T03:04:05Z",
    "machine": {"cpu": "a processor", "cores": 2},
    "figures": [{"name": "ratio", "value": 31.5, "unit": "×"}, {"name": "frames", "value": 10000, "unit": ""}],
}


def stripes(frames: int = 200, classes: int = 4, side: int = 6) -> Dataset:
    """Images (side, side) with one bright row, whose number is the class, on a noisy background."""
    rng = np.random.default_rng(5)
    labels = np.arange(frames) % classes
    images = rng.integers(0, 90, (frames, side, side))
    images[np.arange(frames), labels] += rng.integers(60, 160, (frames, side))
    pixels = images.astype(np.uint8).reshape(frames, side * side)
    half = frames // 2
    names = tuple(f"row {index}" for index in range(classes))
    parts = (pixels[:half], labels[:half].astype(np.int64), pixels[half:], labels[half:].astype(np.int64))
    return Dataset("stripes", names, "0" * 64, "first half", *parts, (side, side))


def striped_planes(frames: int = 200) -> Dataset:
    """Images of two planes (6, 5): one of four classes has its bright row in one plane, at the top or the bottom."""
    rng = np.random.default_rng(6)
    labels = np.arange(frames) % 4
    images = rng.integers(0, 90, (frames, 2, 6, 5))
    images[np.arange(frames), labels // 2, 1 + 3 * (labels % 2)] += rng.integers(60, 160, (frames, 5))
    pixels = images.astype(np.uint8).reshape(frames, 60)
    half = frames // 2
    parts = (pixels[:half], labels[:half].astype(np.int64), pixels[half:], labels[half:].astype(np.int64))
    return Dataset("planes", ("a", "b", "c", "d"), "1" * 64, "first half", *parts, (2, 6, 5))


def save_npz(path: Path, data: Dataset | None = None) -> Path:
    """Write a data set's images (by default, `stripes`) as the ``.npz`` file that commands take; returns the path."""
    data = data or stripes()
    arrays = {}
    for part in ("train", "test"):
        arrays[f"x_{part}"] = getattr(data, f"{part}_images").reshape(-1, *data.image_shape)
        arrays[f"y_{part}"] = getattr(data, f"{part}_labels")
    np.savez(path, **arrays)
    return path


def twin(network: Network) -> SingleSpikeNetwork:
    """The same network in PyTorch."""
    return checkpoint.to_torch(network)


def write_idx(directory: Path, shape: tuple[int, int] = (28, 28)) -> dict[str, bytes]:
    """The four files of MNIST with made-up content; their uncompressed bytes by name."""
    directory.mkdir(parents=True)
    rng = np.random.default_rng(1)
    contents = {}
    for name in FILES:
        frames = 60000 if name.startswith("train") else 10000
        dimensions = (frames, *shape) if "images" in name else (frames,)
        if "images" in name:
            values = np.repeat(rng.integers(0, 256, (frames, 1, 1), np.uint8), shape[0] * shape[1]).tobytes()
        else:
            values = (np.arange(frames) % 10).astype(np.uint8).tobytes()
        contents[name] = bytes([0, 0, 8, len(dimensions)]) + np.array(dimensions, ">u4").tobytes() + values
        (directory / f"{name}.gz").write_bytes(gzip.compress(contents[name], 1, mtime=0))
    return contents


def tensor(values: object) -> torch.Tensor:
    """Spike times as a data set holds them."""
    return torch.tensor(values, dtype=torch.uint8)


def write_tar(path: Path, files: dict[str, bytes], *others: tarfile.TarInfo) -> Path:
    """An archive of files, and of members without content; its compression is that of the ending, such as ``.tar.gz``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, f"w:{path.suffix.removeprefix('.')}") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
        for member in others:
            archive.addfile(member)
    return path
