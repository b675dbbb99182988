"""Weights, eight to a byte.

A weight of +1 is bit 1, -1 is bit 0. Input 0 is the least significant bit of byte 0, input 8 that of byte 1, and so on; every
neuron begins a new byte, and the bits beyond the last input are 0 [S8]. Worked example, 10 inputs::

    weights  +1 -1 -1 +1  +1 +1 -1 -1   +1 -1
    bits      1  0  0  1   1  1  0  0    1  0  0 0 0 0 0 0
    bytes    0b00111001 = 0x39           0b00000001 = 0x01
"""

import numpy as np

from export.errors import UserError


def row_bytes(inputs: int) -> int:
    """Bytes that hold one neuron's weights."""
    return -(-inputs // 8)


def pack_weights(weights: np.ndarray) -> np.ndarray:
    """±1 weights (outputs, inputs) as bytes uint8 (outputs, ceil(inputs / 8))."""
    return np.packbits(weights > 0, axis=1, bitorder="little")


def unpack_weights(packed: np.ndarray, inputs: int) -> np.ndarray:
    """The inverse of `pack_weights`: int8 ±1 weights (outputs, inputs).

    Raises:
        UserError: the bytes per neuron do not fit ``inputs``, or a padding bit is not 0.
    """
    if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != row_bytes(inputs):
        raise UserError(
            f"packed weights must be uint8 of shape (outputs, {row_bytes(inputs)}) for {inputs} inputs, not {packed.dtype} {packed.shape}"
        )
    bits = np.unpackbits(packed, axis=1, bitorder="little")
    padding = bits[:, inputs:]
    if padding.any():
        j, k = np.argwhere(padding)[0]
        raise UserError(f"padding bits of packed weights must be 0, but bit {inputs + k} of neuron {j} is 1")
    return bits[:, :inputs].astype(np.int8) * 2 - 1
