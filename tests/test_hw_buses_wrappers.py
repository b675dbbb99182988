# amaranth: UnusedElaboratable=no

"""Wrappers by name, and what they refuse."""

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from amaranth.hdl import Fragment
from amaranth.lib import stream
from amaranth.lib.wiring import In, Signature

import export
from export import Encoder, Network, UserError
from hw import Accelerator, Folding, verilog
from hw.buses import wrap
from hw.buses.managed import input_payload
from hw.buses.registers import ADDRESS_BITS
from hw.buses.wishbone import WishboneAccelerator
from tests.networks import random_network

ROOT = Path(__file__).parent.parent


def accelerator(frames_in="words"):
    network = random_network(np.random.default_rng(2), (6, 5, 3), 4)
    return Accelerator(Network(network.layers, 4, Encoder("latency")), Folding((3, 2), (5, 3), ("delta", "delta")), frames_in=frames_in)


def wrapped(frames_in, name):
    """A wrapped accelerator that counts as used, so that Amaranth does not warn of its parts."""
    circuit = wrap(accelerator(frames_in), name)
    Fragment.get(circuit, None)
    return circuit


def test_wrapper_that_there_is_not():
    with pytest.raises(UserError, match=r"^wrapper must be one of none, axi, wishbone, not 'AXI'$"):
        wrapped("pixels", "AXI")


def test_none_is_the_accelerator_itself():
    plain = accelerator()
    assert wrap(plain, "none") is plain
    assert "registers" not in verilog.port_map(plain)


@pytest.mark.parametrize("frames_in", ["words", "pixels"])
@pytest.mark.parametrize("name", ["axi", "wishbone"])
def test_registers_do_not_overlap(name, frames_in):
    circuit = wrapped(frames_in, name)
    registers = circuit.registers
    at = 0
    for register in registers:
        assert register.address % 4 == 0
        assert register.address >= at, register.name
        at = register.address + 4 * -(-register.layout.size // 32)
    assert max(register.address for register in registers if register.name not in ("data", "last")) < 1 << ADDRESS_BITS
    assert json.loads(json.dumps(verilog.port_map(circuit)))["registers"].keys() == {r.name for r in registers}


def test_amaranth_soc_sees_the_memory_map():
    peripheral = WishboneAccelerator(accelerator())
    Fragment.get(peripheral, None)
    windows = {str(name): (start, end) for _, name, (start, end, _) in peripheral.bus.memory_map.windows()}
    assert windows == {"Name('registers')": (0x0000, 0x1000), "Name('frames')": (0x1000, 0x2000)}


def test_several_streams():
    signature = Signature({f"i_{context}": In(stream.Signature(8)) for context in range(2)} | {"i_0_cancel": In(1)})
    message = "a wrapped accelerator must have one input stream, not 2: choose pixels as its input, or contexts = 1"
    with pytest.raises(UserError, match=message):
        input_payload(SimpleNamespace(signature=signature, weights="rom"))


@pytest.mark.parametrize("room", [1, 1 << 15])
def test_room(room):
    with pytest.raises(UserError, match=f"room must be from 2 to 32767 words, not {room}"):
        WishboneAccelerator(accelerator(), room=room)


def test_without_amaranth_soc():
    program = "import importlib.util as u; u.find_spec = lambda name: None\nimport hw.buses"
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.stderr.splitlines()[-1] == (
        "export.errors.UserError: hw needs amaranth-soc, but neither it nor luna-soc, which carries it, is installed "
        "('pip install luna-soc')"
    )


def test_command_line(tmp_path):
    export.save(accelerator().network, tmp_path / "network.safetensors")
    command = [sys.executable, "-m", "hw", tmp_path / "network.safetensors", "--out", tmp_path / "wrapped.v", "--wrapper", "axi"]
    done = subprocess.run([*command, "--simd", "3,2", "--form", "delta,delta"], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    network = accelerator().network
    folding = Folding((3, 2), (5, 3), ("delta", "delta"), contexts=1)
    assert (tmp_path / "wrapped.v").read_text() == verilog.generate(wrap(Accelerator(network, folding), "axi"))
    assert json.loads((tmp_path / "wrapped.json").read_text())["top"] == "accelerator_axi"
