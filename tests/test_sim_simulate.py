"""Simulators that run in strange surroundings, fail, or do not get on; each a program of a few lines, but for the first."""

import os
import shutil
import tempfile
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from cocotb_tools import config

import sim
from sim import simulate
from sim.build import Build
from sim.simulate import SimulationError, play, run_module
from tests.networks import random_network, random_spike_times

SIGNS = """a $x (b) 'c' & d; #e : f " g * h"""
RESULTS, FAILED, EMPTY = (
    f'<testsuites><testsuite tests="{tests}" failures="{failures}" errors="0"/></testsuites>'
    for tests, failures in ((1, 0), (1, 1), (0, 0))
)


def test_names_with_signs_and_an_environment_that_is_not_ours(tmp_path, monkeypatch):
    """Project, cocotb, results and temporary files lie in folders with such names, and cocotb's own variables say something else."""
    strange = tmp_path / SIGNS
    strange.mkdir()
    (strange / "project").symlink_to(simulate.PROJECT)
    (strange / "libs").symlink_to(config.libs_dir)
    entry = strange / "cocotb.so"
    library, _, function = config.pygpi_entry_point().partition(",")
    entry.symlink_to(library)
    monkeypatch.setattr(simulate, "PROJECT", strange / "project")
    monkeypatch.setattr(config, "libs_dir", strange / "libs")
    monkeypatch.setattr(config, "pygpi_entry_point", lambda: f"{entry},{function}")
    monkeypatch.setattr(tempfile, "tempdir", str(strange))
    for name, value in {
        "WAVES": "1",
        "GUI": "1",
        "COVERAGE": "1",
        "COCOTB_USER_COVERAGE": "1",
        "COCOTB_TESTCASE": "nothing",
        "COCOTB_TEST_FILTER": "nothing",
        "COCOTB_TEST_MODULES": "nothing",
        "COCOTB_LOG_LEVEL": "nonsense",
        "COCOTB_PDB_ON_EXCEPTION": "1",
        "GPI_EXTRA": "nothing",
        "GPI_USERS": "nothing",
        "SIM_CMD_PREFIX": "nothing",
        "PYTHONPATH": "nothing",
        "PYTHONHOME": "nothing",
    }.items():
        monkeypatch.setenv(name, value)
    network = random_network(np.random.default_rng(41), (9, 6, 3), 4, spread=0.6)  # test_sim_cli builds its simulator, too
    times = random_spike_times(np.random.default_rng(1), 5, 9, 4)
    report = sim.cosimulate(network, times, out=strange / "out")
    assert report.passed
    assert {path.name for path in (strange / "out").iterdir()} == {"report.html", "report.json"}


@pytest.fixture
def program(tmp_path):
    """Makes a simulator of a shell script, whose folder is the temporary one."""

    def make(script):
        path = tmp_path / "build" / "bench"
        path.parent.mkdir(exist_ok=True)
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)
        return Build(path.parent, "bench", 0.0, True, False, "5.048", "g++")

    return make


def run(build, tmp_path, *plusargs):
    folder = tmp_path / "run"
    folder.mkdir(exist_ok=True)
    run_module(build, "sim.testbench", folder, plusargs, {}, folder / "log")


def test_passes(program, tmp_path):
    run(program(f"echo '{RESULTS}' > $COCOTB_RESULTS_FILE"), tmp_path)


@pytest.mark.parametrize(
    "script",
    [
        "echo died; exit 7",
        "echo died; kill -9 $$",
        "echo died",
        f"echo died; echo '{RESULTS[:-20]}' > $COCOTB_RESULTS_FILE",
        f"echo died; echo '{FAILED}' > $COCOTB_RESULTS_FILE",
        f"echo died; echo '{EMPTY}' > $COCOTB_RESULTS_FILE",
        f"echo died; echo '{RESULTS}' > $COCOTB_RESULTS_FILE; exit 1",
    ],
)
def test_fails(program, tmp_path, script):
    with pytest.raises(SimulationError, match=r"^the simulation failed: died$"):
        run(program(script), tmp_path)


def test_nothing_of_the_environment_comes_along(program, tmp_path, monkeypatch):
    monkeypatch.setenv("COCOTB_TEST_FILTER", "nothing")
    run(program(f"env > seen; echo '{RESULTS}' > $COCOTB_RESULTS_FILE"), tmp_path)
    seen = dict(line.split("=", 1) for line in (tmp_path / "run" / "seen").read_text().splitlines())
    ours = {
        "LC_ALL",
        "TMPDIR",
        "PYGPI_PYTHON_BIN",
        "PYTHONPATH",
        "GPI_USERS",
        "TOPLEVEL_LANG",
        "LD_LIBRARY_PATH",
        "PATH",
        "HOME",
        "PWD",
        "_",
    }
    assert {name for name in seen if not name.startswith("COCOTB_")} <= ours | {"SHLVL", "OLDPWD"}
    assert {name for name in seen if name.startswith("COCOTB_")} == {
        "COCOTB_LOG_LEVEL",
        "COCOTB_RESULTS_FILE",
        "COCOTB_TEST_MODULES",
        "COCOTB_TOPLEVEL",
        "COCOTB_TRUST_INERTIAL_WRITES",
    }


def test_a_full_disk_is_not_waited_for(program, tmp_path, monkeypatch):
    """A simulator that tries for ever to write its waveform, of which nothing stays."""
    monkeypatch.setattr(simulate, "POLL", 0.1)
    monkeypatch.setattr(simulate, "PATIENCE_FULL", 0.2)
    usage = namedtuple("usage", "free")
    full = tmp_path / "waves"
    full.mkdir()
    real = shutil.disk_usage
    monkeypatch.setattr(shutil, "disk_usage", lambda place: usage(0) if Path(place) == full else real(place))
    script = f"echo x > '{full}/frame_full.vcd'; echo stuck; exec sleep 100"
    monkeypatch.setattr(simulate.stimuli, "write", lambda *given: None)
    with pytest.raises(SimulationError, match=rf"^the simulation failed: {full}: {os.strerror(28)} \| stuck$"):
        play(program(script), None, [([], None)], modes=("full",), waves=(full / "frame", 0))
    assert list(full.iterdir()) == []


def test_a_simulator_that_does_not_get_on(program, tmp_path, monkeypatch):
    monkeypatch.setattr(simulate, "POLL", 0.1)
    monkeypatch.setattr(simulate, "PATIENCE", 0.2)
    with pytest.raises(SimulationError, match=r"^the simulation failed: nothing was written for \d+ s$"):
        run(program("exec sleep 100"), tmp_path)


def test_a_simulator_that_gets_on_is_waited_for(program, tmp_path, monkeypatch):
    monkeypatch.setattr(simulate, "POLL", 0.1)
    monkeypatch.setattr(simulate, "PATIENCE", 0.6)
    run(program(f"for i in 1 2 3 4; do echo $i >> out.bin; sleep 0.3; done; echo '{RESULTS}' > $COCOTB_RESULTS_FILE"), tmp_path)
