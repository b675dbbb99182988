"""What a layer does in a cycle, decided ahead of its pipeline: which weights, which neurons, for which step.

Three sequencers, each a component that takes spike words and issues operations: `EventSequencer`, `StepSequencer`, `XnorSequencer`.
"""

from amaranth.hdl import Const, Module, Mux, Signal
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.core.folding import LayerPlan
from hw.core.memories import NO_READ_WRITE_CHECK
from hw.core.streams import input_format
from hw.core.words import bits_for

FETCH_TO_ISSUE = 1  # cycles from the fetch of a word to its issue, where words are replayed


def operation(plan: LayerPlan) -> data.StructLayout:
    """One cycle's work: add the weights in row ``address`` of the inputs ``spikes`` to the neurons of ``fold``.

    ``restart``: potentials start anew; ``first``: it belongs to the first step of its frame; ``test``: the step closes with this;
    ``swap``: no work but an exchange, of part ``beat`` of the potentials. The rest is what the neuron vector will say.
    """
    return data.StructLayout(
        {
            "address": bits_for(plan.neuron_folds * plan.synapse_folds),
            "fold": bits_for(plan.neuron_folds),
            "spikes": plan.simd,
            "restart": 1,
            "first": 1,
            "test": 1,
            "swap": 1,
            "beat": bits_for(plan.swap),
            "time": bits_for(plan.steps),
            "last_of_frame": 1,
            "error": 1,
            "frame": bits_for(plan.frames),
        }
    )


class Sequencer(wiring.Component):
    """What the three have in common.

    Members:
        i: spike words.
        may_test: there is a place for one more neuron vector, which an operation with ``test`` gives.
        tests: that place has been taken.
        valid, operation: what to do now.
    """

    def __init__(self, plan: LayerPlan):
        self._plan = plan
        super().__init__(
            {
                "i": In(stream.Signature(input_format(plan).layout)),
                "may_test": In(1),
                "tests": Out(1),
                "valid": Out(1),
                "operation": Out(operation(plan)),
            }
        )

    def _first_step(self, m: Module, word) -> Signal:
        """Whether ``word``, which is on the input, belongs to the first step of its frame."""
        began = Signal()
        first = Signal()
        m.d.comb += first.eq(word.first | began)
        with m.If(self.i.valid & self.i.ready):
            m.d.sync += began.eq(first & ~word.last_of_step)
        return first


def _fold_counter(m: Module, plan: LayerPlan, *, moves):
    """The fold that is worked on, the address of its first weight row, and whether it is the last; ``moves``: on to the next."""
    if plan.neuron_folds == 1:
        return Const(0, 1), Const(0, 1), Const(1, 1)
    fold = Signal(range(plan.neuron_folds))
    base = Signal(range(plan.neuron_folds * plan.synapse_folds))
    last = Signal()
    m.d.comb += last.eq(fold == plan.neuron_folds - 1)
    with m.If(moves):
        m.d.sync += [fold.eq(Mux(last, 0, fold + 1)), base.eq(Mux(last, 0, base + plan.synapse_folds))]
    return fold, base, last


class EventSequencer(Sequencer):
    """Each word visits every fold in turn: ``folds`` cycles per word; a step costs nothing more."""

    def elaborate(self, platform):
        m = Module()
        plan, word, issued = self._plan, self.i.payload, self.operation
        fold, base, last = _fold_counter(m, plan, moves=self.valid)
        m.d.comb += [
            self.valid.eq(self.i.valid & (self.may_test | ~word.last_of_step)),
            self.tests.eq(self.valid & word.last_of_step),
            self.i.ready.eq(last & (self.may_test | ~word.last_of_step)),
            issued.address.eq(base + word.index),
            issued.fold.eq(fold),
            issued.spikes.eq(word.bits),
            issued.restart.eq(word.first),
            issued.first.eq(self._first_step(m, word)),
            issued.test.eq(word.last_of_step),
            issued.time.eq(word.time),
            issued.last_of_frame.eq(word.last_of_frame),
            issued.error.eq(word.error),
            issued.frame.eq(word.frame),
        ]
        return m


