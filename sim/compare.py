"""What came out of the circuit against what the golden model says: every spike time of every neuron, every decision.

In ``full`` mode all spike times are equal. In ``early`` mode those up to the decision are, and nothing comes after it. In both no neuron
spikes twice, and the decisions are equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from export.reference import DECISION_FIELDS, Decisions, Result
from sim.frames import Spikes
from sim.simulate import Recording

READOUT, INPUT = "readout", "input"
RESULT_FIELDS = (*DECISION_FIELDS, "error")


@dataclass(frozen=True)
class Difference:
    """One place where the circuit and the golden model differ.

    Attributes:
        mode: "full" or "early"; in sequences of the protocol also "changing".
        frame: index of the frame.
        layer: index of the layer, "readout" or "input".
        neuron: index of the neuron; None where the difference is not one neuron's.
        what: the thing that differs, such as "step" or "margin".
        expected: its golden value; None where nothing was expected.
        seen: its value in the circuit; None where nothing was seen.
    """

    mode: str
    frame: int
    layer: int | str
    neuron: int | None
    what: str
    expected: int | None
    seen: int | None

    def __str__(self) -> str:
        return f"{self.mode} mode, frame {self.frame}, {self.text}"

    @property
    def text(self) -> str:
        """Place and values, without mode and frame."""
        place = self.layer if isinstance(self.layer, str) else f"layer {self.layer}"
        if self.neuron is not None:
            place += f", neuron {self.neuron}"
        return f"{place}: {self.what} expected {_value(self.expected)}, seen {_value(self.seen)}"

    @property
    def order(self) -> tuple[int, float, int]:
        """What comes first: the lowest frame, and in it the layer that comes first, since a later one may only have followed it."""
        steps = [step for step in (self.expected, self.seen) if step is not None]
        layer = self.layer if isinstance(self.layer, int) else float("inf")
        return self.frame, layer, min(steps) if self.neuron is not None else -1


def _value(value: int | None) -> str:
    return "none" if value is None else str(value)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The outcome for some frames in one mode.

    Attributes:
        mode: "full" or "early".
        equal: bool (frames,), frames without any difference.
        spike_times_compared: spike times of neurons that were compared, those that are "never" included.
        spikes_compared: golden spikes that had to appear.
        spikes_received: spikes that did.
        differences: how many there are.
        first: the first of them: lowest frame, then lowest layer, earliest step, lowest neuron.
        seen: int32 (frames, outputs) per layer, the circuit's spike times (steps = never).
        decisions: the circuit's decisions; class -1 where there was no result.
    """

    mode: str
    equal: np.ndarray
    spike_times_compared: int
    spikes_compared: int
    spikes_received: int
    differences: int
    first: Difference | None
    seen: tuple[np.ndarray, ...]
    decisions: Decisions

    @property
    def frames(self) -> int:
        return len(self.equal)

    @property
    def passed(self) -> bool:
        """Nothing differs, all that was expected was received, and that is more than nothing."""
        same = self.spikes_received == self.spikes_compared
        return self.differences == 0 and bool(self.equal.all()) and self.frames > 0 and self.spikes_compared > 0 and same


def compare(mode: str, recording: Recording, golden: Result, steps: int) -> Comparison:
    """Compare a recording with the golden result of the same frames.

    Parameters:
        mode: "full" or "early".
        recording: what came out of the circuit.
        golden: what should have.
        steps: ``T``.
    """
    found = Found(mode, np.ones(len(golden.decisions.step), bool))
    required_spikes, all_seen = 0, []
    upto = golden.decisions.step if mode == "early" else np.full(len(found.equal), steps - 1)
    for layer, (times, spikes) in enumerate(zip(golden.spike_times, recording.layers, strict=True)):
        _compare_counts(found, layer, spikes)
        seen = compare_spikes(found, layer, times, spikes, required=upto, allowed=upto, steps=steps)
        required_spikes += int((times <= upto[:, None]).sum())
        all_seen.append(seen)
    _compare_decisions(found, recording, golden.decisions)
    return Comparison(
        mode=mode,
        equal=found.equal,
        spike_times_compared=sum(times.size for times in golden.spike_times),
        spikes_compared=required_spikes,
        spikes_received=sum(len(spikes) for spikes in recording.layers),
        differences=found.differences,
        first=min(found.firsts, key=lambda difference: difference.order, default=None),
        seen=tuple(all_seen),
        decisions=_decisions(recording, len(found.equal), steps),
    )


