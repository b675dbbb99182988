import io
import os
import wave
from pathlib import Path

import numpy as np
import pytest

from export import UserError
from model.data import spoken_digits
from model.data.spoken_digits import COCHLEA, CODE, SPEAKERS
from model.datasets import load
from tests.small_data import write_tar

ARCHIVE = "free-spoken-digits/free-spoken-digit-dataset.tar.gz"


def wav(samples, rate=8000, channels=1, width=2):
    content = io.BytesIO()
    with wave.open(content, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(samples)
    return content.getvalue()


def tone(digit, samples=240):
    """A tone per digit, in the middle of a channel of the cochlea."""
    frequency = COCHLEA.centre_frequencies_hz[3 + 4 * digit]
    return wav((1000 * np.sin(2 * np.pi * frequency * np.arange(samples) / 8000)).astype("<i2").tobytes())


@pytest.fixture
def files(monkeypatch):
    """Tones as recordings, 7 of each digit by each speaker, and what else is in the archive of a tag."""
    monkeypatch.setattr(spoken_digits, "RECORDINGS", 7)
    top = "free-spoken-digit-dataset-1.0.10"
    recordings = {
        f"{top}/recordings/{digit}_{speaker}_{index}.wav": content
        for digit in range(10)
        for content in [tone(digit)]
        for speaker in SPEAKERS
        for index in range(7)
    }
    return recordings | {f"{top}/README.md": b"text", f"{top}/recordings/.DS_Store": b""}


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FIRSTSPIKE_CACHE", str(tmp_path_factory.mktemp("cache")))


def changed(tmp_path, files, changes=None, without=()):
    kept = {name: content for name, content in files.items() if name.split("/")[-1] not in without}
    top = "free-spoken-digit-dataset-1.0.10/recordings/"
    write_tar(tmp_path / ARCHIVE, kept | {top + name: content for name, content in (changes or {}).items()})
    return tmp_path


def refused(data_dir, name="spoken-digits"):
    with pytest.raises(UserError) as caught:
        load(name, data_dir)
    return str(caught.value)


def test_both_splits(files, tmp_path):
    data_dir = changed(tmp_path, files)
    data = load("spoken-digits", data_dir)
    assert data.train_images.shape == (120, 1280)
    assert data.test_images.shape == (300, 1280)
    assert np.bincount(data.train_labels).tolist() == [12] * 10
    assert np.bincount(data.test_labels).tolist() == [30] * 10
    assert data.image_shape == (2, 40, 16)
    assert data.class_names[7] == "seven"
    assert data.split == "recordings 0 to 4 of each digit and speaker for testing"
    loudest = data.test_images.reshape(-1, *data.image_shape)[:, 1, :, 0].argmax(1)
    assert (abs(loudest - (3 + 4 * data.test_labels)) <= 1).all()

    without = load("spoken-digits-without-jackson", data_dir)
    assert without.name == "spoken-digits-without-jackson"
    assert without.train_images.shape == (350, 1280)
    assert without.test_images.shape == (70, 1280)
    assert np.bincount(without.test_labels).tolist() == [7] * 10
    assert without.split == "all recordings of jackson for testing"
    assert without.digest == data.digest


def test_which_recordings_are_tested(files, tmp_path, monkeypatch):
    """Recordings whose only event says whose they are."""
    numbers = iter(range(420))

    def events(_):
        digit, rest = divmod(next(numbers), 42)
        speaker, index = divmod(rest, 7)
        return np.repeat([0, 40_000 * (speaker + 1)], [5, 5]), np.repeat([index, digit], [5, 5])

    monkeypatch.setattr(spoken_digits.COCHLEA.__class__, "events", lambda self, sound: events(sound))
    data_dir = changed(tmp_path, files)
    pictures = load("spoken-digits", data_dir).test_images.reshape(-1, *CODE.shape)[:, 0]
    assert sorted(set(pictures[:, :, 0].argmax(1))) == [0, 1, 2, 3, 4]
    for number, speaker in enumerate(SPEAKERS):
        data = load(f"spoken-digits-without-{speaker}", data_dir)
        pictures = data.test_images.reshape(-1, *CODE.shape)[:, 0]
        assert (pictures[:, :, number + 1].argmax(1) == data.test_labels).all()
        assert pictures[:, :, 1:].any((0, 1)).sum() == 1
        assert not data.train_images.reshape(-1, *CODE.shape)[:, 0, :, number + 1].any()


def test_unknown_speaker(tmp_path):
    names = ", ".join(("spoken-digits", *(f"spoken-digits-without-{speaker}" for speaker in SPEAKERS)))
    for name in ("spoken-digits-without-bob", "spoken-digits-2"):
        assert refused(tmp_path, name) == f"data set must be one of {names}, not '{name}'"


def test_missing_recordings(files, tmp_path):
    data_dir = changed(tmp_path, files, without=("3_theo_6.wav", "4_theo_0.wav"))
    assert refused(data_dir) == f"{data_dir / ARCHIVE}: must hold recordings/3_theo_6.wav, but 2 of 420 recordings are missing"


def test_missing_digit(files, tmp_path):
    data_dir = changed(tmp_path, files, without=[f"6_{speaker}_{index}.wav" for speaker in SPEAKERS for index in range(7)])
    assert refused(data_dir) == f"{data_dir / ARCHIVE}: must hold recordings/6_george_0.wav, but 42 of 420 recordings are missing"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (wav(b"\0" * 100, rate=16000), "must have 1 channel, 16 bits, 8000 Hz, not 1, 16, 16000"),
        (wav(b"\0" * 100, channels=2), "must have 1 channel, 16 bits, 8000 Hz, not 2, 16, 8000"),
        (wav(b"\0" * 100, width=1), "must have 1 channel, 16 bits, 8000 Hz, not 1, 8, 8000"),
        (wav(b""), "must have as many samples as its header says, and at least one, not 0 of 0"),
        (wav(b"\0" * 100)[:-20], "must have as many samples as its header says, and at least one, not 40 of 50"),
        (wav(b"\0" * 100)[:10], "must be a whole WAV file: not a WAVE file"),
        (b"RIFF\0\0\0\0hello", "must be a whole WAV file: not a WAVE file"),
        (b"", "must be a whole WAV file: it ends early"),
    ],
)
def test_wrong_recording(files, tmp_path, content, message):
    data_dir = changed(tmp_path, files, {"5_lucas_6.wav": content})
    assert refused(data_dir) == f"{data_dir / ARCHIVE}: recordings/5_lucas_6.wav {message}"


def test_damaged_archive(files, tmp_path):
    path = changed(tmp_path, files) / ARCHIVE
    path.write_bytes(path.read_bytes()[:-1])
    assert refused(tmp_path).startswith(f"{path}: must be a whole gzip file: ")


def test_the_real_recordings():
    if not (Path(os.environ.get("FIRSTSPIKE_DATA", "nowhere")) / ARCHIVE).is_file():
        pytest.skip("FIRSTSPIKE_DATA names no directory with the spoken digits")
    data = load("spoken-digits")
    assert data.train_images.shape == (2700, 1280)
    assert np.bincount(data.test_labels).tolist() == [30] * 10
    assert data.digest == "532f738368d5607041bd8fedb5524fedae9ed6323fac0fd4977ccdddf9edbab7"
    assert 0.35 < (data.test_images >= 32).mean() < 0.45
