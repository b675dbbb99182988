import gzip
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from export import UserError
from model.data import thermometer
from model.data.dataset import Dataset, split_stratified
from model.datasets import load
from tests.small_data import FILES, write_idx

ROOT = Path(__file__).parent.parent
CLASSIC = {
    "x_train": np.arange(48, dtype=np.uint8).reshape(3, 4, 4),
    "y_train": np.array([0, 1, 2]),
    "x_test": np.arange(32, dtype=np.uint8).reshape(2, 4, 4),
    "y_test": np.array([2, 0], np.uint8),
}


@pytest.fixture(scope="module")
def idx(tmp_path_factory):
    """A data directory with a made-up ``mnist``, and the uncompressed bytes of its files."""
    root = tmp_path_factory.mktemp("data")
    return root, write_idx(root / "mnist")


@pytest.fixture
def copy(idx, tmp_path):
    """The same, to be damaged."""
    for name in FILES:
        (tmp_path / "mnist").mkdir(exist_ok=True)
        (tmp_path / "mnist" / f"{name}.gz").hardlink_to(idx[0] / "mnist" / f"{name}.gz")
    return tmp_path


def replace(path, content):
    path.unlink()
    path.write_bytes(content)


def refused(*arguments):
    with pytest.raises(UserError) as caught:
        load(*arguments)
    return str(caught.value)


def test_no_torch():
    program = "import model, model.datasets, sys; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True)


def test_digits():
    digits = load("digits")
    assert digits.train_images.shape == (1437, 64)
    assert digits.test_images.shape == (360, 64)
    assert digits.train_images.dtype == np.uint8
    assert set(np.unique(digits.train_images)) <= {*range(0, 255, 16), 255}
    assert set(np.bincount(digits.test_labels)) == {34, 35, 36, 37}
    assert digits.image_shape == (8, 8)
    assert digits.inputs == 64
    assert digits.class_names == tuple("0123456789")
    assert digits.digest == "1db10b500750c76c183a6643d02bda35f624b681c5f20bd7cde0a73d80b09f1a"
    assert hashlib.sha256(digits.test_images.tobytes()).hexdigest() == hashlib.sha256(load("digits").test_images.tobytes()).hexdigest()


def test_idx_files_of_a_directory(idx, monkeypatch):
    root, contents = idx
    monkeypatch.setenv("FIRSTSPIKE_DATA", str(root))
    mnist = load("mnist")
    assert mnist.train_images.shape == (60000, 784)
    assert mnist.test_images.tobytes() == contents["t10k-images-idx3-ubyte"][16:]
    assert mnist.train_labels.tolist() == [*range(10)] * 6000
    assert mnist.train_labels.dtype == np.int64
    assert mnist.image_shape == (28, 28)
    assert mnist.digest == hashlib.sha256(b"".join(contents[name] for name in FILES)).hexdigest()


def test_uncompressed_files_do_as_well(idx, copy):
    for name in FILES:
        (copy / "mnist" / f"{name}.gz").unlink()
        (copy / "mnist" / name).write_bytes(idx[1][name])
    assert load("mnist", copy).digest == load("mnist", idx[0]).digest


def test_class_names_of_fashion_mnist(idx, tmp_path):
    (tmp_path / "fashion-mnist").symlink_to(idx[0] / "mnist")
    assert load("fashion-mnist", tmp_path).class_names[8] == "Bag"


def test_unknown_name():
    names = (
        "digits, mnist, fashion-mnist, fashion-mnist-thermometer, cifar-10, caltech, spoken-digits, spoken-digits-without-SPEAKER, shd, "
        "n-mnist, n-mnist-counts"
    )
    assert refused("minst") == f"data set must be {names} or a .npz file, not 'minst'"


def test_thermometer_counts_the_levels_that_an_intensity_reaches():
    """Pixel by pixel, by another formula: full planes below, a part of one, and empty ones above."""
    images = np.arange(256, dtype=np.uint8).reshape(1, 256)
    plain = Dataset("ramp", ("a",), "0" * 64, "none", test_images=images, image_shape=(16, 16))
    data = thermometer.planes(plain)
    assert (data.name, data.image_shape, data.train_images) == ("ramp-thermometer", (8, 16, 16), None)
    assert data.digest != plain.digest
    found = data.test_images.reshape(8, 256)
    for intensity in range(256):
        full, rest = divmod(intensity, 32)
        assert found[:, intensity].tolist() == [255] * full + [8 * rest] + [0] * (7 - full)


