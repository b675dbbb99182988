"""Downloads of data sets into a cache directory, each file checked before it is kept."""

import contextlib
import gzip
import hashlib
import zlib
from pathlib import Path

from export import UserError
from export.files import atomic_write

FILES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
MIRRORS = {
    "mnist": (
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ),
    "fashion-mnist": (
        "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    ),
}
# MNIST: MD5 of the uncompressed files, so that any mirror's compression will do. Fashion-MNIST: its authors publish the MD5 of the
# compressed files only, and no digest of the uncompressed ones is known for certain here; the compressed ones determine them.
MD5 = {
    "mnist": (
        "6bbc9ace898e44ae57da46a324031adb",
        "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea",
        "27ae3e4e09519cfbb04c329615203637",
    ),
    "fashion-mnist": (
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79",
        "bb300cfdad3c16e7a12a480ee83cd310",
    ),
}
UNCOMPRESSED = {"mnist": True, "fashion-mnist": False}
TIMEOUT_S = 30


def fetch(name: str, cache: str | Path | None = None) -> Path:
    """The directory that holds the files of ``name``; those that are missing or damaged are downloaded, with a progress bar.

    Parameters:
        name: ``mnist`` or ``fashion-mnist``.
        cache: where to keep them; by default the user's cache directory for firstspike.

    Raises:
        UserError: a file could not be had from any mirror.
    """
    import pooch

    directory = Path(cache or pooch.os_cache("firstspike")) / name
    for file, md5 in zip(FILES, MD5[name], strict=True):
        path = directory / file
        if not path.is_file() or _digest(name, path) != md5:
            _download(name, file, md5, path)
    return directory


def _download(name: str, file: str, md5: str, path: Path) -> None:
    import pooch
    import requests

    downloader = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT_S)
    reasons = []
    for mirror in MIRRORS[name]:
        with contextlib.suppress(_WrongFileError), atomic_write(path) as temporary:
            try:
                downloader(mirror + file, str(temporary), None)
            except (requests.RequestException, ValueError, OSError) as error:
                reasons.append(f"{mirror}: {type(error).__name__}")
                raise _WrongFileError from None
            if (found := _digest(name, temporary)) != md5:
                reasons.append(f"{mirror}: MD5 {found} instead of {md5}")
                raise _WrongFileError
            return
    raise UserError(
        f"{file} of {name} could not be downloaded ({'; '.join(reasons)}); FIRSTSPIKE_DATA can name a directory with a folder '{name}'"
    )


class _WrongFileError(Exception):
    """What arrived is not the file: the temporary one is dropped, and the next mirror tried."""


def _digest(name: str, path: Path) -> str:
    content = path.read_bytes()
    if UNCOMPRESSED[name]:
        try:
            content = gzip.decompress(content)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            return "of no gzip file"
    return hashlib.md5(content, usedforsecurity=False).hexdigest()
