"""Mutants: circuits with one small fault each, to see whether the test benches notice.

The faults are Yosys's: a bit on a port of a cell of the netlist is inverted, stuck at 0 or 1, or inverted where another bit of that port is
0 or 1. One build holds them all, with a number that selects which is active.
"""

import itertools
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

import hw.cost.cycles
from export import Events, Network, UserError, reference
from hw import Accelerator, Folding
from hw.verilog import MODULE, generate, port_map
from sim import frames, stimuli
from sim.build import build
from sim.compare import compare
from sim.frames import Words
from sim.ports import Ports
from sim.proofs.tools import yosys
from sim.protocol import proof
from sim.protocol.sequences import sequence
from sim.recording import Transcript
from sim.simulate import MODES, run_module
from sim.stimuli import Pace
from sim.timing import Timing

SELECTOR = (MODULE, "mutant")
"""Module and name of the signal that says which mutant is active."""
SELECTOR_BITS = 12
SEED = 7
STAGES = (6, 60, 600)
"""Sequences of the protocol that a mutant meets, first to last; those that a stage kills do not meet the next."""
FRAMES = 60
"""Frames of the bench that also counts cycles."""


@dataclass(frozen=True)
class Mutant:
    """One fault.

    Attributes:
        number: of it, from 1; the selector that activates it.
        command: of Yosys, which plants it.
    """

    number: int
    command: str

    @property
    def place(self) -> str:
        """Cell, port, bit and mode; for a bit that has a name, the name."""
        control, wire = self._part("ctrlbit"), self._part("wire")
        cell = self._part("cell").replace("$flatten\\", "").replace("\\", "")
        named = f" ({wire}[{self._part('wirebit')}])" if wire else ""
        return f"{cell} {self._part('port')}[{self._part('portbit')}]{named} {self._part('mode')}" + (f" by [{control}]" if control else "")

    @property
    def of_clock(self) -> bool:
        """It is on the clock of a register or a memory."""
        return self._part("port").endswith("CLK")

    def _part(self, option: str) -> str:
        found = re.search(rf" -{option} (\S+)", self.command)
        return found[1] if found else ""


@dataclass(frozen=True)
class Mutated:
    """A circuit, and mutants of it.

    Attributes:
        network: its network.
        folding: its folding.
        ports: its port map.
        netlist: its flat netlist, RTLIL.
        mutants: faults in the netlist.
        verilog: of the circuit with all of them; the signal ``mutant`` says which is active, 0 none.
    """

    network: Network
    folding: Folding
    ports: Mapping[str, Any]
    netlist: str
    mutants: tuple[Mutant, ...]
    verilog: str


def mutate(network: Network, folding: Folding, count: int, seed: int = SEED) -> Mutated:
    """Choose faults evenly over the netlist of a circuit, and plant them all.

    Parameters:
        network, folding: of the circuit.
        count: how many.
        seed: of the choice.

    Raises:
        UserError: there are too many for the selector, or a program is missing.
        ToolError: Yosys fails.
    """
    if count >= 1 << SELECTOR_BITS:
        raise UserError(f"count must be at most {(1 << SELECTOR_BITS) - 1}, which the selector of mutants can name, not {count}")
    accelerator = Accelerator(network, folding)
    with tempfile.TemporaryDirectory(prefix="firstspike.") as name:
        folder = Path(name)
        (folder / "circuit.v").write_text(generate(accelerator), encoding="utf-8")
        select = f"-ctrl mutant {SELECTOR_BITS} 1"
        script = [
            "read_verilog circuit.v",
            f"prep -flatten -top {MODULE}",
            "delete t:$scopeinfo",
            "opt_clean -purge",
            "write_rtlil flat.il",
        ]
        yosys("\n".join([*script, f"mutate -list {count} -seed {seed} {select} -o mutants.ys", ""]), folder)
        commands = (folder / "mutants.ys").read_text(encoding="utf-8").splitlines()
        yosys("\n".join(["read_rtlil flat.il", *commands, "opt_clean", "write_verilog -noattr mutants.v", ""]), folder)
        netlist, text = ((folder / file).read_text(encoding="utf-8") for file in ("flat.il", "mutants.v"))
        # The selector is set from inside the simulation: to the wrapper, the circuit is the same as ever.
        text = re.sub(r", mutant\);", ");", text, count=1)
        text = re.sub(
            rf"^  input \[{SELECTOR_BITS - 1}:0\] mutant;\n  wire (\[.*?\] mutant);", r"  reg \1;", text, count=1, flags=re.MULTILINE
        )
    mutants = tuple(Mutant(number, command) for number, command in enumerate(commands, 1))
    return Mutated(network, folding, port_map(accelerator), netlist, mutants, text)


def kill(mutated: Mutated) -> Iterator[tuple[Mutant, str]]:
    """Run all mutants through the test benches; each with what gave it away, "" if nothing did.

    Raises:
        UserError: the tool chain is missing.
        sim.build.BuildError: the circuit does not compile.
        sim.simulate.SimulationError: the simulator fails.
        AssertionError: the circuit without a fault does not pass, or gives no results.
    """
    alive = {mutant.number: mutant for mutant in mutated.mutants}
    for bench in [*(Protocol(mutated, range(begin, end)) for begin, end in itertools.pairwise((0, *STAGES))), Cycles(mutated)]:
        for number, complaint in bench.complaints([0, *alive]):
            assert number or not complaint, f"without a fault: {complaint}"
            if complaint:
                yield alive.pop(number), complaint
    for mutant in alive.values():
        yield mutant, ""


