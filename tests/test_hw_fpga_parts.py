"""The area as the sum of parts that are synthesised one by one."""

from dataclasses import replace

import numpy as np
import pytest

from export import Encoder
from hw import Accelerator, Folding
from hw.fpga import flow
from hw.fpga.devices import DEVICES
from hw.fpga.parts import REST, part_texts, sum_of_parts
from hw.host.boards import BOARDS
from tests.networks import random_network
from tests.random_circuit import random_circuit


@pytest.fixture(scope="module")
def network():
    return replace(random_network(np.random.default_rng(2), (24, 10, 3), 4), encoder=Encoder("latency"))


def design(network, *folding, **given):
    return flow.bare(Accelerator(network, Folding(*folding), **given))


FOLDING = ((4, 2), (5, 3), ("delta", "delta"), ("event", "event"), (1, 1), 2)


def test_parts_are_the_components(network):
    texts = part_texts(design(network, *FOLDING))
    assert set(texts) == {"scheduler", "readout", "layer_0", "emitter_0", "layer_1", "frame_check_0", "frame_check_1", REST}
    assert texts["frame_check_0"] == texts["frame_check_1"]
    assert texts["layer_0"].startswith("module part (")
    assert "accelerator" not in texts["layer_0"]
    assert texts[REST].count("(* blackbox *)") == 7
    assert not any("//" in text for text in texts.values())


def test_another_folding_of_a_layer_leaves_the_others_as_they_were(network):
    first = part_texts(design(network, *FOLDING))
    second = part_texts(design(network, (4, 2), (5, 1), *FOLDING[2:]))
    assert {name for name in first if first[name] != second[name]} == {"layer_1", "readout", REST}


def test_parts_of_a_board(network):
    """Verilog of another writer, with modules inside modules."""
    texts = part_texts(flow.on_board(BOARDS["icebreaker"].design(network, Folding((4, 2), (5, 3), ("delta", "delta")))))
    assert {"link", "recorder", "receiver", "transmitter", "encoder_0", "distributor", "layer_0", "layer_1", "loader", REST} < set(texts)


@pytest.mark.parametrize(
    ("seed", "name"),
    [
        (3, "ecp5-25k"),
        pytest.param(3, "hx8k", marks=pytest.mark.proofs),
        pytest.param(11, "ecp5-25k", marks=pytest.mark.proofs),
        pytest.param(11, "hx8k", marks=pytest.mark.proofs),
    ],
)
def test_sum_is_near_the_whole(seed, name):
    """On random circuits, of which nothing was ever fitted."""
    network, folding, frames_in, weights = random_circuit(np.random.default_rng([123, seed]))
    circuit = flow.bare(Accelerator(network, folding, frames_in=frames_in, weights=weights))
    area, whole = sum_of_parts(circuit, DEVICES[name]), flow.synthesise(circuit, DEVICES[name]).inside
    assert area.luts == pytest.approx(whole.luts, rel=0.15)
    assert area.ffs == pytest.approx(whole.ffs, rel=0.15)
    assert (area.block_rams, area.sprams) == (whole.block_rams, whole.sprams)


def test_parts_are_kept(network, tmp_path, monkeypatch):
    monkeypatch.setenv("FIRSTSPIKE_CACHE", str(tmp_path))
    device, said = DEVICES["ecp5-25k"], []
    first = sum_of_parts(design(network, *FOLDING), device, said.append)
    assert sum_of_parts(design(network, *FOLDING), device, said.append) == first
    other = sum_of_parts(design(network, (4, 2), (5, 1), *FOLDING[2:]), device, said.append)
    assert said == [f"synthesising {count} of 8 parts; the others are alike or were kept" for count in (7, 3)]
    assert other.parts["layer_0"] == first.parts["layer_0"]
    assert sum(first.parts.values()) == first.luts
