import numpy as np
import pytest

from export import UserError
from export.packing import pack_weights, row_bytes, unpack_weights


def test_worked_example():
    weights = np.array([[+1, -1, -1, +1, +1, +1, -1, -1, +1, -1]], np.int8)
    assert pack_weights(weights).tolist() == [[0x39, 0x01]]
    assert unpack_weights(np.array([[0x39, 0x01]], np.uint8), 10).tolist() == weights.tolist()


@pytest.mark.parametrize(("inputs", "expected"), [(1, 1), (7, 1), (8, 1), (9, 2), (15, 2), (16, 2), (17, 3), (784, 98)])
def test_row_bytes(inputs, expected):
    assert row_bytes(inputs) == expected


@pytest.mark.parametrize("outputs", [1, 2, 3])
@pytest.mark.parametrize("inputs", [1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65])
def test_round_trip(inputs, outputs):
    rng = np.random.default_rng([inputs, outputs])
    for weights in (
        np.ones((outputs, inputs), np.int8),
        -np.ones((outputs, inputs), np.int8),
        rng.choice(np.array([-1, 1], np.int8), (outputs, inputs)),
    ):
        packed = pack_weights(weights)
        assert packed.shape == (outputs, row_bytes(inputs))
        assert packed.dtype == np.uint8
        unpacked = unpack_weights(packed, inputs)
        assert unpacked.dtype == np.int8
        assert np.array_equal(unpacked, weights)


@pytest.mark.parametrize("inputs", [1, 7, 9, 15])
def test_every_padding_bit_is_refused(inputs):
    packed = pack_weights(np.ones((2, inputs), np.int8))
    for bit in range(inputs, 8 * row_bytes(inputs)):
        damaged = packed.copy()
        damaged[1, bit // 8] |= 1 << bit % 8
        with pytest.raises(UserError) as caught:
            unpack_weights(damaged, inputs)
        assert str(caught.value) == f"padding bits of packed weights must be 0, but bit {bit} of neuron 1 is 1"


@pytest.mark.parametrize(
    ("packed", "came"),
    [
        (np.zeros((2, 1), np.uint8), "uint8 (2, 1)"),
        (np.zeros((2, 3), np.uint8), "uint8 (2, 3)"),
        (np.zeros(2, np.uint8), "uint8 (2,)"),
        (np.zeros((2, 2), np.int8), "int8 (2, 2)"),
        (np.zeros((2, 2, 1), np.uint8), "uint8 (2, 2, 1)"),
    ],
)
def test_wrong_bytes_are_refused(packed, came):
    with pytest.raises(UserError) as caught:
        unpack_weights(packed, 10)
    assert str(caught.value) == f"packed weights must be uint8 of shape (outputs, 2) for 10 inputs, not {came}"
