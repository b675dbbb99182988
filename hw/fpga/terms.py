"""What a folding's circuit is made of, in physical terms: potential bits, counted bits, word flags, margins compared, memories.

The area forecast multiplies them with what each costs on a family of devices (`hw.fpga.forecast`).
"""

from dataclasses import dataclass, field
from functools import reduce
from operator import or_

from export import Network
from hw.core.accelerator import monitor_formats
from hw.core.emitter import lanes_of
from hw.core.folding import Folding, LayerPlan
from hw.core.memories import CHUNK, chunks, spram_shape
from hw.core.neuron import count_width
from hw.core.readout import result_layout
from hw.core.sequencers import operation
from hw.core.streams import input_format
from hw.core.words import WordFormat, bits_for
from hw.encoder.plan import EncoderPlan
from hw.fpga.memories import Shape
from hw.host.host_link import info_content
from hw.host.hosted import describe
from hw.host.recorder import most_records, record_layout, record_size


@dataclass(frozen=True)
class Part:
    """A part of the circuit.

    Attributes:
        kind: ``"layer"``, ``"emitter"``, ``"readout"``, ``"gate"``, ``"frame_check"``, ``"encoder"``, ``"distributor"``,
            ``"loader"`` or ``"rest"``; of what speaks with a host, one of `HOST_KINDS`.
        name: of the submodule of the accelerator; empty for what belongs to none of them.
        amounts: how much of what there is in it, by term.
        memories: its memories.
    """

    kind: str
    name: str
    amounts: dict[str, float]
    memories: tuple[Shape, ...] = field(default=())


HOST_KINDS = ("link", "recorder", "receiver", "transmitter")


def parts(
    network: Network, folding: Folding, frames_in: str, weights: str = "rom", *, hosted: bool = False, sprams: bool = False
) -> list[Part]:
    """The parts of `hw.Accelerator` for the same arguments.

    Parameters:
        hosted: with those of `hw.host.hosted.SerialAccelerator` around it.
        sprams: large loadable memories are made of single-port RAMs.

    Raises:
        UserError: the folding does not fit the network.
    """
    plans = folding.plans(network)
    form = WordFormat(network.inputs, network.steps, plans[0].simd)
    found = [_gate(plans, form)]
    for index, plan in enumerate(plans):
        found.append(layer_part(plan, f"layer_{index}", weights, sprams=sprams))
        if plan.following_simd is not None:
            found.append(_emitter(plan, f"emitter_{index}"))
    found.append(readout_part(plans[-1]))
    if frames_in == "words":
        found += [_frame_check(form, f"frame_check_{context}") for context in range(folding.contexts)]
    else:
        assert network.encoder.p_min is not None  # an accelerator for pixels has a latency encoder
        encoder = EncoderPlan(form, network.encoder.p_min, folding.pixels)
        found += [_encoder(encoder, f"encoder_{context}") for context in range(folding.contexts)]
        found.append(Part("distributor", "distributor", {"constant": 1, "streams": folding.contexts}))
    if weights == "loadable":
        found.append(_loader(plans))
    if hosted:
        found += _host_parts(network, folding, plans, weights)
    amounts = {"constant": 1, "word bits": folding.contexts * form.layout.size, "result bits": result_layout(plans[-1]).size}
    return [*found, Part("rest", "", amounts)]


def layer_part(plan: LayerPlan, name: str, weights: str = "rom", *, sprams: bool = False) -> Part:
    """A layer."""
    neurons, bits = plan.pe, plan.pe * plan.membrane_bits
    operation_bits = operation(plan).size
    counted = _counted_lanes(plan, weights)
    loads = weights == "loadable"
    amounts = {
        "constant": 1,
        "operation bits": operation_bits,
        "address bits": bits_for(plan.neuron_folds * plan.synapse_folds) if plan.neuron_folds > 1 else 0,
        "neurons": neurons,
        f"lanes, {plan.form}": neurons * counted,
        f"counting adder bits, {plan.form}": neurons * _popcount_bits(counted),
        "count bits": neurons * count_width(plan.simd),
        "subtracted bits": neurons * count_width(plan.simd) if plan.simd > 1 and plan.form == "delta" else 0,
        "neurons that may be missing": neurons if plan.last_fold_size < plan.pe else 0,
        "loaded bits in registers": sum(width for width, rows in _row_memories(plan) if loads and rows == 1),
        "loaded lanes": sum(chunks(width) for width, _ in _row_memories(plan)) * loads,
    }
    memories = [_weight_memory(plan, loads, sprams), _initial_memory(plan, loads)]
    rows = plan.contexts << (plan.neuron_folds - 1).bit_length()
    state = neurons * (1 + plan.membrane_bits)
    keeping = _keeping(plan)
    if not _sums_in_readout(plan):
        amounts[f"potential bits, {keeping}{'' if plan.following_simd else ', last layer'}"] = bits
    if keeping == "anew":
        row_bits = plan.synapse_folds * plan.simd
        amounts |= {"gathered bits": plan.contexts * row_bits, "walked bits": row_bits * (plan.synapse_folds > 1)}
        amounts["gathered bits to choose from"] = plan.contexts * row_bits if plan.contexts > 1 else 0
        if plan.membrane_rows > 1:
            memories.append(Shape("free", neurons, rows))
    elif keeping == "swapped":
        amounts["swapped bits"] = plan.swap * plan.beat_size * (1 + plan.membrane_bits)
        memories.append(Shape("free", plan.beat_size * (1 + plan.membrane_bits), rows << bits_for(plan.swap)))
    elif keeping in ("in memory", "exchanged"):
        memories.append(Shape("free", state, rows))
    if plan.replays:
        amounts["replay"] = 1
        if plan.neuron_folds > 1:  # or it is there for its swaps alone
            kept = bits_for(plan.synapse_folds) + plan.simd
            amounts["replayed bits"] = kept + operation_bits
            memories.append(Shape("free", kept, max(2, plan.synapse_folds + plan.split_words)))
    return Part("layer", name, amounts, tuple(memory for memory in memories if memory.depth > 1))


