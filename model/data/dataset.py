"""A data set as plain arrays; its split, its digest, and the cache of frames that take long to compute."""

import contextlib
import hashlib
import inspect
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

from export.events import Events
from export.files import atomic_write, cache_folder
from export.maps import Map, position_major


@dataclass(frozen=True, eq=False)
class Dataset:
    """A data set: 8-bit images, or spike times from outside; either part may be missing (None).

    Attributes:
        name: the name it was asked for by.
        train_images, test_images: uint8 (frames, inputs).
        train_spike_times, test_spike_times: int32 (frames, inputs), instead of images.
        test_events: the spikes of the test images as they came, whose coefficients add up to the images' upper bits; for the encoder
            ``none``.
        train_labels, test_labels: int64 (frames,).
        class_names: one per class.
        image_shape: such as (28, 28), or (4, 16, 25) with four planes; None where the inputs are no image.
        digest: SHA-256 of the arrays, or of the uncompressed files.
        split: in words, how training and test part were told apart.
    """

    name: str
    class_names: tuple[str, ...]
    digest: str
    split: str
    train_images: np.ndarray | None = None
    train_labels: np.ndarray | None = None
    test_images: np.ndarray | None = None
    test_labels: np.ndarray | None = None
    image_shape: tuple[int, ...] | None = None
    train_spike_times: np.ndarray | None = None
    test_spike_times: np.ndarray | None = None
    test_events: Events | None = None

    @property
    def inputs(self) -> int:
        """The number of inputs of a network for it."""
        parts = (self.test_images, self.test_spike_times, self.train_images, self.train_spike_times)
        return next(part.shape[1] for part in parts if part is not None)

    def arranged(self, sizes: Map | None) -> "Dataset":
        """The same frames in the order of a network's inputs: position by position if these are a map of several planes [S15].

        Parameters:
            sizes: height, width and planes; None where the inputs are no map.

        Raises:
            UserError: the images are of another size.
        """
        if sizes is None or self.image_shape is None:
            return self
        shape, names = self.image_shape, [f"{part}_{kind}" for part in ("train", "test") for kind in ("images", "spike_times")]
        parts = {name: part for name in names if (part := getattr(self, name)) is not None}
        arranged: dict[str, Any] = {name: position_major(part.reshape(len(part), *shape), sizes) for name, part in parts.items()}
        if (events := self.test_events) is not None:
            order = position_major(np.arange(events.shape[2]).reshape(1, *shape), sizes)[0]  # the channel that becomes each input
            arranged["test_events"] = Events.sort(
                events.shape, events.frame, events.step, np.argsort(order)[events.neuron], events.coefficient
            )
        return replace(self, **arranged)


def split_stratified(labels: np.ndarray, held_out: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Indices that stay and indices held out, every class in proportion: shuffled, sorted by class, taken at equal distances."""
    order = np.random.RandomState(seed).permutation(len(labels))  # this generator's streams are frozen, unlike newer ones'
    order = order[np.argsort(labels[order], kind="stable")]
    taken = np.zeros(len(labels), bool)
    taken[np.arange(held_out) * len(labels) // max(1, held_out)] = True
    return np.sort(order[~taken]), np.sort(order[taken])


def digest_of(*arrays: np.ndarray) -> str:
    """SHA-256 of types, shapes and contents."""
    sha = hashlib.sha256()
    for array in arrays:
        sha.update(f"{array.dtype.str}{array.shape}".encode() + np.ascontiguousarray(array).tobytes())
    return sha.hexdigest()


def cached_frames(name: str, digest: str, code: Iterable[ModuleType], compute: Callable[[], np.ndarray]) -> np.ndarray:
    """What ``compute`` returns, from the cache if it was computed before.

    Parameters:
        name: start of the file's name.
        digest: of what is read.
        code: the modules that compute, with all parameters in them: when they change, the frames are computed anew.
        compute: returns an array.
    """
    sha = hashlib.sha256(digest.encode())
    for module in code:
        sha.update(inspect.getsource(module).encode())
    path = cache_folder("frames") / f"{name}-{sha.hexdigest()[:32]}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError), path.open("rb") as file:  # missing, damaged
        return np.load(file, allow_pickle=False)
    computed = compute()
    with contextlib.suppress(OSError), atomic_write(path) as temporary, temporary.open("wb") as file:  # a full disk is no reason to stop
        np.save(file, computed)
    return computed
