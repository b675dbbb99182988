"""The plain Verilog test bench, for neurons that spike with coefficients."""

import re
import shutil

import numpy as np
import pytest

from export import reference
from hw import Folding
from sim.vectors import write
from tests.multi_spike import code_network, random_images, spread
from tests.test_sim_vectors import commands, named, need, other_result, shell

STEPS = 4
FRAMES = 25
CIRCUITS = {
    "graded": ("graded, signed", STEPS, {}),
    "ternary": ("ternary", STEPS, {"contexts": 2}),
    "rate": ("rate", STEPS, {}),
    "one step": ("graded", 1, {}),
    "bias": ("rate, bias", STEPS, {}),
    "bias, loadable": ("graded, bias", STEPS, {"weights": "loadable"}),
    "loadable": ("graded", STEPS, {"weights": "loadable", "contexts": 2}),
    "axi, loadable": ("ternary, signed", STEPS, {"wrapper": "axi", "weights": "loadable"}),
    "wishbone": ("graded, signed", STEPS, {"wrapper": "wishbone", "simd": 11}),
    "wishbone, loadable": ("rate", STEPS, {"wrapper": "wishbone", "weights": "loadable"}),
}
BITS = 6  # of an input's count: words of 5 bits per lane at T = 4, so that those of eleven lanes are wider than a bus


def written(folder, code, steps, *, contexts=1, simd=3, **options):
    """The golden vectors of a network, and its golden result."""
    network = code_network(np.random.default_rng(41), (11, 9, 4), steps, code, bits=BITS)
    inputs = spread(network, random_images(np.random.default_rng(42), FRAMES, 11))
    paths = write(network, inputs, Folding((simd, 4), (4, 4), ("delta", "delta"), contexts=contexts), folder, **options)
    assert sorted(paths) == sorted(folder.iterdir())
    for path in folder.glob("*.hex"):
        assert named(path.name, folder)
    return network, reference.run(network, inputs)


def spikes(golden, mode):
    upto = np.full(FRAMES, STEPS) if mode == "full" else golden.decisions.step
    return sum(int((events.step <= upto[events.frame]).sum()) for events in golden.events)


@pytest.mark.parametrize("name", CIRCUITS)
def test_pass_under_icarus(name, tmp_path):
    need("iverilog")
    code, steps, options = CIRCUITS[name]
    _, golden = written(tmp_path, code, steps, **options)
    build, full, early = commands(tmp_path, "iverilog")
    assert shell(f"{build} 2>&1", tmp_path) == ""
    for mode, command in (("full", full), ("early", early)):
        what = "25 results" if "wrapper" in options else "{0} spikes expected, {0} seen".format(spikes(golden, mode))
        assert f"PASS {mode} mode, 25 frames, {what}, 0 differences" in shell(command, tmp_path)
    other_result(tmp_path)
    assert re.search(r"^result: frame 7: expected class_index .*\nFAIL full mode", shell(full, tmp_path), re.MULTILINE)


def test_pass_under_verilator(tmp_path):
    _, golden = written(tmp_path, "graded, signed", STEPS)
    build, full, early = commands(tmp_path, "verilator")
    shell(build, tmp_path)
    for mode, command in (("full", full), ("early", early)):
        assert "PASS {0} mode, 25 frames, {1} spikes expected, {1} seen, 0 diff".format(mode, spikes(golden, mode)) in shell(
            command, tmp_path
        )


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    need("iverilog")
    folder = tmp_path_factory.mktemp("graded")
    network, golden = written(folder, "graded, signed", STEPS)
    shell(commands(folder, "iverilog")[0], folder)
    return folder, network, golden


def changed(built, tmp_path, place, change):
    """What the test bench says when another coefficient is expected at a place (frame, step, neuron) of layer 0."""
    folder, network, _ = built
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    lines = (copy / "coefficients_0.hex").read_text().split()
    at = int(np.ravel_multi_index(place, (FRAMES, STEPS, network.layers[0].outputs)))
    lines[at] = f"{change(int(lines[at], 16)) & 15:x}"
    (copy / "coefficients_0.hex").write_text("\n".join(lines) + "\n")
    return shell(commands(copy, "iverilog")[1], copy)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_coefficient_off_by_one(built, tmp_path, sign):
    events = built[2].events[0]
    at = np.flatnonzero(np.sign(events.coefficient) == sign)[-1]
    frame, step, neuron, worth = (int(getattr(events, name)[at]) for name in ("frame", "step", "neuron", "coefficient"))
    said = changed(built, tmp_path, (frame, step, neuron), lambda value: value - 1)
    assert f"spike: frame {frame}, layer 0, neuron {neuron}, step {step}: expected coefficient {worth - 1}, seen {worth}" in said
    assert "FAIL full mode" in said


def test_a_spike_that_is_missing(built, tmp_path):
    events = built[2].events[0]
    there = np.zeros(events.shape, bool)
    there[events.frame, events.step, events.neuron] = True
    frame, step, neuron = (int(k[-1]) for k in np.nonzero(~there))
    said = changed(built, tmp_path, (frame, step, neuron), lambda value: -2)
    assert f"spike: frame {frame}, layer 0, neuron {neuron}, step {step}: expected coefficient -2, seen 0" in said
    assert "FAIL full mode" in said