class StepSequencer(Sequencer):
    """The words of a step are taken for the first fold, kept, and replayed for each of the others.

    A step of n words takes ``folds * n`` cycles, and ``folds * swap`` more where a swap takes more than one (with one fold: only where
    the context changes). One cycle passes between the fetch of a word and its issue.
    """

    def elaborate(self, platform):
        m = Module()
        plan, word = self._plan, self.i.payload
        kept = data.StructLayout({"index": word.index.shape(), "bits": plan.simd})
        places = max(2, plan.synapse_folds + plan.split_words)
        again = Signal(kept)  # a word of the step, a cycle after its position; with one fold, nothing is replayed
        if plan.neuron_folds > 1:
            m.submodules.step = step = Memory(shape=kept, depth=places, init=[], attrs=NO_READ_WRITE_CHECK)
            write, read = step.write_port(), step.read_port()
            again = read.data

        ends_pass = Signal()
        fetches = Signal()
        fold, base, last_fold = _fold_counter(m, plan, moves=fetches & ends_pass)
        position = Signal(range(places))
        last_position = Signal(range(places))
        replaying = Signal()
        closing = Signal(word.shape())  # the word that closed the step
        first_step = self._first_step(m, word)
        replays_first = Signal()

        swapping, beat = self._swaps(m, replaying=replaying, fetches=fetches, ends_pass=ends_pass)
        may_end = Signal()
        m.d.comb += [
            ends_pass.eq(Mux(replaying, position == last_position, word.last_of_step)),
            may_end.eq(self.may_test | ~ends_pass),
            fetches.eq((self.i.valid | replaying) & ~swapping & may_end),
            self.i.ready.eq(~replaying & ~swapping & may_end),
            self.tests.eq(fetches & ends_pass),
        ]
        if plan.neuron_folds > 1:
            m.d.comb += [
                write.addr.eq(position),
                write.data.index.eq(word.index),
                write.data.bits.eq(word.bits),
                write.en.eq(self.i.valid & ~replaying),
                read.addr.eq(position),
            ]
        with m.If(fetches):
            m.d.sync += position.eq(Mux(ends_pass, 0, position + 1))
            with m.If(ends_pass):
                m.d.sync += replaying.eq(~last_fold)
                with m.If(~replaying):
                    m.d.sync += [last_position.eq(position), closing.eq(word), replays_first.eq(first_step)]

        # One cycle later.
        issued = Signal(operation(plan))
        fetched = Signal(kept)
        replayed = Signal()
        address = Signal.like(base, name="base")
        m.d.sync += [
            self.valid.eq(fetches | swapping),
            replayed.eq(replaying),
            fetched.index.eq(word.index),
            fetched.bits.eq(word.bits),
            address.eq(base),
            issued.fold.eq(fold),
            issued.restart.eq(Mux(replaying, replays_first & (position == 0), word.first)),
            issued.first.eq(Mux(replaying, replays_first, first_step)),
            issued.test.eq(fetches & ends_pass),
            issued.swap.eq(swapping),
            issued.beat.eq(beat),
        ]
        for name in ("time", "last_of_frame", "error", "frame"):
            m.d.sync += issued[name].eq(Mux(replaying, closing[name], word[name]))
        m.d.comb += [
            self.operation.eq(issued),
            self.operation.address.eq(address + Mux(replayed, again.index, fetched.index)),
            self.operation.spikes.eq(Mux(replayed, again.bits, fetched.bits)),
        ]
        return m

    def _swaps(self, m: Module, *, replaying: Signal, fetches: Signal, ends_pass: Signal) -> tuple[Signal, Signal]:
        """Whether potentials are being swapped, before the first word of a pass, and which part of them."""
        plan, word = self._plan, self.i.payload
        beat = Signal(bits_for(plan.swap))
        swapping = Signal()
        if plan.swap > 1:
            swapped = Signal()
            resident = Signal(bits_for(plan.contexts))
            context = word.frame[: len(resident)]
            begins = Signal(init=1)  # the next word is the first of its pass
            stays = Signal()  # its potentials are in the registers already
            if plan.neuron_folds == 1:
                m.d.comb += stays.eq((resident == context) & ~word.first)
            m.d.comb += swapping.eq((self.i.valid | replaying) & begins & ~swapped & ~stays)
            with m.If(swapping):
                m.d.sync += beat.eq(beat + 1)
                with m.If(beat == plan.swap - 1):
                    m.d.sync += [beat.eq(0), swapped.eq(1)]
            with m.If(fetches):
                m.d.sync += [begins.eq(ends_pass), swapped.eq(0), resident.eq(context)]
        return swapping, beat


class XnorSequencer(Sequencer):
    """Words gather in one vector per context, of all spikes so far; when a step closes, every fold walks that vector.

    A word takes one cycle; then a step ``folds * words``, in which no word is taken.
    """

    def elaborate(self, platform):
        m = Module()
        plan, word = self._plan, self.i.payload
        walk = Signal(operation(plan))  # what stays the same, and the address
        vector_bits = plan.synapse_folds * plan.simd
        seen = [Signal(vector_bits, name=f"seen_{context}") for context in range(plan.contexts)]
        walked = Signal(vector_bits)
        fold = Signal(bits_for(plan.neuron_folds))
        index = Signal(bits_for(plan.synapse_folds))
        walking = Signal()
        last_index = Signal()
        last_fold = Signal()
        moves = Signal()
        for context, vector in enumerate(seen):
            mine = word.frame[: bits_for(plan.contexts)] == context if plan.contexts > 1 else 1
            with m.If(self.i.valid & self.i.ready & mine):
                for k in range(plan.synapse_folds):
                    slot = vector.word_select(k, plan.simd)
                    m.d.sync += slot.eq(Mux(word.first, 0, slot) | Mux(word.index == k, word.bits, 0))
            with m.If(walk.frame[: bits_for(plan.contexts)] == context if plan.contexts > 1 else 1):
                m.d.comb += walked.eq(vector)
        m.d.comb += [
            self.i.ready.eq(~walking),
            last_index.eq(index == plan.synapse_folds - 1),
            last_fold.eq(fold == plan.neuron_folds - 1),
            moves.eq(walking & (self.may_test | ~last_index)),
            self.valid.eq(moves),
            self.tests.eq(moves & last_index),
            self.operation.eq(walk),
            self.operation.fold.eq(fold),
            self.operation.spikes.eq(walked.word_select(index, plan.simd)),
            self.operation.restart.eq(index == 0),
            self.operation.test.eq(last_index),
        ]
        first_step = self._first_step(m, word)
        with m.If(self.i.valid & self.i.ready & word.last_of_step):
            m.d.sync += [walking.eq(1), walk.first.eq(first_step)]
            m.d.sync += [walk[name].eq(word[name]) for name in ("time", "last_of_frame", "error", "frame")]
        with m.If(moves):
            m.d.sync += [index.eq(Mux(last_index, 0, index + 1)), walk.address.eq(walk.address + 1)]
            with m.If(last_index):
                m.d.sync += fold.eq(fold + 1)
                with m.If(last_fold):
                    m.d.sync += [fold.eq(0), walk.address.eq(0), walking.eq(0)]
        return m
