"""Surroundings of our own for the programs that build and run simulators: folders with plain names, and few variables.

make, its shell, the compiler and the simulator give a meaning to spaces and to most signs, also in the names of the folders that project,
Python and cache lie in. So they work in a folder with a plain name, and see what lies elsewhere through links in it.
"""

import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from export.errors import UserError
from export.files import naming

KEPT = ("PATH", "HOME", "LD_LIBRARY_PATH")
"""What is passed on: where programs are, what a compiler's launcher keeps its cache in, and where libraries of the two are."""


def is_plain(path: str | Path) -> bool:
    """Whether a path has only letters of ASCII, digits and ``/ . _ + -`` in it."""
    return re.fullmatch(r"[\w/.+-]+", str(path), re.ASCII) is not None


@contextmanager
def plain_folder(*preferred: Path) -> Iterator[Path]:
    """A temporary folder with a plain name, in the first of some folders that have such a name.

    Parameters:
        preferred: tried before those for temporary files.

    Raises:
        UserError: no folder has a plain name and can be written.
        OSError: the folder cannot be made.
    """
    bases = [*preferred, Path(tempfile.gettempdir()), Path("/tmp"), Path("/var/tmp")]
    base = next((base for base in bases if is_plain(base.absolute()) and os.access(base, os.W_OK | os.X_OK)), None)
    if base is None:
        raise UserError(f"TMPDIR must be a folder whose name has only letters, digits and /._+-, and that can be written, not {bases[-3]}")
    with tempfile.TemporaryDirectory(prefix="firstspike.", dir=base.absolute(), ignore_cleanup_errors=True) as name, naming(Path(name)):
        yield Path(name)


def link(folder: Path, name: str, target: str | Path) -> Path:
    """A link in a folder of `plain_folder` to what has any name."""
    path = folder / name
    path.symlink_to(Path(target).absolute())
    return path


def variables(folder: Path | None = None) -> dict[str, str]:
    """The environment of a program that works in a folder of `plain_folder`; nothing else of the user's comes to it."""
    kept = {name: value for name in KEPT if (value := os.environ.get(name))}
    return kept | {"LC_ALL": "C"} | ({} if folder is None else {"TMPDIR": str(folder)})
