"""The Free Spoken Digit Dataset through a model of the inner ear."""

import hashlib
import io
import sys
import wave
from pathlib import Path

import numpy as np

from export import UserError
from model.data import archives, cochlea, download, events
from model.data.dataset import Dataset, cached_frames

NAME = "spoken-digits"
WITHOUT = f"{NAME}-without-"
SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
DIGITS = ("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine")
RECORDINGS = 50  # of each digit by each speaker
TESTED = 5  # the first of them
COCHLEA = cochlea.Cochlea()
CODE = events.EventCode(channels=COCHLEA.channels, windows=16, window_us=40_000, ranks=(5, 15))
NAMES = (NAME, *(WITHOUT + speaker for speaker in SPEAKERS))


def load(name: str = NAME, data_dir: str | Path | None = None) -> Dataset:
    """The recordings as pictures of events, uint8 (frames, 2 · 40 · 16).

    Parameters:
        name: ``spoken-digits``: the customary split, the first 5 of the 50 recordings of each digit by each speaker are for testing.
            ``spoken-digits-without-jackson`` and so on: all recordings of that speaker are for testing, all others for training.

    Raises:
        UserError: the archive is missing or damaged, or does not hold the recordings.
        OSError: it cannot be read.
    """
    if name not in NAMES:
        raise UserError(f"data set must be one of {', '.join(NAMES)}, not {name!r}")
    path = download.file(NAME, data_dir)
    recordings = archives.members(path, r"recordings/(\d)_(\w+)_(\d+)\.wav")
    names = [(str(digit), speaker, str(index)) for digit in range(10) for speaker in SPEAKERS for index in range(RECORDINGS)]
    if missing := ["_".join(name) for name in names if name not in recordings]:
        raise UserError(f"{path}: must hold recordings/{missing[0]}.wav, but {len(missing)} of {len(names)} recordings are missing")
    sounds = [_sound(path, name, recordings[name]) for name in names]
    sha = hashlib.sha256()
    for key in names:
        sha.update("_".join(key).encode() + hashlib.sha256(recordings[key]).digest())
    code = (cochlea, events, sys.modules[__name__])
    images = cached_frames(NAME, sha.hexdigest(), code, lambda: np.stack([CODE.encode(*COCHLEA.events(sound)) for sound in sounds]))
    labels = np.array([int(digit) for digit, _, _ in names], np.int64)
    held_out = name.removeprefix(WITHOUT)
    tested = np.array([speaker == held_out if name != NAME else int(index) < TESTED for _, speaker, index in names])
    return Dataset(
        name=name,
        class_names=DIGITS,
        digest=sha.hexdigest(),
        split=f"recordings 0 to {TESTED - 1} of each digit and speaker for testing"
        if name == NAME
        else f"all recordings of {held_out} for testing",
        train_images=images[~tested],
        train_labels=labels[~tested],
        test_images=images[tested],
        test_labels=labels[tested],
        image_shape=CODE.shape,
    )


def _sound(path: Path, name: tuple[str, ...], content: bytes) -> np.ndarray:
    """The samples of a recording, int16."""
    file = f"{path}: recordings/{'_'.join(name)}.wav"
    try:
        with wave.open(io.BytesIO(content)) as recording:
            kind = recording.getnchannels(), 8 * recording.getsampwidth(), recording.getframerate()
            frames, samples = recording.getnframes(), recording.readframes(recording.getnframes())
    except (wave.Error, EOFError) as error:
        raise UserError(f"{file} must be a whole WAV file: {str(error) or 'it ends early'}") from None
    if kind != (1, 16, COCHLEA.sample_rate_hz):
        raise UserError(f"{file} must have 1 channel, 16 bits, {COCHLEA.sample_rate_hz} Hz, not {kind[0]}, {kind[1]}, {kind[2]}")
    if not 0 < 2 * frames == len(samples):
        raise UserError(f"{file} must have as many samples as its header says, and at least one, not {len(samples) // 2} of {frames}")
    return np.frombuffer(samples, "<i2")
