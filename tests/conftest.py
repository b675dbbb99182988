"""What all tests share."""

import contextlib
import gc
import os
import sys
from unittest import mock

import pytest

from export import connections, files

os.environ.setdefault("OMP_NUM_THREADS", "1")  # before PyTorch loads: threads that wait awake slow down tests on busy cores


def pytest_collection_finish():
    """What is there before the first test stays: searching it for garbage was a tenth of the time of tests that simulate."""
    gc.collect()
    gc.freeze()


@pytest.fixture(scope="session", autouse=True)
def _cache(tmp_path_factory):
    """One cache of simulator builds and syntheses for all test processes, away from the user's own, unless a folder for it is named.

    Objects of Verilator's run-time library are the user's: they are the same for every circuit, and take long to compile.
    """
    if "FIRSTSPIKE_CACHE" not in os.environ:
        base = tmp_path_factory.getbasetemp()
        folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "cache"
        objects = files.cache_folder("builds") / "objects"
        os.environ["FIRSTSPIKE_CACHE"] = str(folder)
        builds = files.cache_folder("builds")
        builds.mkdir(parents=True, exist_ok=True)
        objects.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError):  # another process was first
            (builds / "objects").symlink_to(objects)
        yield
        del os.environ["FIRSTSPIKE_CACHE"]
    else:
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_builds():
    """Simulators are compiled without optimization, each in one unit: tests simulate little, and most build another circuit.

    Those of a command that is run in a process of its own are compiled as always.
    """
    build = sys.modules.get("sim.build")  # all tests are imported by now
    if build is None:
        yield
        return
    object_cache = build.object_cache

    def variables():
        return object_cache() | {"OPT_FAST": "-O0", "VM_PARALLEL_BUILDS": "0"}

    with mock.patch.object(build, "object_cache", variables):
        yield


@pytest.fixture(params=["events", "products"])
def _dense_by(request, monkeypatch):
    """Dense layers of the golden model add up weights event by event, or multiply matrices, whichever costs less."""
    monkeypatch.setattr(connections, "SPARSE", 0 if request.param == "events" else 1 << 30)
    monkeypatch.setattr(connections, "ROUND", 0)
