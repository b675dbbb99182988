"""What the forecast takes a circuit to be made of, against circuits."""

import re
from collections import Counter

import numpy as np
import pytest

from hw import Accelerator, verilog
from hw.fpga.calibrate import random_circuit
from hw.fpga.terms import parts

MODULE = re.compile(r"^module accelerator(?:_(\w+))? \(", re.MULTILINE)
MEMORY = re.compile(r"^((?:  \(\*.*\*\)\n)*)  reg +(?:\[(\d+):0\] )?\w+ \[0:(\d+)\];", re.MULTILINE)


def memories_in_verilog(text, names):
    """Width and depth of each memory, and whether reads beside writes are of no interest, by submodule of the accelerator."""
    found = {name: Counter() for name in names}
    places = [*MODULE.finditer(text)]
    for place, following in zip(places, [*places[1:], None], strict=True):
        body = text[place.end() : following.start() if following else None]
        shapes = [(int(width or 0) + 1, int(last) + 1, "no_rw_check" in attributes) for attributes, width, last in MEMORY.findall(body)]
        module = place[1] or ""
        found[next(name for name in found if f"{module}_".startswith(f"{name}_") or not module)].update(shapes)
    return found


def in_verilog(shape):
    """Bits of a row, where lanes are whole; synthesis leaves out what nobody reads."""
    return -(-shape.width // shape.lane) * shape.lane if shape.lane else shape.width


@pytest.mark.parametrize("seed", [0, 1, 4, 5, 7])
def test_parts_and_memories_are_those_of_the_circuit(seed):
    network, folding, frames_in, weights = random_circuit(np.random.default_rng([99, seed]))
    found = parts(network, folding, frames_in, weights)
    text = verilog.generate(Accelerator(network, folding, frames_in=frames_in, weights=weights))
    seen = memories_in_verilog(text, [part.name for part in found])
    expected = {}
    for part in found:
        shapes = [(in_verilog(shape), shape.depth, shape.kind in ("free", "rom")) for shape in part.memories]
        expected[part.name] = Counter(shapes)
    assert seen == expected
