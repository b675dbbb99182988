"""The whole of a co-simulation: golden model, Verilog, simulator, comparison, report."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import joblib
import numpy as np

import hw.cost.cycles
import hw.verilog
from export import Network, UserError, digest, reference
from export.files import prepare_folder
from export.reference import DECISION_FIELDS, Decisions, Result
from export.scores import score
from hw import Accelerator, Folding, default_folding
from hw.core.words import WordFormat
from sim import frames
from sim.build import build
from sim.compare import Comparison, Difference, compare, join
from sim.ports import Ports
from sim.report import Report, assemble
from sim.simulate import MODES, simulate
from sim.timing import Timing
from sim.wrapper import Design, design

FIRST, FRAME = "first_difference", "frame"
"""Names of waveforms, before the mode."""
LEAD_IN = 3
"""Frames that are run before the one whose waveform is wanted, in case it is what they left behind that matters."""


def cosimulate(
    network: Network,
    spike_times: np.ndarray,
    labels: np.ndarray | None = None,
    *,
    images: np.ndarray | None = None,
    folding: Folding | None = None,
    out: str | Path | None = None,
    jobs: int = 1,
    waves: bool = False,
    verilog: tuple[str, Mapping[str, Any]] | None = None,
    expected: Result | None = None,
    about: Mapping[str, Any] | None = None,
) -> Report:
    """Run frames through the network's circuit in both modes and compare every spike with the golden model.

    Parameters:
        network: the network.
        spike_times: integers (frames, inputs), 0 … T, ``T`` = never.
        labels: integers (frames,); without them the report has no accuracy.
        images: uint8 (frames, inputs); if they are given, the circuit gets their pixels through its own latency encoder, and
            ``spike_times`` say what should become of them.
        folding: how much works at once; `hw.default_folding` by default.
        out: folder for ``report.json``, ``report.html`` and, on a difference, its waveform.
        jobs: processes that share the frames.
        waves: write the waveform of the first frame if nothing differs.
        verilog: text and port map to simulate instead of what `hw.verilog.generate` writes.
        expected: what to compare with; by default what the golden model makes of ``spike_times``.
        about: further entries for the report, such as the name of the data set.

    Raises:
        UserError: the arguments do not fit together, nothing could be compared, or the tool chain is missing.
        sim.build.BuildError: the circuit does not compile.
        sim.simulate.SimulationError: the simulator fails.
        OSError: the folder cannot be written.
    """
    began = time.monotonic()
    out = None if out is None else Path(out)
    spike_times = network.check_spike_times(spike_times)
    golden = expected if expected is not None else reference.run(network, spike_times)
    _refuse_nothing(network, spike_times, labels, golden, images, jobs)
    if out is not None:
        _prepare(out)
    seconds: dict[str, float] = {"golden": time.monotonic() - began}

    began_generate = time.monotonic()
    frames_in = "words" if images is None else "pixels"
    if verilog is None:
        folding = folding or default_folding(network)
        folding.plans(network)  # refuses what cannot be before a circuit is begun
        accelerator = Accelerator(network, folding, frames_in=frames_in)
        verilog = hw.verilog.generate(accelerator), hw.verilog.port_map(accelerator)
    else:
        folding = _folding_of(verilog[1], network, folding, frames_in)
    word = WordFormat(network.inputs, network.steps, folding.simd[0]) if images is None else None
    job = _Job(design(verilog[0], Ports.from_map(verilog[1]), network.shape), word, folding.pixels, network.steps)
    seconds["generate"] = time.monotonic() - began_generate

    built = build(job.design)
    seconds["build"] = built.seconds

    began_simulate = time.monotonic()
    sent = spike_times if images is None else images
    shards = np.array_split(np.arange(len(spike_times)), min(jobs, len(spike_times)))
    parts = joblib.Parallel(n_jobs=len(shards))(joblib.delayed(_run_shard)(job, sent[shard], _part(golden, shard)) for shard in shards)
    comparisons = {mode: join([part.comparisons[mode] for part in parts]) for mode in MODES}
    timings = {mode: Timing.join([part.timings[mode] for part in parts]) for mode in MODES}
    seconds["simulate"] = time.monotonic() - began_simulate

    first = next((comparisons[mode].first for mode in MODES if comparisons[mode].first), None)
    waveforms: list[Path] = []
    if out is not None and (first is not None or waves):
        began_waves = time.monotonic()
        waveforms = _waveforms(job, sent, golden, first, shards, out)
        seconds["waves"] = time.monotonic() - began_waves
    seconds["total"] = time.monotonic() - began
    report = assemble(
        network,
        spike_times,
        labels,
        golden,
        comparisons,
        timings,
        limit=hw.cost.cycles.limit(network, folding, spike_times, golden),
        folding=folding,
        build=built,
        seconds=seconds,
        first=first,
        waveforms=waveforms,
        about=dict(about or {}),
    )
    if out is not None:
        report.save(out)
    return report


def _prepare(out: Path) -> None:
    """Make the folder, and remove the waveforms of an earlier run."""
    prepare_folder(out)
    for name in (FIRST, FRAME):
        for mode in MODES:
            (out / f"{name}_{mode}.vcd").unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class _Job:
    """What a process needs to know to run some of the frames, on this machine or another."""

    design: Design
    word: WordFormat | None  # None: frames are sent as pixels
    pixels: int  # per beat
    steps: int

    def words(self, sent: np.ndarray) -> frames.Words:
        """The words, or pixels, of frames."""
        return frames.pack_pixels(sent, self.pixels) if self.word is None else frames.pack(sent, self.word)


@dataclass(frozen=True, eq=False)
class _Part:
    comparisons: dict[str, Comparison]
    timings: dict[str, Timing]


def _run_shard(job: _Job, sent: np.ndarray, golden: Result) -> _Part:
    recordings = simulate(build(job.design), job.design.ports, job.words(sent))
    comparisons = {mode: compare(mode, recording, golden, job.steps) for mode, recording in recordings.items()}
    return _Part(comparisons, {mode: Timing.of(recording) for mode, recording in recordings.items()})


def _folding_of(port_map: Mapping[str, Any], network: Network, folding: Folding | None, frames_in: str) -> Folding:
    """The folding that given Verilog was written for.

    Raises:
        UserError: it was written for something else than what was asked for.
    """
    given = Folding.from_dict(port_map["folding"]) if "folding" in port_map else None
    expected = {"network": digest(network), "frames_in": frames_in}
    found = {"network": port_map.get("network", {}).get("sha256"), "frames_in": port_map.get("frames_in")}
    if folding is not None:
        expected["folding"], found["folding"] = str(folding.as_dict()), str(given and given.as_dict())
    for name, value in expected.items():
        if found[name] != value:
            raise UserError(f"the port map's {name} must be {value}, not {found[name]}")
    if given is None:
        raise UserError("the port map must have a folding")
    return given


def _part(golden: Result, shard: np.ndarray) -> Result:
    """The golden result of some of the frames."""
    decisions = Decisions(*(getattr(golden.decisions, name)[shard] for name in DECISION_FIELDS))
    return Result(tuple(times[shard] for times in golden.spike_times), decisions)


def _waveforms(
    job: _Job, sent: np.ndarray, golden: Result, first: Difference | None, shards: Sequence[np.ndarray], out: Path
) -> list[Path]:
    """Run some frames again in a simulator that can dump waveforms: of the first difference, or of frame 0 in both modes."""
    built = build(job.design, traced=True)
    frame = 0 if first is None else min(first.frame, len(sent) - 1)
    run_began = int(next(shard[0] for shard in shards if frame <= shard[-1]))
    name = out / (FRAME if first is None else FIRST)
    modes = MODES if first is None else (first.mode,)
    waveforms = []
    lead_in = min(frame - run_began, LEAD_IN + (frame - run_began - LEAD_IN) % job.design.ports.contexts)  # each frame in its context
    for mode in modes:  # a simulator process dumps into one file
        for began in (frame - lead_in, run_began):
            chosen = np.arange(began, frame + 1)
            words = job.words(sent[chosen])
            recordings = simulate(built, job.design.ports, words, modes=(mode,), waves=(name, frame - began))
            if first is None or compare(mode, recordings[mode], _part(golden, chosen), job.steps).differences:
                break  # else it takes more of what came before to bring the difference out
        waveforms.append(name.with_name(f"{name.name}_{mode}.vcd"))
    return waveforms


def _refuse_nothing(
    network: Network,
    spike_times: np.ndarray,
    labels: np.ndarray | None,
    golden: Result,
    images: np.ndarray | None,
    jobs: int,
) -> None:
    """Refuse what would compare nothing, or could not be scored.

    Raises:
        UserError: it would, or could not.
    """
    if jobs < 1:
        raise UserError(f"jobs must be at least 1, not {jobs}")
    if len(spike_times) == 0:
        raise UserError("there must be at least one frame, not 0")
    if images is not None and not np.array_equal(network.encode(images), spike_times):
        raise UserError("spike_times must be those of the images, but differ")
    if len(golden.decisions.step) != len(spike_times):
        raise UserError(f"expected results must be of {len(spike_times)} frames, not {len(golden.decisions.step)}")
    if not any((times < network.steps).any() for times in golden.spike_times):
        raise UserError("some neuron must spike in some frame, but none does: there is nothing to compare")
    if labels is not None:
        score(golden, labels)
