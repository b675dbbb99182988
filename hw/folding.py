"""How much of a layer works at once: ``SIMD`` inputs and ``PE`` neurons per cycle, and in which form.

`Folding` is what a user asks for; `LayerPlan` derives from it every number that a layer's circuit and its cost model need.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from export import Layer, Network, UserError

FORMS = ("delta", "xnor")


@dataclass(frozen=True)
class Folding:
    """One entry per layer.

    Parameters:
        simd: inputs taken per cycle, from 1 to the layer's inputs; sizes need not divide.
        pe: neurons updated per cycle, from 1 to the layer's outputs; sizes need not divide.
        form: ``"delta"`` adds what is new to a membrane, ``"xnor"`` counts anew over all spikes so far [S7].
    """

    simd: tuple[int, ...]
    pe: tuple[int, ...]
    form: tuple[str, ...]

    def plans(self, network: Network) -> tuple["LayerPlan", ...]:
        """The derived numbers of every layer.

        Raises:
            UserError: the folding does not fit the network; the message lists what does.
        """
        depth = len(network.layers)
        for name in ("simd", "pe", "form"):
            if len(getattr(self, name)) != depth:
                raise UserError(f"{name} must have {depth} entries, one per layer, not {len(getattr(self, name))}")
        for index, layer in enumerate(network.layers):
            _check_range("simd", index, self.simd[index], layer.inputs, "inputs")
            _check_range("pe", index, self.pe[index], layer.outputs, "outputs")
            if self.form[index] not in FORMS:
                raise UserError(f"form of layer {index} must be one of {', '.join(FORMS)}, not {self.form[index]!r}")
        return tuple(
            LayerPlan(layer, network.steps, self.simd[index], self.pe[index], self.form[index])
            for index, layer in enumerate(network.layers)
        )

    def as_dict(self) -> dict[str, list]:
        return {"simd": list(self.simd), "pe": list(self.pe), "form": list(self.form)}


def default_folding(network: Network) -> Folding:
    """A fast folding: all neurons at once, up to 600 of them, and words as wide as spikes are dense.

    The first layer takes eight inputs a cycle when it has at most 128, else one, since few of many inputs share a step; later layers
    take a tenth of theirs. Where eight cycles walk all inputs, the form is ``xnor``: it needs no membranes.
    """
    simd, pe, form = [], [], []
    for index, layer in enumerate(network.layers):
        small = 8 if layer.inputs <= 128 else 1
        simd.append(min(layer.inputs, small) if index == 0 else -(-layer.inputs // 10))
        pe.append(min(layer.outputs, 600))
        form.append("xnor" if index == 0 and -(-layer.inputs // simd[-1]) <= 8 else "delta")
    return Folding(tuple(simd), tuple(pe), tuple(form))


@dataclass(frozen=True, eq=False)
class LayerPlan:
    """One layer's geometry; every width in the layer's circuit comes from here.

    Attributes:
        layer: weights and thresholds.
        steps: ``T``.
        simd, pe, form: as in `Folding`.
    """

    layer: Layer
    steps: int
    simd: int
    pe: int
    form: str

    @property
    def words(self) -> int:
        """Words that cover the inputs."""
        return -(-self.layer.inputs // self.simd)

    @property
    def groups(self) -> int:
        """Groups of ``PE`` neurons that cover the outputs."""
        return -(-self.layer.outputs // self.pe)

    @property
    def last_group_size(self) -> int:
        """Neurons in the last group; the others hold ``PE``."""
        return self.layer.outputs - (self.groups - 1) * self.pe

    @cached_property
    def margin_bits(self) -> int:
        """Bits of a signed ``V - θ`` of any neuron of this layer."""
        least, greatest = self.layer.margin_range
        return 1 + max(greatest.bit_length(), (-1 - least).bit_length() if least < 0 else 0, 1)

    @cached_property
    def weight_rows(self) -> list[int]:
        """The weight memory: row ``group * words + word`` holds, least significant first, ``SIMD`` bits for each of ``PE`` neurons.

        Padding inputs hold 0 in the ``delta`` form and 1 in the ``xnor`` form, where XNOR(1, 0) = 0 does not count [S8].
        """
        padding_bit = self.form == "xnor"
        bits = np.full((self.groups * self.pe, self.words * self.simd), padding_bit)
        bits[: self.layer.outputs, : self.layer.inputs] = self.layer.weights > 0
        tiles = bits.reshape(self.groups, self.pe, self.words, self.simd).transpose(0, 2, 1, 3)
        return _integers(tiles.reshape(self.groups * self.words, -1))

    @cached_property
    def initial_rows(self) -> list[int]:
        """The threshold memory: row ``group`` holds ``PE`` potentials to start from, ``margin_bits`` each, two's complement.

        They are ``-θ`` in the ``delta`` form and ``-θ' = -(θ + K)`` in the ``xnor`` form [S7], so that the test for a spike is a sign.
        """
        start = -self.layer.thresholds.astype(np.int64)
        if self.form == "xnor":
            start = start - self.layer.negatives
        padded = np.zeros(self.groups * self.pe, np.int64)
        padded[: len(start)] = start
        bits = (padded[:, None] >> np.arange(self.margin_bits)) & 1
        return _integers(bits.reshape(self.groups, -1))


def _check_range(name: str, index: int, value: int, most: int, of_what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 1 <= value <= most:
        raise UserError(f"{name} of layer {index} must be an integer from 1 to its {most} {of_what}, not {value!r}")


def _integers(bits: np.ndarray) -> list[int]:
    """Rows of bits, least significant first, as Python integers."""
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(bits.astype(bool), axis=1, bitorder="little")]
