"""Golden vectors as hexadecimal files, and a plain Verilog test bench that checks a circuit against them with any simulator."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import hw.verilog
from export import Events, Network, UserError, reference
from export.files import write_together
from hw import Accelerator, Folding
from hw.buses import wrap
from hw.loading.loader import load_content
from sim import frames
from sim.compare import RESULT_FIELDS
from sim.ports import Payload, Ports
from sim.templates import render
from sim.wrapper import LINGER, design

README = """\
Golden vectors of a network, and a plain Verilog test bench for its circuit. In this folder, for example:

    iverilog -o testbench accelerator.v testbench.v && vvp testbench && vvp testbench +early
    verilator --binary --timing -Wno-fatal -CFLAGS -std=c++20 --top testbench *.v && obj_dir/Vtestbench && obj_dir/Vtestbench +early

words.hex       what goes in, frame by frame: {words}
words_K.hex     the same on input stream K, where there are several: of the frames K, K + {streams}, …
last_words.hex  per frame in words.hex, the index of its last word; likewise last_words_K.hex
setup.hex       what goes in before, if anything does: {setup}
results.hex     per frame, the packed result
steps_L.hex     per frame and neuron of layer L, the step of its spike ({steps:x} = never), where the circuit has monitors
coefficients_L.hex  instead, where neurons spike more than once: per frame, step and neuron, what its spike is worth, as many bits as in
                the words, two's complement if it can be below 0 (0 = none)
