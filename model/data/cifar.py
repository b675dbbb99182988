"""CIFAR-10, from the archive of its binary version.

A. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images", 2009. A record is a label and 3072 bytes: the red, the green and the
blue plane of 32 rows.
"""

import hashlib
from pathlib import Path

import numpy as np

from export import UserError
from model.data import archives, download
from model.data.dataset import Dataset

NAME = "cifar-10"
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SHAPE = (3, 32, 32)
FRAMES = 10_000  # of each file
MD5 = {  # of the members: that of the archive, which its author publishes, holds for one compression only
    "data_batch_1": "5dd7e06a14cb22eb9f671a540d1b7c25",
    "data_batch_2": "5ea93a67294ea407fff1d09f752e9692",
    "data_batch_3": "942cd6a4bcdd0dd3c604fbe906cb4421",
    "data_batch_4": "ae636b3ba5c66a11e91e8cb52e771fcb",
    "data_batch_5": "53f37980c15c3d472c316c40844f3f0d",
    "test_batch": "803d5f7f4d78ea53de84dbe85f74fb6d",
}  # fmt: skip


def load(data_dir: str | Path | None = None) -> Dataset:
    """The 50,000 training images and the 10,000 test images, plane by plane.

    Of the archive, any compression that `tarfile` reads will do. One of its files is in memory at a time, beside the images.

    Raises:
        UserError: the archive is missing or damaged, or a file in it is not the published one.
        OSError: it cannot be read.
    """
    path = _archive(download.directory(NAME, data_dir))
    images = np.empty((len(MD5) * FRAMES, int(np.prod(SHAPE))), np.uint8)
    labels = np.empty(len(images), np.int64)
    digests: dict[str, bytes] = {}
    for (name,), content in archives.each_member(path, r"(data_batch_[1-5]|test_batch)\.bin"):
        if (found := hashlib.md5(content, usedforsecurity=False).hexdigest()) != MD5[name]:
            raise UserError(f"{path}: {name}.bin must have the MD5 {MD5[name]}, not {found}")
        digests[name] = hashlib.sha256(content).digest()
        records = np.frombuffer(content, np.uint8).reshape(FRAMES, -1)
        at = list(MD5).index(name) * FRAMES
        labels[at : at + FRAMES], images[at : at + FRAMES] = records[:, 0], records[:, 1:]
    if missing := [name for name in MD5 if name not in digests]:
        raise UserError(f"{path}: must hold {missing[0]}.bin, but {len(missing)} of {len(MD5)} files are missing")
    train = len(images) - FRAMES
    return Dataset(
        name=NAME,
        class_names=CLASSES,
        digest=hashlib.sha256(b"".join(digests[name] for name in MD5)).hexdigest(),
        split="the original one, 50,000 and 10,000 frames",
        train_images=images[:train],
        train_labels=labels[:train],
        test_images=images[train:],
        test_labels=labels[train:],
        image_shape=SHAPE,
    )


def _archive(directory: Path) -> Path:
    """The archive, as published or in another compression."""
    published = download.SOURCES[NAME].files[0].name
    for path in (directory / published, *sorted(directory.glob(f"{published.removesuffix('.gz')}*"))):
        if path.is_file():
            return path
    raise UserError(f"data directory {directory} must have {published}, but it is missing")
