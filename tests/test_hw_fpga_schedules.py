"""Form, order and swap of each layer, picked by the cost model."""

from argparse import ArgumentParser
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export import UserError, load, reference
from hw.arguments import add_folding_arguments, folding_from
from hw.cost.speed import Speed
from hw.fpga.area import AreaModel
from hw.fpga.devices import DEVICES, FAMILIES
from hw.fpga.schedules import NEARLY, picked_folding
from hw.fpga.target import add_target_arguments, leave_input_open, target
from hw.host.boards import BOARDS
from hw.inputs import random_events
from tests.networks import random_network

ARTIFACTS = Path(__file__).parents[1] / "artifacts"
ECP5 = DEVICES["ecp5-25k"]


def options(*words):
    parser = ArgumentParser()
    add_target_arguments(parser)
    add_folding_arguments(parser)
    leave_input_open(parser)
    given = parser.parse_args(("--device", "ecp5-25k", *words) if "--board" not in words else words)
    target(given)
    return given


@pytest.fixture(scope="module")
def network():
    return random_network(np.random.default_rng(5), (60, 40, 8), 8)


@pytest.fixture(scope="module")
def times(network):
    return random_events(network, 40, 3)


def estimate(network, folding, frames_in, family, weights="rom", board=None):
    return AreaModel(FAMILIES[family], weights, board).estimate(network, folding, frames_in)


def cost_of(network, folding, times):
    golden = reference.run(network, times)
    return estimate(network, folding, "words", "ecp5").placed, Speed.of(network, folding, times, golden).interval


@pytest.mark.parametrize("folding", [("--simd", "4,8", "--pe", "10,8"), ("--simd", "1,40", "--pe", "20,2"), ()], ids=str)
def test_smaller_or_faster_than_the_default_and_never_much_slower(network, times, folding):
    given = options(*folding)
    luts, cycles = cost_of(network, folding_from(given, network), times)
    picked = picked_folding(given, network, ECP5, times)
    picked_luts, picked_cycles = cost_of(network, picked, times)
    assert picked_luts <= luts or picked_cycles < cycles
    assert picked_cycles <= NEARLY**2 * cycles
    assert (picked.simd, picked.pe) == (folding_from(given, network).simd, folding_from(given, network).pe)


def test_a_slow_layer_that_is_not_the_slowest_may_be_small(network, times):
    """Layer 0 takes 40 cycles per word; layer 1 has time enough to walk all of its words."""
    picked = picked_folding(options("--simd", "1,40", "--pe", "1,8"), network, ECP5, times)
    ways = {way: replace(picked, form=("delta", way[0]), loop_order=("event", way[1])) for way in (("delta", "event"), ("xnor", "step"))}
    costs = {way: cost_of(network, folding, times) for way, folding in ways.items()}
    assert costs["xnor", "step"][1] <= NEARLY * costs["delta", "event"][1]
    smallest = min(costs, key=lambda way: costs[way][0])
    assert (picked.form[1], picked.loop_order[1]) == smallest


@pytest.mark.parametrize(
    "asked",
    [("--form", "xnor,delta"), ("--order", "step,event"), ("--order", "step,event", "--swap", "3,1"), ("--swap", "5,1")],
    ids=str,
)
def test_what_is_asked_for_stays(network, times, asked):
    given = options("--simd", "4,8", "--pe", "10,8", *asked)
    picked = picked_folding(given, network, ECP5, times)
    for name in ("form", "loop_order", "swap"):
        assert getattr(given, name) in (None, getattr(picked, name))


def test_a_way_that_fits_goes_before_a_fast_one(network, times):
    given = options("--simd", "4,8", "--pe", "20,8", "--contexts", "1")
    device = DEVICES["hx8k"]
    free = picked_folding(given, network, device, times)
    needs = estimate(network, free, "words", "ice40").placed
    tight = replace(device, capacity=device.capacity | {"luts": needs - 1})
    picked = picked_folding(given, network, tight, times)
    assert estimate(network, picked, "words", "ice40").placed < needs
    assert (picked.form, picked.loop_order, picked.swap) != (free.form, free.loop_order, free.swap)


def test_where_nothing_fits_it_is_as_if_all_did(network, times):
    device = replace(ECP5, capacity=ECP5.capacity | {"luts": 10})
    given = options("--simd", "4,8", "--pe", "10,8")
    assert picked_folding(given, network, device, times) == picked_folding(given, network, ECP5, times)


def test_on_a_board_the_host_link_and_its_memories_count():
    """The order event would need a memory of PE potentials, and more block RAMs than an iCEBreaker has."""
    network = load(ARTIFACTS / "mnist-600.safetensors")
    times = random_events(network, 20, 1)
    given = options("--board", "icebreaker", "--simd", "1,1", "--pe", "60,2")
    picked = picked_folding(given, network, DEVICES["up5k"], times, BOARDS["icebreaker"])
    assert picked.loop_order[0] == "step"
    area = estimate(network, picked, "pixels", "ice40", "loadable", BOARDS["icebreaker"])
    assert area.sprams == 4
    assert area.fits(DEVICES["up5k"])
    default = estimate(network, folding_from(given, network), "pixels", "ice40", "loadable", BOARDS["icebreaker"])
    assert default.block_rams > 30


def test_mistakes(network, times):
    with pytest.raises(UserError, match=r"^pe of layer 0 must be an integer from 1 to its 40 outputs, not 41$"):
        picked_folding(options("--pe", "41,8"), network, ECP5, times)
