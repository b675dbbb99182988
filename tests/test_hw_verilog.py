# amaranth: UnusedElaboratable=no

"""hw.verilog: reproducible text with plain names, a port map that fits it, and no complaint from Verilator or Yosys."""

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import amaranth
import numpy as np
import pytest

from export import Encoder, Network, digest
from hw import Accelerator, Folding, default_folding, verilog
from hw.buses import WRAPPERS, wrap
from hw.verilog import design
from hw.verilog.header import VERSION, WAIVERS
from sim import toolchain
from sim.proofs.tools import yosys
from tests.maps import Shape, map_network
from tests.networks import random_network

ROOT = Path(__file__).parent.parent
CIRCUITS = {
    "delta": ((9, 7, 5), 4, Folding((4, 3), (4, 2), ("delta", "delta")), "words"),
    "xnor": ((9, 7, 5), 4, Folding((4, 3), (4, 2), ("xnor", "xnor")), "words"),
    "pixels": ((9, 7, 5), 4, Folding((2, 7), (7, 5), ("xnor", "delta")), "pixels"),
    "step": ((9, 7, 5), 4, Folding((4, 3), (4, 5), ("delta", "delta"), ("step", "step"), (2, 1), 2), "words"),
    "one of each": ((1, 1), 1, Folding((1,), (1,), ("delta",)), "words"),
    "three layers": ((5, 4, 3, 2), 300, Folding((5, 1, 3), (4, 1, 2), ("delta", "xnor", "delta")), "words"),
    "maps": (None, 4, Folding((1, 3, 2), (2, 4, 3), ("delta", "delta", "delta"), contexts=2), "pixels"),
    "rows": (None, 1, Folding((1, 3, 2), (2, 4, 3), ("delta", "delta", "delta")), "pixels"),
}


def maps(steps):
    """Convolutions of neurons that spike once, pooled by max and by sum."""
    rng = np.random.default_rng(0)
    shapes = [Shape(3, (3, 2), (1, 2), (1, 1)), Shape(4, (2, 2), pool=(2, 1))]
    return map_network(rng, (6, 6, 1), shapes, 3, steps, "single", last_pool=(1, 2))


def make(name):
    shape, steps, folding, frames_in = CIRCUITS[name]
    layers = (random_network(np.random.default_rng(6), shape, steps) if shape else maps(steps)).layers
    return Accelerator(Network(layers, steps, Encoder("latency")), folding, frames_in=frames_in)


@cache
def text_of(name, wrapper="none"):
    """The Verilog of a circuit."""
    return verilog.generate(wrap(make(name), wrapper))


def declared(text, top=verilog.MODULE):
    """The ports of the top module as Verilog declares them: name → (direction, width)."""
    listed = re.search(rf"^module {top} \((.*?)\n\);", text, re.MULTILINE | re.DOTALL)[1]
    found = re.findall(r"^  (input|output) +(?:wire|reg) +(?:\[(\d+):0\] )?(\w+)(?: = \S+)?,?$", listed, re.MULTILINE)
    assert len(found) == len(re.findall(r"^  (?:input|output)", listed, re.MULTILINE))
    return {name: (direction, int(high or 0) + 1) for direction, high, name in found}


@pytest.mark.parametrize("wrapper", WRAPPERS)
@pytest.mark.parametrize("name", ["pixels", "one of each"])
def test_same_text_twice(name, wrapper):
    assert text_of(name, wrapper) == verilog.generate(wrap(make(name), wrapper))


@pytest.mark.parametrize("name", CIRCUITS)
def test_text_that_a_person_reads(name):
    """Plain names, nothing from outside."""
    text = text_of(name)
    assert text.isascii()
    assert "\\" not in text  # no escaped names
    assert not re.search(r"\$(?!signed\(|unsigned\()", text)
    assert not re.search(r"[\"' (]/\w+/\w+", text)
    assert "[-1:0]" not in text  # a signal of no bits would get two
    assert not re.search(r"\bsrc\b|yosys", text, re.IGNORECASE)
    assert len(re.findall(r"^module (\w+)", text, re.MULTILINE)) == len(set(re.findall(r"^module (\w+)", text, re.MULTILINE)))
    assert all(before.startswith("// ") for before in re.findall(r"^(.*)\nmodule accelerator_layer", text, re.MULTILINE))


def module_of(text, name):
    return re.search(rf"^module {name} \(.*?^endmodule", text, re.MULTILINE | re.DOTALL)[0]


