"""Synthesis, place and route of circuits so small that each takes seconds; and everything around them.

The tests place and route for one device, ``nox -s proofs`` for the others, too.
"""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

from export import UserError
from hw import Accelerator, Folding, verilog
from hw.fpga import flow, tools
from hw.fpga.devices import DEVICES, ECP5, ICE40, XC7, device_named
from hw.fpga.flow import Area, Synthesis
from hw.fpga.harness import harness
from hw.fpga.tools import YOSYS, Job, Made, Tool, ToolError
from tests.networks import random_network

HX8K = DEVICES["hx8k"]


@pytest.fixture(scope="module")
def accelerator():
    return Accelerator(random_network(np.random.default_rng(2), (6, 5, 3), 4), Folding((2, 1), (3, 3), ("delta", "delta")))


def bits(accelerator, direction):
    ports = verilog.port_map(accelerator)["ports"]
    own = ("clk", "rst", "monitor_0_valid", "monitor_0_payload", "monitor_1_valid", "monitor_1_payload")
    return sum(port["width"] for name, port in ports.items() if port["direction"] == direction and name not in own)


def test_harness_connects_every_port_once():
    ports = {
        "clk": {"direction": "input", "width": 1},
        "rst": {"direction": "input", "width": 1},
        "i_payload": {"direction": "input", "width": 7},
        "i_ready": {"direction": "output", "width": 1},
        "early": {"direction": "input", "width": 1},
        "o_payload": {"direction": "output", "width": 12},
        "monitor_0_payload": {"direction": "output", "width": 99},
    }
    text = harness({"top": "circuit", "ports": ports})
    for line in (
        "reg [7:0] received;",
        "reg [12:0] sent;",
        "circuit circuit (",
        ".i_payload(received[6:0]), .i_ready(results[0:0]), .early(received[7:7]), .o_payload(results[12:1])",
    ):
        assert line in text
    assert "monitor" not in text


@pytest.mark.parametrize("name", ["hx8k", "ecp5-25k"])
def test_area_is_that_of_the_circuit_alone(accelerator, name):
    """The harness adds a register per port bit, two for its own inputs, and a LUT per output bit."""
    synthesis = flow.synthesise(flow.harnessed(accelerator), DEVICES[name])
    assert synthesis.around.ffs == bits(accelerator, "input") + bits(accelerator, "output") + 2
    assert synthesis.around.luts == bits(accelerator, "output")
    alone = flow.synthesise(flow.bare(accelerator), DEVICES[name])
    assert alone.around == Area()
    assert alone.inside == synthesis.inside
    assert alone.inside.luts > 50
    assert alone.inside.ffs > 50
    assert alone.inside.dsps == 0


def test_monitors_cost_nothing(accelerator):
    """With monitors, the last layer's spikes would need a way out."""
    design = flow.bare(accelerator)
    with_monitors = flow.synthesise(replace(design, unused=""), HX8K)
    assert with_monitors.inside.luts > flow.synthesise(design, HX8K).inside.luts


@pytest.mark.parametrize(
    ("family", "cells", "area"),
    [
        (ECP5, {"LUT4": 10, "CCU2C": 3}, {"luts": 16, "carries": 6}),
        (ECP5, {"TRELLIS_FF": 5, "DP16KD": 2, "TRELLIS_DPR16X4": 1, "$scopeinfo": 7}, {"ffs": 5, "block_rams": 2, "luts": 4}),
        (ICE40, {"SB_LUT4": 3, "SB_CARRY": 2, "SB_DFF": 1, "SB_DFFESR": 4}, {"luts": 3, "carries": 2, "ffs": 5}),
        (ICE40, {"SB_RAM40_4K": 1, "SB_RAM40_4KNR": 2, "SB_SPRAM256KA": 3}, {"block_rams": 3, "sprams": 3}),
        (XC7, {"LUT1": 1, "LUT6": 2, "CARRY4": 3, "FDRE": 4, "MUXF7": 9}, {"luts": 3, "carries": 12, "ffs": 4}),
        (XC7, {"RAMB36E1": 2, "RAMB18E1": 3}, {"block_rams": 3.5}),
    ],
    ids=str,
)
def test_what_counts_as_what(family, cells, area):
    real = {name: count for name, count in sorted(cells.items()) if name[0] != "$"}
    assert Area.of(family, cells) == Area(**area, cells=real)


