"""The definition of a layer, followed word by word: what a harness holds a circuit against, and the proof that it is the definition."""

from collections.abc import Callable

from amaranth.asserts import AnySeq
from amaranth.hdl import Array, Assert, Assume, Cat, Cover, Module, Mux, Signal, Value, signed

from hw.core.words import WordFormat, bits_for
from sim.proofs.definition import SymbolicLayer, spikes, total
from sim.proofs.parts import Harness


class Observer:
    """What a layer has to make of the words of one frame.

    Parameters:
        m: to add it to.
        layer: weights and thresholds.
        form: the words.
        word: a word.
        mine: it belongs to the frame, and counts from the next cycle on.
        name: prefix of signals.

    Attributes:
        began: there was a word.
        running: per neuron, ``V - θ`` with all words so far.
        times: per neuron its spike time, T where it has none in the steps that were closed.
        closings: per neuron and step ``V - θ`` when the step was closed.
        decided: a step was closed in which one of them spiked.
        step: the first such step.
        margins: per neuron ``V - θ`` there; with all words so far, if there was none.
    """

    def __init__(self, m: Module, layer: SymbolicLayer, form: WordFormat, word, mine, name: str):
        shape = signed((2 * layer.inputs + 1).bit_length() + 1)
        outputs, steps = range(layer.outputs), form.steps
        self.began, self.decided, self.step = (
            Signal(name=f"{name}_began"),
            Signal(name=f"{name}_decided"),
            Signal(range(steps), name=f"{name}_step"),
        )
        self.running = [Signal(shape, name=f"{name}_running_{j}") for j in outputs]
        self.times = [Signal(bits_for(steps + 1), init=steps, name=f"{name}_time_{j}") for j in outputs]
        self.closings = [[Signal(shape, name=f"{name}_closing_{j}_{t}") for t in range(steps)] for j in outputs]
        kept = [Signal(shape, name=f"{name}_kept_{j}") for j in outputs]
        self.margins = [Mux(self.decided, margin, running) for margin, running in zip(kept, self.running, strict=True)]
        after = [Signal(shape, name=f"{name}_after_{j}") for j in outputs]
        some = Signal(name=f"{name}_some")
        for potential, sum_after in zip(after, self._sums(m, layer, form, word, mine), strict=True):
            m.d.comb += potential.eq(sum_after)
            with m.If(potential >= 0):
                m.d.comb += some.eq(1)
        with m.If(mine):
            m.d.sync += [self.began.eq(1), *(running.eq(new) for running, new in zip(self.running, after, strict=True))]
            with m.If(word.last_of_step & ~word.error):
                for time, new in zip(self.times, after, strict=True):
                    with m.If((new >= 0) & (time == steps)):
                        m.d.sync += time.eq(word.time)
                for t in range(steps):
                    with m.If(word.time == t):
                        m.d.sync += [row[t].eq(new) for row, new in zip(self.closings, after, strict=True)]
                with m.If(some & ~self.decided):
                    m.d.sync += [self.decided.eq(1), self.step.eq(word.time)]
                    m.d.sync += [margin.eq(new) for margin, new in zip(kept, after, strict=True)]

    def _sums(self, m: Module, layer: SymbolicLayer, form: WordFormat, word, mine) -> list[Value]:
        """``V - θ`` of each neuron, the spikes of a word included."""
        result: list[Value] = []
        for j, running in enumerate(self.running):
            terms = [Mux(spike, Mux(positive, 1, -1), 0) for spike, positive in zip(_spikes(form, word), layer.positive[j], strict=True)]
            result.append(Mux(self.began, running, -layer.thresholds[j]) + total(terms))
        return result


class AgreementObserver(Observer):
    """The same, counted as the ``xnor`` form does it, over all inputs anew: a solver sees sooner that the circuit gives this.

    Attributes:
        arrived: per input, whether it has spiked.
    """

    def _sums(self, m: Module, layer: SymbolicLayer, form: WordFormat, word, mine) -> list[Value]:
        self.arrived = Signal(layer.inputs, name="have_arrived")
        now = Signal(layer.inputs, name="arrived_now")
        m.d.comb += now.eq(self.arrived | Cat(_spikes(form, word)))
        with m.If(mine):
            m.d.sync += self.arrived.eq(now)
        result = []
        for j in range(layer.outputs):
            potential = -layer.thresholds[j] - layer.negatives(j)
            for begin in range(0, layer.inputs, form.simd):
                inputs = range(begin, min(begin + form.simd, layer.inputs))
                potential = potential + total([~(now[i] ^ layer.positive[j][i]) for i in inputs])
            result.append(potential)
        return result


