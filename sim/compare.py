"""What came out of the circuit against what the golden model says: every spike time of every neuron, every decision.

In ``full`` mode all spike times are equal. In ``early`` mode every golden spike with ``t <= t*`` is there, and every spike
that is there is golden. In both no neuron spikes twice, and the decisions are equal.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from export.reference import DECISION_FIELDS, Decisions, Result
from sim.simulate import Recording

READOUT = "readout"
RESULT_FIELDS = (*DECISION_FIELDS, "error")


@dataclass(frozen=True)
class Difference:
    """One place where the circuit and the golden model differ.

    Attributes:
        mode: "full" or "early".
        frame: index of the frame.
        layer: index of the layer, or "readout".
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
        place = f"{self.mode} mode, frame {self.frame}, " + (self.layer if isinstance(self.layer, str) else f"layer {self.layer}")
        if self.neuron is not None:
            place += f", neuron {self.neuron}"
        return f"{place}: {self.what} expected {_value(self.expected)}, seen {_value(self.seen)}"


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
        spikes_received: spikes that did; as many in full mode, not fewer in early mode.
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
        enough = self.spikes_received >= self.spikes_compared if self.mode == "early" else self.spikes_received == self.spikes_compared
        return self.differences == 0 and bool(self.equal.all()) and self.frames > 0 and self.spikes_compared > 0 and enough


def compare(mode: str, recording: Recording, golden: Result, steps: int) -> Comparison:
    """Compare a recording with the golden result of the same frames.

    Parameters:
        mode: "full" or "early".
        recording: what came out of the circuit.
        golden: what should have.
        steps: ``T``.
    """
    decisions = golden.decisions
    frames = len(decisions.step)
    equal = np.ones(frames, bool)
    firsts: list[Difference] = []
    differences = 0
    compared = required_spikes = received = 0
    all_seen = []
    for index, (times, spikes) in enumerate(zip(golden.spike_times, recording.layers, strict=True)):
        outputs = times.shape[1]
        received += len(spikes)
        # Spikes that cannot be: of no frame, of no neuron, at no step; and second ones.
        possible = (spikes.frame < frames) & (spikes.neuron < outputs) & (spikes.step < steps)
        cell = spikes.frame[possible] * outputs + spikes.neuron[possible]
        step = spikes.step[possible]
        seen = np.full(times.shape, steps, np.int32)
        seen.ravel()[cell[::-1]] = step[::-1]  # the first one of a neuron stands
        all_seen.append(seen)
        if (np.bincount(cell, minlength=1) > 1).any():
            repeated = np.ones(len(cell), bool)
            repeated[np.unique(cell, return_index=True)[1]] = False
            differences += int(repeated.sum())
            frame, neuron = np.divmod(cell[repeated], outputs)
            equal[frame] = False
            firsts += _first(mode, index, "second spike", frame, neuron, np.full(len(frame), -1), step[repeated])
        if not possible.all():
            frame, neuron, step = (array[~possible] for array in (spikes.frame, spikes.neuron, spikes.step))
            differences += len(frame)
            equal[frame[frame < frames]] = False
            firsts += _first(mode, index, "impossible spike", frame, neuron, np.full(len(frame), -1), step)
        if spikes.frames != frames:
            differences += abs(spikes.frames - frames)
            equal[spikes.frames :] = False
            firsts.append(Difference(mode, min(spikes.frames, frames), index, None, "number of frames", frames, spikes.frames))
        required = times < steps
        if mode == "early":
            required &= times <= decisions.step[:, None]
            wrong = (seen != times) & (required | (seen != steps))
        else:
            wrong = seen != times
        compared += times.size
        required_spikes += int(required.sum())
        frame, neuron = np.nonzero(wrong)
        if len(frame):
            differences += len(frame)
            equal[frame] = False
            firsts += _first(mode, index, "step", frame, neuron, times[frame, neuron], seen[frame, neuron], never=steps)
    results = _decisions(recording, frames, steps)
    for name in RESULT_FIELDS:
        expected = getattr(decisions, name, np.zeros(frames)).astype(np.int64)
        seen_values = recording.results[name][:frames]
        frame = np.flatnonzero(seen_values != expected[: len(seen_values)])
        differences += len(frame)
        equal[frame] = False
        if len(frame):
            at = int(frame[0])
            firsts.append(Difference(mode, at, READOUT, None, name, int(expected[at]), int(seen_values[at])))
    for what, count in (("number of results", recording.received), ("number of frames taken", len(recording.starts))):
        if count != frames:
            differences += abs(count - frames)
            equal[count:] = False
            firsts.append(Difference(mode, min(count, frames), READOUT, None, what, frames, count))
    return Comparison(
        mode=mode,
        equal=equal,
        spike_times_compared=compared,
        spikes_compared=required_spikes,
        spikes_received=received,
        differences=differences,
        first=_earliest(firsts),
        seen=tuple(all_seen),
        decisions=results,
    )


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


def _first(
    mode: str,
    layer: int,
    what: str,
    frame: np.ndarray,
    neuron: np.ndarray,
    expected: np.ndarray,
    seen: np.ndarray,
    never: int = -1,
) -> list[Difference]:
    """The first of some differences in one layer: lowest frame, then earliest step, then lowest neuron."""
    earliest = np.where(expected < 0, seen, np.minimum(expected, seen))
    at = np.lexsort((neuron, earliest, frame))[0]
    values = (None if value in (-1, never) else value for value in (int(expected[at]), int(seen[at])))
    return [Difference(mode, int(frame[at]), layer, int(neuron[at]), what, *values)]


def _earliest(differences: Iterable[Difference]) -> Difference | None:
    """The lowest frame, and in it the layer that comes first: a later one may only have followed it."""

    def order(difference: Difference) -> tuple[int, float, int]:
        steps = [step for step in (difference.expected, difference.seen) if step is not None]
        layer = difference.layer if isinstance(difference.layer, int) else float("inf")
        return difference.frame, layer, min(steps) if difference.neuron is not None else -1

    return min(differences, key=order, default=None)


def _decisions(recording: Recording, frames: int, steps: int) -> Decisions:
    missing = {"class_index": -1, "step": steps - 1, "margin": 0, "silent": 1}
    fields = {}
    for name, default in missing.items():
        seen = recording.results[name][:frames]
        fields[name] = np.concatenate([seen, np.full(frames - len(seen), default)]).astype(np.int32)
    return Decisions(fields["class_index"], fields["step"], fields["margin"], fields["silent"].astype(bool))
