"""Provenance of a figure: date, commit, command and machine."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


def made() -> dict[str, Any]:
    """What a kept result says of itself: ``command``, ``date``, ``commit``, ``machine``."""
    program = Path(sys.argv[0]).resolve()
    program = program.parent if program.stem == "__main__" else program.with_suffix("")
    module = ".".join(program.relative_to(ROOT).parts) if program.is_relative_to(ROOT) else program.name
    return {"command": shlex.join(["python", "-m", module, *sys.argv[1:]]), "date": now(), "commit": commit(), "machine": host()}


def host() -> dict[str, Any]:
    """The machine: processor, cores that this process may use, version of Python."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {"cpu": _processor(), "cores": cores, "python": platform.python_version()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def now() -> str:
    """Date and time, UTC, to the second, such as ``2027-01-31T23:59:59Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def commit() -> str | None:
    """The commit that is checked out, with ``+`` if tracked files were changed since; None where git knows of none."""
    head = _git("rev-parse", "HEAD")
    if head is None:
        return None
    return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, encoding="utf-8", errors="replace", check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()
