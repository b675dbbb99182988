"""Downloads, from a server on this machine."""

import gzip
import hashlib
import io
import zipfile

import pytest

from export import UserError
from export.files import cache_folder
from model.data import download
from model.data.download import File, Source
from tests.loopback import serving

FILES = [file.name for file in download.SOURCES["mnist"].files]
CONTENT = {file: gzip.compress(file.encode() * 100, mtime=0) for file in FILES}


@pytest.fixture
def server():
    with serving() as made:
        made.files = {f"/a/{file}": content for file, content in CONTENT.items()}
        yield made


@pytest.fixture(autouse=True)
def mnist(monkeypatch, server):
    """Makes ``mnist`` come from folders of the server."""

    def use(*folders, uncompressed=True):
        urls = [folder if folder.startswith("http") else f"{server.url}/{folder}" for folder in folders]
        digests = {name: md5(gzip.decompress(content) if uncompressed else content) for name, content in CONTENT.items()}
        files = [File(name, tuple(f"{url}/{name}" for url in urls), digests[name], uncompressed) for name in FILES]
        monkeypatch.setitem(download.SOURCES, "mnist", Source("mnist", tuple(files)))

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    use("a")
    return use


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_download_then_cache(server, tmp_path, capfd):
    directory = download.fetch("mnist", tmp_path)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == CONTENT
    assert "100%" in capfd.readouterr().err  # the progress bar
    download.fetch("mnist", tmp_path)
    assert server.asked == [f"/a/{file}" for file in FILES]


def test_other_compression_will_do(server, tmp_path):
    server.files = {path: gzip.compress(gzip.decompress(content), 1) for path, content in server.files.items()}
    download.fetch("mnist", tmp_path)


def test_digest_of_compressed_files_where_only_that_is_known(server, tmp_path, mnist):
    mnist("a", uncompressed=False)
    assert download.fetch("mnist", tmp_path) == tmp_path / "mnist"
    (tmp_path / "mnist" / FILES[0]).unlink()
    server.files[f"/a/{FILES[0]}"] = gzip.compress(gzip.decompress(CONTENT[FILES[0]]), 1)
    assert "MD5 " in refused(tmp_path, left=3)


def test_damaged_file_in_the_cache_is_replaced(server, tmp_path):
    path = download.fetch("mnist", tmp_path) / FILES[2]
    path.write_bytes(b"damaged")
    download.fetch("mnist", tmp_path)
    assert path.read_bytes() == CONTENT[FILES[2]]


def test_next_mirror(server, tmp_path, mnist):
    server.files |= {f"/b/{file}": gzip.compress(b"something else") for file in CONTENT}
    mnist("b", "none", "a")
    directory = download.fetch("mnist", tmp_path)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == CONTENT


def refused(tmp_path, name="mnist", left=0):
    with pytest.raises(UserError) as caught:
        download.fetch(name, tmp_path)
    assert len(list((tmp_path / name).iterdir())) == left
    return str(caught.value)


ADVICE = "FIRSTSPIKE_DATA can name a directory with a folder 'mnist'"


def test_wrong_content(server, tmp_path):
    server.files[f"/a/{FILES[0]}"] = gzip.compress(b"other")
    assert refused(tmp_path) == (
        f"{FILES[0]} could not be downloaded ({server.url}/a/{FILES[0]}: MD5 {md5(b'other')} instead of "
        f"{download.SOURCES['mnist'].files[0].md5}); {ADVICE}"
    )


def test_no_gzip_file(server, tmp_path):
    server.files[f"/a/{FILES[0]}"] = b"<html>please log in</html>"
    assert refused(tmp_path) == f"{FILES[0]} could not be downloaded ({server.url}/a/{FILES[0]}: no gzip file); {ADVICE}"


def test_not_found(server, tmp_path):
    server.files.clear()
    assert refused(tmp_path) == f"{FILES[0]} could not be downloaded ({server.url}/a/{FILES[0]}: HTTPError); {ADVICE}"