def test_a_cell_that_is_not_known_is_not_passed_over():
    with pytest.raises(ToolError) as caught:
        Area.of(ECP5, {"LUT4": 1, "accelerator.layer_0": 2})
    assert str(caught.value) == "the netlist must be made of cells that are known, but has 2 of 'accelerator.layer_0'"


def test_what_does_not_fit(tmp_path):
    made = Made(tmp_path, tmp_path, False)
    flow.check_fits(Synthesis(Area(luts=7000, ffs=7600, block_rams=32), Area(luts=680, ffs=80), made), HX8K)
    with pytest.raises(UserError) as caught:
        flow.check_fits(Synthesis(Area(luts=7000, block_rams=40, sprams=1), Area(luts=681), made), HX8K)
    assert str(caught.value) == "the circuit must fit into hx8k, but needs 7,681 of 7,680 LUTs and 40 of 32 block RAMs and 1 of 0 SPRAMs"


@pytest.mark.parametrize("name", ["hx8k", pytest.param("ecp5-25k", marks=pytest.mark.proofs)])
def test_place_and_route(accelerator, name):
    device = DEVICES[name]
    design = flow.harnessed(accelerator)
    synthesis = flow.synthesise(design, device)
    flow.check_fits(synthesis, device)
    first, second = (flow.place_and_route(design, synthesis, device, seed, device.mhz) for seed in (1, 2))
    assert 20 < first.mhz < 1000
    assert first.mhz != second.mhz
    used, there = first.used[device.family.lut]
    assert synthesis.inside.luts <= used < 2 * synthesis.inside.luts + 100
    assert there == device.capacity["luts"]
    period = first.path["logic_ns"] + first.path["routing_ns"]
    assert 1e3 / first.mhz == pytest.approx(period, rel=0.01)  # setup and hold are in both, rounding is not
    assert flow.bitstream(first, device).stat().st_size > 10_000
    again = flow.place_and_route(design, synthesis, device, 1, device.mhz)
    assert (again.made.cached, again.mhz) == (True, first.mhz)


@pytest.mark.parametrize("name", ["hx8k", *(pytest.param(name, marks=pytest.mark.proofs) for name in ("up5k", "ecp5-25k"))])
def test_devices_are_as_large_as_place_and_route_says(accelerator, name):
    names = {
        ECP5.lut: {"luts": ECP5.lut, "ffs": "TRELLIS_FF", "block_rams": "DP16KD", "dsps": "MULT18X18D"},
        ICE40.lut: {"luts": ICE40.lut, "ffs": ICE40.lut, "block_rams": "ICESTORM_RAM", "sprams": "ICESTORM_SPRAM", "dsps": "ICESTORM_DSP"},
    }  # fmt: skip
    device, design = DEVICES[name], flow.harnessed(accelerator)
    placed = flow.place_and_route(design, flow.synthesise(design, device), device, 1, device.mhz)
    there = json.loads((placed.made.folder / flow.TIMING).read_text())["utilization"]
    for kind, count in device.capacity.items():
        assert there[names[device.family.lut][kind]]["available"] == count, kind


