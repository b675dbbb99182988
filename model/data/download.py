"""The files of the data sets: in the user's data directory, or downloaded into a cache, each checked by its digest."""

import contextlib
import gzip
import hashlib
import os
import shutil
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

from export import UserError
from export.files import atomic_write, cache_folder

DATA_DIRECTORY = "FIRSTSPIKE_DATA"
TIMEOUT_S = 30


class File(NamedTuple):
    """A file of a data set, and where it comes from.

    Attributes:
        name: in the data set's folder.
        urls: mirrors, in the order in which they are tried.
        md5: of the download; None where nobody publishes one: then it must be a whole gzip file, and the loader checks its structure.
        uncompressed: ``md5`` is that of the content of the gzip file, so that any mirror's compression will do.
        member: what is downloaded is a zip archive, and only the member of this name is kept.
    """

    name: str
    urls: tuple[str, ...]
    md5: str | None
    uncompressed: bool = False
    member: str | None = None


class Source(NamedTuple):
    """The files of a data set, in a folder of their own."""

    folder: str
    files: tuple[File, ...]


def _idx(folder: str, mirrors: tuple[str, ...], uncompressed: bool, *md5: str) -> Source:
    names = [f"{part}-ubyte.gz" for part in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1")]
    files = [File(name, tuple(mirror + name for mirror in mirrors), digest, uncompressed) for name, digest in zip(names, md5, strict=True)]
    return Source(folder, tuple(files))


def _zipped(name: str, url: str, md5: str) -> File:
    return File(name, (url,), md5, member=name)


# MNIST: MD5 of the uncompressed files. Fashion-MNIST: its authors publish the MD5 of the compressed files only. Caltech-101 and the
# Heidelberg digits: MD5 of the zip archives, as torchvision and tonic check them. CIFAR-10: that of the archive, on its author's page.
# N-MNIST: MD5 of the zip archives, as tonic checks them.
# Spoken digits: GitHub packs the archive of a tag when asked, and promises no digest.
MNIST = "https://ossci-datasets.s3.amazonaws.com/mnist/", "https://storage.googleapis.com/cvdf-datasets/mnist/"
FASHION = (
    "https://github.com/zalandoresearch/fashion-mnist/raw/master/data/fashion/",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
)
CALTECH = "https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip"
CIFAR = "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz"
SPOKEN = "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs"
SHD = "https://zenkelab.org/datasets"
N_MNIST = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files"
SOURCES = {
    "mnist": _idx(
        "mnist", MNIST, True,
        "6bbc9ace898e44ae57da46a324031adb", "a25bea736e30d166cdddb491f175f624",
        "2646ac647ad5339dbf082846283269ea", "27ae3e4e09519cfbb04c329615203637",
    ),
    "fashion-mnist": _idx(
        "fashion-mnist", FASHION, False,
        "8d4fb7e6c68d591d4c3dfef9ec88bf0d", "25c81989df183df01b3e8a0aad5dffbe",
        "bef4ecab320f06d8554ea6380940ec79", "bb300cfdad3c16e7a12a480ee83cd310",
    ),
    "cifar-10": Source("cifar-10", (File("cifar-10-binary.tar.gz", (CIFAR,), "c32a1d4ab5d03f1284b67883e8d87530"),)),
    "caltech": Source("caltech101", (_zipped("101_ObjectCategories.tar.gz", CALTECH, "3138e1922a9193bfa496528edbbc45d0"),)),
    "spoken-digits": Source("free-spoken-digits", (
        File("free-spoken-digit-dataset.tar.gz", (f"{SPOKEN}/tags/v1.0.10.tar.gz", f"{SPOKEN}/heads/master.tar.gz"), None),
    )),
    "shd": Source("shd", (
        _zipped("shd_train.h5", f"{SHD}/shd_train.h5.zip", "f3252aeb598ac776c1b526422d90eecb"),
        _zipped("shd_test.h5", f"{SHD}/shd_test.h5.zip", "1503a5064faa34311c398fb0a1ed0a6f"),
    )),
    "n-mnist": Source("n-mnist", (
        File("Train.zip", (f"{N_MNIST}/39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",), "20959b8e626244a1b502305a9e6e2031"),
        File("Test.zip", (f"{N_MNIST}/05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",), "69ca8762b2fe404d9b9bad1103e97832"),
    )),
}  # fmt: skip


def directory(name: str, data_dir: str | Path | None = None) -> Path:
    """The directory with the files of a data set.

    Parameters:
        name: one of ``SOURCES``.
        data_dir: has a folder for each data set; by default the one that ``FIRSTSPIKE_DATA`` names; without either, `fetch`.

    Raises:
        UserError: the folder is not there, or a file could not be had from any mirror.
    """
    given = data_dir or os.environ.get(DATA_DIRECTORY)
    if not given:
        return fetch(name)
    root, folder = Path(given), SOURCES[name].folder
    if not (root / folder).is_dir():
        holds = sorted(entry.name for entry in root.iterdir())[:6] if root.is_dir() else "no directory"
        raise UserError(f"data directory {root} must have a folder '{folder}', but holds {holds or 'nothing'}")
    return root / folder


def file(name: str, data_dir: str | Path | None = None, index: int = 0) -> Path:
    """The path of the file ``index`` of a data set.

    Raises:
        UserError: as `directory`, or it is not in that directory.
    """
    path = directory(name, data_dir) / SOURCES[name].files[index].name
    if not path.is_file():
        raise UserError(f"data directory {path.parent} must have {path.name}, but it is missing")
    return path


def fetch(name: str, cache: str | Path | None = None) -> Path:
    """The directory that holds the files of ``name``; those that are missing or damaged are downloaded, with a progress bar.

    Parameters:
        name: one of ``SOURCES``.
        cache: where to keep them; by default `export.files.cache_folder`.

    Raises:
        UserError: a file could not be had from any mirror.
    """
    source = SOURCES[name]
    folder = Path(cache or cache_folder()) / source.folder
    for wanted in source.files:
        path = folder / wanted.name
        if not path.is_file() or (wanted.member is None and _fault(wanted, path)):
            _download(source, wanted, path)
    return folder


def _download(source: Source, wanted: File, path: Path) -> None:
    import pooch
    import requests

    downloader = pooch.HTTPDownloader(progressbar=True, timeout=TIMEOUT_S)
    reasons = []
    for url in wanted.urls:
        with contextlib.suppress(_WrongFileError), atomic_write(path) as temporary:
            try:
                downloader(url, str(temporary), None)
                fault = _fault(wanted, temporary) or (wanted.member and _unpack(wanted.member, temporary))
            except (requests.RequestException, ValueError, OSError) as error:
                fault = type(error).__name__
            if fault:
                reasons.append(f"{url}: {fault}")
                raise _WrongFileError
            return
    advice = f"FIRSTSPIKE_DATA can name a directory with a folder '{source.folder}'"
    raise UserError(f"{wanted.name} could not be downloaded ({'; '.join(reasons)}); {advice}")


class _WrongFileError(Exception):
    """What arrived is not the file: the temporary one is dropped, and the next mirror tried."""


def _fault(wanted: File, path: Path) -> str | None:
    """What is wrong with a download; None: nothing."""
    content = path.read_bytes()
    if wanted.uncompressed or wanted.md5 is None:
        try:
            content = gzip.decompress(content)
        except (gzip.BadGzipFile, EOFError, zlib.error):
            return "no gzip file"
    found = hashlib.md5(content, usedforsecurity=False).hexdigest()
    return None if wanted.md5 in (None, found) else f"MD5 {found} instead of {wanted.md5}"


def _unpack(member: str, path: Path) -> str | None:
    """Put the member of a zip archive in the archive's place. What is wrong with it, or None."""
    unpacked = path.with_name(f"{path.name}.unpacked")
    try:
        with zipfile.ZipFile(path) as archive:
            found = [name for name in archive.namelist() if name.split("/")[-1] == member]
            if len(found) != 1:
                return f"{len(found)} files named {member} in it"
            with archive.open(found[0]) as source, unpacked.open("wb") as target:
                shutil.copyfileobj(source, target)
        unpacked.replace(path)
    except zipfile.BadZipFile:
        return "no zip archive"
    finally:
        unpacked.unlink(missing_ok=True)
    return None
