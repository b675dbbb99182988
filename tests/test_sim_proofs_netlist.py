"""A small share of ``python -m sim.proofs netlist``, and faults that it has to see."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

import sim
from export.errors import UserError
from hw import Accelerator, Folding, verilog
from sim.proofs import synthesised, tools
from sim.proofs.netlist import FAMILIES, synthesize
from tests.multi_spike import code_network, random_images, spread
from tests.networks import random_network, random_spike_times

NETWORK = random_network(np.random.default_rng(3), (5, 3), 3, spread=0.5)
ACCELERATOR = Accelerator(NETWORK, Folding((2,), (2,), ("delta",)))
TIMES = random_spike_times(np.random.default_rng(5), 60, 5, 3)


@pytest.fixture(scope="module")
def netlists():
    text = verilog.generate(ACCELERATOR)
    return {family: synthesize(text, family) for family in FAMILIES}


def cosimulate(text):
    return sim.cosimulate(NETWORK, TIMES, verilog=(text, verilog.port_map(ACCELERATOR)))


def test_cells(netlists):
    assert netlists["ice40"].cells["SB_LUT4"] > 100
    assert netlists["ecp5"].cells["LUT4"] > 100
    assert netlists["ecp5"].cells["TRELLIS_DPR16X4"] > 0
    for each in netlists.values():
        flat = each.flat()
        assert re.findall(r"^module (\w+)", flat, re.MULTILINE) == ["accelerator"]
        assert not any(re.search(rf"^ +{cell} ", flat, re.MULTILINE) for cell in each.cells)


def test_spike_for_spike(netlists):
    report = cosimulate(netlists["ecp5"].flat())
    assert report.passed
    assert report.comparisons["full"].spikes_compared > 40


def test_one_bit_of_one_lut(netlists):
    """A bit of the thresholds, which are in LUTs, is another for the first group of neurons."""
    sound = netlists["ecp5"]
    pattern = r"(\.INIT\(16'h)([0-9a-f]{4})(?=\)\n  \) \\layer_0\.initial_\.data_TRELLIS_FF_Q_DI_LUT4_Z )"
    text, changes = re.subn(pattern, lambda match: f"{match[1]}{int(match[2], 16) ^ 1:04x}", sound.text, count=1)
    assert changes == 1
    report = cosimulate(replace(sound, text=text).flat())
    assert not report.passed
    assert report.first_difference.layer == 0


def test_a_name_that_is_in_none():
    with pytest.raises(UserError, match=r"^a name must be in one of 'netlist, ice40', .*'netlist, convolution, ecp5', but 'x' is not$"):
        synthesised.rows(["x"])


def test_unknown_family():
    with pytest.raises(UserError, match=r"^family must be one of ice40, ecp5, not 'xc7'$"):
        synthesize("", "xc7")


def test_cell_without_a_model(netlists):
    missing = replace(netlists["ecp5"], cells=Counter(LUT4=1, DP16KD=1, MULT18X18D=1, LUT9=1))
    with pytest.raises(UserError, match=r"^every cell of the netlist must have a simulation model, but LUT9, MULT18X18D has none$"):
        missing.flat()


def test_cell_that_is_left(netlists):
    """A cell that the count of cells misses is not silently dropped."""
    sound = netlists["ecp5"]
    with pytest.raises(tools.ToolError, match=r"^Yosys failed: .*LUT4"):
        replace(sound, cells=sound.cells - Counter(LUT4=10**6)).flat()


@pytest.mark.proofs
def test_coefficient_for_coefficient():
    """Neurons that spike with coefficients: a divider, and words of several bits for each input."""
    network = code_network(np.random.default_rng(6), (5, 4, 2), 3, "graded, signed", levels=2, bits=3)
    accelerator = Accelerator(network, Folding((2, 2), (2, 2), ("delta", "delta")))
    inputs = spread(network, random_images(np.random.default_rng(7), 60, 5))
    netlist = synthesize(verilog.generate(accelerator), "ice40")
    report = sim.cosimulate(network, inputs, verilog=(netlist.flat(), verilog.port_map(accelerator)))
    assert report.passed
    assert report.comparisons["full"].spikes_compared > 40
    assert {"SB_LUT4", "SB_CARRY"} <= set(netlist.cells)