accelerator.json tells the fields of words and results. All numbers are hexadecimal.
"""
WORDS = {
    "none": "{frames_in}, packed as the payload of a stream",
    "axi": "{frames_in}, packed as s_axis_tdata",
    "wishbone": "{frames_in} in words of the bus, bytes selected (35:32) and data (31:0)",
}
SETUP = {"none": "payloads of stream load", "registers": "address (47:32) and value (31:0) of registers, the mode first"}


def write(
    network: Network,
    inputs: np.ndarray | Events,
    folding: Folding,
    folder: Path,
    *,
    images: np.ndarray | None = None,
    wrapper: str = "none",
    weights: str = "rom",
) -> list[Path]:
    """Write circuit, vectors and test bench into a folder, all or nothing; the paths that were written.

    Parameters:
        network: the network.
        inputs: events, or spike times: integers (frames, inputs), 0 … T.
        folding: of the circuit.
        folder: is made if it is not there.
        images: uint8 (frames, inputs) of these spikes; if they are given, pixels are what goes in.
        wrapper: one of `hw.buses.WRAPPERS`. The spikes inside a wrapped circuit are not compared.
        weights: "rom" or "loadable".

    Raises:
        UserError: there is no frame, no neuron spikes, or the arguments do not fit.
        OSError: a file cannot be written.
    """
    events = network.check_inputs(inputs)
    images = None if images is None else frames.checked_images(images)
    golden = reference.run(network, events)
    if not any(map(len, golden.events)):
        raise UserError("some neuron must spike in some frame, but none does: there is nothing to compare")
    accelerator = Accelerator(network, folding, frames_in="words" if images is None else "pixels", weights=weights)
    circuit = wrap(accelerator, wrapper)
    port_map = hw.verilog.port_map(circuit)
    ports = Ports.from_map(hw.verilog.port_map(accelerator))
    words = frames.pack(events, accelerator.input_format) if images is None else frames.pack_pixels(images, folding.pixels)
    word, result = ports.word, ports.result
    if wrapper == "wishbone":
        word, words = Payload(36, {}), _bus_words(words, images)
    if wrapper == "axi":
        result = Payload(port_map["ports"]["m_axis_tdata"]["width"], result.fields)
    monitors = ports.monitors if wrapper == "none" else ()
    once = [layer.neuron.spikes_once for layer in network.layers]
    setup, setup_width = _setup(accelerator, port_map.get("registers", {}))
    streams = {name: words.stream(place, len(ports.streams)) for place, name in enumerate(ports.streams)}
    files = {f"words{name[1:]}.hex": _wide(own.records, word) for name, own in streams.items()}
    files |= {f"last_words{name[1:]}.hex": _numbers(np.cumsum(own.counts) - 1) for name, own in streams.items()}
    files |= {"setup.hex": _numbers(setup)} if setup else {}
    files["results.hex"] = _results(golden.decisions, result)
    files |= dict(_spikes(layer, network, golden.events[layer], monitor) for layer, monitor in enumerate(monitors))
    files["README.txt"] = README.format(
        words=WORDS[wrapper].format(frames_in="spike words" if images is None else "pixels"),
        setup=SETUP["none" if wrapper == "none" else "registers"],
        streams=len(streams),
        steps=network.steps,
    )
    files["testbench.v"] = render(
        "vectors.v.j2",
        top=port_map["top"],
        wrapper=wrapper,
        streams=streams,
        word=word,
        tdata=port_map["ports"]["s_axis_tdata"]["width"] if wrapper == "axi" else 0,
        cancels=wrapper == "none" and ports.cancels,
        result=result,
        result_words=-(-(result.width + 1) // 32),
        addresses={name: register["address"] for name, register in port_map.get("registers", {}).items()},
        monitors=monitors,
        lane_bits=_lane_bits,
        outputs=[layer.outputs for layer in network.layers],
        once=once,
        several=not all(once[: len(monitors)]),
        setup=len(setup),
        setup_width=setup_width,
        frames=events.shape[0],
        tags=1 << ports.monitors[0]["frame"].width,
        steps=network.steps,
        linger=LINGER,
        patience=design("", ports, network).patience,
    )
    return write_together(hw.verilog.contents(circuit, folder / "accelerator.v") | {folder / name: text for name, text in files.items()})


def _setup(accelerator: Accelerator, registers: dict[str, Any]) -> tuple[list[int], int]:
    """What goes in before the frames, and its width in bits: bytes of weights, or addresses and values of registers."""
    content = load_content(accelerator.plans) if accelerator.weights == "loadable" else b""
    if not registers:
        return [byte | (place == 0) << 8 for place, byte in enumerate(content)], 9
    writes = [("control", 0), *([("waiting", 1)] if "waiting" in registers else [])]
    if content:
        write, first = (1 << registers["load"]["fields"][field]["offset"] for field in ("write", "first"))
        writes += [("load", byte | write | first * (place == 0)) for place, byte in enumerate(content)]
    return [registers[name]["address"] << 32 | value for name, value in writes], 48


def _bus_words(words: frames.Words, images: np.ndarray | None) -> frames.Words:
    """Frames as words of a bus: two units, the data and which bytes of it are written. Pixels come four by four."""
    if images is None:
        data = words.records.reshape(-1, 1)
        return frames.Words(np.hstack([data, np.full_like(data, 0xF)]), words.counts * words.records.shape[1])
    count, inputs = images.shape
    padded = np.pad(images, ((0, 0), (0, -inputs % 4)))
    selected = np.full(padded.shape[1] // 4, 0xF, np.uint32)
    selected[-1] = (1 << (inputs - 1) % 4 + 1) - 1
    data = np.ascontiguousarray(padded).view("<u4").reshape(-1, 1)
    return frames.Words(np.hstack([data, np.tile(selected, count)[:, None]]), np.full(count, len(selected)))


def _spikes(layer: int, network: Network, events: Events, monitor: Payload) -> tuple[str, str]:
    """The name and the text of the file of a layer's spikes."""
    if network.layers[layer].neuron.spikes_once:
        return f"steps_{layer}.hex", _numbers(events.spike_times().ravel())
    worth = np.zeros(events.shape, np.int64)
    worth[events.frame, events.step, events.neuron] = events.coefficient
    return f"coefficients_{layer}.hex", _numbers(worth.ravel() & (1 << _lane_bits(monitor)) - 1)


def _lane_bits(monitor: Payload) -> int:
    """Bits of a coefficient."""
    return monitor["bits"].width // monitor.lanes("bits")


def _numbers(values: Iterable[int]) -> str:
    return "".join(f"{value:x}\n" for value in values)


def _wide(records: np.ndarray, payload: Payload) -> str:
    digits = -(-payload.width // 4)
    units = records[:, ::-1].astype(">u4")
    return "".join(f"{row.tobytes().hex()[-digits:]}\n" for row in units)


def _results(decisions: reference.Decisions, payload: Payload) -> str:
    packed = [0] * len(decisions.step)
    for name in RESULT_FIELDS:
        field = payload[name]
        mask = (1 << field.width) - 1
        for frame, value in enumerate(getattr(decisions, name, np.zeros(len(packed)))):
            packed[frame] |= (int(value) & mask) << field.offset
    return _numbers(packed)
