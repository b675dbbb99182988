import errno
import os
import re
import stat
from pathlib import Path

import numpy as np
import pytest

from export import UserError, load, save
from export.files import atomic_write, prepare_folder, remove_unfinished, write_together
from export.store import read_json
from hw import default_folding
from model import checkpoint
from model.data import npz
from model.recipe_file import read_toml
from sim import vectors
from tests.networks import random_network, random_spike_times


def test_writes_whole(tmp_path):
    target = tmp_path / "new" / "folder" / "file.txt"
    with atomic_write(target) as temporary:
        temporary.write_text("content")
        assert temporary.parent == target.parent
        assert not target.exists()
    assert target.read_text() == "content"
    assert list(target.parent.iterdir()) == [target]
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE(target.stat().st_mode) == 0o666 & ~umask


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_failure_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "file.txt"
    target.write_text("old")

    def fail():
        with atomic_write(target) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert target.read_text() == "old"
    assert list(tmp_path.iterdir()) == [target]


def test_failure_leaves_nothing_where_nothing_was(tmp_path):
    def fail():
        with atomic_write(tmp_path / "file.txt"):
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_folder_in_the_way(tmp_path):
    def fail():
        with atomic_write(tmp_path / "folder") as temporary:
            temporary.write_text("content")

    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError) as caught:
        fail()
    assert caught.value.filename == str(tmp_path / "folder")
    assert list(tmp_path.iterdir()) == [tmp_path / "folder"]


def test_file_where_a_folder_must_be(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError) as caught, atomic_write(tmp_path / "file" / "inside"):
        pytest.fail("must not come here")
    assert caught.value.filename == str(tmp_path / "file")


def test_pipe_in_the_way(tmp_path):
    """Nor does a file take a device's place, which would be lost."""
    os.mkfifo(tmp_path / "pipe")
    message = f"^{re.escape(str(tmp_path))}/pipe must be a file if it is there, but is a device, a pipe or a socket$"
    with pytest.raises(UserError, match=message), atomic_write(tmp_path / "pipe"):
        pytest.fail("must not come here")
    assert (tmp_path / "pipe").is_fifo()


@pytest.mark.parametrize("read", [load, npz.load, read_toml, read_json])
def test_pipe_to_read(tmp_path, read):
    """Of which nobody knows whether it ends."""
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UserError, match=f"^{re.escape(str(tmp_path))}/pipe: must be a file, but is a pipe, a device or a socket$"):
        read(tmp_path / "pipe")


@pytest.fixture
def full(monkeypatch):
    """Files larger than 1,000 bytes find the disk full."""
    writes = {name: getattr(Path, name) for name in ("write_bytes", "write_text")}

    def limited(name):
        def write(path, content, *rest, **options):
            if len(content) <= 1000:
                return writes[name](path, content, *rest, **options)
            writes[name](path, content[:1000], *rest, **options)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # without a name, as from write()

        return write

    for name in writes:
        monkeypatch.setattr(Path, name, limited(name))


def refused(path):
    """The block ends in an error that names the file."""
    return pytest.raises(OSError, match=rf"^\[Errno 28\] No space left on device: '{re.escape(str(path))}'$")


def test_a_full_disk_is_named(tmp_path, full):
    with refused(tmp_path / "x"), atomic_write(tmp_path / "x") as path:
        path.write_bytes(b"x" * 1001)
    with refused(tmp_path / "y"), atomic_write(tmp_path / "y") as path:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "from", None, str(path))  # as from shutil.copy
    with pytest.raises(OSError, match=r"device: 'other'$"), atomic_write(tmp_path / "z"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "other")
    assert list(tmp_path.iterdir()) == []


def test_all_or_nothing(tmp_path, full):
    (tmp_path / "a").write_text("old")
    with refused(tmp_path / "c" / "d"):
        write_together({tmp_path / "a": "new", tmp_path / "b": b"new", tmp_path / "c" / "d": "x" * 1001})
    assert (tmp_path / "a").read_text() == "old"
    assert not (tmp_path / "b").exists()
    assert list((tmp_path / "c").iterdir()) == []
    paths = write_together({tmp_path / "a": "θ", tmp_path / "b": b"new"})
    assert paths == [tmp_path / "a", tmp_path / "b"]
    assert (tmp_path / "a").read_bytes() == "θ".encode()


def test_artifact_and_checkpoint_on_a_full_disk(tmp_path, full):
    network = random_network(np.random.default_rng(1), (99, 30, 3), 4)
    for write in (lambda path: save(network, path), lambda path: checkpoint.save(path, {"x": np.zeros(999)}, {})):
        with refused(tmp_path / "n"):
            write(tmp_path / "n")
        assert list(tmp_path.iterdir()) == []


def test_vectors_on_a_full_disk(tmp_path, full):
    network = random_network(np.random.default_rng(1), (9, 6, 3), 4)
    with pytest.raises(OSError, match=r"^\[Errno 28\] No space left on device: '.*accelerator\.v'$"):
        vectors.write(network, random_spike_times(np.random.default_rng(2), 3, 9, 4), default_folding(network), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_prepare_folder(tmp_path):
    prepare_folder(tmp_path / "new" / "folder")
    assert list((tmp_path / "new").rglob("*")) == [tmp_path / "new" / "folder"]
    (tmp_path / "file").write_text("")
    for out in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(UserError, match=f"^out must be a folder, but {re.escape(str(tmp_path))}/file is a file$"):
            prepare_folder(out)


def test_remove_unfinished(tmp_path):
    for name in ("file [1].txt", ".file [1].txt.abc", ".file [1].txt.d", ".file 1.txt.abc", "other.file [1].txt.abc"):
        (tmp_path / name).write_text("")
    remove_unfinished(tmp_path / "file [1].txt")
    remove_unfinished(tmp_path / "nothing")
    remove_unfinished(tmp_path / "no folder" / "nothing")
    assert sorted(path.name for path in tmp_path.iterdir()) == [".file 1.txt.abc", "file [1].txt", "other.file [1].txt.abc"]