def test_names_hang_on_nothing_else():
    """A layer's modules are the same to the letter if other layers are not, and the names of the top are if widths are not."""
    rng = np.random.default_rng(3)
    first, second, other = (random_network(rng, shape, 4).layers[0] for shape in ((9, 7), (7, 5), (7, 6)))
    texts = [
        verilog.generate(Accelerator(Network((first, then), 4), Folding((4, simd), (4, pe), ("delta", form))))
        for then, simd, pe, form in ((second, 3, 2, "delta"), (other, 3, 6, "xnor"))
    ]
    assert texts[0] != texts[1]
    for module in ("layer_0", "layer_0_weights", "layer_0_neurons"):
        assert module_of(texts[0], f"accelerator_{module}") == module_of(texts[1], f"accelerator_{module}")
    tops = [re.sub(r"\[\d+(:\d+)?\]|\d+'\w+", "", module_of(text, "accelerator")) for text in texts]
    names = [set(re.findall(r"^  wire *(\w+)", top, re.MULTILINE)) for top in tops]
    assert names[0] == names[1]


@pytest.mark.parametrize("name", CIRCUITS)
def test_port_map_is_what_the_verilog_declares(name):
    accelerator = make(name)
    ports = verilog.port_map(accelerator)["ports"]
    assert {port: (entry["direction"], entry["width"]) for port, entry in ports.items()} == declared(text_of(name))
    payloads = [port for port in ports if port.endswith("_payload")]
    monitors = [f"monitor_{layer}_payload" for layer in range(len(accelerator.plans))]
    inputs = ["i_0", "i_1"] if name == "step" else ["i"]
    assert sorted(payloads) == sorted([*(f"{port}_payload" for port in inputs), "o_payload", *monitors])
    for port in payloads:
        at = 0
        for field in ports[port]["fields"].values():
            assert field["offset"] == at
            at += field["width"]
        assert at == ports[port]["width"]
    assert [field for field, entry in ports["o_payload"]["fields"].items() if entry["signed"]] == ["margin"]
    word = ["time", "index", "bits", "last_of_step", "last_of_frame", "error"]
    assert all(list(ports[port]["fields"]) == [*word, "first", "frame"] for port in monitors)
    for port in inputs:
        assert list(ports[f"{port}_payload"]["fields"]) == (word if accelerator.frames_in == "words" else ["intensity", "last_of_frame"])
        assert (f"{port}_cancel" in ports) == (accelerator.frames_in == "words")


def test_port_map_and_header_say_what_it_is():
    accelerator = make("delta")
    found = verilog.port_map(accelerator)
    assert found["top"] == verilog.MODULE
    assert found["network"] == {"shape": [9, 7, 5], "steps": 4, "sha256": digest(accelerator.network)}
    assert found["folding"] == accelerator.folding.as_dict()
    assert found["frames_in"] == "words"
    first, second = (plan.membrane_bits for plan in accelerator.plans)
    assert text_of("delta").split("\n")[:14] == [
        "// accelerator: a binarized single-spike network as a circuit.",
        "//",
        f"// generator  firstspike {VERSION}, Amaranth {amaranth.__version__}",
        "// network    9-7-5, T = 4, encoder: latency code from p_min = 64",
        f"// artifact   SHA-256 {digest(accelerator.network)}",
        "// weights    rom",
        "// frames in  words",
        f"// folding    {json.dumps(accelerator.folding.as_dict())}",
        f"// layer 0    9 inputs in 3 words of SIMD = 4, 7 neurons in 2 groups of PE = 4, delta form, potentials of {first} bits",
        f"// layer 1    7 inputs in 3 words of SIMD = 3, 5 neurons in 3 groups of PE = 2, delta form, potentials of {second} bits",
        "//",
        "// port                      direction  width  fields from bit 0",
        "// clk                       input          1",
        "// rst                       input          1  synchronous, active high",
    ]


def test_header_of_maps():
    ends = [f"delta form, potentials of {plan.membrane_bits} bits" for plan in make("maps").plans]
    lines = [line for line in text_of("maps").split("\n")[:20] if line.startswith("// layer")]
    assert lines == [
        f"// layer 0    36 inputs in 36 words of SIMD = 1, 72 neurons at 24 positions in 2 groups of PE = 2, {ends[0]}",
        f"// layer 1    72 inputs in 24 words of SIMD = 3, pooled by max to 36, 24 neurons at 6 positions in 1 group of PE = 4, {ends[1]}",
        f"// layer 2    24 inputs in 12 words of SIMD = 2, pooled by sum to 8, 3 neurons in 1 group of PE = 3, {ends[2]}",
    ]


