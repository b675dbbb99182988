"""What came out of the circuit against what the golden model says: every spike of every neuron, with its coefficient, and every decision.

In ``full`` mode all spikes are equal. In ``early`` mode those up to the decision are, and nothing comes after it. In both no neuron
spikes twice in a step, nor in a frame if its kind spikes once, and the decisions are equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from export import Network
from export.events import Events
from export.reference import DECISION_FIELDS, Decisions, Result, Summary
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
        step: of a coefficient; None elsewhere.
    """

    mode: str
    frame: int
    layer: int | str
    neuron: int | None
    what: str
    expected: int | None
    seen: int | None
    step: int | None = None

    def __str__(self) -> str:
        return f"{self.mode} mode, frame {self.frame}, {self.text}"

    @property
    def text(self) -> str:
        """Place and values, without mode and frame."""
        place = self.layer if isinstance(self.layer, str) else f"layer {self.layer}"
        if self.neuron is not None:
            place += f", neuron {self.neuron}"
        if self.step is not None:
            place += f", step {self.step}"
        return f"{place}: {self.what} expected {_value(self.expected)}, seen {_value(self.seen)}"

    @property
    def order(self) -> tuple[int, float, int, int]:
        """What comes first: the lowest frame, and in it the layer that comes first, since a later one may only have followed it; there the
        earliest step, and the lowest neuron."""
        layer = self.layer if isinstance(self.layer, int) else float("inf")
        if self.neuron is None:
            return self.frame, layer, -1, -1
        steps = [step for step in (self.expected, self.seen) if step is not None]
        return self.frame, layer, min(steps) if self.step is None else self.step, self.neuron


def _value(value: int | None) -> str:
    return "none" if value is None else str(value)


@dataclass(frozen=True, eq=False)
class Comparison:
    """The outcome for some frames in one mode.

    Attributes:
        mode: "full" or "early".
        equal: bool (frames,), frames without any difference.
        spike_times_compared: spike times of neurons that were compared, those that are "never" included; of neurons that can spike more
            than once, coefficients of all steps.
        spikes_compared: golden spikes that had to appear.
        spikes_received: spikes that did.
        differences: how many there are.
        first: the first of them: lowest frame, then lowest layer, earliest step, lowest neuron.
        seen: the circuit's spikes of each layer, but for impossible and second ones; none are kept of parts that were joined.
        summary: what scores need of the circuit's result.
    """

    mode: str
    equal: np.ndarray
    spike_times_compared: int
    spikes_compared: int
    spikes_received: int
    differences: int
    first: Difference | None
    seen: tuple[Events, ...]
    summary: Summary

    @property
    def decisions(self) -> Decisions:
        """The circuit's decisions; class -1 where there was no result."""
        return self.summary.decisions

    @property
    def frames(self) -> int:
        return len(self.equal)

    @property
    def passed(self) -> bool:
        """Nothing differs, all that was expected was received, and that is more than nothing."""
        same = self.spikes_received == self.spikes_compared
        return self.differences == 0 and bool(self.equal.all()) and self.frames > 0 and self.spikes_compared > 0 and same


