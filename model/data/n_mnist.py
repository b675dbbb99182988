"""N-MNIST: MNIST's digits, moved in front of an event camera in three saccades.

Orchard, Jayawant, Cohen and Thakor, Converting Static Image Datasets to Spiking Neuromorphic Datasets Using Saccades, Frontiers in
Neuroscience 2015. A recording is a file of 5-byte events: column, row, then polarity (1 bit) and time in microseconds (23 bits, the most
significant first). An event in row 240 is none: it says that the time has overflowed, and all times from there on are later by 2**13.
"""

import hashlib
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from export import Events, UserError
from model.data import archives, download, events
from model.data.dataset import Dataset, cached_frames

NAME, COUNTS = "n-mnist", "n-mnist-counts"
NAMES = (NAME, COUNTS)
PARTS = ("Train", "Test")
SIDE = 34
PIXELS = SIDE * SIDE
OVERFLOW_ROW, OVERFLOW_US = 240, 1 << 13
CODE = events.EventCode(channels=2 * PIXELS, windows=3, window_us=105_000, ranks=(2,))  # a window per saccade
COUNT_BITS = 4
COUNT_CODE = events.CountCode(channels=2 * PIXELS, steps=16, step_us=20_000, most=(1 << COUNT_BITS) - 1)
SHAPES = {NAME: (2 * CODE.windows, SIDE, SIDE), COUNTS: (2, SIDE, SIDE)}

Key = tuple[str, ...]
"""``Train`` or ``Test``, the digit, and the number of its image in MNIST, as paths have them."""


def load(name: str = NAME, data_dir: str | Path | None = None) -> Dataset:
    """The recordings, however many there are, in the order of MNIST's images.

    Parameters:
        name: ``n-mnist``: pictures for single spikes, uint8 (frames, 2 · 3 · 34 · 34), planes by polarity and saccade.
            ``n-mnist-counts``: numbers of events, uint8 (frames, 2 · 34 · 34) with 4 upper bits; and, of the test part, those of each step.

    Raises:
        UserError: an archive is missing or damaged, or its content is not as it should be.
        OSError: it cannot be read.
    """
    paths = _archives(download.directory(NAME, data_dir))
    digests = {key: hashlib.sha256(content).digest() for key, content in _recordings(paths)}
    keys = sorted(digests, key=lambda key: (PARTS.index(key[0]), int(key[2]), key))
    tested = np.array([part == "Test" for part, _, _ in keys], bool)
    if not tested.any() or tested.all():
        raise UserError(f"{paths[0]}: must hold Train/DIGIT/NUMBER.bin and Test/DIGIT/NUMBER.bin, but one of the parts is missing")
    sha = hashlib.sha256(b"".join("/".join(key).encode() + digests[key] for key in keys))
    code = (events, sys.modules[__name__])
    frames = cached_frames(name, sha.hexdigest(), code, lambda: _frames(name, paths, keys))
    labels = np.array([int(digit) for _, digit, _ in keys], np.int64)
    return Dataset(
        name=name,
        class_names=tuple("0123456789"),
        digest=sha.hexdigest(),
        split=f"the original one, of which {np.sum(~tested):,} and {np.sum(tested):,} recordings are at hand",
        train_images=frames[~tested],
        train_labels=labels[~tested],
        test_images=frames[tested],
        test_labels=labels[tested],
        image_shape=SHAPES[name],
        test_events=_counts(paths, [key for key in keys if key[0] == "Test"]) if name == COUNTS else None,
    )


def read_events(content: bytes) -> tuple[np.ndarray, np.ndarray]:
    """Times in microseconds and channels, int64 (events,) each; channel ``(polarity · 34 + row) · 34 + column``.

    Raises:
        UserError: it is no list of 5-byte events, or one is outside of 34 × 34.
    """
    if len(content) % 5:
        raise UserError(f"must be events of 5 bytes, not {len(content)} bytes")
    columns, rows, *time = np.frombuffer(content, np.uint8).reshape(-1, 5).T.astype(np.int64)
    overflow = rows == OVERFLOW_ROW
    times = ((time[0] & 127) << 16 | time[1] << 8 | time[2]) + OVERFLOW_US * np.cumsum(overflow)
    times, columns, rows, polarity = (values[~overflow] for values in (times, columns, rows, time[0] >> 7))
    if len(rows) and max(columns.max(), rows.max()) >= SIDE:
        raise UserError(f"events must be in columns and rows from 0 to {SIDE - 1}, not {columns.max()} and {rows.max()}")
    return times, (polarity * SIDE + rows) * SIDE + columns


def _archives(directory: Path) -> list[Path]:
    """The archives as published, or one with both parts."""
    published = [directory / file.name for file in download.SOURCES[NAME].files]
    if all(path.is_file() for path in published):
        return published
    others = sorted(path for path in directory.glob("n-mnist*.tar*") if path.is_file())
    if not others:
        raise UserError(f"data directory {directory} must have {' and '.join(path.name for path in published)}, or n-mnist*.tar with both")
    return others[:1]


def _recordings(paths: list[Path]) -> Iterator[tuple[Key, bytes]]:
    """All recordings, one in memory at a time."""
    for path in paths:
        yield from archives.each_member(path, r"(Train|Test)/(\d)/(\d+)\.bin")


def _read(paths: list[Path], keys: list[Key]) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
    """Index, times and channels of the recordings named."""
    index = {key: at for at, key in enumerate(keys)}
    for key, content in _recordings(paths):
        if key in index:
            try:
                times, channels = read_events(content)
            except UserError as error:
                raise UserError(f"{'/'.join(key)}.bin: {error}") from None
            yield index[key], times, channels


def _frames(name: str, paths: list[Path], keys: list[Key]) -> np.ndarray:
    """Intensities uint8 (frames, inputs)."""
    frames = np.zeros((len(keys), int(np.prod(SHAPES[name]))), np.uint8)
    for at, times, channels in _read(paths, keys):
        if name == COUNTS:
            frames[at] = COUNT_CODE.encode(times, channels).sum(axis=0) << (8 - COUNT_BITS)
        else:
            frames[at] = CODE.encode(times, channels).reshape(2, PIXELS, CODE.windows).swapaxes(1, 2).ravel()
    return frames


def _counts(paths: list[Path], keys: list[Key]) -> Events:
    """Numbers of events in each step."""
    frames = [Events.from_dense(np.zeros((1, COUNT_CODE.steps, COUNT_CODE.channels), np.int16))] * len(keys)
    for at, times, channels in _read(paths, keys):
        frames[at] = Events.from_dense(COUNT_CODE.encode(times, channels)[None])
    return Events.concatenate(frames)
