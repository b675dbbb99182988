"""Provenance of a figure: machine, commit, date, command; and this process's place under ``torchrun``."""

import os
import platform
import shlex
import subprocess
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent


def machine(device: str = "cpu") -> dict[str, Any]:
    """The machine: processor, cores that this process may use, device, versions, PyTorch's threads."""
    import torch

    if device.startswith("cuda"):
        device = f"{device} ({torch.cuda.get_device_name(device)})"
    return {
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "device": device,
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit that is checked out, with ``+`` if tracked files were changed since; None where git knows of none."""
    head = _git("rev-parse", "HEAD")
    if head is None:
        return None
    return head + ("+" if _git("status", "--porcelain", "--untracked-files=no") else "")


def launched() -> bool:
    """Whether ``torchrun`` started this process as one of several."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def is_first_process() -> bool:
    """Whether this is process 0 of those that ``torchrun`` started, or the only one."""
    return not launched() or os.environ.get("RANK") == "0"


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip()


def now() -> str:
    """Date and time, UTC, to the second, such as ``2027-01-31T23:59:59Z``."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def command(arguments: Sequence[str]) -> str:
    """The command line, ``python`` or ``torchrun … -m model …``, as one could repeat it: no ``--out``; paths relative to the project."""
    words: list[str] = []
    skip = False
    for word in arguments:
        if not (skip or word == "--out" or word.startswith("--out=")):
            path = Path(word)
            inside = path.exists() and path.resolve().is_relative_to(ROOT)
            words.append(path.resolve().relative_to(ROOT).as_posix() if inside else word)
        skip = word == "--out"
    launcher = ["python"]
    if launched():
        nodes = os.environ.get("GROUP_WORLD_SIZE", "1")
        launcher = ["torchrun", *(("--nnodes", nodes) if nodes != "1" else ()), "--nproc-per-node", os.environ["LOCAL_WORLD_SIZE"]]
    return shlex.join([*launcher, "-m", "model", *words])
