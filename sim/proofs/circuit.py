"""Harnesses of whole circuits: what comes out equals the definition, whatever comes in."""

from collections.abc import Sequence
from dataclasses import dataclass

from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Array, Assert, Assume, Cover, Fragment, Module, Mux, Signal, Value

from hw import Accelerator, Folding
from hw.words import bits_for
from sim.proofs import symbolic
from sim.proofs.definition import SymbolicLayer, spikes
from sim.proofs.parts import Harness
from sim.proofs.streams import Rules, hold, offer

NUMBER_BITS = 6
"""Of frame numbers: more than twice the frames that can be under way."""


@dataclass(frozen=True)
class Size:
    """A circuit for which something is proved.

    Attributes:
        shape: inputs, neurons of each layer.
        steps: ``T``.
        folding: of the circuit.
    """

    shape: tuple[int, ...]
    steps: int
    folding: Folding


class Bench:
    """A circuit of symbolic weights and thresholds, with anything on its inputs and on ``ready`` of its output.

    Attributes:
        dut: the circuit.
        layers: its symbols.
        early: the mode, one or the other for the whole run.
        inputs: per stream its port, its cancel and its rules.
        given: a result is taken.
        results: how many were.
    """

    def __init__(self, m: Module, size: Size):
        network = symbolic.network(size.shape, size.steps)
        self.size, self.dut = size, Accelerator(network, size.folding)
        self.layers = [SymbolicLayer(m, n, k, name) for name, (n, k) in enumerate(zip(size.shape, size.shape[1:], strict=False))]
        with symbolic.memories(self.dut.plans, self.layers):
            m.submodules.dut = Fragment.get(self.dut, None)
        self.early = Signal(name="early_mode")
        m.d.comb += [self.early.eq(AnyConst(1)), self.dut.early.eq(self.early), self.dut.o.ready.eq(AnySeq(1))]
        self.inputs = []
        for index, name in enumerate(self.dut.input_names):
            port, cancel = getattr(self.dut, name), getattr(self.dut, f"{name}_cancel")
            rules = Rules(self.dut.input_format)
            m.submodules[f"rules_{index}"] = rules
            offer(m, port)
            m.d.comb += [rules.word.eq(port.payload), rules.taken.eq(port.valid & port.ready)]
            self.inputs.append((port, cancel, rules))
        self.given, self.results = Signal(), Signal(NUMBER_BITS)
        m.d.comb += self.given.eq(self.dut.o.valid & self.dut.o.ready)
        m.d.sync += self.results.eq(self.results + self.given)


class Chosen:
    """Any one frame, on any stream, and what was taken of it.

    Attributes:
        there: it has begun.
        number: of it, counted from the reset.
        times: per input its spike time, T where it has none.
        spoilt: it broke a rule before it was cancelled.
        closed: how many steps were closed before that, as the last of them plus one.
        ended: its last word was taken.
        cancelled: a word of it was taken while its cancel was high.
    """

    def __init__(self, m: Module, bench: Bench):
        size, steps = bench.size, bench.size.steps
        self.there, self.ended, self.spoilt, self.cancelled = (
            Signal(name=f"chosen_{name}") for name in ("there", "ended", "spoilt", "cancelled")
        )
        self.number = Signal(NUMBER_BITS, name="chosen_number")
        self.times = [Signal(bits_for(steps + 1), init=steps, name=f"time_{i}") for i in range(size.shape[0])]
        self.closed = Signal(range(steps + 1), name="chosen_closed")
        stream, choice = Signal(bits_for(len(bench.inputs))), Signal(bits_for(len(bench.inputs) + 1))
        m.d.comb += choice.eq(AnySeq(len(choice)))
        for index, (port, cancel, rules) in enumerate(bench.inputs):
            word = port.payload
            frames = Signal(NUMBER_BITS, name=f"frames_{index}")  # that ended
            taken, mine = Signal(name=f"taken_{index}"), Signal(name=f"mine_{index}")
            chooses = taken & rules.begins & ~self.there & (choice == index)
            m.d.comb += [taken.eq(rules.taken), mine.eq(taken & (chooses | (self.there & (stream == index) & ~self.ended)))]
            m.d.sync += frames.eq(frames + (taken & word.last_of_frame))
            with m.If(chooses):
                m.d.sync += [self.there.eq(1), stream.eq(index), self.number.eq(frames * len(bench.inputs) + index)]
            with m.If(mine):
                m.d.sync += self.ended.eq(word.last_of_frame)
                with m.If(cancel):
                    m.d.sync += self.cancelled.eq(1)
                with m.Elif(~self.cancelled & rules.spoilt):
                    m.d.sync += self.spoilt.eq(1)
                with m.Elif(~self.cancelled):
                    for i, time in enumerate(self.times):
                        place, lane = divmod(i, size.folding.simd[0])
                        with m.If((word.index == place) & word.bits[lane]):
                            m.d.comb += Assume(time == steps)  # an input spikes once
                            m.d.sync += time.eq(word.time)
                    with m.If(word.last_of_step):
                        m.d.sync += self.closed.eq(word.time + 1)
            # No result comes before its frame has begun.
            begun = frames + ~rules.begins
            with m.If(bench.dut.o.valid & (bench.results[: (len(bench.inputs) - 1).bit_length()] == index)):
                ahead = Signal(NUMBER_BITS, name=f"ahead_{index}")
                m.d.comb += [ahead.eq(begun * len(bench.inputs) + index - bench.results - 1), Assert(ahead < 1 << NUMBER_BITS - 1)]


