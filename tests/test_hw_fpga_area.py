"""The area formula, against circuits."""

import re
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from export import Encoder
from hw import Accelerator, Folding, verilog
from hw.fpga import flow
from hw.fpga.area import AreaModel, Estimate
from hw.fpga.devices import DEVICES, ECP5, FAMILIES
from hw.fpga.memories import Mapped, mapped
from hw.fpga.memories import Shape as Memory
from tests.maps import Shape, map_network
from tests.multi_spike import code_network
from tests.networks import random_network
from tests.random_circuit import random_circuit

CODED = (("ternary, bias", "rom"), ("graded", "loadable"))
MODULE = re.compile(r"^module accelerator(?:_(\w+))? \(", re.MULTILINE)
MEMORY = re.compile(r"^((?:  \(\*.*\*\)\n)*)  reg +(?:\[(\d+):0\] )?\w+ \[0:(\d+)\];", re.MULTILINE)


def memories_in_verilog(text, names):
    """Width and depth of each memory, and whether reads beside writes are of no interest, by submodule of the accelerator."""
    found = {name: Counter() for name in names}  # the rest has none, and its own name
    places = [*MODULE.finditer(text)]
    for place, following in zip(places, [*places[1:], None], strict=True):
        body = text[place.end() : following.start() if following else None]
        shapes = [(int(width or 0) + 1, int(last) + 1, "no_rw_check" in attributes) for attributes, width, last in MEMORY.findall(body)]
        module = place[1] or ""
        found[next((name for name in found if f"{module}_".startswith(f"{name}_")), "rest")].update(shapes)
    return found


