"""Golden vectors as hexadecimal files, and a plain Verilog test bench that checks a circuit against them with any simulator."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

import hw.verilog
from export import Network, UserError, reference
from export.files import atomic_write
from hw import Accelerator, Folding
from sim import frames
from sim.compare import RESULT_FIELDS
from sim.ports import Payload, Ports
from sim.templates import render
from sim.wrapper import LINGER, design

README = """\
Golden vectors of a network, and a plain Verilog test bench for its circuit. In this folder, for example:

    iverilog -o testbench accelerator.v testbench.v && vvp testbench && vvp testbench +early
    verilator --binary --timing -Wno-fatal -CFLAGS -std=c++20 --top testbench *.v && obj_dir/Vtestbench && obj_dir/Vtestbench +early

{words}
results.hex     per frame, the packed result
steps_L.hex     per frame and neuron of layer L, the step of its spike ({steps} = never)
accelerator.json tells the fields of words and results. All numbers are hexadecimal.
"""
ONE_STREAM = """\
words.hex       the input words of all frames, in order
last_words.hex  per frame, the index of its last word"""
SEVERAL_STREAMS = """\
words_K.hex     the words on input stream K, of the frames K, K + {streams}, …, in order
last_words_K.hex  per frame on that stream, the index of its last word"""


def write(network: Network, spike_times: np.ndarray, folding: Folding, folder: Path) -> list[Path]:
    """Write circuit, vectors and test bench into a folder; the paths that were written.

    Parameters:
        network: the network.
        spike_times: integers (frames, inputs), 0 … T.
        folding: of the circuit.
        folder: is made if it is not there.

    Raises:
        UserError: there is no frame, no neuron spikes, or the arguments do not fit.
        OSError: a file cannot be written.
    """
    golden = reference.run(network, spike_times)
    if not any((times < network.steps).any() for times in golden.spike_times):
        raise UserError("some neuron must spike in some frame, but none does: there is nothing to compare")
    accelerator = Accelerator(network, folding)
    ports = Ports.from_map(hw.verilog.port_map(accelerator))
    words = frames.pack(spike_times, accelerator.input_format)
    several = len(ports.streams) > 1
    streams: list[dict[str, Any]] = [
        {"name": name, "suffix": f"_{place}" if several else "", "words": words.stream(place, len(ports.streams))}
        for place, name in enumerate(ports.streams)
    ]
    of_streams = SEVERAL_STREAMS.format(streams=len(streams)) if several else ONE_STREAM
    files = {
        **{f"words{stream['suffix']}.hex": _wide(stream["words"].records, ports.word) for stream in streams},
        **{f"last_words{stream['suffix']}.hex": _numbers(np.cumsum(stream["words"].counts) - 1) for stream in streams},
        "results.hex": _results(golden.decisions, ports.result),
        **{f"steps_{layer}.hex": _numbers(times.ravel()) for layer, times in enumerate(golden.spike_times)},
        "README.txt": README.format(steps=f"{network.steps:x}", words=of_streams),
        "testbench.v": render(
            "vectors.v.j2",
            top=ports.top,
            streams=streams,
            word=ports.word,
            result=ports.result,
            monitors=ports.monitors,
            outputs=[layer.outputs for layer in network.layers],
            frames=len(spike_times),
            tags=1 << ports.monitors[0]["frame"].width,
            steps=network.steps,
            linger=LINGER,
            patience=design("", ports, network.shape).patience,
        ),
    }
    written = [*hw.verilog.write(accelerator, folder / "accelerator.v")]
    for name, text in files.items():
        with atomic_write(folder / name) as path:
            path.write_text(text)
        written.append(folder / name)
    return written


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
