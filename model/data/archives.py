"""Files out of compressed archives, read in memory: nothing is unpacked, so no path of an archive is ever followed."""

import gzip
import io
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from export import UserError


def uncompressed(path: Path) -> bytes:
    """The content of a gzip file.

    Raises:
        UserError: it is damaged or cut short.
        OSError: it cannot be read.
    """
    try:
        return gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: must be a whole gzip file: {error}") from None


def members(path: Path, pattern: str) -> dict[tuple[str, ...], bytes]:
    """The contents of those regular files in a ``.tar.gz`` whose path ends with ``pattern`` below any folder; by the pattern's groups.

    Raises:
        UserError: the archive is damaged or cut short, or two files have the same groups.
        OSError: it cannot be read.
    """
    content = io.BytesIO(uncompressed(path))
    try:
        with tarfile.open(fileobj=content, mode="r:") as archive:
            return dict(_regular_files(archive, path, pattern))
    except tarfile.TarError as error:
        raise UserError(f"{path}: must be a whole .tar.gz archive: {error}") from None


def each_member(path: Path, pattern: str) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """The same of a zip archive, or of a tar archive in any compression that `tarfile` knows, one after the other; only one is in memory at
    a time.

    Raises:
        UserError, OSError: as `members`.
    """
    if zipfile.is_zipfile(path):
        yield from _zipped_files(path, pattern)
        return
    try:
        with tarfile.open(path, "r:*") as archive:
            yield from _regular_files(archive, path, pattern)
    except (tarfile.TarError, EOFError, zlib.error, lzma.LZMAError, gzip.BadGzipFile) as error:
        reason = str(error).partition("\n")[0]
        raise UserError(f"{path}: must be a whole tar archive, compressed or not: {reason}") from None


def _zipped_files(path: Path, pattern: str) -> Iterator[tuple[tuple[str, ...], bytes]]:
    try:
        with zipfile.ZipFile(path) as archive:
            yield from _matching(((name, partial(archive.read, name)) for name in archive.namelist()), path, pattern)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:  # the last of encrypted files
        raise UserError(f"{path}: must be a whole zip archive: {error}") from None


def _regular_files(archive: tarfile.TarFile, path: Path, pattern: str) -> Iterator[tuple[tuple[str, ...], bytes]]:
    def content(member: tarfile.TarInfo) -> bytes:
        file = archive.extractfile(member)
        assert file is not None  # of a regular file
        return file.read()

    yield from _matching(((member.name, partial(content, member)) for member in archive if member.isfile()), path, pattern)


def _matching(files: Iterable[tuple[str, Callable[[], bytes]]], path: Path, pattern: str) -> Iterator[tuple[tuple[str, ...], bytes]]:
    """The groups of the pattern and the content of each file whose name ends as the pattern says; no two may have the same groups."""
    ending = re.compile(f"(?:.*/)?{pattern}")
    found = set()
    for name, read in files:
        if (match := ending.fullmatch(name)) is None:
            continue
        if match.groups() in found:
            raise UserError(f"{path}: must hold each file once, but holds {name} twice")
        found.add(match.groups())
        yield match.groups(), read()