def test_thermometer_of_fashion_mnist(idx, tmp_path):
    (tmp_path / "fashion-mnist").symlink_to(idx[0] / "mnist")
    data = load("fashion-mnist-thermometer", tmp_path)
    assert (data.name, data.inputs, data.class_names[8]) == ("fashion-mnist-thermometer", 8 * 784, "Bag")


def test_empty_directory(tmp_path):
    assert refused("mnist", tmp_path) == f"data directory {tmp_path} must have a folder 'mnist', but holds nothing"


def test_no_directory(tmp_path):
    assert refused("mnist", tmp_path / "x") == f"data directory {tmp_path / 'x'} must have a folder 'mnist', but holds no directory"


def test_other_directory(tmp_path):
    (tmp_path / "cats").mkdir()
    assert refused("mnist", tmp_path) == f"data directory {tmp_path} must have a folder 'mnist', but holds ['cats']"


def test_missing_file(copy):
    (copy / "mnist" / f"{FILES[2]}.gz").unlink()
    assert refused("mnist", copy) == f"data directory {copy}/mnist must have {FILES[2]}.gz, but it is missing"


@pytest.mark.parametrize("damage", [lambda c: c[:-100], lambda c: c[:200] + b"\0\0\0\0" + c[204:], lambda c: b"hello", lambda c: b""])
def test_damaged_gzip(copy, damage):
    path = copy / "mnist" / f"{FILES[1]}.gz"
    replace(path, damage(path.read_bytes()))
    message = refused("mnist", copy)
    assert message.startswith((f"{path}: must be a whole gzip file: ", f"{path.with_suffix('')}: IDX header must"))


def test_wrong_header(idx, copy):
    content = bytearray(idx[1][FILES[1]])
    content[2] = 9
    replace(copy / "mnist" / f"{FILES[1]}.gz", gzip.compress(bytes(content)))
    path = copy / "mnist" / FILES[1]
    assert refused("mnist", copy) == f"{path}: IDX header must say uint8 (60000,) (000008010000ea60), not 000009010000ea60"


def test_wrong_length(idx, copy):
    replace(copy / "mnist" / f"{FILES[3]}.gz", gzip.compress(idx[1][FILES[3]][:-1]))
    assert refused("mnist", copy) == f"{copy / 'mnist' / FILES[3]}: uncompressed, must have 10008 bytes, not 10007"


def test_wrong_labels(idx, copy):
    content = idx[1][FILES[3]].replace(b"\x09", b"\x0b")
    replace(copy / "mnist" / f"{FILES[3]}.gz", gzip.compress(content))
    assert refused("mnist", copy) == f"{copy}/mnist: t10k-labels must hold the labels 0 to 9, not [0, 1, 2, 3, 4, 5, 6, 7, 8, 11]"


def npz(path, **arrays):
    np.savez(path, **arrays)
    return path


def test_npz_with_images(tmp_path):
    data = load(npz(tmp_path / "own.npz", **CLASSIC))
    assert data.train_images.tolist() == CLASSIC["x_train"].reshape(3, 16).tolist()
    assert data.test_labels.tolist() == [2, 0]
    assert data.test_labels.dtype == np.int64
    assert data.image_shape == (4, 4)
    assert data.class_names == ("0", "1", "2")
    assert data.test_spike_times is None


def test_npz_with_spike_times_for_testing_only(tmp_path):
    data = load(npz(tmp_path / "own.npz", t_test=np.array([[0, 8, 3]])))
    assert data.test_spike_times.tolist() == [[0, 8, 3]]
    assert data.test_spike_times.dtype == np.int32
    assert (data.train_images, data.test_images, data.test_labels, data.image_shape) == (None, None, None, None)
    assert data.inputs == 3


