"""Whether what came out of a circuit is what had to: every result, every spike, and nothing else."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from export.reference import DECISION_FIELDS
from sim.frames import frame_numbers
from sim.ports import Ports
from sim.protocol.expectation import Expectation
from sim.protocol.monitor_rules import breaches, end_times
from sim.protocol.player import Log, Recording
from sim.protocol.sequences import Run


@dataclass(frozen=True)
class Failure:
    """Something that had to be, and was not.

    Attributes:
        run: index of the run.
        frame: index of the frame in its run.
        place: "o", "i" or the layer whose monitor showed it.
        what: must hold.
        expected, seen: values; None for a step that is never.
    """

    run: int
    frame: int
    place: str
    what: str
    expected: int | None
    seen: int | None

    def __str__(self) -> str:
        return f"{self.place}: {self.what} expected {_value(self.expected)}, seen {_value(self.seen)}"


def _value(value: int | None) -> str:
    return "none" if value is None else str(value)


def failures(mode: str, runs: Sequence[Run], recording: Recording, expected: Expectation, ports: Ports, steps: int) -> list[Failure]:
    """All that differs in one mode, the first of each kind per port; ``runs`` are those that were played."""
    over = np.repeat([run.cut == 0 for run in runs], np.diff(expected.starts))  # frames of runs that were not cut
    found = [*_inputs(mode, expected, over), *_results(mode, runs, recording, expected, ports)]
    for layer in range(len(ports.monitors)):
        found += _monitor(mode, layer, recording.monitors[layer], expected, ports, steps, over)
    found += [Failure(int(run), 0, "o", "offered results that change", 0, 1) for run in recording.held[:1]]
    if recording.stuck and not found:
        found.append(Failure(len(runs) - 1, 0, "o", "runs that come to no end", 0, 1))
    return sorted(found, key=lambda failure: (failure.run, failure.frame, failure.place, failure.what))


def _first(expected: Expectation, place: str, what: str, frame: np.ndarray, wanted: np.ndarray, seen: np.ndarray) -> Iterator[Failure]:
    """The first of some differences, given where they are and their values."""
    if len(frame) == 0:
        return
    k = int(frame.argmin())
    yield Failure(*_place(expected, frame[k]), place, what, int(wanted[k]), int(seen[k]))


def _place(expected: Expectation, frame: int) -> tuple[int, int]:
    """The run of a frame, and its index there."""
    run = int(np.searchsorted(expected.starts, frame, "right")) - 1
    return run, int(frame - expected.starts[run])


def _inputs(mode: str, expected: Expectation, over: np.ndarray) -> Iterator[Failure]:
    known = ~expected.unchecked
    wrong = {
        "frames taken": over & ~expected.taken,
        "cancelled first words": expected.cancelled_late,
        "cancels before a decision": expected.cancelled & known & ~expected.breach & ~expected.decided,
    }
    if mode == "full":
        wrong["cancels in full mode"] = expected.cancelled
    for what, which in wrong.items():
        frame = np.flatnonzero(which)
        ones = np.ones(len(frame), int)
        yield from _first(expected, "i", what, frame, *((ones, 0 * ones) if what == "frames taken" else (0 * ones, ones)))


def _results(mode: str, runs: Sequence[Run], recording: Recording, expected: Expectation, ports: Ports) -> Iterator[Failure]:
    log, sent = recording.results, np.diff(expected.starts)
    came = np.diff(log.starts)[: len(runs)]
    for run in np.flatnonzero((came > sent) | ((came < sent) & [run.cut == 0 for run in runs]))[:1].tolist():
        yield Failure(run, int(min(came[run], sent[run])), "o", "results", int(sent[run]), int(came[run]))
    run_of = np.repeat(np.arange(len(runs)), came)
    number = np.arange(len(run_of)) - log.starts[run_of]
    real = number < sent[run_of]
    frame = expected.starts[run_of[real]] + number[real]
    values = {name: ports.result.get(log.payload[: len(run_of)][real], name) for name in ports.result.fields}
    known = ~expected.unchecked[frame]
    breach, decided = expected.breach[frame], expected.decided[frame] & (mode != "full")
    may_come = expected.taken[frame] | ((mode != "full") & (decided | breach | ~known))
    early = frame[~may_come]
    yield from _first(expected, "o", "results before their time", early, np.zeros(len(early)), np.ones(len(early)))
    # What breaks a rule after the decision is not known, unless the mode may have been another one by then.
    must_be, may_be = breach & ~decided, breach & ~(decided & (mode == "early"))
    wrong = known & ((must_be & (values["error"] == 0)) | (~may_be & (values["error"] == 1)))
    yield from _first(expected, "o", "error", frame[wrong], must_be[wrong], values["error"][wrong])
    for name in DECISION_FIELDS:
        golden = getattr(expected.golden.decisions, name)[frame].astype(int)
        wrong = known & ~must_be & (values["error"] == 0) & (values[name] != golden)
        yield from _first(expected, "o", name, frame[wrong], golden[wrong], values[name][wrong])


def _monitor(mode: str, layer: int, log: Log, expected: Expectation, ports: Ports, steps: int, over: np.ndarray) -> Iterator[Failure]:
    payload, place = ports.monitors[layer], f"layer {layer}"
    times = expected.golden.spike_times[layer]
    outputs, sent = times.shape[1], np.diff(expected.starts)
    words = log.payload[: log.starts[len(sent)]]
    run_of = np.repeat(np.arange(len(sent)), np.diff(log.starts)[: len(sent)])
    number = frame_numbers(words, payload, ports.contexts, log.starts[: len(sent)])
    real = number < sent[run_of]
    for k in np.flatnonzero(~real)[:1].tolist():
        yield Failure(int(run_of[k]), int(number[k]), place, "words of frames that were not sent", 0, 1)
    frame = np.where(real, expected.starts[run_of] + number, 0)
    sends = np.zeros(len(times), bool)
    sends[frame[real]] = True
    silent = np.flatnonzero(over & ~sends)
    yield from _first(expected, place, "words", silent, np.ones(len(silent)), np.zeros(len(silent)))

    # Rules of words, whatever their spikes; and each whole frame ends, a good one in the step in which its words ended.
    for rule, broken in breaches(words[real], frame[real], payload, outputs, last_layer=layer == len(ports.monitors) - 1).items():
        yield from _first(expected, place, f'word rule "{rule}"', broken, np.ones(len(broken)), np.zeros(len(broken)))
    if mode == "full":
        ended = end_times(words[real], frame[real], payload, len(times))
        endless = np.flatnonzero(over & (ended < 0))
        yield from _first(expected, place, "ends", endless, np.ones(len(endless)), np.zeros(len(endless)))
        wrong = np.flatnonzero((ended >= 0) & ~expected.breach & ~expected.unchecked & (ended != expected.closed))
        yield from _first(expected, place, "step of the end", wrong, expected.closed[wrong], ended[wrong])

    # Spikes of words without error, in frames of which something is known.
    word, lane = np.nonzero(payload.get_bits(words, "bits"))
    neuron, time = payload.get(words, "index")[word] * payload["bits"].width + lane, payload.get(words, "time")[word]
    counts = real[word] & ~expected.unchecked[frame[word]] & (payload.get(words, "error")[word] == 0)
    frame, neuron, time = (array[counts] for array in (frame[word], neuron, time))
    lost = neuron >= outputs
    yield from _first(expected, place, "neuron below", frame[lost], np.full(lost.sum(), outputs), neuron[lost])
    frame, neuron, time = (array[~lost] for array in (frame, neuron, time))
    seen = np.full(times.shape, steps, np.int64)
    seen[frame[::-1], neuron[::-1]] = time[::-1]
    repeated = np.ones(len(frame), bool)
    repeated[np.unique(frame * outputs + neuron, return_index=True)[1]] = False
    yield from _first(expected, place, "second spikes", frame[repeated], np.zeros(repeated.sum()), np.ones(repeated.sum()))
    decided = np.minimum(expected.closed, expected.decision)
    required = times <= (expected.closed if mode == "full" else decided)[:, None]
    allowed = times <= (decided if mode == "early" else expected.closed)[:, None]
    golden = np.where(allowed, times, steps)
    wrong = np.where(seen == steps, required & over[:, None], seen != golden) & ~expected.unchecked[:, None]
    for frame, neuron in np.argwhere(wrong)[:1].tolist():
        values = (None if step == steps else int(step) for step in (golden[frame, neuron], seen[frame, neuron]))
        yield Failure(*_place(expected, frame), place, f"step of neuron {neuron}", *values)
