"""The SystemVerilog around a circuit in a simulation: what reads the frames and writes down what comes out."""

from dataclasses import dataclass, fields

from export import Network
from sim.ports import Ports
from sim.stimuli import Pace
from sim.templates import render

TOP = "bench"
CONTROLS = ("rst", "early", "start", "done", "stuck", "received")
"""The ports of the wrapper; nothing else of the model is visible from outside, unless a `Design` says so."""

LINGER = 64
"""Cycles without any transfer after which a run that lacks nothing is over."""


@dataclass(frozen=True)
class Design:
    """A circuit to simulate: everything that a build depends on, and nothing else.

    Attributes:
        verilog: text of the circuit.
        ports: its ports.
        capacity: greatest number of words in a frame.
        patience: cycles without a word taken or a result given after which a run is given up.
        visible: signals inside the circuit that a test bench may read and set, each as module and name.
    """

    verilog: str
    ports: Ports
    capacity: int
    patience: int
    visible: tuple[tuple[str, str], ...] = ()

    def wrapper(self, *, traced: bool = False) -> str:
        """Text of the wrapper; ``traced`` for one that dumps the waveform of a frame."""
        ports = self.ports
        ends = sum(1 << ports.word[name].offset for name in ("last_of_step", "last_of_frame")) if ports.cancels else 0
        return render(
            "bench.sv.j2",
            top=ports.top,
            streams=ports.streams,
            word=ports.word,
            cancels=ports.cancels,
            end=ends,
            result=ports.result,
            monitors=ports.monitors,
            logs=("results", *ports.streams, *(f"monitor_{layer}" for layer in range(len(ports.monitors)))),
            pace=[field.name for field in fields(Pace)],
            capacity=self.capacity,
            patience=self.patience,
            linger=LINGER,
            traced=traced,
        )

    def control(self) -> str:
        """Text of the Verilator control file: makes the wrapper's ports and what else is ``visible`` so."""
        signals = [*((TOP, name) for name in CONTROLS), *self.visible]
        lines = ["`verilator_config", *(f'public_flat_rw -module "{module}" -var "{name}"' for module, name in signals)]
        return "\n".join(lines) + "\n"


def design(verilog: str, ports: Ports, network: Network) -> Design:
    """The design of a network's circuit."""
    # A word of a frame carries at least one spike, or is a pixel; but for those that close empty steps, and one to spare.
    spikes = network.inputs * (1 if network.encoder.spikes_once else network.steps)
    # Between two transfers a layer looks, at worst, at all its synapses one by one, and the next one does.
    synapses = sum(int(layer.connection.synapses.sum()) for layer in network.layers)
    return Design(verilog, ports, capacity=spikes + network.steps + 1, patience=10_000 + 4 * synapses)