def _keeping(plan: LayerPlan) -> str:
    """Where potentials are between two operations: nowhere, since sums begin anew; moved out bit by bit; in a memory; in registers
    that are exchanged with a memory's row; or in registers for good."""
    if plan.form == "xnor":
        return "anew"
    if plan.swap > 1:
        return "swapped"
    if plan.neuron_folds > 1 and plan.loop_order == "event":
        return "in memory"
    return "exchanged" if plan.membrane_rows > 1 else "kept"


def _sums_in_readout(plan: LayerPlan) -> bool:
    """Whether the sums of potentials go by names of the readout, which takes them as they are."""
    return plan.following_simd is None and _keeping(plan) == "kept"


def _counted_lanes(plan: LayerPlan, weights: str) -> float:
    """Weights that a neuron counts at once, on average: in the delta form, one that is 0 in all rows of a ROM is not counted."""
    if plan.form == "xnor":
        return plan.simd
    in_last_word = plan.layer.inputs - (plan.synapse_folds - 1) * plan.simd
    counted = 0.0
    for neurons, groups in ((plan.last_fold_size, plan.neuron_folds), (plan.pe - plan.last_fold_size, plan.neuron_folds - 1)):
        for lanes, words in ((in_last_word, plan.synapse_folds), (plan.simd - in_last_word, plan.synapse_folds - 1)):
            rows = groups * words
            counted += neurons * lanes * (1 - 2.0**-rows if weights == "rom" else rows > 0)
    return counted / plan.pe


def _loader(plans: tuple[LayerPlan, ...]) -> Part:
    memories = [memory for plan in plans for memory in _row_memories(plan)]
    widest, deepest = max(chunks(width) for width, _ in memories), max(rows for _, rows in memories)
    return Part("loader", "loader", {"constant": 1, "memories": len(memories), "counter bits": bits_for(widest) + bits_for(deepest)})


def _host_parts(network: Network, folding: Folding, plans: tuple[LayerPlan, ...], weights: str) -> list[Part]:
    content = info_content(describe(network, folding, weights))
    bits_used = reduce(or_, content).bit_count()  # of letters, the highest is always 0
    loads = weights == "loadable"
    link: dict[str, float] = {
        "constant": 1,
        "counter bits": bits_for(max(network.inputs, len(content))),
        "result bits": result_layout(plans[-1]).size,
        "loadable": loads,
    }
    info = Shape("free", 8, len(content)) if loads else Shape("rom", bits_used, len(content))
    forms = monitor_formats(plans)
    depths = most_records(forms)
    recorder: dict[str, float] = {
        "constant": 1,
        "monitors": len(forms),
        "counter bits": sum(bits_for(depth + 1) for depth in depths),
        "bits to choose from": 8 * sum(record_size(form) for form in forms),
    }
    kept = tuple(Shape("block", record_layout(form).size, 1 << bits_for(depth)) for form, depth in zip(forms, depths, strict=True))
    return [
        Part("link", "link", link, (info,)),
        Part("recorder", "recorder", recorder, kept),
        Part("receiver", "receiver", {"constant": 1}),
        Part("transmitter", "transmitter", {"constant": 1}),
    ]


def _row_memories(plan: LayerPlan) -> list[tuple[int, int]]:
    """Width and rows of the memories of weights and of potentials to start from."""
    return [(plan.weight_width, plan.neuron_folds * plan.synapse_folds), (plan.initial_width, plan.neuron_folds * plan.swap)]


def _weight_memory(plan: LayerPlan, loads: bool, sprams: bool) -> Shape:
    width, rows = _row_memories(plan)[0]
    if loads:
        if sprams and spram_shape(width, rows):
            return Shape("spram", width, rows)
        return Shape("free", width, rows, min(width, CHUNK))
    missing = plan.pe - plan.last_fold_size
    return Shape("rom", width, max(2, rows), short=missing * plan.simd, short_depth=rows - plan.synapse_folds)


