"""Downloads, from a server on this machine."""

import gzip
import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from export import UserError
from model import download

CONTENT = {file: gzip.compress(file.encode() * 100, mtime=0) for file in download.FILES}


@pytest.fixture
def server():
    """Serves ``server.files``, path to bytes; ``server.asked`` lists what was asked for."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            made.asked.append(self.path)
            content = made.files.get(self.path)
            self.send_response(200 if content is not None else 404)
            self.send_header("Content-Length", str(len(content or b"")))
            self.end_headers()
            self.wfile.write(content or b"")

        def log_message(self, *arguments):
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.files = {f"/a/{file}": content for file, content in CONTENT.items()}
    made.asked = []
    made.url = f"http://127.0.0.1:{made.server_port}"
    thread = threading.Thread(target=made.serve_forever)
    thread.start()
    yield made
    made.shutdown()
    thread.join()
    made.server_close()


@pytest.fixture(autouse=True)
def expectation(monkeypatch, server):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(download.MIRRORS, "mnist", (f"{server.url}/a/",))
    monkeypatch.setitem(download.MD5, "mnist", tuple(md5(gzip.decompress(content)) for content in CONTENT.values()))


def md5(content):
    return hashlib.md5(content, usedforsecurity=False).hexdigest()


def test_download_then_cache(server, tmp_path, capfd):
    directory = download.fetch("mnist", tmp_path)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == CONTENT
    assert "100%" in capfd.readouterr().err  # the progress bar
    download.fetch("mnist", tmp_path)
    assert server.asked == [f"/a/{file}" for file in download.FILES]


def test_other_compression_will_do(server, tmp_path):
    server.files = {path: gzip.compress(gzip.decompress(content), 1) for path, content in server.files.items()}
    download.fetch("mnist", tmp_path)


def test_digest_of_compressed_files_where_only_that_is_known(server, tmp_path, monkeypatch):
    monkeypatch.setitem(download.MIRRORS, "fashion-mnist", (f"{server.url}/a/",))
    monkeypatch.setitem(download.MD5, "fashion-mnist", tuple(md5(content) for content in CONTENT.values()))
    assert download.fetch("fashion-mnist", tmp_path) == tmp_path / "fashion-mnist"


def test_damaged_file_in_the_cache_is_replaced(server, tmp_path):
    path = download.fetch("mnist", tmp_path) / download.FILES[2]
    path.write_bytes(b"damaged")
    download.fetch("mnist", tmp_path)
    assert path.read_bytes() == CONTENT[download.FILES[2]]


def test_next_mirror(server, tmp_path, monkeypatch):
    server.files |= {f"/b/{file}": gzip.compress(b"something else") for file in CONTENT}
    mirrors = (f"{server.url}/b/", f"{server.url}/none/", f"{server.url}/a/")
    monkeypatch.setitem(download.MIRRORS, "mnist", mirrors)
    directory = download.fetch("mnist", tmp_path)
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == CONTENT


def refused(tmp_path):
    with pytest.raises(UserError) as caught:
        download.fetch("mnist", tmp_path)
    assert list((tmp_path / "mnist").iterdir()) == []
    return str(caught.value)


ADVICE = "FIRSTSPIKE_DATA can name a directory with a folder 'mnist'"


def test_wrong_content(server, tmp_path):
    server.files[f"/a/{download.FILES[0]}"] = gzip.compress(b"other")
    assert refused(tmp_path) == (
        f"{download.FILES[0]} of mnist could not be downloaded "
        f"({server.url}/a/: MD5 {md5(b'other')} instead of {download.MD5['mnist'][0]}); {ADVICE}"
    )


def test_no_gzip_file(server, tmp_path):
    server.files[f"/a/{download.FILES[0]}"] = b"<html>please log in</html>"
    assert f"MD5 of no gzip file instead of {download.MD5['mnist'][0]}" in refused(tmp_path)


def test_not_found(server, tmp_path):
    server.files.clear()
    assert refused(tmp_path) == f"{download.FILES[0]} of mnist could not be downloaded ({server.url}/a/: HTTPError); {ADVICE}"


def test_no_server(tmp_path, monkeypatch):
    monkeypatch.setitem(download.MIRRORS, "mnist", ("http://127.0.0.1:9/",))
    assert refused(tmp_path) == f"{download.FILES[0]} of mnist could not be downloaded (http://127.0.0.1:9/: ConnectionError); {ADVICE}"


def test_every_data_set_has_mirrors_and_digests():
    for name in ("mnist", "fashion-mnist"):
        assert len(download.MIRRORS[name]) > 0
        assert len(download.MD5[name]) == len(download.FILES)
        assert name in download.UNCOMPRESSED