def test_device_names():
    with pytest.raises(UserError) as caught:
        device_named("up6k")
    assert str(caught.value) == "device must be one of up5k, hx8k, ecp5-25k, ecp5-85k, xc7, not 'up6k'"
    assert [device_named(name) for name in DEVICES] == list(DEVICES.values())


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("FIRSTSPIKE_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "fpga"


def test_a_tool_runs_once(cache):
    sources = {"a.ys": "read_verilog a.v\nwrite_json a.json\n", "a.v": "module a; endmodule\n"}
    first, second = (Job(YOSYS, ("a.ys",), sources, ("a.json",)).make() for _ in range(2))
    assert (first.cached, second.cached) == (False, True)
    assert first.folder == second.folder
    assert "a" in json.loads((first.folder / "a.json").read_text())["modules"]
    assert "Yosys" in first.log.read_text()
    assert Job(YOSYS, ("a.ys",), sources | {"a.v": "module b; endmodule\n"}, ("a.json",)).make().folder != first.folder
    assert Job(YOSYS, ("-q", "a.ys"), sources, ("a.json",)).make().folder != first.folder


def test_what_was_emptied_is_made_again(cache):
    job = Job(YOSYS, ("-q", "-p", "read_verilog a.v; write_json a.json"), {"a.v": "module a; endmodule\n"}, ("a.json",))
    content = (job.make().folder / "a.json").read_text()
    (job.folder / "a.json").write_text("")
    made = job.make()
    assert not made.cached
    assert (made.folder / "a.json").read_text() == content
    assert job.make().cached


def test_another_version_makes_anew(cache, monkeypatch):
    arguments = (YOSYS, ("-p", "read_verilog a.v; write_json a.json"), {"a.v": "module a; endmodule\n"}, ("a.json",))
    first = Job(*arguments).make()
    monkeypatch.setattr(tools.importlib.metadata, "version", lambda package: "1.2")
    assert Job(*arguments).make().folder != first.folder


def test_a_tool_that_fails(cache):
    with pytest.raises(ToolError) as caught:
        Job(YOSYS, ("-p", "route"), {}, ()).make()
    (log,) = cache.glob("*.log")
    assert str(caught.value) == f"yosys failed ({log}): ERROR: No such command: route (type 'help' for a command overview)"
    assert [path.suffix for path in sorted(cache.iterdir())] == [".lock", ".log"]


def test_a_tool_that_writes_nothing(cache):
    with pytest.raises(ToolError) as caught:
        Job(YOSYS, ("-q", "-p", "log nothing"), {}, ("a.json",)).make()
    (log,) = cache.glob("*.log")
    assert str(caught.value) == f"yosys failed ({log}): exit status 0, no a.json"


def test_a_tool_that_is_not_installed():
    with pytest.raises(UserError) as caught:
        Job(Tool("router", "firstspike-router", "run"), (), {}, ()).make()
    assert str(caught.value) == "router must be installed: 'pip install -c constraints.txt firstspike-router'"


def test_place_and_route_that_cannot_succeed(cache, accelerator):
    """A package that there is not: the tool's own words, and its log."""
    design = flow.harnessed(accelerator)
    wrong = replace(HX8K, arguments=("--hx8k", "--package", "none"))
    synthesis = flow.synthesise(design, wrong)
    with pytest.raises(ToolError) as caught:
        flow.place_and_route(design, synthesis, wrong, 1, 24.0)
    log = max(cache.glob("*.log"), key=lambda path: path.stat().st_mtime)
    assert str(caught.value).startswith(f"nextpnr-ice40 failed ({log}): ERROR: ")
    assert "\n" not in str(caught.value)


def test_no_room_when_placed(cache, accelerator):
    """LUTs and flip-flops that are not each other's take a place each, so more may be needed than synthesis counts."""
    design = flow.bare(accelerator)
    small = replace(DEVICES["up5k"], arguments=("--lp384", "--package", "qn32"))
    synthesis = flow.synthesise(design, small)
    with pytest.raises(UserError) as caught:
        flow.place_and_route(design, synthesis, small, 1, 24.0)
    log = max(cache.glob("*.log"), key=lambda path: path.stat().st_mtime)
    pattern = rf"the circuit must fit into up5k, but needs \d+ of 384 ICESTORM_LC and \d+ of 21 SB_IO when placed \({re.escape(str(log))}\)"
    assert re.fullmatch(pattern, str(caught.value))


def test_names_of_registers():
    readable = {
        "accelerator.layer_0.count_TRELLIS_FF_Q_12": "accelerator.layer_0.count",
        "accelerator.emitter_0.unsent_SB_DFFSR_Q_5_D_SB_LUT4_O": "accelerator.emitter_0.unsent",
        "harness.sent": "harness.sent",
    }
    assert {name: flow._readable(name) for name in readable} == readable
