import io
import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from export import UserError
from model.data import caltech
from model.datasets import load
from tests.small_data import write_tar

ARCHIVE = "caltech101/101_ObjectCategories.tar.gz"


def jpeg(pixels):
    content = io.BytesIO()
    Image.fromarray(pixels).save(content, "JPEG", quality=95)
    return content.getvalue()


@pytest.fixture
def files(monkeypatch):
    """A few images of the two categories: bars that stand for faces, and bars that lie for motorbikes, of several shapes; other files."""
    monkeypatch.setattr(caltech, "IMAGES", {"Faces": 9, "Motorbikes": 12})
    monkeypatch.setattr(caltech, "TRAINING", 4)
    stripes = np.repeat(np.arange(48, dtype=np.uint8)[:, None] // 8 % 2 * 200, 60, 1)
    standing = [jpeg(np.ascontiguousarray(stripes.T)), jpeg(np.stack([stripes.T[:50]] * 3, 2))]
    lying = [jpeg(stripes), jpeg(stripes[:40])]
    images = {"101_ObjectCategories/Faces_easy/image_0001.jpg": b"not read", "101_ObjectCategories/Faces/notes.txt": b""}
    for category, count, kinds in (("Faces", 9, standing), ("Motorbikes", 12, lying)):
        images |= {f"101_ObjectCategories/{category}/image_{index + 1:04}.jpg": kinds[index % 2] for index in range(count)}
    return images


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory, monkeypatch):
    monkeypatch.setenv("FIRSTSPIKE_CACHE", str(tmp_path_factory.mktemp("cache")))


def directory(tmp_path, files):
    write_tar(tmp_path / ARCHIVE, files)
    return tmp_path


def refused(data_dir):
    with pytest.raises(UserError) as caught:
        load("caltech", data_dir)
    return str(caught.value)


def test_all_images(files, tmp_path):
    data = load("caltech", directory(tmp_path / "all", files))
    assert data.train_images.shape == (8, 1600)
    assert data.test_images.shape == (13, 1600)
    assert data.train_images.dtype == np.uint8
    assert np.bincount(data.train_labels).tolist() == [4, 4]
    assert np.bincount(data.test_labels).tolist() == [5, 8]
    assert data.class_names == ("Faces", "Motorbikes")
    assert data.image_shape == (4, 16, 25)
    planes = data.test_images.reshape(-1, 4, 400).sum(2)
    assert (planes.argmax(1) == 2 * data.test_labels).all()  # standing bars have standing edges
    # The digest is that of the images, whatever else is in the archive, and in which order.
    reordered = {name.removeprefix("101_ObjectCategories/"): files[name] for name in sorted(files, reverse=True) if "easy" not in name}
    assert load("caltech", directory(tmp_path / "part", reordered)).digest == data.digest
    other = files | {"101_ObjectCategories/Faces/image_0001.jpg": files["101_ObjectCategories/Faces/image_0002.jpg"]}
    assert load("caltech", directory(tmp_path / "other", other)).digest != data.digest


@pytest.mark.parametrize(("angle", "plane"), [(0, 0), (45, 1), (90, 2), (135, 3), (180, 0), (225, 1), (350, 0), (30, 1)])
def test_orientation(angle, plane):
    """A ramp that is brightest in the direction ``angle``, clockwise from the right, has its edges across that direction."""
    rows, columns = np.mgrid[:160, :250]
    ramp = 128 + 0.4 * (np.cos(np.radians(angle)) * (columns - 125) + np.sin(np.radians(angle)) * (rows - 80))
    edges = caltech.oriented_edges(ramp.astype(np.uint8))
    assert edges.shape == (4, 16, 25)
    assert edges.sum((1, 2)).argmax() == plane


def test_place():
    image = np.zeros((160, 250), np.uint8)
    image[:, 125:] = 255  # the edge runs between blocks 12 and 13
    strong = caltech.oriented_edges(image)[0] > 1
    assert strong[:, 12].all()
    assert not strong[:, :12].any()
    assert not strong[:, 13:].any()


