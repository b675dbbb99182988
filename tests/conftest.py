"""What all tests share."""

import contextlib
import functools
import gc
import os
import shlex
import subprocess
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
def _quick_builds(tmp_path_factory):
    """Simulators are compiled without optimization, with Verilator's header precompiled: tests simulate little, and build many circuits.

    Those of a command that is run in a process of its own are compiled as always.
    """
    build = sys.modules.get("sim.build")  # all tests are imported by now
    if build is None:
        yield
        return
    object_cache, toolchain = build.object_cache, build.toolchain
    header = functools.cache(lambda: _precompiled(tmp_path_factory.mktemp("precompiled"), toolchain.find()))

    def variables():
        header_first = f"-O0 -include {toolchain.for_make(header())}"
        return object_cache() | {"OPT_FAST": header_first, "VM_PARALLEL_BUILDS": "0"}  # else large circuits bring a header of their own

    with mock.patch.object(build, "object_cache", variables):
        yield


def _precompiled(folder, tools):
    """A header with Verilator's in it, compiled for simulators without waveforms; with other options compilers read the text."""
    header, traces = folder / "runtime.h", ("TRACE", "TRACE_FST", "TRACE_VCD", "TRACE_SAIF")
    header.write_text("".join(f'#include "{tools.include / name}"\n' for name in ("verilated.h", "verilated_dpi.h")))
    macros = ("VERILATOR=1", "VM_TIMING=1", *(f"VM_{name}=0" for name in ("COVERAGE", "SC", *traces)))
    options = ["-O0", "-std=c++20", *(f"-D{macro}" for macro in macros), f"-I{tools.include}", f"-I{tools.include / 'vltstd'}"]
    subprocess.run([*shlex.split(tools.cxx), *options, "-x", "c++-header", header, "-o", f"{header}.gch"], check=False)
    return header


@pytest.fixture(params=["events", "products"])
def _dense_by(request, monkeypatch):
    """Dense layers of the golden model add up weights event by event, or multiply matrices, whichever costs less."""
    monkeypatch.setattr(connections, "SPARSE", 0 if request.param == "events" else 1 << 30)
    monkeypatch.setattr(connections, "ROUND", 0)
