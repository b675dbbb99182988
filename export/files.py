"""Atomic writes, output folders and the cache folder."""

import errno
import glob
import os
import stat
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

from export.errors import UserError


def refuse_overwriting(source: Path, out: Path, option: str = "--out") -> None:
    """Refuse to write over what is being read.

    Parameters:
        source: what is read.
        out: what is written.
        option: that named ``out``.

    Raises:
        UserError: both are the same file.
    """
    if out.exists() and out.samefile(source):
        raise UserError(f"{option} must be another file than {source}, which it would overwrite")


def check_regular(path: str | Path) -> None:
    """Refuse what cannot be read as a whole, or never ends: a pipe, a device, a socket.

    Raises:
        UserError: it is one.
        OSError: there is nothing, or it cannot be looked at.
    """
    mode = Path(path).stat().st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        raise UserError(f"{path}: must be a file, but is a pipe, a device or a socket")


def check_folder(out: Path) -> None:
    """Check that a path is a folder, or can become one.

    Raises:
        UserError: it, or one that it is in, is a file.
    """
    for folder in (out, *out.parents):
        if folder.exists() and not folder.is_dir():
            raise UserError(f"out must be a folder, but {folder} is a file")


def prepare_folder(out: Path) -> None:
    """Make an output folder, and check that it can be written.

    Raises:
        UserError: it, or one that it is in, is a file.
        OSError: it cannot be made or written.
    """
    check_folder(out)
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=out):
        pass


def remove_unfinished(path: str | Path) -> None:
    """Remove the temporary file of a killed `atomic_write` to ``path``; none may be running.

    Raises:
        OSError: it cannot be removed.
    """
    for leftover in Path(path).parent.glob(glob.escape(f".{Path(path).name}.") + "*"):
        leftover.unlink()


def cache_folder(kind: str = "") -> Path:
    """The cache of one kind of results: in ``FIRSTSPIKE_CACHE``, or the user's cache folder. It can be deleted at any time.

    Raises:
        UserError: the variable is not set, and the user has no home folder.
    """
    if named := os.environ.get("FIRSTSPIKE_CACHE"):
        return Path(named).absolute() / kind
    try:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    except RuntimeError:
        raise UserError("FIRSTSPIKE_CACHE must name a folder for the cache, because the user has no home folder") from None
    return base.absolute() / "firstspike" / kind


@contextmanager
def naming(path: Path, instead_of: Path | None = None) -> Iterator[None]:
    """Within the block, an OSError that names no file, such as that of a full disk, names this one.

    Parameters:
        path: the file.
        instead_of: a file that should not be named either.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None or (error.filename2 or error.filename) not in (None, instead_of, str(instead_of)):
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None


def write_together(contents: Mapping[Path, bytes | str]) -> list[Path]:
    """Write files, all of them or none; the paths. Texts are UTF-8.

    Raises:
        UserError, OSError: as in `atomic_write`.
    """
    with ExitStack() as files:
        for path, content in contents.items():
            temporary = files.enter_context(atomic_write(path))
            with naming(path, instead_of=temporary):
                temporary.write_bytes(content.encode() if isinstance(content, str) else content)
    return list(contents)


@contextmanager
def atomic_write(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path beside ``path``; it takes ``path``'s place if the block ends well, and vanishes if not.

    Missing parent folders are created.

    Raises:
        UserError: ``path`` is a device, a pipe or a socket, whose place no file may take.
        OSError: the folder or the file cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
    if target.exists() and not target.is_file():
        raise UserError(f"{target} must be a file if it is there, but is a device, a pipe or a socket")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), error.filename) from None
    try:
        handle, name = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None
    os.close(handle)
    temporary = Path(name)
    try:
        with naming(target, instead_of=temporary):
            yield temporary
        umask = os.umask(0)
        os.umask(umask)
        temporary.chmod(0o666 & ~umask)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