def test_contrast_does_not_matter():
    image = np.random.default_rng(0).integers(0, 100, (160, 250))
    found = [caltech.intensities(caltech.oriented_edges(image * gain + offset)) for gain, offset in ((1, 0), (2, 30))]
    assert abs(found[0].astype(int) - found[1]).max() <= 1
    assert found[0].max() == 255


def test_an_image_without_edges():
    assert not caltech.intensities(caltech.oriented_edges(np.full((160, 250), 7, np.uint8))).any()


def test_missing_archive(tmp_path):
    (tmp_path / "caltech101").mkdir()
    assert refused(tmp_path) == f"data directory {tmp_path}/caltech101 must have 101_ObjectCategories.tar.gz, but it is missing"
    assert refused(tmp_path / "caltech101") == (f"data directory {tmp_path}/caltech101 must have a folder 'caltech101', but holds nothing")


def test_missing_image(files, tmp_path):
    kept = {name: content for name, content in files.items() if not name.endswith("Motorbikes/image_0010.jpg")}
    data_dir = directory(tmp_path, kept)
    assert refused(data_dir) == f"{data_dir / ARCHIVE}: must hold 12 images Motorbikes/image_….jpg, not 11"


def test_empty_class(files, tmp_path):
    data_dir = directory(tmp_path, {name: content for name, content in files.items() if "/Faces/" not in name})
    assert refused(data_dir) == f"{data_dir / ARCHIVE}: must hold 9 images Faces/image_….jpg, not 0"


@pytest.mark.parametrize("damage", [lambda c: c[:100], lambda c: c[: len(c) // 2], lambda c: b"hello", lambda c: b""])
def test_damaged_image(files, tmp_path, damage):
    name = "101_ObjectCategories/Faces/image_0001.jpg"
    data_dir = directory(tmp_path, files | {name: damage(files[name])})
    assert refused(data_dir).startswith(f"{data_dir / ARCHIVE}: Faces/image_0001.jpg must be a whole JPEG image: ")


def claiming(content, height, width):
    """A JPEG whose header says that it is of another size."""
    at = content.index(b"\xff\xc0") + 5
    return content[:at] + height.to_bytes(2, "big") + width.to_bytes(2, "big") + content[at + 4 :]


@pytest.mark.parametrize(("height", "width"), [(65500, 65500), (10000, 10000), (4097, 4096)])
def test_image_that_claims_to_be_huge(files, tmp_path, height, width):
    name = "101_ObjectCategories/Faces/image_0001.jpg"
    data_dir = directory(tmp_path, files | {name: claiming(files[name], height, width)})
    message = refused(data_dir)
    assert message.startswith(f"{data_dir / ARCHIVE}: Faces/image_0001.jpg must be a whole JPEG image: ")
    assert "pixels" in message


def test_damaged_archive(files, tmp_path):
    path = directory(tmp_path, files) / ARCHIVE
    path.write_bytes(path.read_bytes()[:-100])
    assert refused(tmp_path).startswith(f"{path}: must be a whole gzip file: ")


def test_split_is_seeded_and_even():
    labels = np.repeat([0, 1], [435, 798])
    train = caltech.split(labels)
    assert np.bincount(labels[train]).tolist() == [200, 200]
    assert len(set(train)) == 400
    assert train[:5].tolist() == [1, 4, 5, 6, 7]
    assert (np.diff(train) > 0).all()


def test_the_real_images():
    if not (Path(os.environ.get("FIRSTSPIKE_DATA", "nowhere")) / ARCHIVE).is_file():
        pytest.skip("FIRSTSPIKE_DATA names no directory with Caltech-101")
    data = load("caltech")
    assert np.bincount(data.train_labels).tolist() == [200, 200]
    assert np.bincount(data.test_labels).tolist() == [235, 598]
    assert data.split == "200 images of each category for training, chosen with seed 0, the other 833 for testing"
    assert data.digest == "1465c459a9aea08692db9ba2eb1f2c24f8c44be3e2f9d08b652e9fcb61e9582a"
    assert 0.25 < (data.test_images >= 32).mean() < 0.31
