import itertools
import os
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import export
import hw.inputs
from export import Dense, Encoder, Graded, Layer, Network, Readout, UserError
from model.data import archives
from model.data.n_mnist import read_events
from model.datasets import load
from model.trainer import spike_times
from tests.multi_spike import dense
from tests.small_data import write_tar

ARCHIVE = "n-mnist/n-mnist-subset.tar.xz"


def packed(events):
    """Events (column, row, polarity, microseconds) as the published files have them."""
    return b"".join(bytes([x, y]) + ((p << 23) | t).to_bytes(3, "big") for x, y, p, t in events)


def recording(rng, number=60):
    times = np.sort(rng.integers(0, 330_000, number))
    return [(*map(int, rng.integers(0, (34, 34, 2))), int(t)) for t in times]


@pytest.fixture
def recordings():
    rng = np.random.default_rng(4)
    names = [("Train", digit, number) for number, digit in enumerate((5, 0, 4, 1, 9, 2))] + [("Test", 7, 1), ("Test", 2, 2)]
    return {name: recording(rng) for name in names}


@pytest.fixture
def files(recordings):
    """In another order than that of the numbers, among other files."""
    found = {f"top/{part}/{digit}/{number:05}.bin": packed(events) for (part, digit, number), events in sorted(recordings.items())}
    return {"top/ReadMe.txt": b"text", "top/Train/0/.DS_Store": b""} | found


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FIRSTSPIKE_CACHE", str(tmp_path_factory.mktemp("cache")))


def refused(data_dir, name="n-mnist"):
    with pytest.raises(UserError) as caught:
        load(name, data_dir)
    return str(caught.value)


