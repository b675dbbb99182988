"""The area of a folding by formula, before anything is generated: a filter for searches. Figures that are shown come from `hw.fpga.parts`.

Memories are counted as Yosys maps them (`hw.fpga.memories`). The rest has the shape of the cost model of FINN-R (Blott et al., "FINN-R: An
End-to-End Deep-Learning Framework for Fast Exploration of Quantized Neural Networks", ACM TRETS 11(3), 2018, section 5.2): a constant per
component, plus ``PE`` times what a processing element takes, which is in proportion to its synapses (``SIMD``) and to the bits of its
accumulator. Errors are up to 20 %, in circuits of a few hundred LUTs up to 30 %.
"""

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import reduce
from operator import or_

from export import Network
from hw.core.accelerator import monitor_formats
from hw.core.counting import count_width
from hw.core.folding import Folding
from hw.core.layer import sequencer_of
from hw.core.membranes import membranes_of
from hw.core.memories import CHUNK, chunks, spram_shape
from hw.core.plan import LayerPlan
from hw.core.pool import Pool
from hw.core.readout import result_layout
from hw.core.streams import input_format
from hw.core.words import bits_for
from hw.encoder.codes import code_of
from hw.encoder.plan import EncoderPlan
from hw.fpga.devices import DEVICES, Device, Family
from hw.fpga.memories import Shape, mapped
from hw.host.boards import Board
from hw.host.host_link import info_content
from hw.host.hosted import describe
from hw.host.recorder import most_records, record_layout


@dataclass(frozen=True)
class Costs:
    """What a family's LUTs hold.

    Attributes:
        synapse: LUTs of a synapse of a processing element: its weight's AND or XNOR, and its share of the adder tree.
        bit: LUTs of a bit of an accumulator: its adder, and the choice between sum and initial potential.
        control: LUTs of what takes one LUT of four inputs.
        places: places of the device, as nextpnr counts them, per LUT and per flip-flop: a logic cell of an iCE40 holds a LUT and the
            flip-flop behind it; on an ECP5 carry chains leave LUTs of their places unused.
    """

    synapse: float
    bit: float
    control: float
    places: tuple[float, float]


COSTS = {
    "ice40": Costs(synapse=2.1, bit=2.1, control=1.0, places=(0.75, 1.0)),
    "ecp5": Costs(synapse=2.1, bit=2.1, control=1.0, places=(1.2, 0.0)),
    "xc7": Costs(synapse=1.6, bit=1.9, control=0.75, places=(1.0, 0.0)),
}
HOPELESS = {"luts": 1.5, "ffs": 1.5, "block_rams": 1.0, "sprams": 1.0}
"""Times the capacity of a device: what the formula puts beyond does not fit, whatever its error. Of memories it counts what Yosys makes."""


@dataclass(frozen=True)
class Part:
    """A component of the circuit.

    Attributes:
        name: of the submodule of the accelerator, or of the host's side.
        luts, ffs: of its logic, without memories.
        memories: its memories.
    """

    name: str
    luts: float
    ffs: float
    memories: tuple[Shape, ...] = ()


@dataclass(frozen=True)
class Estimate:
    """An area, by formula or by synthesis of the parts.

    Attributes:
        luts, ffs, block_rams, sprams: as `hw.fpga.flow.Area` counts them.
        placed: LUTs as place and route will count them, roughly.
        memory_bits: in all memories, whatever they are made of; 0 if not counted.
        parts: LUTs of each part of the circuit.
    """

    luts: int
    ffs: int
    block_rams: float
    sprams: int
    placed: int
    memory_bits: int = 0
    parts: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def of(
        cls, family: Family, parts: Mapping[str, int], *, ffs: float, block_rams: float, sprams: int, memory_bits: int = 0
    ) -> "Estimate":
        """The estimate for a family of devices whose parts have so many LUTs."""
        luts, (per_lut, per_ff) = sum(parts.values()), COSTS[family.name].places
        return cls(luts, round(ffs), block_rams, sprams, round(luts * per_lut + ffs * per_ff), memory_bits, parts)

    def fits(self, device: Device) -> bool:
        """Whether the device holds it, when placed."""
        return not device.over(asdict(self) | {"luts": max(self.luts, self.placed)})

    def hopeless(self, device: Device, *, logic_only: bool = False) -> list[str]:
        """What the device lacks so much of, in words, that the circuit need not be synthesised to see that it does not fit."""
        needs = {"luts": self.luts, "ffs": self.ffs}
        return device.over(needs if logic_only else needs | {"block_rams": self.block_rams, "sprams": self.sprams}, HOPELESS)