def equals_definition(size: Size) -> Harness:
    """Every spike and the decision of any frame are those of the definition, whatever came before, in both modes."""

    def fill(m: Module) -> None:
        bench = Bench(m, size)
        hold(m, bench.dut.o)
        chosen = Chosen(m, bench)
        steps = size.steps
        times: Sequence[Value] = chosen.times
        golden: list[list[list[Signal]]] = []
        for index, layer in enumerate(bench.layers):
            margins = layer.margins(m, times, steps, f"margin_{index}")
            golden.append(spikes(m, margins, f"golden_{index}"))
            times = _times(m, golden[-1], f"golden_time_{index}")

        # The decision [S5].
        decided, step = Signal(), Signal(range(steps))
        for t in reversed(range(steps)):
            with m.If((chosen.closed > t) & _any([row[t] for row in golden[-1]])):
                m.d.comb += [decided.eq(1), step.eq(t)]
        with m.If(~decided):
            m.d.comb += step.eq(steps - 1)
        at_decision = [Signal.like(row[0], name=f"decision_margin_{j}") for j, row in enumerate(margins)]
        m.d.comb += [margin.eq(Array(row)[step]) for margin, row in zip(at_decision, margins, strict=True)]

        # Once its result is offered, a frame is over, and its tag may be another one's.
        offered, over = Signal(), Signal()
        m.d.comb += offered.eq(chosen.there & bench.dut.o.valid & (bench.results == chosen.number))
        m.d.sync += over.eq(over | offered)

        # Spikes.
        upto = Signal(range(steps + 1))  # steps of which spikes have to be there
        m.d.comb += upto.eq(Mux(bench.early & decided, step + 1, chosen.closed))
        for index, rows in enumerate(golden):
            seen = [Signal(name=f"seen_{index}_{j}") for j in range(len(rows))]
            monitor = getattr(bench.dut, f"monitor_{index}")
            word = monitor.payload
            simd = word.bits.shape().width
            with m.If(monitor.valid & chosen.there & ~over & (word.frame == chosen.number[: len(word.frame)]) & ~word.error):
                m.d.comb += Assert((word.time < steps) & (word.index * simd < len(rows)))
                for j, row in enumerate(rows):
                    with m.If((word.index == j // simd) & word.bits[j % simd]):
                        m.d.comb += [Assert(Array(row)[word.time]), Assert(~seen[j])]
                        m.d.sync += seen[j].eq(1)
                for j in range(len(rows), -(-len(rows) // simd) * simd):
                    with m.If(word.index == j // simd):
                        m.d.comb += Assert(~word.bits[j % simd])
            with m.If(offered):
                for j, row in enumerate(rows):
                    m.d.comb += Assert(seen[j] == _any([row[t] & (t < upto) for t in range(steps)]))

        # The result.
        with m.If(offered):
            result = bench.dut.o.payload
            early = bench.early & decided
            m.d.comb += [Assert(early | chosen.ended), Assert(result.error == (chosen.spoilt & ~early))]
            with m.If(~result.error):
                m.d.comb += [Assert(result.silent == ~decided), Assert(result.step == step), Assert(result.class_index < len(at_decision))]
                m.d.comb += Assert(result.margin == Array(at_decision)[result.class_index])
                for j, margin in enumerate(at_decision):
                    m.d.comb += Assert((result.margin > margin) | ((result.margin == margin) & (result.class_index <= j)))
            m.d.comb += [
                Cover(~result.error & ~result.silent & (result.step == steps - 1) & bench.early & (chosen.number > 0)),
                Cover(~result.error & ~bench.early & (result.class_index == len(at_decision) - 1) & (chosen.closed == steps)),
                Cover(result.error),
            ]
        with m.If(chosen.cancelled):
            m.d.comb += Assert(bench.early & decided)

    return Harness(fill)


def _any(bits: Sequence[Value]) -> Value:
    result = bits[0]
    for bit in bits[1:]:
        result = result | bit
    return result


def _times(m: Module, rows: Sequence[Sequence[Value]], name: str) -> list[Signal]:
    """When neurons spike; T where they do not."""
    steps = len(rows[0])
    result = [Signal(bits_for(steps + 1), name=f"{name}_{j}") for j in range(len(rows))]
    for time, row in zip(result, rows, strict=True):
        m.d.comb += time.eq(steps)
        for t, spike in enumerate(row):
            with m.If(spike):
                m.d.comb += time.eq(t)
    return result