def second_events(events):
    """The pictures, one input at a time: the second event of each polarity, saccade, row and column."""
    picture = np.zeros((2, 3, 34, 34), int)
    for p, window, y, x in np.ndindex(2, 3, 34, 34):
        times = [t - window * 105_000 for *place, t in events if place == [x, y, p] and t // 105_000 == window]
        if len(times) >= 2:
            picture[p, window, y, x] = 255 - sorted(times)[1] * 256 // 105_000
    return picture.reshape(-1)


def test_single_spikes(files, recordings, tmp_path):
    crowd = [(3, 4, 1, 200), (3, 4, 1, 100), (3, 4, 0, 300), (3, 4, 1, 50), (33, 0, 0, 210_000), (33, 0, 0, 313_000)]
    recordings["Train", 0, 1] += crowd
    files["top/Train/0/00001.bin"] = packed(recordings["Train", 0, 1])
    write_tar(tmp_path / ARCHIVE, files)
    data = load("n-mnist", tmp_path)
    assert data.train_images.shape == (6, 6936)
    assert data.test_images.shape == (2, 6936)
    assert data.train_labels.tolist() == [5, 0, 4, 1, 9, 2]
    assert data.test_labels.tolist() == [7, 2]
    assert data.class_names == tuple("0123456789")
    assert data.split == "the original one, of which 6 and 2 recordings are at hand"
    assert (data.image_shape, data.test_events) == ((6, 34, 34), None)
    expected = second_events(recordings["Train", 0, 1])
    assert (expected > 0).sum() >= 2
    assert data.train_images[1].tolist() == expected.tolist()
    assert data.train_images[1].reshape(2, 3, 34, 34)[1, 0, 4, 3] == 255  # of 50, 100 and 200 µs


def test_counts_per_step(files, recordings, tmp_path):
    recordings["Test", 2, 2] += (
        [(9, 8, 1, 20_000 + k) for k in range(9)] + [(9, 8, 1, 319_000 + k) for k in range(9)] + [(0, 0, 0, 320_000)]
    )
    files["top/Test/2/00002.bin"] = packed(recordings["Test", 2, 2])
    write_tar(tmp_path / ARCHIVE, files)
    data = load("n-mnist-counts", tmp_path)
    assert (data.image_shape, data.test_events.shape) == ((2, 34, 34), (2, 16, 2312))
    expected = np.zeros((16, 2, 34, 34), int)
    for x, y, p, t in sorted(recordings["Test", 2, 2], key=lambda event: event[3]):
        if t < 320_000 and expected[:, p, y, x].sum() < 15:
            expected[t // 20_000, p, y, x] += 1
    assert expected[[1, 15], 1, 8, 9].tolist() == [9, 6]
    assert dense(data.test_events)[1].tolist() == expected.reshape(16, -1).tolist()
    assert data.test_images[1].tolist() == (16 * expected.sum(axis=0)).ravel().tolist()
    assert data.train_images.shape == (6, 2312)


def test_events_reach_golden_model_and_circuit(files, tmp_path, monkeypatch):
    """A network that takes spikes from outside gets those of the camera; its neurons count the same with images of the same totals."""
    write_tar(tmp_path / ARCHIVE, files)
    monkeypatch.setenv("FIRSTSPIKE_DATA", str(tmp_path))
    rng = np.random.default_rng(1)
    hidden = Layer(Dense(rng.choice([-1, 1], (20, 2312))), Graded(np.full(20, 5), levels=7))
    layers = (hidden, Layer(Dense(rng.choice([-1, 1], (10, 20))), Readout(np.full(10, 99))))
    network = Network(layers, 16, Encoder("none", bits=4))
    data = load("n-mnist-counts")
    found = hw.inputs.load(network, "n-mnist-counts", images=2)
    assert found.events.equals(data.test_events)
    assert found.images is None
    assert spike_times(data, "test", network.encoder, 16).equals(data.test_events)
    spread = replace(network, encoder=Encoder("spread", bits=4))
    images = hw.inputs.load(spread, "n-mnist-counts")
    assert (images.images == data.test_images).all()
    counts = []
    for frames in (found, images):
        sent = export.reference.run(network, frames.events).events[0]
        counts.append(np.bincount(sent.cell, sent.coefficient, minlength=40).tolist())
    assert counts[0] == counts[1]
    assert len(set(counts[0])) > 2
    with pytest.raises(UserError, match=r"^input events must be of 8 steps and 2312 inputs, not of 16 and 2312$"):
        hw.inputs.load(replace(network, steps=8), "n-mnist-counts")


def test_counts_as_a_map(files, tmp_path):
    write_tar(tmp_path / ARCHIVE, files)
    data = load("n-mnist-counts", tmp_path)
    arranged = data.arranged((34, 34, 2))
    events, images = (dense(arranged.test_events).sum(axis=1) * 16, arranged.test_images)
    assert events.tolist() == images.tolist()
    assert images.reshape(2, 34, 34, 2).transpose(0, 3, 1, 2).reshape(2, -1).tolist() == data.test_images.tolist()
    arranged.test_events.check()


def test_archives_as_published(files, tmp_path):
    write_tar(tmp_path / "tar" / ARCHIVE, files)
    (tmp_path / "zip" / "n-mnist").mkdir(parents=True)
    for part in ("Train", "Test"):
        with zipfile.ZipFile(tmp_path / "zip" / "n-mnist" / f"{part}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in files.items():
                if f"/{part}/" in name:
                    archive.writestr(name.removeprefix("top/"), content)
    one, other = load("n-mnist", tmp_path / "tar"), load("n-mnist", tmp_path / "zip")
    assert one.digest == other.digest
    assert (one.train_images == other.train_images).all()
    content = (path := tmp_path / "zip" / "n-mnist" / "Test.zip").read_bytes()
    damaged = bytearray(content)
    damaged[60] ^= 255
    path.write_bytes(damaged)
    assert refused(tmp_path / "zip").startswith(f"{path}: must be a whole zip archive: ")
    path.write_bytes(content[:-30])
    assert refused(tmp_path / "zip").startswith(f"{path}: must be a whole tar archive, compressed or not: ")


def test_twice_in_a_zip_archive(files, tmp_path):
    path = tmp_path / "n-mnist" / "Train.zip"
    path.parent.mkdir()
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("Train/0/00001.bin", b"")
        archive.writestr("a/Train/0/00001.bin", b"")
    path.with_name("Test.zip").write_bytes(path.read_bytes())
    assert refused(tmp_path) == f"{path}: must hold each file once, but holds a/Train/0/00001.bin twice"


def test_the_digest_is_of_names_and_contents(files, tmp_path):
    write_tar(tmp_path / "a" / ARCHIVE, files)
    moved = {name.replace("Test/7", "Test/3"): content for name, content in files.items()}
    write_tar(tmp_path / "b" / ARCHIVE, moved)
    one, other = load("n-mnist", tmp_path / "a"), load("n-mnist", tmp_path / "b")
    assert one.digest != other.digest
    assert other.test_labels.tolist() == [3, 2]


def test_time_overflow():
    """Row 240: all times from there on are 8,192 µs later."""
    content = packed([(1, 2, 0, 5), (0, 240, 0, 0), (3, 4, 1, 6), (9, 240, 1, 77), (33, 33, 1, (1 << 23) - 1)])
    times, channels = read_events(content)
    assert times.tolist() == [5, 8192 + 6, 16384 + (1 << 23) - 1]
    assert channels.tolist() == [2 * 34 + 1, 1156 + 4 * 34 + 3, 2311]
    assert [len(part) for part in read_events(b"")] == [0, 0]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (packed([(0, 0, 0, 0)]) + b"\0", "must be events of 5 bytes, not 6 bytes"),
        (packed([(34, 0, 0, 0)]), "events must be in columns and rows from 0 to 33, not 34 and 0"),
        (packed([(0, 34, 0, 0)]), "events must be in columns and rows from 0 to 33, not 0 and 34"),
    ],
)
def test_damaged_recordings(files, tmp_path, content, message):
    write_tar(tmp_path / ARCHIVE, files | {"top/Train/9/00004.bin": content})
    assert refused(tmp_path) == f"Train/9/00004.bin: {message}"


def test_missing_files(files, tmp_path):
    (tmp_path / "n-mnist").mkdir()
    assert refused(tmp_path) == f"data directory {tmp_path}/n-mnist must have Train.zip and Test.zip, or n-mnist*.tar with both"
    path = write_tar(tmp_path / ARCHIVE, {name: content for name, content in files.items() if "/Test/" not in name})
    assert refused(tmp_path) == f"{path}: must hold Train/DIGIT/NUMBER.bin and Test/DIGIT/NUMBER.bin, but one of the parts is missing"


SUBSET = Path(os.environ.get("FIRSTSPIKE_DATA", "")) / ARCHIVE


@pytest.mark.skipif(not SUBSET.is_file(), reason="there is no n-mnist-subset.tar.xz in the folder n-mnist of FIRSTSPIKE_DATA")
def test_real_recordings():
    """The first of the archive: some 0.3 s of at least a thousand events in the order of time."""
    for (part, digit, number), content in itertools.islice(archives.each_member(SUBSET, r"(Train|Test)/(\d)/(\d+)\.bin"), 20):
        assert (part in ("Train", "Test"), int(digit) < 10, int(number) <= 60_000) == (True, True, True)
        times, channels = read_events(content)
        assert (np.diff(times) >= 0).all()
        assert 290_000 < times[-1] < 340_000
        assert len(np.unique(channels)) > 300