def test_npz_with_class_names(tmp_path):
    data = load(npz(tmp_path / "own.npz", class_names=np.array(["cat", "dog", "eel", "fox"]), **CLASSIC))
    assert data.class_names == ("cat", "dog", "eel", "fox")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"weights": np.zeros(3)}, "keys must be among x_train, y_train, x_test, y_test, t_train, t_test, class_names, not weights"),
        ({"x_train": None, "x_test": None}, "must hold either images (x_test, x_train) or spike times (t_test, t_train), but holds "),
        ({"t_test": np.zeros((1, 16), int)}, "must hold either images (x_test, x_train) or spike times (t_test, t_train), but holds "),
        ({"x_test": np.zeros((2, 4, 4))}, "x_test must be uint8 intensities, not float64"),
        ({"x_test": np.zeros(2, np.uint8)}, "x_test must have shape (frames, inputs) or (frames, height, width), not (2,)"),
        ({"x_test": np.zeros((0, 4, 4), np.uint8)}, "x_test must have shape (frames, inputs) or (frames, height, width), not (0, 4, 4)"),
        ({"x_test": np.zeros((2, 16), np.uint8)}, "x_train and x_test must have frames of one shape, not [(4, 4), (16,)]"),
        ({"y_test": np.array([1])}, "y_test must have shape (2,), one label per frame, not (1,)"),
        ({"y_test": np.array([1.0, 2.0])}, "y_test must be integer labels, not float64"),
        ({"y_test": np.array(["cat", "dog"])}, "y_test must be integer labels, not <U3"),
        ({"y_test": np.array([1, -2])}, "y_test must be labels from 0 to 65535, not from -2 to 1"),
        ({"y_test": np.array([1, 2**40])}, "y_test must be labels from 0 to 65535, not from 1 to 1099511627776"),
        ({"class_names": np.array("abc")}, "class_names must be strings of shape (classes,), not <U3 ()"),
        ({"class_names": np.array([1.5, 2, 3])}, "class_names must be strings of shape (classes,), not float64 (3,)"),
        ({"x_train": None}, "y_train needs frames for its labels, but there are none"),
        ({"class_names": np.array(["a"])}, "class_names must be at least 3, one per label, not 1"),
    ],
)
def test_npz_with_wrong_arrays(tmp_path, changes, message):
    arrays = {key: array for key, array in (CLASSIC | changes).items() if array is not None}
    path = npz(tmp_path / "own.npz", **arrays)
    assert refused(path).startswith(f"{path}: {message}")


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (np.zeros((2, 3)), "t_test must be integer spike times, not float64"),
        (np.array([[0, -1]]), "t_test must hold spike times from 0 to T, not -1 to 0"),
        (np.array([[0, 40000]]), "t_test must hold spike times from 0 to T, not 0 to 40000"),
    ],
)
def test_npz_with_wrong_spike_times(tmp_path, times, message):
    path = npz(tmp_path / "own.npz", t_test=times)
    assert refused(path) == f"{path}: {message}"


@pytest.mark.parametrize("keep", [0, 10, 100, -30])
def test_damaged_npz(tmp_path, keep):
    path = npz(tmp_path / "own.npz", **CLASSIC)
    path.write_bytes(path.read_bytes()[:keep])
    assert refused(path).startswith(f"{path}: must be a whole .npz file of plain arrays: ")


def test_npz_with_objects(tmp_path):
    path = npz(tmp_path / "own.npz", x_test=np.array([{}], object))
    assert refused(path).startswith(f"{path}: must be a whole .npz file of plain arrays: ")


def test_missing_npz(tmp_path):
    with pytest.raises(FileNotFoundError):
        load(tmp_path / "no.npz")


@pytest.mark.parametrize("held_out", [1, 7, 20, 99])
def test_split_is_stratified_and_seeded(held_out):
    labels = np.arange(100) % 5
    stays, taken = split_stratified(labels, held_out, seed=3)
    assert sorted([*stays, *taken]) == list(range(100))
    assert len(taken) == held_out
    assert np.ptp(np.bincount(labels[taken], minlength=5)) <= 1
    assert taken.tolist() == split_stratified(labels, held_out, seed=3)[1].tolist()
    assert taken.tolist() != split_stratified(labels, held_out, seed=4)[1].tolist()


def test_real_data_have_their_digests():
    """Where the real MNIST is at hand, its files are the canonical ones."""
    root = Path(os.environ.get("FIRSTSPIKE_DATA", "nowhere"))
    if not (root / "mnist").is_dir():
        pytest.skip("FIRSTSPIKE_DATA names no directory with a folder 'mnist'")
    assert load("mnist").digest == "b2d8f5bf39174ee5ffeefa97e42d673c35432b411bb5d1f74fbbeddae7f1690a"
