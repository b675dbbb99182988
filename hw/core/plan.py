"""The geometry of a layer: every width and size in its circuit, in its cost model and in its proofs comes from its plan."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from amaranth.hdl import Cat, Value

from export import Layer
from export.connections import Totals
from hw.core.counting import FORMS, Form
from hw.core.neurons import NEURONS, Neurons
from hw.core.words import coefficient_bits, signed_bits

MANY_STEPS = 32
"""Steps of a frame from which they are short: with fewer words, mostly, than a neuron vector takes cycles to its words."""
HIDES_WAY = 4
"""Neuron vectors that are on their way, from their test to their words, if there is one in every cycle."""


@dataclass(frozen=True, eq=False)
class LayerPlan(ABC):
    """A layer in the circuit: one subclass per kind of connection, which says what is in the memories and how much there is to do.

    Attributes:
        layer: connection and neurons.
        steps: ``T``.
        simd, pe, form, loop_order, swap, contexts: as in `hw.Folding`.
        following_simd: ``SIMD`` of the next layer, None for the last.
        split_words: of one step, how many words may come in two parts, because the layer before does their neurons in two folds.
        input_totals: least and greatest sum of the coefficients that an input can have sent at any time of a frame.
        input_coefficients: least and greatest of what a spike of an input is worth.
        given_membrane_bits, given_parameter_bits: of a circuit that was made for another network; None: as many as this layer needs.
        skips_empty_steps: a step without spikes need not be closed on the input; else each is, if need be by an empty word.
        following_skips_empty_steps: the same of the next layer.
    """

    layer: Layer
    steps: int
    simd: int
    pe: int
    form: str
    loop_order: str = "event"
    swap: int = 1
    contexts: int = 1
    following_simd: int | None = None
    split_words: int = 0
    input_totals: Totals = (0, 1)
    input_coefficients: Totals = (0, 1)
    given_membrane_bits: int | None = None
    given_parameter_bits: int | None = None
    skips_empty_steps: bool = True
    following_skips_empty_steps: bool = True

    @property
    def addressed(self) -> bool:
        """Neuron vectors say where they belong, since some can be left out of a step, or folds of a position differ in size; else all of a
        step come, in order."""
        return False

    @property
    def by_rows(self) -> bool:
        """Words come in the order of the rows of the map, and each row of positions is tested as soon as no later word reaches it, once."""
        return False

    @property
    def tag_bits(self) -> int:
        """Bits of the tag of a row of membranes (see `hw.core.rounds`); 0 where there is none."""
        return 0

    @property
    def tells_ripe(self) -> bool:
        """Neurons say after each operation whether they would spike if the step closed, so that others need no test."""
        return False

    @property
    def synapse_folds(self) -> int:
        """Words of ``SIMD`` inputs that cover the weights of a neuron (FINN's SF)."""
        return -(-self.layer.connection.weights.shape[1] // self.simd)

    @property
    def neuron_folds(self) -> int:
        """Vectors of ``PE`` neurons that cover the channels of a position: all outputs, if these are no map (FINN's NF)."""
        return -(-self.layer.connection.channels // self.pe)

    @property
    def positions(self) -> int:
        """Positions of the map of outputs, all of which have the same weights; 1 where the outputs are no map."""
        return self.layer.outputs // self.layer.connection.channels

    @property
    def input_words(self) -> int:
        """Words of ``SIMD`` neurons that cover what comes in."""
        return -(-self.layer.inputs // self.simd)

    @property
    def neighbour_bits(self) -> int:
        """Of a map that comes in: so many lowest bits of a word's index only tell words of one position apart."""
        assert self.layer.input_map is not None
        words = self.layer.input_map[2] // self.simd
        return (words & -words).bit_length() - 1

    @property
    def state_rows(self) -> int:
        """Rows of a memory of membranes: one for each position, context and neuron fold. Those of one context lie a power of two apart,
        and those of one position."""
        return self.positions << (self.contexts - 1).bit_length() + (self.neuron_folds - 1).bit_length()

    def state_row(self, fold: Value, frame: Value, position: Value | None = None) -> Value:
        """The row of the membranes of a neuron fold at a position, if there are several, for the frame with this tag."""
        of_fold, of_frame, of_position = ((count - 1).bit_length() for count in (self.neuron_folds, self.contexts, self.positions))
        return Cat(fold[:of_fold], frame[:of_frame], () if position is None else position[:of_position])

    @property
    def weight_depth(self) -> int:
        """Rows of the weight memory."""
        return self.neuron_folds * self.synapse_folds

    @cached_property
    def weight_rows(self) -> list[int]:
        """The content of the weight memory: row ``neuron_fold * synapse_folds + synapse_fold`` holds, least significant first, ``SIMD``
        bits for each of ``PE`` neurons.

        Padding inputs hold 0 in the ``delta`` form and 1 in the ``xnor`` form, where XNOR(1, 0) = 0 does not count [S8].
        """
        channels, weights = self.layer.connection.weights.shape
        bits = np.full((self.neuron_folds * self.pe, self.synapse_folds * self.simd), self.counting.padding)
        bits[:channels, :weights] = self.layer.connection.weights > 0
        tiles = bits.reshape(self.neuron_folds, self.pe, self.synapse_folds, self.simd).transpose(0, 2, 1, 3)
        return integers(tiles.reshape(self.weight_depth, -1))

    @abstractmethod
    def work(self, words: np.ndarray) -> np.ndarray:
        """Cycles that no circuit of this ``SIMD`` and ``PE`` does without, int64 (words,).

        Parameters:
            words: the index of each word that comes to the connection; -1 where it brings no spikes.
        """

    @abstractmethod
    def step_work(self, words: np.ndarray) -> np.ndarray:
        """The same for closing a step, beside its words' work: int64 of the shape of ``words``.

        Parameters:
            words: int64, the number of words with spikes of each step.
        """

    @property
    def counting(self) -> Form:
        """How sums are formed."""
        return FORMS[self.form]

    @property
    def neurons(self) -> type[Neurons]:
        """The component of the layer's neurons."""
        return NEURONS[self.layer.neuron.kind]

    @property
    def flag_bits(self) -> int:
        """Bits of a neuron's state beside its potential."""
        return self.neurons.flag_bits(self.layer.neuron)

    @cached_property
    def parameter_bits(self) -> int:
        """Bits of what a neuron is given beside its potential to start from."""
        needed = self.neurons.parameter_bits(self.layer.neuron)
        return needed if self.given_parameter_bits is None else self.given_parameter_bits

    @property
    def coefficient_bits(self) -> int:
        """Bits of a neuron's coefficient."""
        return coefficient_bits(self.layer.neuron.coefficients)

    @property
    def lane_bits(self) -> int:
        """Bits of an input's coefficient."""
        return coefficient_bits(self.input_coefficients)

    @property
    def is_last(self) -> bool:
        """Whether a readout follows, which needs margins."""
        return self.following_simd is None

    @property
    def last_fold_size(self) -> int:
        """Neurons in the last fold; the others hold ``PE``."""
        return self.layer.connection.channels - (self.neuron_folds - 1) * self.pe

    @property
    def frames(self) -> int:
        """Frames that tags tell apart, and results that can wait."""
        return max(4, 2 * self.contexts)

    @property
    def replays(self) -> bool:
        """Whether the words of a step are stored, to be replayed for each fold, or membranes take several cycles to swap."""
        return not self.counting.cumulative and self.loop_order == "step" and (self.neuron_folds > 1 or self.swap > 1)

    @property
    def beat_size(self) -> int:
        """Potentials that are swapped per cycle."""
        return -(-self.pe // self.swap)

    @property
    def vector_slots(self) -> int:
        """Neuron vectors that can wait for the next layer: a whole step's where they follow each other, so that a word need not stop
        among its folds; else one. Where steps are short, or each gives one word, at least as many as hide the way there."""
        of_step = self.neuron_folds if self.loop_order == "event" else 1
        one_word = self.neuron_folds == 1 and self.following_simd == self.layer.outputs
        return max(of_step, HIDES_WAY) if one_word or self.steps >= MANY_STEPS else of_step

    @cached_property
    def membrane_bits(self) -> int:
        """Bits of the signed potential of any neuron of this layer."""
        return self.given_membrane_bits or signed_bits(*self.layer.margin_range(self.input_totals, self.steps))

    @property
    def weight_width(self) -> int:
        """Bits of a row of the weight memory."""
        return self.pe * self.simd

    @property
    def initial_width(self) -> int:
        """Bits of a row of the memory of potentials to start from, and of what else neurons are given."""
        return self.beat_size * self.membrane_bits + self.pe * self.parameter_bits

    @property
    def initial_depth(self) -> int:
        """Rows of that memory."""
        return self.neuron_folds * self.swap

    @cached_property
    def initial_potentials(self) -> list[int]:
        """The content of that memory: row ``neuron_fold * swap + beat`` holds ``beat_size`` potentials to start from, ``membrane_bits``
        each, two's complement; above them, ``PE`` parameters of ``parameter_bits`` (see `hw.core.neurons.Neurons`).

        For neurons that spike once they are ``-θ`` in the ``delta`` form and ``-θ' = -(θ + K)`` in the ``xnor`` form [S7], so that the
        test for a spike is a sign.
        """
        start = self.neurons.start(self.layer.neuron) - self.counting.offset(self.layer.connection)
        neurons = np.zeros(self.neuron_folds * self.pe, np.int64)
        neurons[: len(start)] = start
        padded = np.zeros((self.neuron_folds, self.swap * self.beat_size), np.int64)
        padded[:, : self.pe] = neurons.reshape(self.neuron_folds, self.pe)
        bits = ((padded.reshape(-1, 1) >> np.arange(self.membrane_bits)) & 1).reshape(self.initial_depth, -1)
        if self.parameter_bits:
            parameters = np.zeros(self.neuron_folds * self.pe, np.int64)
            parameters[: len(start)] = self.neurons.parameter_values(self.layer.neuron, self.parameter_bits)
            more = ((parameters[:, None] >> np.arange(self.parameter_bits)) & 1).reshape(self.neuron_folds, -1)
            bits = np.concatenate([bits, more], axis=1)
        return integers(bits)

    @property
    def words_split(self) -> int:
        """How many more words the layer can send in a step than there are, since a word leaves with each vector that has a part of it."""
        simd = self.following_simd
        assert simd is not None
        return self.positions * sum(begin % simd != 0 for begin in range(self.pe, self.layer.connection.channels, self.pe))


def integers(bits: np.ndarray) -> list[int]:
    """Rows of bits, least significant first, as Python integers."""
    return [int.from_bytes(row.tobytes(), "little") for row in np.packbits(bits.astype(bool), axis=1, bitorder="little")]