class AreaModel:
    """The formula of each kind of component, for a family of devices; another kind of layer is another method.

    Parameters:
        family: of devices.
        weights: ``"rom"`` or ``"loadable"``.
        board: with its host link and spike recorder; with SPRAMs, where its device has them; or None.
    """

    def __init__(self, family: Family, weights: str = "rom", board: Board | None = None):
        self.family, self._loadable, self._board = family, weights == "loadable", board
        self._costs = COSTS[family.name]
        self._has_sprams = board is not None and "sprams" in DEVICES[board.device].capacity

    def estimate(self, network: Network, folding: Folding, frames_in: str) -> Estimate:
        """The area of `hw.Accelerator`, with its monitors left open; or of all that goes onto the board.

        Raises:
            UserError: the folding does not fit the network.
        """
        return self.total(self.parts(network, folding, frames_in))

    def total(self, parts: Iterable[Part]) -> Estimate:
        """The area of some parts."""
        parts = list(parts)
        maps = {part.name: [mapped(self.family.name, shape) for shape in part.memories] for part in parts}
        every = [memory for memories in maps.values() for memory in memories]
        return Estimate.of(
            self.family,
            {part.name: round(part.luts + sum(memory.luts for memory in maps[part.name])) for part in parts},
            ffs=sum(part.ffs for part in parts) + sum(memory.ffs for memory in every),
            block_rams=sum(memory.block_rams for memory in every),
            sprams=sum(memory.sprams for memory in every),
            memory_bits=sum(shape.bits for part in parts for shape in part.memories),
        )

    def parts(self, network: Network, folding: Folding, frames_in: str) -> list[Part]:
        """All components.

        Raises:
            UserError: the folding does not fit the network.
        """
        plans = folding.plans(network)
        form = replace(input_format(plans[0]), frames=0)
        contexts, control = folding.contexts, self._costs.control
        found = [Part("scheduler", control * 20 * contexts, 5 + 8 * contexts)]
        for index, plan in enumerate(plans):
            found += self.layer(plan, index)
        if frames_in == "words":
            bits = form.layout.size
            found += [Part(f"frame_check_{context}", control * 1.9 * bits, 1.25 * bits) for context in range(contexts)]
        else:
            encoder = EncoderPlan(form, code_of(network.encoder, network.steps), folding.pixels)
            found += [self.encoder(encoder, f"encoder_{context}") for context in range(contexts)]
            found.append(Part("distributor", control * contexts, 1))
        if self._loadable:
            found.append(Part("loader", 6 * control, 4))
        if self._board:
            found += self._host(network, folding, plans)
        return [*found, Part("rest", 30 * control, 15)]

    def layer(self, plan: LayerPlan, index: int = 0) -> list[Part]:
        """A layer with what follows it: its emitter, or the readout."""
        neurons = self.neurons(plan, f"layer_{index}")
        return [neurons, self.readout(plan) if plan.following_simd is None else self.emitter(plan, f"emitter_{index}")]

    def neurons(self, plan: LayerPlan, name: str) -> Part:
        """A layer: its pool, if it has one, its sequencer, weights, membranes and neurons."""
        rows = plan.weight_depth
        fixed = plan.form == "delta" and not self._loadable  # a weight that is always 0 is free then
        synapses = plan.simd * plan.lane_bits * (1 - 2.0**-rows if fixed else 1)
        bits, additions = plan.membrane_bits, 1 + plan.neurons.adders(plan.layer.neuron)
        in_memory = plan.addressed or plan.by_rows or (plan.form == "delta" and plan.loop_order == "event" and plan.neuron_folds > 1)
        gathered = plan.contexts * plan.synapse_folds * plan.simd * (plan.form == "xnor")
        of_a_bit = self._costs.bit * additions + 0.5 * (plan.swap > 1)
        luts = 30 * self._costs.control + plan.pe * (self._costs.synapse * synapses + of_a_bit * bits)
        kept = 0 if in_memory else plan.flag_bits + bits
        ffs = 45.0 + plan.pe * (count_width(plan.simd, plan.input_coefficients) + kept) + gathered
        if self._loadable:
            shapes = ((plan.weight_width, rows), (plan.initial_width, plan.initial_depth))
            luts += sum(3.5 * chunks(width) for width, _ in shapes)
            ffs += sum(width for width, rows in shapes if rows == 1)
        for more_luts, more_ffs in (sequencer_of(plan).logic(plan), Pool.logic(plan) if plan.layer.pool else (0.0, 0.0)):
            luts, ffs = luts + self._costs.control * more_luts, ffs + more_ffs
        return Part(name, luts + 0.8 * self._costs.synapse * gathered, ffs, tuple(self._memories_of(plan)))

    def _memories_of(self, plan: LayerPlan) -> Iterable[Shape]:
        rows, initial = plan.weight_depth, (plan.initial_width, plan.initial_depth)
        if not self._loadable:
            missing = plan.pe - plan.last_fold_size
            yield Shape("rom", plan.weight_width, max(2, rows), short=missing * plan.simd, short_depth=rows - plan.synapse_folds)
            yield Shape("rom", initial[0], max(2, initial[1]))
        else:
            sprams = self._has_sprams and spram_shape(plan.weight_width, rows)
            filled = [Shape("spram", plan.weight_width, rows)] if sprams else [_written(plan.weight_width, rows)]
            yield from (shape for shape in (*filled, _written(*initial)) if shape.depth > 1)
        membranes, sequencer = membranes_of(plan), sequencer_of(plan)
        if shape := membranes.memory_shape(plan):
            yield Shape("through" if membranes.reads_what_is_written else "free", *shape)
        if shape := sequencer.memory_shape(plan):
            yield Shape("free", *shape)
        if plan.layer.pool is not None and (shape := Pool.memory_shape(plan)):
            yield Shape("through", *shape)
        for rom in (sequencer.rom(plan), Pool.rom(plan) if plan.layer.pool else None):
            if rom is not None:
                yield Shape.of_rom(*rom)

    def emitter(self, plan: LayerPlan, name: str) -> Part:
        """What makes words for the next layer of a layer's neurons."""
        assert plan.following_simd is not None
        pe, simd, slots = plan.pe * plan.coefficient_bits, plan.following_simd * plan.coefficient_bits, plan.vector_slots
        luts = 33 + 1.6 * pe + 1.9 * simd * (plan.neuron_folds > 1) + 1.6 * pe * (pe > simd)
        row = pe + bits_for(plan.steps) + bits_for(plan.frames) + 4
        if plan.addressed:
            address = sum(bits_for(count) for count in (plan.positions, plan.neuron_folds) if count > 1)
            luts, row = luts + 4 * address, row + address
        return Part(name, self._costs.control * luts, 40 + 2 * pe + simd, (Shape("through", row, slots),) if slots > 1 else ())

    def readout(self, plan: LayerPlan) -> Part:
        """What takes the winner of the last layer's margins: a comparison and a register, on each level of a tree, of half as many."""
        bits, result = plan.pe * plan.membrane_bits, result_layout(plan).size - 1
        return Part(
            "readout", 40 * self._costs.control + 1.6 * self._costs.bit * bits, 40 + 3.1 * bits, (Shape("comb", result, plan.frames),)
        )

    def encoder(self, plan: EncoderPlan, name: str) -> Part:
        """An encoder: a list of blocks of pixels for each step."""
        steps = plan.active_steps
        luts = 50 + steps * (18 + 0.7 * plan.pixels) + 1.5 * plan.block_bits + 2.5 * plan.ways * plan.list_address
        memories = [Shape("free", plan.block_bits, 2 << plan.block_address, plan.pixels * plan.code_bits)]
        memories += [Shape("free", plan.block_address, 1 << plan.list_address)] * plan.ways
        return Part(name, self._costs.control * luts, 80 + 11 * steps + 0.25 * plan.block_bits, tuple(memories))

    def _host(self, network: Network, folding: Folding, plans: tuple[LayerPlan, ...]) -> list[Part]:
        """What speaks with a host."""
        content = info_content(describe(network, folding, "loadable" if self._loadable else "rom"))
        bits_used = reduce(or_, content).bit_count()  # of letters, the highest is always 0
        info = Shape("free", 8, len(content)) if self._loadable else Shape("rom", bits_used, len(content))
        forms = monitor_formats(plans)
        depths = (1 << bits_for(depth) for depth in most_records(plans))
        recorded = tuple(Shape("block", record_layout(form).size, depth) for form, depth in zip(forms, depths, strict=True))
        control = self._costs.control
        return [
            Part("link", 150 * control, 88, (info,)),
            Part("recorder", (40 + 20 * len(forms)) * control, 21, recorded),
            Part("serial line", 47 * control, 25),
        ]


def _written(width: int, rows: int) -> Shape:
    """A memory of rows that are written in chunks."""
    return Shape("free", width, rows, min(width, CHUNK))
