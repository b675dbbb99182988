"""How fast co-simulation is, beside a bare C++ loop around the same model, built with the same flags."""

import shlex
import subprocess
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import hw.verilog
from export import Events, Network, UserError
from hw import Accelerator, Folding
from sim import frames, plain, stimuli, toolchain
from sim.build import Build, build
from sim.ports import Ports
from sim.simulate import MODES, simulate
from sim.stimuli import Pace
from sim.wrapper import design

GOAL = 0.7
REPEATS = 3


@dataclass(frozen=True)
class Speed:
    """One mode's speed.

    Attributes:
        cycles: that were simulated.
        frames: that were simulated.
        cosimulation_seconds: with cocotb, the fastest of a few runs.
        bare_seconds: of the C++ loop, the fastest of as many.
    """

    cycles: int
    frames: int
    cosimulation_seconds: float
    bare_seconds: float

    @property
    def ratio(self) -> float:
        """Speed of co-simulation over that of the bare loop."""
        return self.bare_seconds / self.cosimulation_seconds


@dataclass(frozen=True)
class Bench:
    """Speeds by mode, and what the build took."""

    speeds: dict[str, Speed]
    build_seconds: float

    def __str__(self) -> str:
        lines = [f"build    {self.build_seconds:.1f} s" if self.build_seconds else "build    cached"]
        for mode, speed in self.speeds.items():
            lines.append(
                f"{mode:<9}{speed.cycles:,} cycles, {speed.frames:,} frames:  "
                f"co-simulation {speed.cycles / speed.cosimulation_seconds / 1e3:,.0f} k cycles/s, "
                f"{speed.frames / speed.cosimulation_seconds:,.0f} frames/s   "
                f"bare C++ loop {speed.cycles / speed.bare_seconds / 1e3:,.0f} k cycles/s, "
                f"{speed.frames / speed.bare_seconds:,.0f} frames/s   "
                f"ratio {speed.ratio:.2f} (goal {GOAL})"
            )
        return "\n".join(lines)


def measure(network: Network, inputs: np.ndarray | Events, folding: Folding, images: np.ndarray | None = None) -> Bench:
    """Run the same frames, as spike words or as the pixels of images, through both, turn about, and take the fastest run of each.

    Raises:
        UserError: there is no frame, or the tool chain is missing.
    """
    events = network.check_inputs(inputs)
    if events.shape[0] == 0:
        raise UserError("there must be at least one frame, not 0")
    accelerator = Accelerator(network, folding, frames_in="words" if images is None else "pixels")
    ports = Ports.from_map(hw.verilog.port_map(accelerator))
    built = build(design(hw.verilog.generate(accelerator), ports, network))
    words = frames.pack(events, accelerator.input_format) if images is None else frames.pack_pixels(images, folding.pixels)
    with plain.plain_folder() as folder:
        stimuli.write(folder, [(words, Pace())], ports)
        program = _link(built, folder)
        cosimulated: dict[str, list[float]] = {mode: [] for mode in MODES}
        bare: dict[str, list[float]] = {mode: [] for mode in MODES}
        cycles = {}
        for _ in range(REPEATS):
            for mode, recording in simulate(built, ports, words).items():
                cosimulated[mode].append(recording.seconds)
            command = [str(program), f"+in={folder}", f"+out={folder}"]
            for line in subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=True).stdout.splitlines():
                mode, count, seconds, received, stuck = line.split()
                if (int(received), int(stuck)) != (events.shape[0], 0):
                    raise RuntimeError(f"the bare loop must give {events.shape[0]} results, not {received}")
                bare[mode].append(float(seconds))
                cycles[mode] = int(count)
    speeds = {mode: Speed(cycles[mode], events.shape[0], min(cosimulated[mode]), min(bare[mode])) for mode in MODES}
    return Bench(speeds, built.seconds)


def _link(built: Build, folder: Path) -> Path:
    """Compile the bare loop around the model of a build."""
    tools = toolchain.find()
    source = Path(__file__).parent / "templates" / "bare.cpp"
    include = tools.include
    objects = [str(path) for path in (*built.folder.glob("*.a"), *built.folder.glob("verilated*.o"))]
    command = [*shlex.split(tools.cxx), "-std=c++20", "-Os", f"-I{built.folder}", f"-I{include}", f"-I{include / 'vltstd'}"]
    subprocess.run([*command, str(source), *objects, "-pthread", "-o", str(folder / "bare")], env=plain.variables(folder), check=True)
    return folder / "bare"
