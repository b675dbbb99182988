import numpy as np
import pytest

from export import UserError
from hw import Accelerator, Folding, default_folding
from hw.verilog import generate, port_map
from sim.ports import Field, Payload, Ports
from tests.networks import random_network

PAYLOAD = Payload(70, {"low": Field(0, 3), "across": Field(28, 8), "signed": Field(60, 6, True), "bits": Field(3, 25), "no": Field(36, 0)})


def records(*values):
    return np.array([[value >> 32 * unit & 0xFFFFFFFF for unit in range(3)] for value in values], np.uint32)


def test_units():
    assert [Payload(width, {}).units for width in (1, 32, 33, 64, 65)] == [1, 1, 2, 2, 3]


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("low", 0b101, 5),
        ("low", ~0b111, 0),
        ("across", 0xA5 << 28, 0xA5),
        ("across", ~(0xFF << 28), 0),
        ("signed", 0b111111 << 60, -1),
        ("signed", 0b100000 << 60, -32),
        ("signed", 0b011111 << 60, 31),
        ("no", ~0, 0),
    ],
)
def test_get(name, value, expected):
    assert PAYLOAD.get(records(value), name).tolist() == [expected]


def test_get_bits_index_0_is_least_significant():
    bits = PAYLOAD.get_bits(records(0b1011 << 3, 0), "bits")
    assert bits.shape == (2, 25)
    assert np.flatnonzero(bits[0]).tolist() == [0, 1, 3]
    assert not bits[1].any()


def test_from_map_of_an_accelerator(rng):
    network = random_network(rng, (9, 7, 4), 5)
    accelerator = Accelerator(network, default_folding(network))
    generate(accelerator)
    ports = Ports.from_map(port_map(accelerator))
    assert ports.cancels
    assert len(ports.monitors) == 2
    layout = accelerator.input_format.layout
    assert ports.word.width == layout.size
    assert {name: (f.offset, f.width) for name, f in ports.word.fields.items()} == {name: (f.offset, f.width) for name, f in layout}
    assert ports.result["margin"].signed


@pytest.mark.parametrize("contexts", [1, 4])
def test_streams(rng, contexts):
    network = random_network(rng, (9, 7, 4), 5)
    accelerator = Accelerator(network, Folding((3, 2), (7, 4), ("delta", "delta"), contexts=contexts))
    generate(accelerator)
    ports = Ports.from_map(port_map(accelerator))
    assert ports.contexts == contexts
    assert ports.streams == (("i",) if contexts == 1 else ("i_0", "i_1", "i_2", "i_3"))
    assert ports.cancels


@pytest.fixture
def ports(rng):
    network = random_network(rng, (3, 2), 2)
    accelerator = Accelerator(network, default_folding(network))
    generate(accelerator)
    return port_map(accelerator)


@pytest.mark.parametrize("missing", ["top", "folding", "i_payload", "o_payload"])
def test_missing_port(ports, missing):
    (ports["ports"] if "payload" in missing else ports).pop(missing)
    with pytest.raises(UserError, match=f"port map must have '{missing}', but has not"):
        Ports.from_map(ports)


@pytest.mark.parametrize("field", ["last_of_frame", "frame"])
def test_missing_field(ports, field):
    del ports["ports"]["monitor_0_payload"]["fields"][field]
    with pytest.raises(UserError, match=f"port map must have '{field}', but has not"):
        Ports.from_map(ports)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
