"""Frames that take long to compute, kept in the user's cache."""

import contextlib
import hashlib
import inspect
from collections.abc import Callable, Iterable
from types import ModuleType

import numpy as np

from export.files import atomic_write
from model import download


def frames(name: str, digest: str, code: Iterable[ModuleType], compute: Callable[[], np.ndarray]) -> np.ndarray:
    """What ``compute`` returns, from the cache if it was computed before.

    Parameters:
        name: start of the file's name.
        digest: of what is read.
        code: the modules that compute, with all parameters in them: when they change, the frames are computed anew.
        compute: returns an array.
    """
    sha = hashlib.sha256(digest.encode())
    for module in code:
        sha.update(inspect.getsource(module).encode())
    path = download.cache_folder() / "frames" / f"{name}-{sha.hexdigest()[:32]}.npy"
    with contextlib.suppress(OSError, ValueError, EOFError), path.open("rb") as file:  # missing, damaged
        return np.load(file, allow_pickle=False)
    computed = compute()
    with contextlib.suppress(OSError), atomic_write(path) as temporary, temporary.open("wb") as file:  # a full disk is no reason to stop
        np.save(file, computed)
    return computed