def test_another_process_writes_the_same_bytes(tmp_path):
    text_path, map_path = verilog.write(make("xnor"), tmp_path / "new" / "accelerator.v")
    assert map_path == tmp_path / "new" / "accelerator.json"
    assert json.loads(map_path.read_text()) == verilog.port_map(make("xnor"))
    program = "import sys, tests.test_hw_verilog as t; sys.stdout.write(t.text_of('xnor') + t.text_of('pixels', 'wishbone'))"
    for seed in ("7", "8"):
        environment = {"PYTHONHASHSEED": seed}
        done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=True, env=environment)
        assert done.stdout == text_path.read_bytes() + text_of("pixels", "wishbone").encode()


def test_nothing_half_written(tmp_path):
    (tmp_path / "accelerator.json").mkdir()
    with pytest.raises(OSError, match="accelerator"):
        verilog.write(make("one of each"), tmp_path / "accelerator.v")
    assert [path.name for path in tmp_path.iterdir()] == ["accelerator.json"]


LINTED = [*((name, "none") for name in CIRCUITS), *((name, wrapper) for name in ("delta", "pixels") for wrapper in WRAPPERS[1:])]


@pytest.mark.parametrize(("name", "wrapper"), LINTED)
def test_verilator_has_nothing_to_say(tmp_path, name, wrapper):
    """But for what the file itself waives, with reasons."""
    path = tmp_path / "accelerator.v"
    path.write_text(text_of(name, wrapper))
    done = subprocess.run(
        ["verilator", "--lint-only", "-Wall", path], env=os.environ | toolchain.find().variables, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("warning", WAIVERS)
def test_each_waiver_is_needed_and_has_a_reason(tmp_path, warning):
    text = text_of("pixels")
    assert re.search(rf"lint_off {warning} \*/  // \w+", text)
    assert text.count("lint_off") == text.count("lint_on") == len(WAIVERS)
    path = tmp_path / "circuit.v"
    path.write_text(text.replace(f"lint_off {warning} ", f"lint_on {warning} "))
    done = subprocess.run(
        ["verilator", "--lint-only", "-Wall", path], env=os.environ | toolchain.find().variables, capture_output=True, text=True
    )
    assert f"%Warning-{warning}: " in done.stderr


@pytest.mark.parametrize("wrong", ["wire [3:0] w = 5'd1;", "reg r; always @* if (rst) r = 1'b1;"], ids=["width", "latch"])
def test_verilator_still_finds_mistakes(tmp_path, wrong):
    path = tmp_path / "accelerator.v"
    path.write_text(text_of("delta").replace("\nendmodule", f"\n  {wrong}\nendmodule", 1))
    done = subprocess.run(
        ["verilator", "--lint-only", "-Wall", path], env=os.environ | toolchain.find().variables, capture_output=True, text=True
    )
    assert done.returncode != 0


@pytest.mark.parametrize(("name", "wrapper"), LINTED)
def test_yosys_finds_no_problem(tmp_path, name, wrapper):
    """No loop, no wire without a driver or with two, no latch."""
    (tmp_path / "circuit.v").write_text(text_of(name, wrapper))
    top = re.search(r"^module (\w+)", text_of(name, wrapper), re.MULTILINE)[1]
    log = yosys(f"read_verilog circuit.v\nhierarchy -check -top {top}\nproc\ncheck -assert\nselect -assert-none t:$*latch*\n", tmp_path)
    assert "Warning" not in log


def test_mnist_size():
    network = random_network(np.random.default_rng(0), (784, 600, 10), 8)
    accelerator = Accelerator(network, default_folding(network))
    ports = declared(verilog.generate(accelerator))
    assert ports == {port: (entry["direction"], entry["width"]) for port, entry in verilog.port_map(accelerator)["ports"].items()}
    assert ports["monitor_0_payload"] == ("output", 3 + 4 + 60 + 3 + 1 + 2)


def test_passes_over_a_module_do_not_grow_with_its_ports(monkeypatch):
    """Renaming is such a pass: ports in parts, of which an encoder of many pixels has many, are renamed at once."""
    passes = []
    rename = design.rename
    monkeypatch.setattr(design, "rename", lambda *given: passes.append(given) or rename(*given))
    network = replace(random_network(np.random.default_rng(6), (64, 5, 3), 16), encoder=Encoder("latency"))
    counts = []
    for pixels in (2, 16):
        passes.clear()
        generated = verilog.generate(Accelerator(network, replace(default_folding(network), pixels=pixels), frames_in="pixels"))
        counts.append((len(passes), generated.count("\nmodule ")))
    assert counts[0] == counts[1]