def in_verilog(shape):
    """Bits of a row, where lanes are whole; synthesis leaves out what nobody reads."""
    return -(-shape.width // shape.lane) * shape.lane if shape.lane else shape.width


def coded_circuit(code, weights):
    """A circuit of neurons that spike with coefficients, with memories for all that can lie in one."""
    network = code_network(np.random.default_rng(98), (24, 18, 5), 4, code, bits=3)
    return network, Folding((4, 3), (4, 5), ("delta", "delta"), ("step", "event"), contexts=2), "pixels", weights


CIRCUITS = {seed: random_circuit(np.random.default_rng([99, seed])) for seed in (0, 1, 4, 5, 7)}
CIRCUITS |= {f"{code}, {weights}": coded_circuit(code, weights) for code, weights in CODED}


@pytest.mark.parametrize("name", CIRCUITS)
def test_parts_and_memories_are_those_of_the_circuit(name):
    network, folding, frames_in, weights = CIRCUITS[name]
    found = AreaModel(ECP5, weights).parts(network, folding, frames_in)
    text = verilog.generate(Accelerator(network, folding, frames_in=frames_in, weights=weights))
    seen = memories_in_verilog(text, [part.name for part in found])
    expected = {}
    for part in found:
        shapes = [(in_verilog(shape), shape.depth, shape.kind in ("free", "rom")) for shape in part.memories]
        expected[part.name] = Counter(shapes)
    assert seen == expected


MAPS = map_network(
    np.random.default_rng(7),
    (6, 6, 2),
    [Shape(4, (3, 3), padding=(1, 1)), Shape(6, (2, 2), pool=(2, 2))],
    3,
    4,
    "single",
    encoder=Encoder("latency"),
    last_pool=(2, 2),
)
MAPS_FOLDING = Folding((2, 4, 3), (2, 6, 2), ("delta",) * 3, contexts=2)
ROWS = map_network(
    np.random.default_rng(8),
    (16, 12, 2),
    [Shape(8, (3, 3), padding=(1, 1)), Shape(6, (2, 2), pool=(2, 2))],
    3,
    1,
    "graded",
    encoder=Encoder("spread", bits=3),
    last_pool=(2, 2),
)
ROWS_FOLDING = Folding((2, 4, 3), (2, 3, 2), ("delta",) * 3)


@pytest.mark.parametrize("weights", ["rom", "loadable"])
@pytest.mark.parametrize(("network", "folding"), [(MAPS, MAPS_FOLDING), (ROWS, ROWS_FOLDING)], ids=["maps", "rows"])
def test_parts_and_memories_of_maps(network, folding, weights):
    found = AreaModel(ECP5, weights).parts(network, folding, "pixels")
    text = verilog.generate(Accelerator(network, folding, frames_in="pixels", weights=weights))
    seen = memories_in_verilog(text, [part.name for part in found])
    assert seen == {
        part.name: Counter((in_verilog(shape), shape.depth, shape.kind in ("free", "rom")) for shape in part.memories) for part in found
    }
    kinds = [pool.kind for layer in network.layers if (pool := layer.pool)]
    assert sorted(kinds) == (["sum", "sum"] if network is ROWS else ["max", "sum"])


def test_columns_of_a_rom_that_do_not_vary():
    assert Memory.of_rom(4, [0b1001, 0b1011, 0b1000]) == Memory("rom", 4, 3, constant=2)
    assert Memory.of_rom(4, [0b1001]).constant == 2
    assert mapped("ecp5", Memory.of_rom(40, [5] * 600)) == Mapped()
    assert mapped("ecp5", Memory.of_rom(40, list(range(1024)))) == mapped("ecp5", Memory("rom", 10, 1024))


@pytest.fixture(scope="module")
def network():
    return random_network(np.random.default_rng(12), (40, 24, 5), 8, spread=0.5)


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_estimate_is_the_sum_of_its_parts(network, family):
    folding = Folding((4, 8), (8, 5), ("delta", "delta"), ("step", "event"), (2, 1), 2)
    model = AreaModel(family)
    area = model.estimate(network, folding, "words")
    assert set(area.parts) == {"scheduler", "layer_0", "emitter_0", "layer_1", "readout", "frame_check_0", "frame_check_1", "rest"}
    assert sum(area.parts.values()) == area.luts
    assert area.memory_bits == sum(shape.bits for part in model.parts(network, folding, "words") for shape in part.memories)
    assert min(area.luts, area.ffs, area.placed) > 100


@pytest.mark.parametrize("family", FAMILIES.values(), ids=lambda family: family.name)
def test_more_at_once_is_larger(network, family):
    foldings = [Folding((4, 8), (pe, 5), ("delta", "delta")) for pe in (4, 8, 12, 24)]
    sizes = [AreaModel(family).estimate(network, folding, "words").luts for folding in foldings]
    assert sizes == sorted(sizes)


DENSE = random_network(np.random.default_rng(77), (60, 30, 6), 8)
DENSE_FOLDING = Folding((4, 6), (15, 6), ("delta", "delta"), ("step", "event"), contexts=2)


@pytest.mark.parametrize("name", ["ecp5-25k", *(pytest.param(name, marks=pytest.mark.proofs) for name in ("hx8k", "xc7"))])
@pytest.mark.parametrize(
    ("network", "folding"),
    [(DENSE, DENSE_FOLDING), (MAPS, MAPS_FOLDING), pytest.param(ROWS, ROWS_FOLDING, marks=pytest.mark.proofs)],
    ids=["dense", "maps", "rows"],
)
def test_formula_is_a_filter_and_block_rams_are_exact(name, network, folding):
    """On a circuit with each way to keep potentials but one, and on two of convolutions and pools."""
    device = DEVICES[name]
    whole = flow.synthesise(flow.bare(Accelerator(network, folding)), device).inside
    area = AreaModel(device.family).estimate(network, folding, "words")
    assert area.luts == pytest.approx(whole.luts, rel=0.3)
    assert area.ffs == pytest.approx(whole.ffs, rel=0.3)
    assert area.block_rams == whole.block_rams


def test_fits_and_hopeless():
    device = DEVICES["ecp5-25k"]
    area = Estimate(luts=24000, ffs=2000, block_rams=56, sprams=0, placed=24288)
    assert area.fits(device)
    for change in ({"luts": 24289}, {"placed": 24289}, {"ffs": 24289}, {"block_rams": 57}, {"sprams": 1}):
        assert not replace(area, **change).fits(device)
    assert replace(area, luts=36432, placed=40000).hopeless(device) == []
    assert replace(area, block_rams=57, sprams=1).hopeless(device) == ["57 of 56 block RAMs", "1 of 0 SPRAMs"]
    far = replace(area, luts=36433, block_rams=255)
    assert far.hopeless(device) == ["36,433 of 24,288 LUTs", "255 of 56 block RAMs"]
    assert far.hopeless(device, logic_only=True) == ["36,433 of 24,288 LUTs"]