def _spikes(form: WordFormat, word) -> list[Value]:
    """Whether a word has a spike of each input."""
    places = (divmod(i, form.simd) for i in range(form.inputs))
    return [(word.index == place) & word.bits[lane] for place, lane in places]


def equals_definition(form: WordFormat, outputs: int, make: Callable[..., Observer] = Observer) -> Harness:
    """For any lawful frame whose inputs spike once, after every word: spike times and decision are those of [S3] to [S5], as far as steps
    were closed."""

    def fill(m: Module) -> None:
        layer = SymbolicLayer(m, form.inputs, outputs, 0)
        word, mine, ended = Signal(form.layout), Signal(), Signal()
        m.d.comb += [word.as_value().eq(AnySeq(form.layout.size)), mine.eq(AnySeq(1) & ~ended)]
        seen = make(m, layer, form, word, mine, "observer")

        # The frame by its spike times.
        arrived = [Signal(bits_for(form.steps + 1), init=form.steps, name=f"arrived_{i}") for i in range(form.inputs)]
        closed, latest, began = Signal(form.steps), Signal.like(word.time), seen.began
        is_closed, ends = (closed >> latest)[0], word.last_of_frame & (word.bits == 0)
        with m.If(mine):
            with m.If(~began):
                m.d.comb += Assume(word.time == 0)
            with m.Elif(is_closed):
                m.d.comb += Assume((word.time > latest) | ((word.time == latest) & ends))
            with m.Else():
                m.d.comb += Assume(word.time == latest)
            m.d.comb += Assume((word.time < form.steps) & (word.last_of_step | ~word.last_of_frame) & ~word.error)
            m.d.sync += [ended.eq(word.last_of_frame), latest.eq(word.time)]
            for i, time in enumerate(arrived):
                place, lane = divmod(i, form.simd)
                with m.If((word.index == place) & word.bits[lane]):
                    m.d.comb += Assume(time == form.steps)
                    m.d.sync += time.eq(word.time)
            with m.If(word.last_of_step):
                m.d.sync += closed.bit_select(word.time, 1).eq(1)
        margins = layer.margins(m, arrived, form.steps)
        fires = spikes(m, margins)
        golden = [[spike & closed[t] for t, spike in enumerate(row)] for row in fires]
        golden_decided, golden_step = Signal(), Signal(range(form.steps), init=form.steps - 1)
        for t in reversed(range(form.steps)):
            with m.If(total([row[t] for row in golden]) > 0):
                m.d.comb += [golden_decided.eq(1), golden_step.eq(t)]
        m.d.comb += Assert(seen.decided == golden_decided)
        for j in range(outputs):
            expected = Signal(bits_for(form.steps + 1), init=form.steps)
            for t in range(form.steps):
                with m.If(golden[j][t]):
                    m.d.comb += expected.eq(t)
            m.d.comb += Assert(seen.times[j] == expected)
            with m.If(golden_decided):
                m.d.comb += [Assert(seen.step == golden_step), Assert(seen.margins[j] == Array(margins[j])[golden_step])]
            with m.If(began & (golden_decided | ended)):
                step = Mux(golden_decided, golden_step, form.steps - 1)
                m.d.comb += Assert(seen.margins[j] == Array(margins[j])[step])
                m.d.comb += Cover((step == form.steps - 1) & golden_decided & golden[j][form.steps - 1])
                m.d.comb += Cover(ended & ~golden_decided & (seen.margins[j] == -1))
        # What makes it inductive.
        m.d.comb += [Assert(began | ((closed == 0) & ~ended)), Assert(~ended | is_closed), Assert(latest < form.steps)]
        for time in arrived:
            m.d.comb += Assert((time == form.steps) | (began & ((time == latest) | ((time < latest) & (closed >> time)[0]))))
        for t in range(form.steps):
            m.d.comb += Assert(~closed[t] | (latest >= t))
            with m.If(closed[t]):
                m.d.comb += [Assert(seen.closings[j][t] == margins[j][t]) for j in range(outputs)]
        m.d.comb += Assert((latest == 0) | closed[0])
        if isinstance(seen, AgreementObserver):
            m.d.comb += [Assert(seen.arrived[i] == (time != form.steps)) for i, time in enumerate(arrived)]
        with m.If(began):
            for j in range(outputs):
                m.d.comb += Assert(seen.running[j] == margins[j][-1])

    return Harness(fill)
