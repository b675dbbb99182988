"""The half of an encoder that sends a frame's words."""

from itertools import pairwise

from amaranth.hdl import Cat, Module, Mux, Signal, unsigned
from amaranth.lib import data, wiring
from amaranth.lib.memory import ReadPort
from amaranth.lib.wiring import In, Out

from hw.core.streams import words
from hw.core.trees import first_set
from hw.core.words import bits_for
from hw.encoder.plan import EncoderPlan


class WordDeparture(wiring.Component):
    """Walks the lists of a frame step by step, reads the blocks that they name, and sends the words of each that have spikes.

    Four stages: *walk* addresses a list's entry; *entry* is the number of a block, which addresses the block; *block* is its content, which
    is compared with the step; *match* has a flag for each spike, and gives one word after the other to the output. A step 0 without spikes,
    every such step where none may be skipped, and a frame that failed, have one block, which is empty. The walk goes on to the next frame
    at once.

    Latency: five cycles from the handover of a frame to its first word.

    Parameters:
        plan: the geometry.

    Members:
        o: spike words.
        blocks: reads blocks.
        list_0, …: read the numbers of blocks.
        waiting, counts, used, failed, handover, drop: see `hw.encoder.arrival.PixelArrival`.
    """

    def __init__(self, plan: EncoderPlan):
        self._plan = plan
        blocks = ReadPort.Signature(addr_width=plan.block_address + 1, shape=unsigned(plan.block_bits))
        entries = ReadPort.Signature(addr_width=plan.list_address, shape=unsigned(plan.block_address))
        super().__init__(
            {
                "o": Out(words(plan.form)),
                "blocks": In(blocks),
                **{f"list_{way}": In(entries) for way in range(plan.ways)},
                "waiting": In(1),
                "counts": In(plan.active_steps * plan.count_bits),
                "used": In(plan.active_steps),
                "failed": In(1),
                "handover": Out(1),
                "drop": Out(1),
            }
        )

    def elaborate(self, platform):
        m = Module()
        plan = self._plan
        walk, entry, block, match = stages = [_Stage(plan, name) for name in ("walk", "entry", "block", "match")]
        for stage, following in pairwise(stages):
            m.d.comb += [
                stage.free.eq(~stage.valid | following.free),
                stage.flush.eq(following.flush & ~(following.valid & following.tag.last_of_frame)),
            ]
            with m.If(following.free):
                m.d.sync += [following.valid.eq(stage.valid & ~stage.flush), following.tag.eq(stage.tag)]
        bank, place = self._walk(m, walk, entry)

        entry_bank = Signal()
        block_number = Signal(plan.block_address)
        numbers = Signal(plan.ways * plan.block_address)
        for way in range(plan.ways):
            port = getattr(self, f"list_{way}")
            m.d.comb += [
                port.addr.eq(Cat(place[: plan.block_address], walk.tag.time[: plan.step_address], bank)),
                port.en.eq(entry.free),
                numbers.word_select(way, plan.block_address).eq(port.data),
            ]
        way = entry.tag.time[plan.step_address :] if plan.ways > 1 else 0
        number = numbers.word_select(way, plan.block_address)
        m.d.comb += [self.blocks.addr.eq(Cat(number, entry_bank)), self.blocks.en.eq(block.free)]
        with m.If(entry.free):
            m.d.sync += entry_bank.eq(bank)
        with m.If(block.free):
            m.d.sync += block_number.eq(Mux(entry.tag.empty, 0, number))

        self._send(m, block, match, block_number)
        return m

    def _walk(self, m: Module, walk: "_Stage", entry: "_Stage") -> tuple[Signal, Signal]:
        """Issue the entries of one list after the other. Returns the bank, and the place in the list, from 1 on."""
        plan = self._plan
        bank = Signal(init=1)
        counts = Signal(plan.active_steps * plan.count_bits)
        later = Signal(plan.walked_steps)  # steps after this one that are sent
        used = Signal(plan.walked_steps)  # steps that have a list; needed where others are sent, too
        place = Signal(plan.count_bits)
        length = Signal(plan.count_bits)
        time = Signal.like(walk.tag.time)
        empty = Signal()
        error = Signal()
        moves = Signal()
        next_list = first_set(m, later, name="later")
        m.d.comb += [
            moves.eq(walk.valid & entry.free),
            walk.tag.time.eq(time),
            walk.tag.last_of_step.eq(empty | (place == length)),
            walk.tag.last_of_frame.eq(walk.tag.last_of_step & ~next_list.any),
            walk.tag.empty.eq(empty),
            walk.tag.error.eq(error),
            self.handover.eq(self.waiting & (~walk.valid | walk.flush | (moves & walk.tag.last_of_frame))),
        ]
        with m.If(moves):
            m.d.sync += place.eq(place + 1)
            with m.If(walk.tag.last_of_step):
                m.d.sync += [
                    place.eq(1),
                    time.eq(next_list.index),
                    length.eq(counts.word_select(next_list.index, plan.count_bits)),
                    later.eq(next_list.rest),
                    empty.eq(0 if plan.form.skips_empty_steps else ~used.bit_select(next_list.index, 1)),
                ]
        with m.If(walk.flush | (moves & walk.tag.last_of_frame)):
            m.d.sync += walk.valid.eq(0)
        with m.If(self.handover):
            m.d.sync += [
                walk.valid.eq(1),
                bank.eq(~bank),
                counts.eq(self.counts),
                place.eq(1),
                time.eq(0),
                length.eq(self.counts[: plan.count_bits]),
                later.eq(Mux(self.failed, 0, (self.used if plan.form.skips_empty_steps else (1 << plan.walked_steps) - 1) & ~1)),
                empty.eq(self.failed | ~self.used[0]),
                error.eq(self.failed),
            ]
            if not plan.form.skips_empty_steps:
                m.d.sync += used.eq(self.used)
        return bank, place

    def _send(self, m: Module, block: "_Stage", match: "_Stage", block_number: Signal) -> None:
        """Compare a block with the step, and send its words with spikes."""
        plan, form = self._plan, self._plan.form
        word_bits = form.simd * form.lane_bits
        spikes = Signal(plan.block_words * word_bits)
        number = Signal.like(block_number)
        open_words = Signal(plan.block_words)  # apart from unsent, so that what is read is compared, and no more, in one cycle
        unsent = Signal(plan.block_words)
        with m.If(match.free):
            m.d.sync += number.eq(block_number)
            for k in range(min(plan.block_words * form.simd, plan.block_beats * plan.pixels)):
                coefficient = plan.code.coefficient(self.blocks.data.word_select(k, plan.code_bits), block.tag.time)
                m.d.sync += spikes.word_select(k, form.lane_bits).eq(Mux(block.tag.empty, 0, coefficient))
        for k in range(plan.block_words):
            m.d.comb += unsent[k].eq(spikes.word_select(k, word_bits).any() & open_words[k])
        found = first_set(m, unsent, name="unsent")

        sending = Signal()  # a word is there
        inside = Signal()  # words of its frame have been taken
        out = Signal(form.layout)
        taken = Signal()
        out_free = Signal()
        m.d.comb += [
            self.o.stream.valid.eq(sending),
            self.o.stream.payload.eq(out),
            taken.eq(sending & self.o.stream.ready),
            out_free.eq(~sending | self.o.stream.ready),
            self.drop.eq(taken & out.last_of_frame),
            match.flush.eq(self.o.cancel & (inside | taken) & out_free & ~(sending & out.last_of_frame)),
            match.free.eq(~match.valid | match.flush | (out_free & ~found.several)),
        ]
        with m.If(taken):
            m.d.sync += [sending.eq(0), inside.eq(~out.last_of_frame)]
        with m.If(match.flush):
            m.d.sync += [sending.eq(1), out.index.eq(0), out.bits.eq(0), out.last_of_step.eq(1), out.last_of_frame.eq(1)]
        with m.Elif(match.valid & out_free):
            m.d.sync += [
                sending.eq(1),
                open_words.eq(found.rest),
                out.time.eq(match.tag.time),
                out.index.eq(number * plan.block_words + found.index),
                out.bits.eq(found.any if word_bits == 1 else spikes.word_select(found.index, word_bits)),
                out.last_of_step.eq(match.tag.last_of_step & ~found.several),
                out.last_of_frame.eq(match.tag.last_of_frame & ~found.several),
                out.error.eq(match.tag.error),
            ]
        with m.If(match.free):
            m.d.sync += open_words.eq(~0)


class _Stage:
    """What a stage holds, and what becomes of it.

    Attributes:
        valid: it holds something.
        free: it can take something new.
        flush: what it holds is of a frame that has been cancelled.
        tag: what goes along with a block.
    """

    def __init__(self, plan: EncoderPlan, name: str):
        layout = {"time": bits_for(plan.walked_steps), "last_of_step": 1, "last_of_frame": 1, "empty": 1, "error": 1}
        self.tag = Signal(data.StructLayout(layout), name=f"{name}_tag")
        self.valid = Signal(name=f"{name}_valid")
        self.free = Signal(name=f"{name}_free")
        self.flush = Signal(name=f"{name}_flush")