def _initial_memory(plan: LayerPlan, loads: bool) -> Shape:
    width, rows = _row_memories(plan)[1]
    return Shape("free", width, rows, min(width, CHUNK)) if loads else Shape("rom", width, max(2, rows))


def _emitter(plan: LayerPlan, name: str) -> Part:
    simd = plan.following_simd
    assert simd is not None
    form = WordFormat(plan.layer.outputs, plan.steps, simd, plan.frames)
    lanes = lanes_of(plan, form)
    shifts = {group * plan.pe % simd for group in range(plan.neuron_folds)}
    sources = sum(0 <= place - shift < plan.pe for place in range(lanes * simd) for shift in shifts)
    row = plan.pe + bits_for(plan.steps) + bits_for(plan.neuron_folds) + bits_for(plan.frames) + 4
    amounts = {
        "constant": 1,
        "words of a row": lanes,
        "row bits": row,
        "row bits that are picked": lanes * simd * (lanes > 1),
        "row bits that are shifted": sources if len(shifts) > 1 else 0,
        "word bits": form.layout.size,
        "slots": plan.vector_slots.bit_length() if plan.vector_slots > 1 else 0,
    }
    memories = (Shape("through", row, plan.vector_slots),) if plan.vector_slots > 1 else ()
    return Part("emitter", name, amounts, memories)


def readout_part(plan: LayerPlan) -> Part:
    """The readout behind a last layer."""
    levels = (plan.pe - 1).bit_length()
    nodes, place_bits = 0, 0
    racers = plan.pe
    for level in range(levels):
        nodes += -(-racers // 2)
        place_bits += -(-racers // 2) * min(level + 1, bits_for(plan.pe))
        racers = -(-racers // 2)
    result = result_layout(plan).size - 1
    verdict = bits_for(plan.steps) + bits_for(plan.layer.outputs) + bits_for(plan.frames) + 6
    amounts = {
        "constant": 1,
        "margin bits": plan.pe * plan.membrane_bits,
        "potential bits": plan.pe * plan.membrane_bits if _sums_in_readout(plan) else 0,
        "compared bits": (plan.pe - 1) * plan.membrane_bits,
        "bits after comparisons": nodes * plan.membrane_bits + place_bits,
        "verdict bits": verdict * (levels + 1),
        "result bits": result,
        "frames": plan.frames,
        "contexts": plan.contexts * bits_for(plan.frames),
        "neurons": plan.pe,
    }
    return Part("readout", "readout", amounts, (Shape("comb", result, plan.frames),))


def _gate(plans: tuple[LayerPlan, ...], form: WordFormat) -> Part:
    contexts = plans[0].contexts
    tag = bits_for(plans[0].frames)
    amounts = {
        "constant": 1,
        "contexts": contexts,
        "words to choose from": (contexts - 1) * input_format(plans[0]).layout.size,
        "verdicts": contexts * len(plans) * tag,
        "turns": contexts * (contexts - 1),
    }
    return Part("gate", "gate", amounts)


def _frame_check(form: WordFormat, name: str) -> Part:
    amounts = {"constant": 1, "word bits": form.layout.size, "input bits": form.simd, "time bits": bits_for(form.steps)}
    return Part("frame_check", name, amounts)


def _encoder(plan: EncoderPlan, name: str) -> Part:
    steps = plan.active_steps
    amounts = {
        "constant": 1,
        "pixels": plan.pixels,
        "time bits": plan.pixels * plan.code_bits,
        "row bits": plan.block_bits,
        "pixels compared": plan.block_beats * plan.pixels,
        "words of a row": plan.block_words,
        "row bits that are picked": plan.block_words * plan.form.simd * (plan.block_words > 1),
        "steps": steps,
        "pixels by steps": plan.pixels * steps * (plan.pixels > 1),
        "list counter bits": steps * plan.count_bits,
        "lists": plan.ways * plan.list_address,
        "word bits": plan.form.layout.size,
    }
    memories = [Shape("free", plan.block_bits, 2 << plan.block_address, plan.pixels * plan.code_bits)]
    memories += [Shape("free", plan.block_address, 1 << plan.list_address)] * plan.ways
    return Part("encoder", name, amounts, tuple(memories))


def _popcount_bits(lanes: float) -> float:
    """Bits of the sums of all adders of `hw.core.popcount.popcount`; in between, in proportion."""
    below = int(lanes)
    return _adder_bits(below) + (lanes - below) * (_adder_bits(below + 1) - _adder_bits(below))


def _adder_bits(lanes: int) -> int:
    terms, bits = [1] * lanes, 0
    while len(terms) > 1:
        pairs = [terms[k] + terms[k + 1] for k in range(0, len(terms) - 1, 2)]
        bits += sum(most.bit_length() for most in pairs)
        terms = pairs + terms[2 * len(pairs) :]
    return bits