@dataclass
class Found:
    """The differences so far.

    Attributes:
        mode: "full" or "early".
        equal: bool (frames,).
        differences: how many.
        firsts: the first of each kind and place.
    """

    mode: str
    equal: np.ndarray
    differences: int = 0
    firsts: list[Difference] = field(default_factory=list)

    def spikes(self, layer: int, what: str, frame: np.ndarray, neuron: np.ndarray, expected: np.ndarray, seen: np.ndarray) -> None:
        """Some differences of one kind between steps in one layer, -1 for none; the first is that of the lowest frame, then the earliest
        step, then the lowest neuron."""
        if len(frame) == 0:
            return
        self.differences += len(frame)
        self.equal[frame[frame < len(self.equal)]] = False
        earliest = np.where(expected < 0, seen, np.where(seen < 0, expected, np.minimum(expected, seen)))
        at = np.lexsort((neuron, earliest, frame))[0]
        values = (None if value < 0 else value for value in (int(expected[at]), int(seen[at])))
        self.firsts.append(Difference(self.mode, int(frame[at]), layer, int(neuron[at]), what, *values))

    def frames(self, layer: int | str, what: str, frame: np.ndarray, expected: np.ndarray | int, seen: np.ndarray | int) -> None:
        """Some differences of one kind that are a frame's; the first is that of the lowest frame."""
        if len(frame) == 0:
            return
        self.differences += len(frame)
        self.equal[frame] = False
        at = int(frame.argmin())
        values = (int(np.broadcast_to(value, len(frame))[at]) for value in (expected, seen))
        self.firsts.append(Difference(self.mode, int(frame[at]), layer, None, what, *values))

    def field(self, name: str, frame: np.ndarray, expected: np.ndarray, seen: np.ndarray) -> None:
        """A field of the results of some frames."""
        wrong = seen != expected
        self.frames(READOUT, name, frame[wrong], expected[wrong], seen[wrong])

    def count(self, layer: int | str, what: str, missing: np.ndarray, extra: int) -> None:
        """Something that there should be once for each frame: the frames that lack it, and how many there are of none."""
        frames = len(self.equal)
        self.equal[missing] = False
        self.differences += len(missing) + extra
        if len(missing):
            self.firsts.append(Difference(self.mode, int(missing[0]), layer, None, what, frames, frames - len(missing)))
        elif extra:
            self.firsts.append(Difference(self.mode, frames, layer, None, what, frames, frames + extra))


def _compare_counts(found: Found, layer: int, spikes: Spikes) -> None:
    """Each frame shows on a layer's monitor; in full mode each ends there."""
    frames = np.arange(len(found.equal))
    found.count(layer, "number of frames", np.setdiff1d(frames, spikes.begun), int((spikes.begun >= len(frames)).sum()))
    if found.mode == "full":
        found.count(layer, "number of frames that end", frames[spikes.ended :], max(0, spikes.ended - len(frames)))


def compare_spikes(
    found: Found, layer: int, times: np.ndarray, spikes: Spikes, *, required: np.ndarray, allowed: np.ndarray, steps: int
) -> np.ndarray:
    """Compare a layer's spikes with golden spike times; the circuit's, int32 (frames, outputs).

    Parameters:
        found: gets the differences.
        layer: index of the layer.
        times: golden spike times, integers (frames, outputs).
        spikes: of the circuit.
        required: integers (frames,), the last step whose golden spikes must be there.
        allowed: integers (frames,), the last step whose golden spikes may be there, at least as late.
        steps: ``T``.
    """
    seen = _spike_times(found, layer, spikes, times.shape, steps)
    expected = np.where(times <= allowed[:, None], times, steps)
    missing = (seen == steps) & (expected <= required[:, None]) & (expected < steps)
    after = (seen < steps) & (seen == times) & (times != expected)  # golden, but nobody should know any more
    other = (seen < steps) & (seen != expected) & ~after
    for what, wrong in (("step", missing | other), ("spike after the decision", after)):
        frame, neuron = np.nonzero(wrong)
        none = [np.where(array[wrong] < steps, array[wrong], -1) for array in (expected, seen)]
        found.spikes(layer, what, frame, neuron, *none)
    return seen


