"""Harnesses of whole circuits: correctness against the definition, streams that hold, and progress, for arbitrary inputs."""

import itertools
from dataclasses import dataclass

from amaranth.asserts import AnyConst, AnySeq
from amaranth.hdl import Assert, Assume, Cat, Const, Cover, Fragment, Module, Mux, Signal

from hw import Accelerator, Folding
from hw.core.words import bits_for
from sim.proofs import symbolic
from sim.proofs.definition import SymbolicLayer
from sim.proofs.layer import once
from sim.proofs.observer import Observer
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
    """A circuit with arbitrary inputs, and an arbitrary ``ready`` of its output.

    One layer at most has weights and thresholds, which are symbols; the memories of the others deliver arbitrary rows in each
    cycle. That includes every network, and so what holds here holds for all.

    Attributes:
        dut: the circuit.
        fragment: the same, elaborated.
        layer: the symbols.
        early: the mode, one or the other for the whole run.
        inputs: per stream its port, its cancel and its rules.
        given: a result is taken.
        results: how many were.
    """

    def __init__(self, m: Module, size: Size, focus: int | None):
        network = symbolic.network(size.shape, size.steps)
        self.size, self.dut = size, Accelerator(network, size.folding)
        sizes = list(itertools.pairwise(size.shape))
        self.layer = None if focus is None else SymbolicLayer(m, *sizes[focus], focus)
        layers = {plan: self.layer if index == focus else None for index, plan in enumerate(self.dut.plans)}
        m.submodules.dut = self.fragment = Fragment.get(self.dut, symbolic.SymbolicMemories(layers))
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
        word: on its stream.
        mine: ``word`` is one of its words, lawful so far, and is taken, not cancelled.
        spoilt: it broke a rule before it was cancelled.
        ended: its last word was taken.
        cancelled: a word of it was taken while its cancel was high.
        offered: its result is on the output.
        live: its tag is its own on the monitors.
    """

    def __init__(self, m: Module, bench: Bench):
        streams = len(bench.inputs)
        self.there, self.ended, self.spoilt, self.cancelled, self.mine, self.offered, self.live, over = (
            Signal(name=f"chosen_{name}") for name in ("there", "ended", "spoilt", "cancelled", "mine", "offered", "live", "over")
        )
        self.number = Signal(NUMBER_BITS, name="chosen_number")
        self.word = Signal(bench.dut.input_format.layout, name="chosen_word")
        stream, choice = Signal(bits_for(streams)), Signal(bits_for(streams + 1))
        m.d.comb += choice.eq(AnySeq(len(choice)))
        for index, (port, cancel, rules) in enumerate(bench.inputs):
            word = port.payload
            frames = Signal(NUMBER_BITS, name=f"frames_{index}")  # that ended
            chooses, mine = Signal(name=f"chooses_{index}"), Signal(name=f"mine_{index}")
            m.d.comb += [
                chooses.eq(rules.taken & rules.begins & ~self.there & (choice == index)),
                mine.eq(chooses | (rules.taken & self.there & (stream == index) & ~self.ended)),
            ]
            m.d.sync += frames.eq(frames + (rules.taken & word.last_of_frame))
            with m.If(chooses):
                m.d.sync += [self.there.eq(1), stream.eq(index), self.number.eq(frames * streams + index)]
            with m.If(mine):
                m.d.sync += self.ended.eq(word.last_of_frame)
                with m.If(cancel):
                    m.d.sync += self.cancelled.eq(1)
                with m.Elif(~self.cancelled & rules.spoilt):
                    m.d.sync += self.spoilt.eq(1)
                with m.Elif(~self.cancelled):
                    m.d.comb += [self.word.eq(word), self.mine.eq(1)]
            # No result comes before its frame has begun.
            begun = frames + ~rules.begins
            with m.If(bench.dut.o.valid & (bench.results[: (streams - 1).bit_length()] == index)):
                ahead = Signal(NUMBER_BITS, name=f"ahead_{index}")
                m.d.comb += [ahead.eq(begun * streams + index - bench.results - 1), Assert(ahead < 1 << NUMBER_BITS - 1)]

        # The tag is its own from when the result of the frame that had it before is offered until its own is.
        before = Signal(NUMBER_BITS)  # frames before it whose results are not offered yet
        m.d.comb += [
            before.eq(self.number - bench.results - bench.dut.o.valid),
            self.offered.eq(self.there & bench.dut.o.valid & (bench.results == self.number)),
            self.live.eq(self.there & ~over & (before < bench.dut.plans[-1].frames)),
        ]
        m.d.sync += over.eq(over | self.offered)


def equals_definition(size: Size, focus: int) -> Harness:
    """What one layer sends for any frame is what the definition makes of what it gets, whatever came before; and the last one's decision
    is the result.

    Parameters:
        size: of the circuit.
        focus: the layer. What it gets is what was taken on the input, or what the layer before shows on its monitor.
    """

    def fill(m: Module) -> None:
        bench = Bench(m, size, focus)
        assert bench.layer is not None  # it is in focus
        chosen, dut, steps = Chosen(m, bench), bench.dut, size.steps
        is_last, result = focus == len(dut.plans) - 1, dut.o.payload
        if focus == 0:
            form, word, mine = dut.input_format, chosen.word, chosen.mine
            once(m, word, mine, form)
        else:
            port = getattr(dut, f"monitor_{focus - 1}")
            form, word, mine = dut.monitor_formats[focus - 1], port.payload, Signal(name="mine")
            m.d.comb += mine.eq(port.valid & chosen.live & (word.frame == chosen.number[: len(word.frame)]))
        golden = Observer(m, bench.layer, form, word, mine, "golden")

        # Spikes.
        monitor = getattr(dut, f"monitor_{focus}")
        seen = [Signal(name=f"seen_{j}") for j in range(size.shape[focus + 1])]
        sent, simd = monitor.payload, dut.monitor_formats[focus].simd
        with m.If(monitor.valid & chosen.live & (sent.frame == chosen.number[: len(sent.frame)]) & ~sent.error):
            m.d.comb += Assert(sent.index < dut.monitor_formats[focus].words)
            for j in range(-(-len(seen) // simd) * simd):
                with m.If((sent.index == j // simd) & sent.bits[j % simd]):
                    m.d.comb += Assert((golden.times[j] == sent.time) & ~seen[j] if j < len(seen) else 0)
                    if j < len(seen):
                        m.d.sync += seen[j].eq(1)
        cut = Signal()  # nothing is seen after the decision
        m.d.comb += cut.eq(bench.early & ~result.error & ~result.silent)
        with m.If(chosen.offered):
            for j, time in enumerate(golden.times):
                m.d.comb += Assert(seen[j] == ((time != steps) & (~cut | (time <= result.step))))
            m.d.comb += Cover(cut & (chosen.number > 0) & seen[-1])
            m.d.comb += Cover(result.error & seen[0])

        if is_last:
            decided = golden.decided
            with m.If(chosen.offered):
                m.d.comb += [
                    Assert((bench.early & decided) | chosen.ended),
                    Assert(result.error == (chosen.spoilt & ~(bench.early & decided))),
                    Cover(~result.error & ~result.silent & (result.step == steps - 1) & bench.early),
                    Cover(~result.error & ~bench.early & result.silent & (result.class_index == len(golden.margins) - 1)),
                ]
                with m.If(~result.error):
                    m.d.comb += [
                        Assert(result.silent == ~decided),
                        Assert(result.step == Mux(decided, golden.step, steps - 1)),
                        Assert(result.class_index < len(golden.margins)),
                    ]
                    for j, margin in enumerate(golden.margins):
                        with m.If(result.class_index == j):
                            m.d.comb += Assert(result.margin == margin)
                        m.d.comb += Assert((result.margin > margin) | ((result.margin == margin) & (result.class_index <= j)))
            with m.If(chosen.cancelled):
                m.d.comb += Assert(bench.early & decided)

    return Harness(fill)


def result_stream(size: Size) -> Harness:
    """Results are held, for arbitrary inputs."""

    def fill(m: Module) -> None:
        hold(m, Bench(m, size, None).dut.o)

    return Harness(fill)


def streams(size: Size) -> Harness:
    """Every stream holds what it offers until it is taken, inside and outside, for arbitrary inputs."""

    def fill(m: Module) -> None:
        bench = Bench(m, size, None)
        parts = {name: symbolic.component(fragment) for fragment, name, _ in bench.fragment.subfragments}
        for name, part in parts.items():
            if name.startswith("frame_check"):
                hold(m, part.o.stream)
            elif name == "scheduler" or name.startswith("emitter"):
                hold(m, part.o)
        hold(m, bench.dut.o)

    return Harness(fill)


def _one_frame_first(m: Module, bench: Bench) -> Signal:
    """Begin with a frame of one empty word, good or flagged by its sender, and send nothing else until its result is there, which is taken
    at once. What comes then is not touched. Returns that it has come to that."""
    sent, through = Signal(name="first_sent"), Signal(name="first_through")
    with m.If(~through):
        for index, (port, _, _) in enumerate(bench.inputs):
            word = port.payload
            m.d.comb += port.valid.eq(0 if index else ~sent)
            if index == 0:
                m.d.comb += [word.eq(0), word.error.eq(AnyConst(1)), word.last_of_step.eq(1), word.last_of_frame.eq(1)]
                m.d.sync += sent.eq(sent | port.ready)
        m.d.comb += bench.dut.o.ready.eq(1)
        m.d.sync += through.eq(bench.given)
    return through


def moves(size: Size, *, stalls: int, bound: int, covered: int | None = None) -> Harness:
    """While words are offered on all streams, or the oldest frame has been taken to its end, every ``bound`` cycles a word goes in or a
    result comes out, if results wait for ``stalls`` cycles at most; and there is a result for each frame that began, no more.

    Of several streams, those that are inside a frame go on with it: what one has begun goes before what others offer.

    Parameters:
        size: of the circuit.
        stalls: cycles that a result waits at most.
        bound: cycles.
        covered: begin with one short frame and its result (`_one_frame_first`), and cover so long a span behind them; None: neither.
    """

    def fill(m: Module) -> None:
        bench = Bench(m, size, None)
        through = Const(1, 1) if covered is None else _one_frame_first(m, bench)
        output, waited = bench.dut.o, Signal(range(stalls + 1))
        with m.If(output.valid & ~output.ready):
            m.d.comb += Assume(waited != stalls)
            m.d.sync += waited.eq(waited + 1)
        with m.Else():
            m.d.sync += waited.eq(0)
        streams, idle = len(bench.inputs), Signal(range(bound + 1))
        turn = bench.results[: (streams - 1).bit_length()]
        passes, offered, over = bench.given, Const(1, 1), Const(0, 1)
        for index, (port, _, rules) in enumerate(bench.inputs):
            begun, ended = (Signal(4, name=f"{name}_{index}") for name in ("begun", "ended"))  # frames without result; may be -1
            leaves = Signal(name=f"leaves_{index}")
            m.d.comb += leaves.eq(bench.given & (turn == index))
            m.d.sync += [
                begun.eq(begun + (rules.taken & rules.begins) - leaves),
                ended.eq(ended + (rules.taken & port.payload.last_of_frame) - leaves),
            ]
            m.d.comb += [Assert(~leaves | (begun != 0)), Assert(begun < 8), Assert(bench.early | ~leaves | (ended != 0))]
            passes, offered = passes | rules.taken, offered & port.valid
            others = Cat(their_rules.begins | their.valid for their, _, their_rules in bench.inputs if their is not port)
            over = over | ((turn == index) & (begun != 0) & (ended != 0) & ~ended[-1] & others.all())
        m.d.sync += idle.eq(Mux(passes | ~(offered | over), 0, idle + 1))
        m.d.comb += [Assert(idle != bound), Cover(through & over & bench.given)]
        if covered is not None:
            m.d.comb += Cover(through & (idle == covered))

    return Harness(fill)
