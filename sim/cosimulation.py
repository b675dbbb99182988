"""The whole of a co-simulation: golden model, Verilog, simulator, comparison, report."""

import itertools
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import joblib
import numpy as np

import hw.cost.cycles
import hw.verilog
from export import Events, Network, UserError, digest, reference
from export.arrays import array
from export.files import prepare_folder
from export.reference import Result
from export.scores import check_labels
from hw import Accelerator, Folding, default_folding
from hw.core.streams import input_format
from sim.build import build
from sim.compare import compare
from sim.frames import Words, checked_images, pack, pack_pixels
from sim.outcome import Outcome
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
    inputs: np.ndarray | Events,
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
        inputs: events, or spike times: integers (frames, inputs), 0 … T, ``T`` = never.
        labels: integers (frames,); without them the report has no accuracy.
        images: uint8 (frames, inputs); if they are given, the circuit gets their pixels through its own encoder, and
            ``inputs`` say what should become of them.
        folding: how much works at once; `hw.default_folding` by default.
        out: folder for ``report.json``, ``report.html`` and, on a difference, its waveform.
        jobs: processes that share the frames.
        waves: write the waveform of the first frame if nothing differs.
        verilog: text and port map to simulate instead of what `hw.verilog.generate` writes.
        expected: what to compare with; by default what the golden model makes of ``inputs``.
        about: further entries for the report, such as the name of the data set.

    Raises:
        UserError: the arguments do not fit together, nothing could be compared, or the tool chain is missing.
        sim.build.BuildError: the circuit does not compile.
        sim.simulate.SimulationError: the simulator fails.
        OSError: the folder cannot be written.
    """
    began = time.monotonic()
    out = None if out is None else Path(out)
    events = network.check_inputs(inputs)
    labels = None if labels is None else array("labels", labels)
    images = None if images is None else checked_images(images)
    _refuse_nothing(network, events, labels, expected, images, jobs)
    if out is not None:
        _prepare(out)
    seconds: dict[str, float] = {"golden": 0}

    began_generate = time.monotonic()
    frames_in = "words" if images is None else "pixels"
    if verilog is None:
        folding = folding or default_folding(network)
        folding.plans(network)  # refuses what cannot be before a circuit is begun
        accelerator = Accelerator(network, folding, frames_in=frames_in)
        verilog = hw.verilog.generate(accelerator), hw.verilog.port_map(accelerator)
    else:
        folding = _folding_of(verilog[1], network, folding, frames_in)
    job = _Job(network, folding, design(verilog[0], Ports.from_map(verilog[1]), network))
    seconds["generate"] = time.monotonic() - began_generate

    built = build(job.design)
    seconds["build"] = built.seconds

    began_simulate = time.monotonic()
    frames = _Frames(events, images, labels, expected)
    bounds = [int(share[0]) for share in np.array_split(np.arange(len(frames)), min(jobs, len(frames)))] + [len(frames)]
    shares = [frames[slice(*ends)] for ends in itertools.pairwise(bounds)]
    parts = joblib.Parallel(n_jobs=len(shares))(joblib.delayed(_run_share)(job, share) for share in shares)
    outcome = Outcome.join([part for part, _ in parts])
    seconds["golden"] = max(golden_seconds for _, golden_seconds in parts)
    seconds["simulate"] = time.monotonic() - began_simulate - seconds["golden"]

    waveforms: list[Path] = []
    if out is not None and (outcome.first is not None or waves):
        began_waves = time.monotonic()
        waveforms = _waveforms(job, frames, outcome, out)
        seconds["waves"] = time.monotonic() - began_waves
    seconds["total"] = time.monotonic() - began
    report = assemble(
        network, events, labels, outcome, folding=folding, build=built, seconds=seconds, waveforms=waveforms, about=dict(about or {})
    )
    if out is not None:
        from sim.page import save  # drawing pictures takes a second to load, and not every report is drawn

        save(report, out)
    return report


def _prepare(out: Path) -> None:
    """Make the folder, and remove the waveforms of an earlier run."""
    prepare_folder(out)
    for name in (FIRST, FRAME):
        for mode in MODES:
            (out / f"{name}_{mode}.vcd").unlink(missing_ok=True)


@dataclass(frozen=True, eq=False)
class _Frames:
    """Frames to run.

    Attributes:
        events: the spikes of the inputs.
        images: uint8 (frames, inputs), if pixels are sent.
        labels: integers (frames,), if there are any.
        expected: the golden result, if it is given.
    """

    events: Events
    images: np.ndarray | None
    labels: np.ndarray | None
    expected: Result | None

    def __len__(self) -> int:
        return self.events.shape[0]

    def __getitem__(self, frames: slice) -> "_Frames":
        """Consecutive frames."""
        return _Frames(
            self.events[frames],
            None if self.images is None else self.images[frames],
            None if self.labels is None else self.labels[frames],
            None if self.expected is None else self.expected[frames],
        )


@dataclass(frozen=True, eq=False)
class _Job:
    """What a process needs to know to run some of the frames, on this machine or another."""

    network: Network
    folding: Folding
    design: Design

    def golden(self, frames: _Frames) -> Result:
        """The golden result of frames."""
        return reference.run(self.network, frames.events) if frames.expected is None else frames.expected

    def words(self, sent: _Frames) -> Words:
        """The words, or pixels, of frames."""
        if sent.images is not None:
            return pack_pixels(sent.images, self.folding.pixels)
        return pack(sent.events, replace(input_format(self.folding.plans(self.network)[0]), frames=0))

    def shards(self, frames: _Frames) -> Iterator[tuple[_Frames, Result]]:
        """Frames and their golden results, part by part."""
        for part, golden in reference.shards(self.network, frames.events, lambda part: self.golden(frames[part])):
            yield frames[part], golden

    def run(self, frames: _Frames, golden: Result) -> Outcome:
        """Frames back to back, in both modes."""
        recordings = simulate(build(self.design), self.design.ports, self.words(frames))
        comparisons = {mode: compare(mode, recording, golden, self.network) for mode, recording in recordings.items()}
        timings = {mode: Timing.of(recording) for mode, recording in recordings.items()}
        limit = hw.cost.cycles.limit(self.network, self.folding, frames.events, golden)
        return Outcome.of(golden, comparisons, timings, limit, frames.labels)


def _run_share(job: _Job, frames: _Frames) -> tuple[Outcome, float]:
    """Frames shard by shard, each forgotten but for its outcome; and the seconds that the golden model took."""
    began, ran, outcome = time.monotonic(), 0.0, None
    for shard, golden in job.shards(frames):
        began_run = time.monotonic()
        part = job.run(shard, golden)
        outcome = part if outcome is None else Outcome.join([outcome, part])
        ran += time.monotonic() - began_run
    assert outcome is not None
    return outcome, time.monotonic() - began - ran


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


def _waveforms(job: _Job, frames: _Frames, outcome: Outcome, out: Path) -> list[Path]:
    """Run some frames again in a simulator that can dump waveforms: of the first difference, or of frame 0 in both modes."""
    built, first = build(job.design, traced=True), outcome.first
    frame = 0 if first is None else min(first.frame, len(frames) - 1)
    run_began = max(begin for begin in np.cumsum([0, *outcome.runs]).tolist() if begin <= frame)
    name = out / (FRAME if first is None else FIRST)
    modes = MODES if first is None else (first.mode,)
    waveforms = []
    lead_in = min(frame - run_began, LEAD_IN + (frame - run_began - LEAD_IN) % job.design.ports.contexts)  # each frame in its context
    for mode in modes:  # a simulator process dumps into one file
        for began in (frame - lead_in, run_began):
            chosen = frames[began : frame + 1]
            recordings = simulate(built, job.design.ports, job.words(chosen), modes=(mode,), waves=(name, frame - began))
            if first is None or compare(mode, recordings[mode], job.golden(chosen), job.network).differences:
                break  # else it takes more of what came before to bring the difference out
        waveforms.append(name.with_name(f"{name.name}_{mode}.vcd"))
    return waveforms


def _refuse_nothing(
    network: Network,
    events: Events,
    labels: np.ndarray | None,
    expected: Result | None,
    images: np.ndarray | None,
    jobs: int,
) -> None:
    """Refuse what would compare nothing, or could not be scored.

    Raises:
        UserError: it would, or could not.
    """
    frames = events.shape[0]
    if jobs < 1:
        raise UserError(f"jobs must be at least 1, not {jobs}")
    if frames == 0:
        raise UserError("there must be at least one frame, not 0")
    chunk = reference.chunk_of(network)
    chunks = [slice(at, at + chunk) for at in range(0, frames, chunk)]
    if images is not None and not all(network.check_inputs(network.encode(images[part])).equals(events[part]) for part in chunks):
        raise UserError("spikes must be those of the images, but differ")
    if expected is not None and len(expected) != frames:
        raise UserError(f"expected results must be of {frames} frames, not {len(expected)}")
    results = (reference.run(network, events[part]) for part in chunks) if expected is None else [expected]
    if not any(len(events) for result in results for events in result.events):
        raise UserError("some neuron must spike in some frame, but none does: there is nothing to compare")
    if labels is not None:
        check_labels(labels, frames, network.outputs)
