"""What the forecast takes a circuit to be made of, against circuits."""

import re
from collections import Counter

import numpy as np
import pytest

from hw import Accelerator, verilog
from hw.fpga.calibrate import random_circuit
from hw.fpga.terms import parts

MODULE = re.compile(r"^module \\?accelerator(?:\.(\w+))?[\w.]* ?\(", re.MULTILINE)
MEMORY = re.compile(r"^((?:  \(\*.*\*\)\n)*)  reg (?:\[(\d+):0\] )?\\?\S+ ?\[(\d+):0\];", re.MULTILINE)


def memories_in_verilog(text):
    """Width and depth of each memory, and whether reads beside writes are of no interest, by submodule of the accelerator."""
    found = {}
    places = [*MODULE.finditer(text)]
    for place, following in zip(places, [*places[1:], None], strict=True):
        body = text[place.end() : following.start() if following else None]
        shapes = [(int(width or 0) + 1, int(last) + 1, "no_rw_check" in attributes) for attributes, width, last in MEMORY.findall(body)]
        found.setdefault(place[1] or "", Counter()).update(shapes)
    return found


@pytest.mark.parametrize("seed", [0, 1, 4, 5, 7])
def test_parts_and_memories_are_those_of_the_circuit(seed):
    network, folding, frames_in, weights = random_circuit(np.random.default_rng([99, seed]))
    seen = memories_in_verilog(verilog.generate(Accelerator(network, folding, frames_in=frames_in, weights=weights)))
    expected = {}
    for part in parts(network, folding, frames_in, weights):
        shapes = [(shape.width, shape.depth, shape.kind in ("free", "rom")) for shape in part.memories]
        expected[part.name] = Counter(shapes)
    assert seen == expected
