"""Files out of compressed archives, read in memory: nothing is unpacked, so no path of an archive is ever followed."""

import gzip
import io
import re
import tarfile
import zlib
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
    ending = re.compile(f"(?:.*/)?{pattern}")
    found: dict[tuple[str, ...], bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(uncompressed(path)), mode="r:") as archive:
            for member in archive:
                match = ending.fullmatch(member.name)
                content = archive.extractfile(member) if match and member.isfile() else None
                if match is None or content is None:
                    continue
                if match.groups() in found:
                    raise UserError(f"{path}: must hold each file once, but holds {member.name} twice")
                found[match.groups()] = content.read()
    except tarfile.TarError as error:
        raise UserError(f"{path}: must be a whole .tar.gz archive: {error}") from None
    return found
