import h5py
import numpy as np
import pytest

from export import UserError
from model.data import heidelberg
from model.data.heidelberg import CODE
from model.datasets import load

COUNTS = {"shd_train.h5": 40, "shd_test.h5": 20}


def recordings(count):
    """Events of as many recordings: those of class ``c`` are near channel ``30 c``, sparse first and then dense."""
    rng = np.random.default_rng(count)
    labels = np.arange(count) % 20
    times = [np.sort(np.append(rng.uniform(0, 0.5, 20), rng.uniform(0.5, 1.3, 400))).astype(np.float16) for _ in labels]
    units = [(30 * label + rng.integers(0, 20, 420)).astype(np.uint16) for label in labels]
    return {"spikes/times": times, "spikes/units": units, "labels": labels.astype(np.uint16)}


def write(path, content):
    path.parent.mkdir(exist_ok=True)
    with h5py.File(path, "w") as file:
        for key, values in content.items():
            if isinstance(values, list):
                made = file.create_dataset(key, (len(values),), h5py.vlen_dtype(values[0].dtype))
                for index, value in enumerate(values):
                    made[index] = value
            else:
                file[key] = values
    return path


@pytest.fixture
def data_dir(tmp_path, monkeypatch):
    """A data directory with the two files, of fewer recordings, and an empty cache."""
    monkeypatch.setenv("FIRSTSPIKE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(heidelberg, "RECORDINGS", tuple(COUNTS.values()))
    for name, count in COUNTS.items():
        write(tmp_path / "shd" / name, recordings(count))
    return tmp_path


def refused(data_dir):
    with pytest.raises(UserError) as caught:
        load("shd", data_dir)
    return str(caught.value)


def changed(data_dir, **changes):
    """Changes the test file; its path."""
    content = recordings(20) | {key.replace("__", "/"): value for key, value in changes.items()}
    return write(data_dir / "shd" / "shd_test.h5", {key: value for key, value in content.items() if value is not None})


def test_both_files(data_dir):
    data = load("shd", data_dir)
    assert data.train_images.shape == (40, 1750)
    assert data.test_images.shape == (20, 1750)
    assert data.test_images.dtype == np.uint8
    assert data.train_labels.tolist() == [*range(20), *range(20)]
    assert data.train_labels.dtype == np.int64
    assert data.class_names[13] == "drei"
    assert data.image_shape == CODE.shape == (2, 35, 25)
    content = recordings(20)
    for frame, times, units in zip(data.test_images, content["spikes/times"], content["spikes/units"], strict=True):
        expected = CODE.encode(np.rint(times.astype(float) * 1e6).astype(int), units)
        assert expected.any()
        assert frame.tolist() == expected.tolist()


def test_order_of_events_does_not_matter(data_dir):
    before = load("shd", data_dir)
    turned = {key: [value[::-1] for value in values] for key, values in recordings(20).items() if key != "labels"}
    changed(data_dir, spikes__times=turned["spikes/times"], spikes__units=turned["spikes/units"])
    after = load("shd", data_dir)
    assert (after.test_images == before.test_images).all()
    assert after.digest != before.digest


def test_a_recording_without_events_is_a_frame_without_spikes(data_dir):
    content = recordings(20)
    content["spikes/times"][3], content["spikes/units"][3] = np.zeros(0, np.float16), np.zeros(0, np.uint16)
    changed(data_dir, spikes__times=content["spikes/times"], spikes__units=content["spikes/units"])
    assert (load("shd", data_dir).test_images.any(1) == (np.arange(20) != 3)).all()


def test_missing_file(data_dir):
    (data_dir / "shd" / "shd_test.h5").unlink()
    assert refused(data_dir) == f"data directory {data_dir}/shd must have shd_test.h5, but it is missing"


@pytest.mark.parametrize("damage", [lambda c: c[:-1000], lambda c: c[:100], lambda c: b"hello", lambda c: b""])
def test_damaged_file(data_dir, damage):
    path = data_dir / "shd" / "shd_test.h5"
    path.write_bytes(damage(path.read_bytes()))
    assert refused(data_dir).startswith(f"{path}: must be a whole HDF5 file: ")


def replaced(key, index, value):
    values = recordings(20)[key]
    values[index] = value
    return {key.replace("/", "__"): values}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"labels": None}, "must hold spikes/times, spikes/units, labels, but labels is missing"),
        ({"spikes__units": None}, "must hold spikes/times, spikes/units, labels, but spikes/units is missing"),
        ({"spikes__times": None, "spikes__times__x": 1}, "must hold spikes/times, spikes/units, labels, but spikes/times is missing"),
        ({"spikes__times": np.zeros((20, 5))}, "spikes/times must have a list of any length per recording, not float64 (20, 5)"),
        ({"labels": np.arange(19)}, "labels must have the shape (20,), not (19,)"),
        ({"spikes__units": recordings(21)["spikes/units"]}, "spikes/units must have the shape (20,), not (21,)"),
        ({"labels": np.arange(1, 21)}, f"labels must be 0 to 19, each at least once, not {list(range(1, 21))}"),
        ({"labels": np.arange(20) % 19}, f"labels must be 0 to 19, each at least once, not {list(range(19))}"),
        ({"labels": np.arange(20.0)}, f"labels must be 0 to 19, each at least once, not {[float(label) for label in range(20)]}"),
        (
            replaced("spikes/units", 7, np.full(420, 700, np.uint16)),
            "recording 7: channels of events must be 0 to 699, not 700 to 700",
        ),
        (
            replaced("spikes/units", 8, np.zeros(3, np.uint16)),
            "recording 8: events must have one time and one channel each, not (420,) times and (3,) channels",
        ),
        (replaced("spikes/times", 0, np.full(420, -0.5, np.float16)), "recording 0: times of events must be at least 0, not -500000"),
        (replaced("spikes/times", 19, np.full(420, np.nan, np.float16)), "recording 19: times of events must be finite, but one is not"),
    ],
)
def test_wrong_content(data_dir, changes, message):
    path = changed(data_dir, **changes)
    assert refused(data_dir) == f"{path}: {message}"


def test_the_number_of_recordings_is_that_of_the_real_files(data_dir, monkeypatch):
    monkeypatch.undo()
    assert refused(data_dir) == f"{data_dir / 'shd' / 'shd_train.h5'}: spikes/times must have the shape (8156,), not (40,)"
