"""Spiking Heidelberg Digits: spoken digits in English and German, as events of 700 channels of a cochlea.

Cramer, Stradmann, Schemmel and Zenke, The Heidelberg Spiking Data Sets for the Systematic Evaluation of Spiking Neural Networks, IEEE TNNLS
2022. Two HDF5 files, with ``spikes/times`` (seconds) and ``spikes/units`` (channels), a list of each per recording, and ``labels``.
"""

import hashlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

from export import UserError
from export.errors import prefixed
from model.data import download, events
from model.data.dataset import Dataset, cached_frames

NAME = "shd"
RECORDINGS = 8156, 2264  # of shd_train.h5, shd_test.h5
CLASSES = (
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine",
    "null", "eins", "zwei", "drei", "vier", "fuenf", "sechs", "sieben", "acht", "neun",
)  # fmt: skip
CODE = events.EventCode(channels=700, pooled=20, windows=25, window_us=40_000, ranks=(4, 12))
KEYS = ("spikes/times", "spikes/units", "labels")


def load(data_dir: str | Path | None = None) -> Dataset:
    """The recordings as pictures of events, uint8 (frames, 2 · 35 · 25).

    Raises:
        UserError: a file is missing or damaged, or its content is not as it should be.
        OSError: it cannot be read.
    """
    parts, digests = [], []
    for index, count in enumerate(RECORDINGS):
        path = download.file(NAME, data_dir, index)
        with path.open("rb") as file:
            digests.append(hashlib.file_digest(file, "sha256").hexdigest())
        parts.append(_part(path, count, digests[-1]))
    (train, train_labels), (test, test_labels) = parts
    return Dataset(
        name=NAME,
        class_names=CLASSES,
        digest=hashlib.sha256("".join(digests).encode()).hexdigest(),
        split="the original one, two speakers in the test part only",
        train_images=train,
        train_labels=train_labels,
        test_images=test,
        test_labels=test_labels,
        image_shape=CODE.shape,
    )


def _part(path: Path, count: int, digest: str) -> tuple[np.ndarray, np.ndarray]:
    """The frames of a file, uint8 (count, inputs), and their labels, int64 (count,)."""
    import h5py

    try:
        with prefixed(path), h5py.File(path) as file:
            times, units, labels = (_dataset(file, key) for key in KEYS)
            for key, content in zip(KEYS, (times, units, labels), strict=True):
                if content.shape != (count,):
                    raise UserError(f"{key} must have the shape ({count},), not {content.shape}")
            found = labels[:]
            if found.dtype.kind not in "iu" or sorted(set(found.tolist())) != list(range(len(CLASSES))):
                raise UserError(f"labels must be 0 to {len(CLASSES) - 1}, each at least once, not {np.unique(found).tolist()}")
            code = (events, sys.modules[__name__])
            frames = cached_frames(f"{NAME}-{path.stem}", digest, code, lambda: _frames(times, units))
    except OSError as error:
        raise UserError(f"{path}: must be a whole HDF5 file: {error}") from None
    return frames, found.astype(np.int64)


def _dataset(file: Any, key: str) -> Any:
    import h5py

    if not isinstance(content := file.get(key), h5py.Dataset):
        raise UserError(f"must hold {', '.join(KEYS)}, but {key} is missing")
    if key != "labels" and h5py.check_vlen_dtype(content.dtype) is None:
        raise UserError(f"{key} must have a list of any length per recording, not {content.dtype} {content.shape}")
    return content


def _frames(times: Any, units: Any) -> np.ndarray:
    """The events of all recordings through the event code."""
    frames = np.zeros((len(times), np.prod(CODE.shape)), np.uint8)
    for index, (seconds, channels) in enumerate(zip(times[:], units[:], strict=True)):
        try:
            frames[index] = CODE.encode(_microseconds(seconds), channels)
        except UserError as error:
            raise UserError(f"recording {index}: {error}") from None
    return frames


def _microseconds(seconds: np.ndarray) -> np.ndarray:
    if not np.isfinite(seconds).all():
        raise UserError("times of events must be finite, but one is not")
    return np.rint(seconds.astype(np.float64) * 1e6).astype(np.int64)
