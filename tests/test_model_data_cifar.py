import hashlib

import numpy as np
import pytest

from export import UserError
from model.data import cifar, download
from model.data.download import File, Source
from model.datasets import load
from tests.loopback import serving
from tests.small_data import write_tar

ARCHIVE = "cifar-10/cifar-10-binary.tar"
FOLDER = "cifar-10-batches-bin"


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


@pytest.fixture
def files(monkeypatch):
    """Files of three images each, and others, in another order than that of the batches; their digests are taken for the published ones."""
    rng = np.random.default_rng(7)
    names = ["test_batch", *(f"data_batch_{number}" for number in (2, 1, 3, 5, 4))]
    contents = {}
    for name in names:
        records = rng.integers(0, 256, (3, 3073), np.uint8)
        records[:, 0] %= 10
        contents[name] = records.tobytes()
    monkeypatch.setattr(cifar, "FRAMES", 3)
    monkeypatch.setattr(cifar, "MD5", {name: md5(contents[name]) for name in sorted(contents)})
    return {f"{FOLDER}/readme.html": b"<html>"} | {f"{FOLDER}/{name}.bin": content for name, content in contents.items()}


def refused(data_dir):
    with pytest.raises(UserError) as caught:
        load("cifar-10", data_dir)
    return str(caught.value)


def test_all_images(files, tmp_path):
    write_tar(tmp_path / f"{ARCHIVE}.gz", files)
    data = load("cifar-10", tmp_path)
    batches = [np.frombuffer(files[f"{FOLDER}/data_batch_{number}.bin"], np.uint8).reshape(3, 3073) for number in range(1, 6)]
    train, test = np.concatenate(batches), np.frombuffer(files[f"{FOLDER}/test_batch.bin"], np.uint8).reshape(3, 3073)
    assert data.train_labels.tolist() == train[:, 0].tolist()
    assert data.test_labels.tolist() == test[:, 0].tolist()
    assert np.array_equal(data.train_images, train[:, 1:])
    assert np.array_equal(data.test_images, test[:, 1:])
    assert data.train_images.dtype == np.uint8
    assert data.train_images.base is data.test_images.base  # in memory once
    assert data.class_names[8] == "ship"
    assert data.image_shape == (3, 32, 32)
    arranged = data.arranged((32, 32, 3)).test_images.reshape(3, 32, 32, 3)
    assert arranged[1, 5, 7].tolist() == [test[1, 1 + 1024 * plane + 32 * 5 + 7] for plane in range(3)]


@pytest.mark.parametrize("compression", [".xz", ".bz2", ""])
def test_any_compression_will_do(files, tmp_path, compression):
    write_tar(tmp_path / "published" / f"{ARCHIVE}.gz", files)
    write_tar(tmp_path / f"{ARCHIVE}{compression}", files)
    assert load("cifar-10", tmp_path).digest == load("cifar-10", tmp_path / "published").digest


def test_download(files, tmp_path, monkeypatch):
    path = write_tar(tmp_path / "there.tar.gz", files)
    for name, value in (("NO_PROXY", "127.0.0.1"), ("FIRSTSPIKE_CACHE", str(tmp_path))):
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("FIRSTSPIKE_DATA", raising=False)
    with serving() as server:
        server.files["/cifar.tar.gz"] = path.read_bytes()
        file = File(f"{ARCHIVE.partition('/')[2]}.gz", (f"{server.url}/cifar.tar.gz",), md5(path.read_bytes()))
        monkeypatch.setitem(download.SOURCES, "cifar-10", Source("cifar-10", (file,)))
        assert len(load("cifar-10").train_images) == 15
        load("cifar-10")
        assert server.asked == ["/cifar.tar.gz"]
    assert (tmp_path / f"{ARCHIVE}.gz").read_bytes() == path.read_bytes()


def test_another_file(files, tmp_path):
    name = "data_batch_4"
    changed = files[f"{FOLDER}/{name}.bin"][:-1] + b"\0"
    path = write_tar(tmp_path / f"{ARCHIVE}.xz", files | {f"{FOLDER}/{name}.bin": changed})
    assert refused(tmp_path) == f"{path}: {name}.bin must have the MD5 {cifar.MD5[name]}, not {md5(changed)}"


def test_missing_files(files, tmp_path):
    (tmp_path / "cifar-10").mkdir()
    assert refused(tmp_path) == f"data directory {tmp_path}/cifar-10 must have cifar-10-binary.tar.gz, but it is missing"
    del files[f"{FOLDER}/data_batch_2.bin"], files[f"{FOLDER}/test_batch.bin"]
    path = write_tar(tmp_path / f"{ARCHIVE}.gz", files)
    assert refused(tmp_path) == f"{path}: must hold data_batch_2.bin, but 2 of 6 files are missing"


@pytest.mark.parametrize("compression", ["gz", "xz"])
@pytest.mark.parametrize("damage", [lambda c: c[:-3000], lambda c: c[:20], lambda c: b"hello", lambda c: b""])
def test_damaged_archive(files, tmp_path, damage, compression):
    path = write_tar(tmp_path / f"{ARCHIVE}.{compression}", files)
    path.write_bytes(damage(path.read_bytes()))
    message = refused(tmp_path)
    assert message.startswith(f"{path}: must be a whole tar archive, compressed or not: ")
    assert "\n" not in message
