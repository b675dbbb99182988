"""From vectors of neurons that fired to the spike words of the next layer."""

from math import gcd

from amaranth.hdl import Array, Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, stream, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from hw.core.plan import LayerPlan
from hw.core.streams import neuron_vectors, step_done
from hw.core.trees import first_set
from hw.core.words import WordFormat, bits_for

VECTOR_TO_HEAD = 2  # cycles from a vector to the one in which its words are being picked
HEAD_TO_WORD = 1  # cycles from then to a word, if that closes its step or has another behind it
HEAD_TO_STEP_DONE = 1  # cycles from the last vector of a step that sends nothing to the news of that


class SpikeEmitter(wiring.Component):
    """Sends those words that have spikes, one per cycle, in the order of the vectors, lowest index first.

    Vectors wait in a queue of `LayerPlan.vector_slots`. A word leaves when it is known whether it closes its step: with the last fold's
    vector, or when another word is there. Where a word's neurons lie in two vectors, it is sent twice, each time with its vector's spikes.

    Latency: three cycles from a vector to its first word. A vector without spikes takes a cycle. A step without spikes sends no word,
    unless it is the first of its frame or ends it, and is done instead; where no step may be skipped, it sends an empty one.

    Parameters:
        plan: the layer whose vectors come in; its ``following_simd`` says how many neurons there are per word.

    Members:
        i: vectors.
        o: spike words.
        step_done: a step that sent nothing.
    """

    def __init__(self, plan: LayerPlan):
        assert plan.following_simd is not None  # there is a layer to send to
        self._plan = plan
        self._form = WordFormat(
            plan.layer.outputs,
            plan.steps,
            plan.following_simd,
            plan.frames,
            plan.following_skips_empty_steps,
            plan.layer.neuron.coefficients,
        )
        self._word_bits = self._form.simd * self._form.lane_bits
        super().__init__({"i": In(neuron_vectors(plan)), "o": Out(stream.Signature(self._form.layout)), "step_done": Out(step_done(plan))})

    def elaborate(self, platform):
        m = Module()
        plan, form = self._plan, self._form
        moves = Signal()
        pop = Signal()
        waiting, waits = self._queue(m, moves)

        # The vector at the head, and which of its words are still to be sent.
        lanes = lanes_of(plan, form)
        spikes, index = self._aligned(m, waiting, lanes, moves)
        head = Signal(waiting.shape())
        head_valid = Signal()
        head_spikes = Signal.like(spikes)
        head_index = Signal.like(index)
        unsent = Signal(lanes)
        found = first_set(m, unsent, name="unsent")
        lane, some, at_most_one = found.index, found.any, ~found.several
        m.d.comb += [
            moves.eq(waits & (~head_valid | pop)),
            self.i.release.eq(moves),
        ]

        # The word that is on the output, or waits for what comes behind it.
        word = Signal(form.layout)
        full = Signal()
        taken = Signal()
        free = Signal()
        began = Signal()  # a word of this step has been picked
        picks = Signal()
        closes = Signal()
        must_send = Signal()
        m.d.comb += [
            self.o.valid.eq(full & (word.last_of_step | (head_valid & some))),
            self.o.payload.eq(word),
            taken.eq(self.o.valid & self.o.ready),
            free.eq(~full | taken),
            must_send.eq(head.first | head.last_of_frame if form.skips_empty_steps else 1),
            picks.eq(head_valid & free & (some | (head.last_of_step & ~began & must_send))),
            closes.eq(head.last_of_step & at_most_one),
            pop.eq(Mux(some, picks & at_most_one, head_valid & (~head.last_of_step | began | picks | ~must_send))),
        ]
        with m.If(taken):
            m.d.sync += full.eq(0)
        with m.If(picks):
            m.d.sync += [
                full.eq(1),
                word.time.eq(head.time),
                word.index.eq(Mux(some, head_index + lane, 0)),
                word.bits.eq(head_spikes.word_select(lane, self._word_bits) if self._word_bits > 1 else some),
                word.last_of_step.eq(closes),
                word.last_of_frame.eq(closes & head.last_of_frame),
                word.error.eq(head.error),
                word.first.eq(head.first & ~began),
                word.frame.eq(head.frame),
                unsent.bit_select(lane, 1).eq(0),
                began.eq(1),
            ]
        with m.Elif(pop & began):  # the last vector has no spikes: the word before was the step's last
            m.d.sync += [word.last_of_step.eq(head.last_of_step), word.last_of_frame.eq(head.last_of_step & head.last_of_frame)]
            if plan.by_rows:  # vectors that came before their step closed do not know of an error
                m.d.sync += word.error.eq(head.error)
        with m.If(pop):
            m.d.sync += head_valid.eq(0)
            with m.If(head.last_of_step):
                m.d.sync += began.eq(0)
        with m.If(moves):
            m.d.sync += [head_valid.eq(1), head.eq(waiting), head_spikes.eq(spikes), head_index.eq(index)]
            m.d.sync += [unsent[k].eq(spikes.word_select(k, self._word_bits).any()) for k in range(lanes)]
        m.d.sync += [
            self.step_done.valid.eq(pop & head.last_of_step & ~began & ~picks),
            self.step_done.frame.eq(head.frame),
        ]
        return m

    def _queue(self, m: Module, moves):
        """The first vector that waits, and whether there is one: from the cycle after it came, or after the one before has moved on."""
        plan = self._plan
        vector = self.i.payload
        slots = plan.vector_slots
        if slots == 1:
            waiting = Signal(vector.shape())
            waits = Signal()
            with m.If(moves):
                m.d.sync += waits.eq(0)
            with m.If(self.i.valid):
                m.d.sync += [waits.eq(1), waiting.eq(vector)]
            return waiting, waits
        kept = queued(plan, vector.shape())
        m.submodules.queue = queue = Memory(shape=unsigned(kept.size), depth=slots, init=[])
        write = queue.write_port()
        read = queue.read_port(transparent_for=[write])
        first = Signal(range(slots))
        following = Signal(range(slots))
        end = Signal(range(slots))
        count = Signal(range(slots + 1))
        waiting = Signal(vector.shape())
        m.d.comb += [
            following.eq(Mux(moves, Mux(first == slots - 1, 0, first + 1), first)),
            write.addr.eq(end),
            write.data.eq(vector if kept == vector.shape() else Cat(vector[name] for name, _ in kept)),
            write.en.eq(self.i.valid),
            read.addr.eq(following),
        ]
        if kept == vector.shape():
            m.d.comb += waiting.eq(read.data)
        else:
            m.d.comb += [waiting[name].eq(read.data[field.offset : field.offset + field.width]) for name, field in kept]
        m.d.sync += [first.eq(following), count.eq(count + self.i.valid - moves)]
        with m.If(self.i.valid):
            m.d.sync += end.eq(Mux(end == slots - 1, 0, end + 1))
        return waiting, count != 0

    def _aligned(self, m: Module, vector, lanes: int, moves):
        """The spikes of the vector that waits in the places that they have in words, and the index of the first of these words.

        The place of its first neuron, word and lane, is counted up from vector to vector; where not all of a step come, it follows from
        the vector's address.
        """
        plan, simd = self._plan, self._form.simd
        spikes = Signal(lanes * self._word_bits)
        index = Signal(bits_for(self._form.words))
        if plan.addressed:
            begins = [divmod(fold * plan.pe, simd) for fold in range(plan.neuron_folds)]
            of_position = vector.position * (plan.layer.connection.channels // simd)
            m.d.comb += [
                index.eq(of_position + _chosen([word for word, _ in begins], vector.fold)),
                spikes.eq(_chosen([vector.fire << lane * self._form.lane_bits for _, lane in begins], vector.fold)),
            ]
            return spikes, index
        if plan.neuron_folds * plan.positions == 1:
            m.d.comb += spikes.eq(vector.fire)
            return spikes, index
        words, lanes_on = divmod(plan.pe, simd)
        unit = gcd(lanes_on, simd)  # the lane is a multiple of it
        units, units_on = simd // unit, lanes_on // unit
        wraps = Signal()
        with m.If(moves):
            m.d.sync += index.eq(Mux(vector.last_of_step, 0, index + words + wraps))
        if units == 1:
            m.d.comb += spikes.eq(vector.fire)
            return spikes, index
        lane = Signal(range(units))
        unit_bits = unit * self._form.lane_bits
        with m.If(moves):
            m.d.sync += lane.eq(Mux(vector.last_of_step, 0, lane + units_on - Mux(wraps, units, 0)))
        m.d.comb += [
            wraps.eq(lane >= units - units_on),
            spikes.eq(Array(vector.fire << k * unit_bits for k in range(units))[lane]),
        ]
        return spikes, index


def queued(plan: LayerPlan, vector: data.StructLayout) -> data.StructLayout:
    """What is kept of a vector that waits: all but an address that is always 0. Yosys makes no block RAM of a memory that is read while it
    is written, if a bit of it is not used."""
    unused = {"position": plan.positions == 1, "fold": plan.neuron_folds == 1} if plan.addressed else {}
    return data.StructLayout({name: field.shape for name, field in vector if not unused.get(name)})


def _chosen(values: list, index):
    """One of some values; the only one, if there is no other."""
    return Array(values)[index] if len(values) > 1 else values[0]


def lanes_of(plan: LayerPlan, form: WordFormat) -> int:
    """Words that a vector can lie in."""
    starts = {begin % form.simd for begin in range(0, plan.neuron_folds * plan.pe, plan.pe)}
    return (max(starts) + plan.pe - 1) // form.simd + 1
