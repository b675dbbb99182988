import gzip
import io
import tarfile

import pytest

from export import UserError
from model.data.archives import members
from tests.small_data import write_tar

PATTERN = r"recordings/(\d)_(\w+)\.wav"


def refused(path):
    with pytest.raises(UserError) as caught:
        members(path, PATTERN)
    return str(caught.value)


def test_members_by_their_groups(tmp_path):
    files = {"recordings/1_a.wav": b"one", "top/recordings/2_b.wav": b"two", "recordings/2_b.wav.txt": b"x", "other/1_a.wav": b"y"}
    assert members(write_tar(tmp_path / "a.tar.gz", files), PATTERN) == {("1", "a"): b"one", ("2", "b"): b"two"}


def test_paths_that_leave_the_archive_and_links_do_no_harm(tmp_path):
    link = tarfile.TarInfo("recordings/3_c.wav")
    link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
    path = write_tar(tmp_path / "in" / "a.tar.gz", {"../../recordings/1_a.wav": b"one", "../up": b"x"}, link)
    assert members(path, PATTERN) == {("1", "a"): b"one"}
    assert [entry.name for entry in tmp_path.rglob("*")] == ["in", "a.tar.gz"]


def test_twice(tmp_path):
    path = write_tar(tmp_path / "a.tar.gz", {"a/recordings/1_a.wav": b"one", "b/recordings/1_a.wav": b"two"})
    assert refused(path) == f"{path}: must hold each file once, but holds b/recordings/1_a.wav twice"


@pytest.mark.parametrize("damage", [lambda c: c[:-9], lambda c: c[:40], lambda c: c[:-6] + b"\0" + c[-5:], lambda c: b"hello"])
def test_damaged_gzip(tmp_path, damage):
    path = write_tar(tmp_path / "a.tar.gz", {"recordings/1_a.wav": bytes(range(256)) * 40})
    path.write_bytes(damage(path.read_bytes()))
    assert refused(path).startswith(f"{path}: must be a whole gzip file: ")


def test_damaged_tar(tmp_path):
    path = write_tar(tmp_path / "a.tar.gz", {"recordings/1_a.wav": b"one" * 1000})
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes())[:1000]))
    assert refused(path).startswith(f"{path}: must be a whole .tar.gz archive: ")
    path.write_bytes(gzip.compress(b"no tar" * 1000))
    assert refused(path).startswith(f"{path}: must be a whole .tar.gz archive: ")


def test_an_empty_archive(tmp_path):
    content = io.BytesIO()
    tarfile.open(fileobj=content, mode="w:gz").close()
    (tmp_path / "a.tar.gz").write_bytes(content.getvalue())
    assert members(tmp_path / "a.tar.gz", PATTERN) == {}
