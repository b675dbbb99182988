"""The step scheduler: round-robin arbitration between frames, at step boundaries."""

from amaranth.hdl import Cat, Const, Module, Signal
from amaranth.lib import stream, wiring
from amaranth.lib.wiring import In, Out

from hw.core.plan import LayerPlan
from hw.core.streams import input_format, step_done, words
from hw.core.words import WordFormat, bits_for


class StepScheduler(wiring.Component):
    """A round-robin arbiter at step boundaries: the words of one step of one frame pass, then those of another frame's step.

    Frame k comes from stream k modulo ``contexts``. In early mode no step of a frame is admitted before its last one is done, so that
    nothing after the decision is ever computed; the rest of a decided frame is dropped.

    No latency. Throughput: a word per cycle, without gaps between steps.

    Parameters:
        plan: the first layer.
        form: words as they come, without tags.

    Members:
        i_0, …: spike words, one stream per context.
        early: mode; sampled when a step is admitted.
        step_done_0, …: the end of a step: a port for each of ``done_ports`` layers.
        oldest: number of the oldest frame whose result has not left, modulo twice the tags.
        o: spike words with tags.
    """

    def __init__(self, plan: LayerPlan, form: WordFormat, *, done_ports: int):
        self._plan, self._done_ports = plan, done_ports
        members = {f"i_{context}": In(words(form)) for context in range(plan.contexts)}
        members |= {f"step_done_{k}": In(step_done(plan)) for k in range(done_ports)}
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
        done_ports = [getattr(self, f"step_done_{k}") for k in range(self._done_ports)]
        context_bits = (plan.contexts - 1).bit_length()
        rounds = [Signal(bits_for(2 * plan.frames) - context_bits, name=f"round_{context}") for context in contexts]
        numbers = [Cat(Const(context, context_bits), rounds[context]) for context in contexts]
        granted = Signal(bits_for(plan.contexts), init=plan.contexts - 1)  # the last grant
        locked = Signal()  # the grant stays: within a step, or a word is offered
        begun = Signal(plan.contexts)
        waiting = Signal(plan.contexts)
        dropping = Signal(plan.contexts)
        done_now, decided_now, may_enter, requests = (
            Signal(plan.contexts, name=name) for name in ("done_now", "decided_now", "may_enter", "requests")
        )

        for context in contexts:
            number, source = numbers[context], inputs[context]
            for done in done_ports:
                with m.If(done.valid & (done.frame == number[: len(done.frame)]) & begun[context]):
                    m.d.comb += done_now[context].eq(1)
                    with m.If(done.decided):
                        m.d.comb += decided_now[context].eq(1)
            age = Signal(len(number), name=f"age_{context}")
            m.d.comb += [
                age.eq(number - self.oldest),
                may_enter[context].eq(~source.cancel & (~waiting[context] | done_now[context]) & (begun[context] | (age < plan.frames))),
                requests[context].eq(source.stream.valid & may_enter[context]),
                source.cancel.eq((dropping[context] | decided_now[context]) & ~(locked & (granted == context))),
            ]

        grant = self._arbiter(m, granted, locked, requests)
        for context in contexts:
            source = inputs[context]
            taken = Signal(name=f"taken_{context}")
            m.d.comb += taken.eq(source.stream.valid & source.stream.ready)
            with m.If(source.cancel):
                m.d.comb += source.stream.ready.eq(1)
            with m.If(grant == context):
                for name, _ in source.stream.payload.shape():
                    m.d.comb += word[name].eq(source.stream.payload[name])
                m.d.comb += [
                    word.first.eq(~begun[context]),
                    word.frame.eq(numbers[context]),
                    self.o.valid.eq(requests[context]),
                ]
                with m.If(~source.cancel):
                    m.d.comb += source.stream.ready.eq(self.o.ready & may_enter[context])
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
        m.d.sync += granted.eq(grant)
        with m.If(self.o.valid):
            m.d.sync += locked.eq(~(self.o.ready & word.last_of_step))
        return m

    def _arbiter(self, m: Module, granted: Signal, locked: Signal, requests: Signal) -> Signal:
        """The context that is granted: after the end of a step, the next one that requests; until then, the same one."""
        contexts = self._plan.contexts
        grant = Signal.like(granted)
        m.d.comb += grant.eq(granted)
        with m.If(~locked), m.Switch(granted):
            for context in range(contexts):
                with m.Case(context):
                    for distance in reversed(range(contexts)):
                        candidate = (context + 1 + distance) % contexts
                        with m.If(requests[candidate]):
                            m.d.comb += grant.eq(candidate)
        return grant
