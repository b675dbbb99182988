"""What a layer does in a cycle, decided ahead of its pipeline: which weights, which state, for which step.

A sequencer takes spike words and issues operations, in one of several loop orders: `hw.core.event`, `hw.core.step`, `hw.core.xnor`, or
walks the kernels of a convolution: `hw.core.walk`, `hw.core.rows`; each with its `Cycles`.
"""

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection
from typing import ClassVar

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.wiring import In, Out

from hw.core.plan import LayerPlan
from hw.core.streams import connection_format
from hw.core.words import bits_for

ISSUE_TO_VECTOR = 2  # cycles from the issue of a fold's last operation to its neuron vector


def operation(plan: LayerPlan) -> data.StructLayout:
    """One cycle's work: add the weights in ``weight_row`` of the inputs ``spikes`` to the neurons of ``fold``, whose state is in
    ``state_row``.

    * ``restart``: potentials start anew; ``first``: it belongs to the first step of its frame.
    * ``integrate``: the sums are kept; else part ``beat`` of the state is exchanged, where membranes are swapped, or a row is only started.
    * ``test``: the step closes with this, and a neuron vector leaves; ``last``: it is the last one of its step.

    * ``tag``: of rows that start anew when their tag is another one, if they have any (see `hw.core.rounds`).

    The rest is what the neuron vector will say.
    """
    fields = {
        "weight_row": bits_for(plan.weight_depth),
        "fold": bits_for(plan.neuron_folds),
        "state_row": bits_for(plan.state_rows),
        "spikes": plan.simd * plan.lane_bits,
        "restart": 1,
        "first": 1,
        "integrate": 1,
        "test": 1,
        "last": 1,
        "beat": bits_for(plan.swap),
        "time": bits_for(plan.steps),
        "last_of_frame": 1,
        "error": 1,
        "frame": bits_for(plan.frames),
    }
    if plan.addressed:
        fields["position"] = bits_for(plan.positions)
    if plan.tag_bits:
        fields["tag"] = plan.tag_bits
    return data.StructLayout(fields)


def idle(plan: LayerPlan) -> dict[str, int]:
    """What an operation has where it has it always: registers that begin with it are constants, and cost nothing."""
    return {"integrate": int(plan.swap == 1), "last": int(plan.neuron_folds == 1 and not plan.addressed and not plan.by_rows)}


class Sequencer(wiring.Component):
    """What all sequencers have in common.

    Members:
        i: spike words.
        may_test: there is a place for one more neuron vector, which an operation with ``test`` gives.
        tests: that place has been taken.
        valid, operation: what to do now.
        settles, settled, settled_fold, ripe: (see `LayerPlan.tells_ripe`) an operation that integrates, without ``test``, has come to its
            end; its position and neuron fold, and whether some of its neurons are ripe.
        renews: (by rows only) potentials to start from are being written.
    """

    fetch_to_issue: ClassVar[int] = 0
    """Cycles from the fetch of a word, from the input or from those of the step, to its issue."""
    cycles: ClassVar[type["Cycles"]]

    def __init__(self, plan: LayerPlan):
        self._plan = plan
        members = {
            "i": In(stream.Signature(connection_format(plan).layout)),
            "may_test": In(1),
            "tests": Out(1),
            "valid": Out(1),
            "operation": Out(operation(plan)),
        }
        if plan.by_rows:
            members["renews"] = In(1)
        if plan.tells_ripe:
            members |= {
                "settles": In(1),
                "settled": In(bits_for(plan.positions)),
                "settled_fold": In(bits_for(plan.neuron_folds)),
                "ripe": In(1),
            }
        super().__init__(members)

    @staticmethod
    def memory_shape(plan: LayerPlan) -> tuple[int, int] | None:
        """Bits of a row and rows of its memory; None where there is none."""
        return None

    @staticmethod
    def rom(plan: LayerPlan) -> tuple[int, list[int]] | None:
        """Bits of a row and the rows of what it looks up; None where there is nothing."""
        return None

    @staticmethod
    def logic(plan: LayerPlan) -> tuple[float, float]:
        """LUTs of four inputs and flip-flops beyond those of any sequencer, for estimates of the area."""
        return 0.0, 0.0

    def _first_step(self, m: Module, word) -> Signal:
        """Whether ``word``, which is on the input, belongs to the first step of its frame."""
        began = Signal()
        first = Signal()
        m.d.comb += first.eq(word.first | began)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += began.eq(first & ~word.last_of_step)
        return first

    def _fold_counter(self, m: Module, *, moves):
        """The fold that is worked on, the address of its first weight row, and whether it is the last; ``moves``: on to the next."""
        plan = self._plan
        if plan.neuron_folds == 1:
            return Const(0, 1), Const(0, 1), Const(1, 1)
        fold = Signal(range(plan.neuron_folds))
        base = Signal(range(plan.weight_depth))
        last = Signal()
        m.d.comb += last.eq(fold == plan.neuron_folds - 1)
        with m.If(moves):
            m.d.sync += [fold.eq(Mux(last, 0, fold + 1)), base.eq(Mux(last, 0, base + plan.synapse_folds))]
        return fold, base, last


class Cycles(ABC):
    """The cost model of a sequencer: in which cycles it takes words and its layer sends neuron vectors.

    Parameters:
        plan: the layer.
        fetch_to_vector: cycles from the one in which a fold takes up the last word of a step, new or replayed, to its neuron vector.

    Attributes:
        free: from here on, a word can be taken up.
        spiking: numbers of the neuron vectors that have spikes when the step closes.
        places: cycles from which on each of the last vectors' places is free again; the receiver appends to it.
        send_vector: is called with the cycle, number and frame of each vector, and whether it is the last of its step; the number counts
            neuron folds, position by position.
    """

    def __init__(self, plan: LayerPlan, fetch_to_vector: int):
        self.plan, self._fetch_to_vector = plan, fetch_to_vector
        self._slots, self._folds = plan.vector_slots, plan.neuron_folds
        self.free = 0
        self.spiking: Collection[int] = ()
        self.places: deque[int] = deque()
        self.send_vector: Callable[[int, int, int, bool], None]

    @staticmethod
    @abstractmethod
    def busy(plan: LayerPlan, words: float, steps: float) -> float:
        """Cycles that a layer works on a frame of so many words, or kernel places of words, in so many steps."""

    def word(self, available: int, closes: bool, frame: int, *, new_frame: bool, index: int) -> int:
        """Take a word that is on the input from ``available`` on; the cycle in which it was taken.

        Parameters:
            closes: it closes its step.
            new_frame: it is the first of its frame.
            index: of the word; -1 where it brings no spikes.
        """
        return self._take(max(available, self.free), closes, frame, new_frame, index)

    @abstractmethod
    def _take(self, begin: int, closes: bool, frame: int, new_frame: bool, index: int) -> int:
        """Take a word from ``begin`` on; the cycle in which it was taken."""

    def _advance(self, begin: int, cycles: int) -> int:
        """Be busy for so many cycles; the last of them."""
        self.free = begin + cycles
        return self.free - 1

    def _test(self, ready: int, vector: int, frame: int, last: bool) -> int:
        """Test a vector of neurons when there is a place for its vector, from ``ready`` on; the cycle."""
        place = self.places.popleft() if len(self.places) == self._slots else 0
        test = max(ready, place)
        self.send_vector(test + self._fetch_to_vector, vector, frame, last)
        return test
