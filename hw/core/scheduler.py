"""Which frame is worked on next: whole steps of several frames in turn."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.core.folding import LayerPlan
from hw.core.streams import input_format, step_done, words
from hw.core.words import WordFormat, bits_for


class StepScheduler(wiring.Component):
    """Lets the words of one step of one frame into the circuit, then those of another frame's step.

    Frame k comes from stream k modulo ``contexts``. In early mode no step of a frame is let in before its last one has been done, so that
    nothing after the decision is ever computed; the rest of a decided frame is dropped. Where several frames may go on, they take turns.

    No latency. Throughput: a word per cycle, without gaps between steps.

    Parameters:
        plan: the first layer.
        form: words as they come, without tags.

    Members:
        i_0, …: spike words, one stream per context.
        early: mode; looked at when a step is let in.
        step_done: what became of a step; one port per ``verdicts``.
        oldest: number of the oldest frame whose result has not left, modulo twice the tags.
        o: spike words with tags.
    """

    def __init__(self, plan: LayerPlan, form: WordFormat, *, verdicts: int):
        self._plan, self._verdicts = plan, verdicts
        members = {f"i_{context}": In(words(form)) for context in range(plan.contexts)}
        members |= {f"step_done_{k}": In(step_done(plan)) for k in range(verdicts)}
        members |= {
            "early": In(1),
            "oldest": In(bits_for(2 * plan.frames)),
            "o": Out(stream.Signature(input_format(plan).layout)),
        }
        super().__init__(members)

    def elaborate(self, platform):
        m = Module()
        plan, word = self._plan, self.o.payload
        contexts = range(plan.contexts)
        inputs = [getattr(self, f"i_{context}") for context in contexts]
        verdicts = [getattr(self, f"step_done_{k}") for k in range(self._verdicts)]
        context_bits = (plan.contexts - 1).bit_length()
        rounds = [Signal(bits_for(2 * plan.frames) - context_bits, name=f"round_{context}") for context in contexts]
        numbers = [Cat(Const(context, context_bits), rounds[context]) for context in contexts]
        kept = Signal(bits_for(plan.contexts), init=plan.contexts - 1)  # whose turn it was last
        held = Signal()  # it still is: in the middle of a step, or a word has been offered
        begun = Signal(plan.contexts)
        waiting = Signal(plan.contexts)
        dropping = Signal(plan.contexts)
        done_now, decided_now, may_go, offers = (
            Signal(plan.contexts, name=name) for name in ("done_now", "decided_now", "may_go", "offers")
        )

        for context in contexts:
            number, source = numbers[context], inputs[context]
            for verdict in verdicts:
                with m.If(verdict.valid & (verdict.frame == number[: len(verdict.frame)]) & begun[context]):
                    m.d.comb += done_now[context].eq(1)
                    with m.If(verdict.decided):
                        m.d.comb += decided_now[context].eq(1)
            age = Signal(len(number), name=f"age_{context}")
            m.d.comb += [
                age.eq(number - self.oldest),
                may_go[context].eq(~source.cancel & (~waiting[context] | done_now[context]) & (begun[context] | (age < plan.frames))),
                offers[context].eq(source.stream.valid & may_go[context]),
                source.cancel.eq((dropping[context] | decided_now[context]) & ~(held & (kept == context))),
            ]

        turn = self._turn(m, kept, held, offers)
        for context in contexts:
            source = inputs[context]
            taken = Signal(name=f"taken_{context}")
            m.d.comb += taken.eq(source.stream.valid & source.stream.ready)
            with m.If(source.cancel):
                m.d.comb += source.stream.ready.eq(1)
            with m.If(turn == context):
                for name, _ in source.stream.payload.shape():
                    m.d.comb += word[name].eq(source.stream.payload[name])
                m.d.comb += [
                    word.first.eq(~begun[context]),
                    word.frame.eq(numbers[context]),
                    self.o.valid.eq(offers[context]),
                ]
                with m.If(~source.cancel):
                    m.d.comb += source.stream.ready.eq(self.o.ready & may_go[context])
            with m.If(done_now[context]):
                m.d.sync += waiting[context].eq(0)
            with m.If(decided_now[context]):
                m.d.sync += dropping[context].eq(1)
            with m.If(taken):
                m.d.sync += begun[context].eq(1)
                with m.If(~source.cancel & source.stream.payload.last_of_step):
                    m.d.sync += waiting[context].eq(self.early)
                with m.If(source.stream.payload.last_of_frame):
                    m.d.sync += [
                        begun[context].eq(0),
                        waiting[context].eq(0),
                        dropping[context].eq(0),
                        rounds[context].eq(rounds[context] + 1),
                    ]
        m.d.sync += kept.eq(turn)
        with m.If(self.o.valid):
            m.d.sync += held.eq(~(self.o.ready & word.last_of_step))
        return m

    def _turn(self, m: Module, kept: Signal, held: Signal, offers: Signal) -> Signal:
        """Whose turn it is: after the end of a step, the next one's that has something; until then, the same one's."""
        contexts = self._plan.contexts
        turn = Signal.like(kept)
        m.d.comb += turn.eq(kept)
        with m.If(~held), m.Switch(kept):
            for context in range(contexts):
                with m.Case(context):
                    for distance in reversed(range(contexts)):
                        candidate = (context + 1 + distance) % contexts
                        with m.If(offers[candidate]):
                            m.d.comb += turn.eq(candidate)
        return turn
