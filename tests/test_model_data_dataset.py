import numpy as np
import pytest

from export import UserError
from model.data import cochlea, events
from model.data.dataset import Dataset, cached_frames


@pytest.fixture
def calls(tmp_path, monkeypatch):
    """How often frames were computed, with an empty cache."""
    monkeypatch.setenv("FIRSTSPIKE_CACHE", str(tmp_path / "cache"))
    return []


def frames(calls, digest="1", code=(events,)):
    def compute():
        calls.append(digest)
        return np.arange(6, dtype=np.uint8).reshape(2, 3)

    found = cached_frames("sounds", digest, code, compute)
    assert found.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert found.dtype == np.uint8


def test_computed_once(calls, tmp_path):
    frames(calls)
    frames(calls)
    assert len(calls) == 1
    assert [path.name.split("-")[0] for path in (tmp_path / "cache" / "frames").iterdir()] == ["sounds"]


def test_computed_again_for_other_files_or_other_code(calls):
    frames(calls)
    frames(calls, "2")
    frames(calls, "1", (events, cochlea))
    assert len(calls) == 3


@pytest.mark.parametrize("damage", [lambda c: b"", lambda c: c[:20], lambda c: c[:-1], lambda c: b"hello" * 50])
def test_damaged_frames_are_computed_again(calls, tmp_path, damage):
    frames(calls)
    (path,) = (tmp_path / "cache" / "frames").iterdir()
    content = path.read_bytes()
    path.write_bytes(damage(content))
    frames(calls)
    assert len(calls) == 2
    assert path.read_bytes() == content


def test_without_a_writable_cache(calls, tmp_path):
    (tmp_path / "cache").write_bytes(b"a file in the way")
    frames(calls)
    frames(calls)
    assert len(calls) == 2


class TestArranged:
    def test_planes_become_channels(self):
        """Images and spike times of both parts; pixel (y, x) of plane c goes to (y · W + x) · C + c."""
        images = np.arange(2 * 2 * 3 * 4, dtype=np.uint8).reshape(2, 24)
        dataset = Dataset("d", ("a",), "0", "s", train_images=images, test_spike_times=images.astype(np.int32), image_shape=(2, 3, 4))
        arranged = dataset.arranged((3, 4, 2))
        for frame, c, y, x in np.ndindex(2, 2, 3, 4):
            for part in (arranged.train_images, arranged.test_spike_times):
                assert part[frame, (y * 4 + x) * 2 + c] == images[frame, (c * 3 + y) * 4 + x]
        assert arranged.test_spike_times.dtype == np.int32
        assert arranged.test_images is None

    def test_stays_where_there_is_no_map(self):
        dataset = Dataset("d", ("a",), "0", "s", train_images=np.zeros((2, 24), np.uint8), image_shape=(2, 3, 4))
        assert dataset.arranged(None) is dataset

    def test_one_plane(self):
        images = np.arange(24, dtype=np.uint8).reshape(2, 12)
        dataset = Dataset("d", ("a",), "0", "s", test_images=images, image_shape=(3, 4))
        assert np.array_equal(dataset.arranged((3, 4, 1)).test_images, images)
        with pytest.raises(UserError, match=r"^images must have shape \(frames, 4, 3\) or \(frames, 12\), not \(2, 3, 4\)$"):
            dataset.arranged((4, 3, 1))