class Bench(ABC):
    """A build with all mutants, and what it has to send.

    Parameters:
        mutated: the circuit.
    """

    modes: Sequence[str] = MODES

    def __init__(self, mutated: Mutated):
        self.mutated = mutated
        self.ports = Ports.from_map(mutated.ports)
        self.form = proof.input_words(mutated.network, self.ports)

    def complaints(self, numbers: Sequence[int]) -> Iterator[tuple[int, str]]:
        """What the bench has to say of each of some mutants, "" if nothing, the one without a fault first."""
        design = replace(proof.stage(self.mutated.verilog, self.ports, self.mutated.network), visible=(SELECTOR,))
        with tempfile.TemporaryDirectory(prefix="firstspike.") as name:
            folder = Path(name)
            stimuli.write(folder, self.stimuli, self.ports)
            plusargs = [f"+in={folder}", f"+out={folder}", *proof.arguments(SEED)]
            variables = {"FIRSTSPIKE_MUTANTS": ",".join(map(str, numbers)), "FIRSTSPIKE_MODES": ",".join(self.modes)}
            built = build(design, extra_flags=proof.FLAGS)
            run_module(built, "sim.testbench", folder, plusargs, variables, folder / "simulation.log")
            files = sorted(path.name for path in (folder / "0").glob("*.bin"))
            sound = [(folder / "0" / file).read_bytes() for file in files]
            assert all((folder / "0" / f"{mode}.results.bin").stat().st_size for mode in self.modes), "nothing comes out"
            yield 0, self.complaint(folder / "0")
            for number in numbers[1:]:
                own = folder / str(number)
                same = sound == [(own / file).read_bytes() for file in files]
                yield number, "" if same else self.complaint(own)

    def complaint(self, folder: Path) -> str:
        """The first thing that is wrong in the files of a run, or ""."""
        sent = [len(words.counts) for words, _ in self.stimuli]
        found = (self.look(mode, Transcript.read(folder, mode, self.ports, sent)) for mode in self.modes)
        return next(filter(None, found), "")

    @property
    @abstractmethod
    def stimuli(self) -> Sequence[tuple[Words, Pace]]:
        """What is to be sent."""

    @abstractmethod
    def look(self, mode: str, transcript: Transcript) -> str:
        """The first thing that is wrong in one mode, or ""."""


class Protocol(Bench):
    """Random sequences of good and bad frames, with gaps, stalls, cancels and resets, as in ``python -m sim protocol``.

    Parameters:
        mutated: the circuit.
        numbers: of the sequences.
    """

    modes = proof.MODES

    def __init__(self, mutated: Mutated, numbers: Sequence[int]):
        super().__init__(mutated)
        self.runs = [run for number in numbers for run in sequence(self.form, SEED, number)]

    @property
    def stimuli(self) -> Sequence[tuple[Words, Pace]]:
        return [(run.packed(self.ports.word), run) for run in self.runs]

    def look(self, mode: str, transcript: Transcript) -> str:
        _, found = proof.judge_all(mode, self.mutated.network, self.form, self.runs, transcript)
        return f"protocol, {mode} mode: {found[0].text}" if found else ""


class Cycles(Bench):
    """Frames back to back, as in co-simulation; every cycle has to be as the cost model says."""

    def __init__(self, mutated: Mutated):
        super().__init__(mutated)
        network = mutated.network
        self.inputs = network.check_inputs(_random_inputs(network))
        self.golden = reference.run(network, self.inputs)

    @property
    def stimuli(self) -> Sequence[tuple[Words, Pace]]:
        return [(frames.pack(self.inputs, self.form), Pace())]

    def look(self, mode: str, transcript: Transcript) -> str:
        network, folding = self.mutated.network, self.mutated.folding
        comparison = compare(mode, transcript.recording, self.golden, network)
        if not comparison.passed:
            return f"co-simulation: {comparison.first}"
        timing = Timing.of(transcript.recording)
        predicted = hw.cost.cycles.predict(network, folding, self.inputs, self.golden, early=mode == "early")
        if timing.latency.tolist() != predicted.latencies.tolist() or timing.intervals.tolist() != predicted.intervals.tolist():
            return f"cycles, {mode} mode: not those of the cost model"
        return ""


def _random_inputs(network: Network) -> Events:
    """Frames of few spikes and of many; each input's, of which there are as many as it can have at most, at any steps."""
    rng = np.random.default_rng(SEED)
    coefficients = np.zeros((FRAMES, network.steps, network.inputs), np.int16)
    silent = rng.random((FRAMES, network.inputs)) < rng.random((FRAMES, 1))
    for _ in range(network.encoder.totals[1]):
        times = rng.integers(0, network.steps, (FRAMES, network.inputs))
        frame, neuron = np.nonzero(~silent)
        coefficients[frame, times[frame, neuron], neuron] += 1
    return Events.from_dense(coefficients)