def _spike_times(found: Found, layer: int, spikes: Spikes, shape: tuple[int, ...], steps: int) -> np.ndarray:
    """The circuit's spike times, int32 (frames, outputs); what cannot be, and second spikes, are differences."""
    frames, outputs = shape
    possible = (spikes.frame < frames) & (spikes.neuron < outputs) & (spikes.step < steps)
    frame, neuron, step = (array[~possible] for array in (spikes.frame, spikes.neuron, spikes.step))
    found.spikes(layer, "impossible spike", frame, neuron, np.full(len(frame), -1), step)
    cell, step = spikes.frame[possible] * outputs + spikes.neuron[possible], spikes.step[possible]
    repeated = np.ones(len(cell), bool)
    repeated[np.unique(cell, return_index=True)[1]] = False
    frame, neuron = np.divmod(cell[repeated], outputs)
    found.spikes(layer, "second spike", frame, neuron, np.full(len(frame), -1), step[repeated])
    seen = np.full((frames, outputs), steps, np.int32)
    seen.ravel()[cell[::-1]] = step[::-1]  # the first one of a neuron stands
    return seen


def _compare_decisions(found: Found, recording: Recording, decisions: Decisions) -> None:
    """Each result, and that there is one for each frame, that each frame was taken, and that the run came to an end."""
    frames = len(found.equal)
    for name in RESULT_FIELDS:
        expected = getattr(decisions, name, np.zeros(frames)).astype(np.int64)
        seen = recording.results[name][:frames]
        found.field(name, np.arange(len(seen)), expected[: len(seen)], seen)
    found.count(READOUT, "number of results", np.arange(recording.received, frames), max(0, recording.received - frames))
    found.count(READOUT, "number of frames taken", np.flatnonzero(recording.starts < 0), 0)
    if recording.stuck and not found.differences:  # words without spikes, and no end to them
        found.differences = 1
        found.firsts.append(Difference(found.mode, frames, READOUT, None, "end of the run", 1, 0))


def join(comparisons: Sequence[Comparison]) -> Comparison:
    """One comparison of consecutive parts of a set of frames."""
    starts = np.cumsum([0] + [part.frames for part in comparisons])
    firsts = [replace(c.first, frame=c.first.frame + int(at)) for c, at in zip(comparisons, starts, strict=False) if c.first]
    return Comparison(
        mode=comparisons[0].mode,
        equal=np.concatenate([c.equal for c in comparisons]),
        spike_times_compared=sum(c.spike_times_compared for c in comparisons),
        spikes_compared=sum(c.spikes_compared for c in comparisons),
        spikes_received=sum(c.spikes_received for c in comparisons),
        differences=sum(c.differences for c in comparisons),
        first=firsts[0] if firsts else None,
        seen=tuple(np.concatenate(parts) for parts in zip(*(c.seen for c in comparisons), strict=True)),
        decisions=Decisions(*(np.concatenate([getattr(c.decisions, name) for c in comparisons]) for name in DECISION_FIELDS)),
    )


def _decisions(recording: Recording, frames: int, steps: int) -> Decisions:
    missing = {"class_index": -1, "step": steps - 1, "margin": 0, "silent": 1}
    fields = {}
    for name, default in missing.items():
        seen = recording.results[name][:frames]
        fields[name] = np.concatenate([seen, np.full(frames - len(seen), default)]).astype(np.int32)
    return Decisions(fields["class_index"], fields["step"], fields["margin"], fields["silent"].astype(bool))