def compare(mode: str, recording: Recording, golden: Result, network: Network) -> Comparison:
    """Compare a recording with the golden result of the same frames.

    Parameters:
        mode: "full" or "early".
        recording: what came out of the circuit.
        golden: what should have.
        network: the network.
    """
    frames, steps = len(golden), network.steps
    found = Found(mode, np.ones(frames, bool))
    upto = golden.decisions.step if mode == "early" else np.full(frames, steps - 1)
    times_compared, spikes_compared, seen = 0, 0, []
    for index, (layer, events, spikes) in enumerate(zip(network.layers, golden.events, recording.layers, strict=True)):
        once = layer.neuron.spikes_once
        _compare_counts(found, index, spikes)
        seen.append(compare_spikes(found, index, events, spikes.events, required=upto, allowed=upto, once=once))
        times_compared += frames * layer.outputs * (1 if once else steps)
        spikes_compared += int((events.step <= upto[events.frame]).sum())
    _compare_decisions(found, recording, golden.decisions)
    return Comparison(
        mode=mode,
        equal=found.equal,
        spike_times_compared=times_compared,
        spikes_compared=spikes_compared,
        spikes_received=sum(len(spikes) for spikes in recording.layers),
        differences=found.differences,
        first=min(found.firsts, key=lambda difference: difference.order, default=None),
        seen=tuple(seen),
        summary=Result(tuple(seen), _decisions(recording, frames, steps)).summary,
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

    def spikes(self, layer: int, what: str, events: Events, expected: np.ndarray | None, seen: np.ndarray | None) -> None:
        """Some differences of one kind between steps in one layer.

        Parameters:
            layer: index of the layer.
            what: the kind.
            events: where they are: the golden spike or the one seen, whichever comes first.
            expected, seen: integers (events,), steps, -1 for none; None stands for none everywhere.
        """
        self._differ(layer, what, events, [np.full(len(events), -1) if steps is None else steps for steps in (expected, seen)])

    def coefficients(self, layer: int, events: Events, expected: np.ndarray | int, seen: np.ndarray | int) -> None:
        """Places of events that have another coefficient than was ``expected``; 0 stands for no spike."""
        values = [np.broadcast_to(value, len(events)) for value in (expected, seen)]
        self._differ(layer, "coefficient", events, values, coefficients=True)

    def _differ(self, layer: int, what: str, events: Events, values: Sequence[np.ndarray], *, coefficients: bool = False) -> None:
        if len(events) == 0:
            return
        self.differences += len(events)
        self.equal[events.frame[events.frame < len(self.equal)]] = False
        at = np.lexsort((events.neuron, events.step, events.frame))[0]
        expected, seen = (int(value[at]) if coefficients or value[at] >= 0 else None for value in values)
        step = int(events.step[at]) if coefficients else None
        self.firsts.append(Difference(self.mode, int(events.frame[at]), layer, int(events.neuron[at]), what, expected, seen, step))

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
    found: Found, layer: int, golden: Events, seen: Events, *, required: np.ndarray, allowed: np.ndarray, once: bool
) -> Events:
    """Compare a layer's spikes with golden ones; those of the circuit, but for impossible and second ones.

    Parameters:
        found: gets the differences.
        layer: index of the layer.
        golden: the spikes of the golden model.
        seen: those of the circuit.
        required: integers (frames,), the last step whose golden spikes must be there.
        allowed: integers (frames,), the last step whose golden spikes may be there, at least as late.
        once: neurons spike at most once per frame.
    """
    frames, steps, neurons = golden.shape
    possible = (seen.frame < frames) & (seen.step < steps) & (seen.neuron < neurons)
    impossible = seen.select(~possible)
    found.spikes(layer, "impossible spike", impossible, None, impossible.step)
    seen = replace(seen.select(possible), shape=golden.shape)
    first = np.zeros(len(seen), bool)
    first[np.unique(seen.cell if once else seen.place, return_index=True)[1]] = True
    second = seen.select(~first)
    found.spikes(layer, "second spike", second, None, second.step)
    seen = seen.select(first)

    expected = golden.select(golden.step <= allowed[golden.frame])
    absent, extra = expected.select(expected.missing_in(seen)), seen.select(seen.missing_in(expected))
    late = ~extra.missing_in(golden)  # golden, but nobody should know any more
    found.spikes(layer, "spike after the decision", extra.select(late), None, extra.step[late])
    extra = extra.select(~late)
    missing, instead = absent.step <= required[absent.frame], np.full(len(extra), -1)
    if once:  # a spike at another step is one difference, not two
        _, which, of = np.intersect1d(absent.cell, extra.cell, assume_unique=True, return_indices=True)
        missing[which], instead[of] = False, absent.step[which]
        found.spikes(layer, "step", absent.select(missing), absent.step[missing], None)
        earliest = np.where(instead < 0, extra.step, np.minimum(extra.step, instead))
        found.spikes(layer, "step", replace(extra, step=earliest), instead, extra.step)
    else:
        found.coefficients(layer, absent.select(missing), absent.coefficient[missing], 0)
        found.coefficients(layer, extra, 0, extra.coefficient)
    common = expected.select(~expected.missing_in(seen)), seen.select(~seen.missing_in(expected))
    wrong = common[0].coefficient != common[1].coefficient
    found.coefficients(layer, common[0].select(wrong), common[0].coefficient[wrong], common[1].coefficient[wrong])
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
        seen=(),
        summary=Summary.concatenate([c.summary for c in comparisons]),
    )


def _decisions(recording: Recording, frames: int, steps: int) -> Decisions:
    missing = {"class_index": -1, "step": steps - 1, "margin": 0, "silent": 1}
    fields = {}
    for name, default in missing.items():
        seen = recording.results[name][:frames]
        fields[name] = np.concatenate([seen, np.full(frames - len(seen), default)]).astype(np.int32)
    return Decisions(fields["class_index"], fields["step"], fields["margin"], fields["silent"].astype(bool))
