"""Streams in harnesses: an unconstrained environment within the rules, and the rules themselves as assertions.

Assertions and assumptions are about settled signals of a cycle.
"""

from amaranth.asserts import AnySeq
from amaranth.hdl import Assert, Cover, Module, Mux, Signal, Value, ValueLike
from amaranth.lib import wiring
from amaranth.lib.wiring import In

from hw.core.words import WordFormat, bits_for


def _waiting(m: Module, port, unless: ValueLike = 0) -> tuple[Signal, Signal]:
    """That a payload was offered and not taken, nor ``unless``, in the cycle before; and that payload."""
    payload = Value.cast(port.payload)
    waiting, before = Signal(), Signal(len(payload))
    m.d.sync += [waiting.eq(port.valid & ~port.ready & ~Value.cast(unless)[0]), before.eq(payload)]
    return waiting, before


def offer(m: Module, port) -> None:
    """Drive a circuit's input stream with arbitrary payloads at arbitrary times; what is offered holds until it is taken."""
    waiting, before = _waiting(m, port)
    payload = Value.cast(port.payload)
    m.d.comb += [port.valid.eq(waiting | AnySeq(1)), payload.eq(Mux(waiting, before, AnySeq(len(payload))))]


def hold(m: Module, port, unless: ValueLike = 0) -> None:
    """Assert that a circuit holds what it offers until it is taken, or ``unless`` is high, and see that it can come to that."""
    waiting, before = _waiting(m, port, unless)
    held = port.valid & (Value.cast(port.payload) == before)
    with m.If(waiting):
        m.d.comb += Assert(held)
    m.d.comb += Cover(waiting)


class Rules(wiring.Component):
    """The rules of spike words (docs/hardware.md), written anew: follows a stream and tells whether its frame is spoilt.

    Parameters:
        form: the words.

    Members:
        word: what is offered.
        taken: it passes in this cycle.
        spoilt: the word that is offered, or an earlier one of its frame, breaks a rule or has ``error``.
        begins: the word is the first of its frame.
        anew: the word is the first of a frame, whatever became of the one before.
    """

    def __init__(self, form: WordFormat):
        self._form = form
        super().__init__({"word": In(form.layout), "taken": In(1), "anew": In(1), "spoilt": wiring.Out(1), "begins": wiring.Out(1)})

    def elaborate(self, platform):
        m = Module()
        form, word = self._form, self.word
        was_spoilt = Signal()
        step = Signal(bits_for(form.steps))
        index = Signal(bits_for(form.words))
        lawful = Signal()
        empty = word.bits == 0
        with m.FSM():
            with m.State("BETWEEN FRAMES"):
                m.d.comb += [self.begins.eq(1), lawful.eq(word.time == 0)]
                self._move(m)
            with m.State("INSIDE A STEP"):
                m.d.comb += lawful.eq((word.time == step) & ((word.index > index) if form.ascending else 1))
                self._move(m)
            with m.State("BETWEEN STEPS"):
                if form.skips_empty_steps:
                    continues = (word.time > step) | ((word.time == step) & empty & word.last_of_frame)
                else:
                    continues = word.time == step + 1
                m.d.comb += [self.begins.eq(self.anew), lawful.eq(Mux(self.anew, word.time == 0, continues))]
                self._move(m)
        lanes = [word.bits.word_select(lane, form.lane_bits) for lane in range(form.simd)]
        real = [(word.index * form.simd + lane < form.inputs) | (bits == 0) for lane, bits in enumerate(lanes)]
        in_range = (word.time < form.steps) & (word.index < form.words)
        for condition in real:
            in_range &= condition
        closed = word.last_of_step | ~word.last_of_frame
        if not form.skips_empty_steps:
            closed &= (word.time == form.steps - 1) | ~word.last_of_frame
        m.d.comb += self.spoilt.eq((was_spoilt & ~self.begins) | word.error | ~(lawful & in_range & closed))
        with m.If(self.taken):
            m.d.sync += [was_spoilt.eq(self.spoilt), step.eq(word.time), index.eq(word.index)]
        return m

    def _move(self, m: Module) -> None:
        with m.If(self.taken):
            with m.If(self.word.last_of_frame):
                m.next = "BETWEEN FRAMES"
            with m.Elif(self.word.last_of_step):
                m.next = "BETWEEN STEPS"
            with m.Else():
                m.next = "INSIDE A STEP"