def test_no_server(tmp_path, mnist):
    mnist("http://127.0.0.1:9")
    assert refused(tmp_path) == f"{FILES[0]} could not be downloaded (http://127.0.0.1:9/{FILES[0]}: ConnectionError); {ADVICE}"


def zipped(**members):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, value in members.items():
            archive.writestr(name.replace("__", "/"), value)
    return content.getvalue()


@pytest.fixture
def packed(server, monkeypatch):
    """Serves a zip archive, whose member ``set.tar.gz`` is the only file of the data set ``packed``."""

    def serve(content, digest=None):
        server.files["/packed.zip"] = content
        file = File("set.tar.gz", (f"{server.url}/packed.zip",), digest or md5(content), member="set.tar.gz")
        monkeypatch.setitem(download.SOURCES, "packed", Source("packed", (file,)))

    return serve


def test_member_of_a_zip_archive(server, packed, tmp_path):
    packed(zipped(**{"whole__set.tar.gz": b"content", "whole__other.tar": b"x", "..__up": b"y", "__MACOSX__._set.tar.gz": b"z"}))
    folder = download.fetch("packed", tmp_path)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == {"set.tar.gz": b"content"}
    download.fetch("packed", tmp_path)
    assert server.asked == ["/packed.zip"]


@pytest.mark.parametrize(
    ("content", "digest", "fault"),
    [
        (zipped(other=b"x"), None, "0 files named set.tar.gz in it"),
        (zipped(**{"a__set.tar.gz": b"x", "b__set.tar.gz": b"y"}), None, "2 files named set.tar.gz in it"),
        (b"hello", None, "no zip archive"),
        (b"hello", "0" * 32, f"MD5 {md5(b'hello')} instead of {'0' * 32}"),
    ],
)
def test_wrong_zip_archive(server, packed, tmp_path, content, digest, fault):
    packed(content, digest)
    assert f"({server.url}/packed.zip: {fault}); " in refused(tmp_path, "packed")


def test_without_a_digest_a_whole_gzip_file_will_do(server, tmp_path, monkeypatch):
    file = File("set.tar.gz", (f"{server.url}/a.tar.gz", f"{server.url}/b.tar.gz"), None)
    monkeypatch.setitem(download.SOURCES, "tag", Source("tag", (file,)))
    server.files |= {"/a.tar.gz": CONTENT[FILES[0]][:-5], "/b.tar.gz": b"please log in"}
    assert refused(tmp_path, "tag").count("no gzip file") == 2
    server.files["/b.tar.gz"] = CONTENT[FILES[0]]
    assert (download.fetch("tag", tmp_path) / "set.tar.gz").read_bytes() == CONTENT[FILES[0]]


def test_the_cache_is_where_the_environment_says(server, tmp_path, monkeypatch):
    monkeypatch.delenv("FIRSTSPIKE_DATA", raising=False)
    monkeypatch.setenv("FIRSTSPIKE_CACHE", str(tmp_path))
    assert download.file("mnist", index=2) == tmp_path / "mnist" / FILES[2]
    monkeypatch.setenv("FIRSTSPIKE_CACHE", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    assert cache_folder() == tmp_path / "home" / "firstspike"


def test_a_missing_file_of_the_data_directory(tmp_path):
    (tmp_path / "mnist").mkdir()
    with pytest.raises(UserError) as caught:
        download.file("mnist", tmp_path)
    assert str(caught.value) == f"data directory {tmp_path / 'mnist'} must have {FILES[0]}, but it is missing"


def test_every_data_set_has_mirrors_and_digests():
    for name, source in download.SOURCES.items():
        for file in source.files:
            assert file.urls
            assert file.md5 is None or len(bytes.fromhex(file.md5)) == 16
            assert (file.md5 is None) == (name == "spoken-digits")
