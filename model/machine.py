"""Provenance of a figure: machine, commit, date, command; and this process's place under ``torchrun``."""

import os
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from export.provenance import ROOT, commit, host, now

__all__ = ["ROOT", "command", "commit", "is_first_process", "launched", "machine", "now"]


def machine(device: str = "cpu") -> dict[str, Any]:
    """The machine: processor, cores that this process may use, device, versions, PyTorch's threads."""
    import torch

    if device.startswith("cuda"):
        device = f"{device} ({torch.cuda.get_device_name(device)})"
    here = host()
    versions = {"torch": torch.__version__, "python": here.pop("python")}
    return here | {"device": device, "threads": torch.get_num_threads()} | versions


def launched() -> bool:
    """Whether ``torchrun`` started this process as one of several."""
    return os.environ.get("WORLD_SIZE", "1") != "1"


def is_first_process() -> bool:
    """Whether this is process 0 of those that ``torchrun`` started, or the only one."""
    return not launched() or os.environ.get("RANK") == "0"


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
