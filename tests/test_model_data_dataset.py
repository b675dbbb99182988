import numpy as np
import pytest

from model.data import cochlea, events
from model.data.dataset import cached_frames


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
