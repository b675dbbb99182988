"""The plain Verilog test bench, run by Verilator without cocotb (and by Icarus Verilog, where there is one)."""

import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from export import Encoder, Network, UserError, reference
from hw import Folding
from sim import toolchain
from sim.build import object_cache
from sim.vectors import write
from tests.networks import random_network, random_spike_times

STEPS = 5
NETWORK = random_network(np.random.default_rng(31), (11, 9, 4), STEPS, spread=0.6)
TIMES = random_spike_times(np.random.default_rng(32), 25, 11, STEPS)
GOLDEN = reference.run(NETWORK, TIMES)
SPIKES = sum((times < STEPS).sum() for times in GOLDEN.spike_times)
BY_DECISION = sum((times <= np.minimum(GOLDEN.decisions.step, STEPS - 1)[:, None]).sum() for times in GOLDEN.spike_times)


@pytest.fixture(scope="module", params=[1, 4], ids=["one stream", "four streams"])
def folder(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp("vectors")
    written = write(NETWORK, TIMES, Folding((2, 4), (4, 4), ("delta", "delta"), contexts=request.param), folder)
    assert sorted(written) == sorted(folder.iterdir())
    words = {path.name for path in folder.glob("*words*.hex")}
    suffixes = [""] if request.param == 1 else [f"_{k}" for k in range(request.param)]
    assert words == {f"{name}{suffix}.hex" for name in ("words", "last_words") for suffix in suffixes}
    for path in folder.glob("*.hex"):
        assert named(path.name, folder)
    return folder


def named(name, folder):
    """Whether README.txt says what a file is; numbers of streams are K there, and of layers L."""
    about = re.sub(r"_[0-9]+", "_L" if name.startswith(("steps", "coefficients")) else "_K", name)
    return re.search(rf"(^|likewise ){about}\b", (folder / "README.txt").read_text(), re.MULTILINE)


def commands(folder, tool):
    """What README.txt says: the commands that build and run the test bench with a simulator."""
    (line,) = re.findall(rf"^ +({tool} .*)$", (folder / "README.txt").read_text(), re.MULTILINE)
    return line.split(" && ")


def shell(command, work):
    environment = os.environ | toolchain.find().variables | object_cache()
    done = subprocess.run(command, shell=True, cwd=work, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def need(tool):
    if tool == "iverilog" and shutil.which("iverilog") is None:
        pytest.skip("Icarus Verilog is not installed")


@pytest.fixture(scope="module", params=["verilator", "iverilog"])
def run(request, folder, tmp_path_factory):
    """How to run the test bench on the vectors of a folder, with exactly the commands that README.txt gives."""
    need(request.param)
    work = tmp_path_factory.mktemp(request.param)
    build, full, early = commands(folder, request.param)

    def run(folder, mode="full"):
        shutil.copytree(folder, work, dirs_exist_ok=True)
        return shell({"full": full, "early": early}[mode], work)

    shutil.copytree(folder, work, dirs_exist_ok=True)
    shell(build, work)
    return run


def test_pass(run, folder):
    assert f"PASS full mode, 25 frames, {SPIKES} spikes expected, {SPIKES} seen, 0 differences" in run(folder)
    assert f"PASS early mode, 25 frames, {BY_DECISION} spikes expected, {BY_DECISION} seen, 0 differences" in run(folder, "early")


TOPS = {
    "pixels": {"pixels": 1},
    "pixels, contexts": {"pixels": 3, "contexts": 2},
    "loadable": {"weights": "loadable", "contexts": 2},
    "axi": {"wrapper": "axi"},
    "axi, pixels": {"wrapper": "axi", "pixels": 3, "contexts": 2},
    "axi, loadable": {"wrapper": "axi", "pixels": 1, "weights": "loadable"},
    "wishbone": {"wrapper": "wishbone", "simd": 11},
    "wishbone, pixels": {"wrapper": "wishbone", "pixels": 2, "contexts": 2},
    "wishbone, loadable": {"wrapper": "wishbone", "pixels": 8, "weights": "loadable"},
}
ENCODED = Network(NETWORK.layers, STEPS, Encoder("latency"))
IMAGES = np.random.default_rng(34).integers(0, 256, (25, 11), np.uint8) * (TIMES < STEPS)


def write_top(folder, *, pixels=0, contexts=1, simd=2, **options):
    """The golden vectors of one of the tops."""
    images = IMAGES.astype(np.uint8) if pixels else None
    times = ENCODED.encode(images) if pixels else TIMES
    folding = Folding((simd, 4), (4, 4), ("delta", "delta"), contexts=contexts, pixels=max(1, pixels))
    written = write(ENCODED, times, folding, folder, images=images, **options)
    assert sorted(written) == sorted(folder.iterdir())
    for path in folder.glob("*.hex"):
        assert named(path.name, folder)


def other_result(folder):
    """Another class is expected of frame 7."""
    lines = (folder / "results.hex").read_text().split()
    lines[7] = f"{int(lines[7], 16) ^ 1:x}"
    (folder / "results.hex").write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("top", TOPS)
def test_top_under_icarus(top, tmp_path):
    need("iverilog")
    write_top(tmp_path, **TOPS[top])
    build, full, early = commands(tmp_path, "iverilog")
    assert shell(f"{build} 2>&1", tmp_path) == ""
    for mode, command in (("full", full), ("early", early)):
        assert re.search(rf"^PASS {mode} mode, 25 frames, .*, 0 differences$", shell(command, tmp_path), re.MULTILINE)
    other_result(tmp_path)
    said = shell(full, tmp_path)
    assert "result: frame 7: expected class_index " in said
    assert "FAIL full mode" in said


@pytest.mark.parametrize("top", ["axi, loadable", pytest.param("wishbone", marks=pytest.mark.proofs)])
def test_top_under_verilator(top, tmp_path):
    write_top(tmp_path, **TOPS[top])
    build, full, early = commands(tmp_path, "verilator")
    shell(build, tmp_path)
    for mode, command in (("full", full), ("early", early)):
        assert f"PASS {mode} mode, 25 frames, 25 results, 0 differences" in shell(command, tmp_path)


def test_an_output_that_is_unknown(tmp_path):
    need("iverilog")
    write_top(tmp_path)
    text = (tmp_path / "accelerator.v").read_text()
    (tmp_path / "accelerator.v").write_text(re.sub(r"\((o_+valid)\)", "()", text, count=1))
    build, full, _ = commands(tmp_path, "iverilog")
    shell(build, tmp_path)
    assert "an output is neither 0 nor 1 at 15 ns" in shell(full, tmp_path)


def change(folder, copy, name, line):
    """A copy of the vectors with the lowest bit of one number flipped."""
    shutil.copytree(folder, copy)
    lines = (copy / name).read_text().split()
    lines[line] = f"{int(lines[line], 16) ^ 1:x}"
    (copy / name).write_text("\n".join(lines) + "\n")


@pytest.mark.parametrize("layer", [0, 1])
def test_a_spike_differs(run, folder, tmp_path, layer):
    times = GOLDEN.spike_times[layer]
    frame, neuron = (int(k[-1]) for k in np.nonzero(times < STEPS))
    change(folder, tmp_path / "copy", f"steps_{layer}.hex", frame * times.shape[1] + neuron)
    step = times[frame, neuron]
    said = run(tmp_path / "copy")
    assert f"spike: frame {frame}, layer {layer}, neuron {neuron}: expected step {step ^ 1}, seen {step}" in said
    assert "FAIL full mode" in said


def test_a_result_differs(run, folder, tmp_path):
    change(folder, tmp_path / "copy", "results.hex", 7)
    said = run(tmp_path / "copy", "early")
    decided = GOLDEN.decisions.class_index[7]
    assert f"result: frame 7: expected class_index {decided ^ 1} step" in said
    assert f"seen class_index {decided} step" in said
    assert "FAIL early mode" in said


def test_a_spike_after_the_decision(run, folder, tmp_path):
    """An earlier decision is expected: golden spikes that come after it are too many."""
    times = GOLDEN.spike_times[0]
    frame, neuron = (int(k[0]) for k in np.nonzero((times > 0) & (times <= GOLDEN.decisions.step[:, None])))
    shutil.copytree(folder, tmp_path / "copy")
    results = (folder / "results.hex").read_text().split()
    field = json.loads((folder / "accelerator.json").read_text())["ports"]["o_payload"]["fields"]["step"]
    results[frame] = f"{int(results[frame], 16) & ~((1 << field['width']) - 1 << field['offset']):x}"
    (tmp_path / "copy" / "results.hex").write_text("\n".join(results) + "\n")
    said = run(tmp_path / "copy", "early")
    assert f"spike: frame {frame}, layer 0, neuron {neuron}: expected step {STEPS}, seen {times[frame, neuron]} ({STEPS} = never)" in said
    assert "FAIL early mode" in said


def test_a_frame_is_missing(run, folder, tmp_path):
    shutil.copytree(folder, tmp_path / "copy")
    suffix = "_0" if (folder / "words_0.hex").exists() else ""
    text = (tmp_path / "copy" / f"words{suffix}.hex").read_text().split()
    ends = [int(line, 16) for line in (tmp_path / "copy" / f"last_words{suffix}.hex").read_text().split()]
    text[ends[-1]] = text[0]  # the last frame, which is on this stream, never ends
    (tmp_path / "copy" / f"words{suffix}.hex").write_text("\n".join(text) + "\n")
    said = run(tmp_path / "copy")
    assert "expected 25 frames, sent 25, results 24" in said
    assert "FAIL full mode" in said


def test_nothing_to_compare(tmp_path):
    quiet = random_network(np.random.default_rng(33), (3, 2), 2)
    with pytest.raises(UserError, match="some neuron must spike"):
        write(quiet, np.empty((0, 3), int), Folding((1,), (1,), ("delta",)), tmp_path)
    assert not list(tmp_path.iterdir())
