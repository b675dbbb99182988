"""Brute-force oracle: one frame, one step, one neuron at a time, in plain Python integers.

Written from the statements [S1]…[S8] of ``docs/semantics.md`` alone, without a look at :mod:`export.reference`, and sharing
no code with it: where the two agree, two readings of the same definition agree. Slow on purpose; nothing here is clever.
"""

from typing import NamedTuple

__all__ = ["Decision", "Frame", "Scores", "decide", "latency", "potential", "run_frame", "score", "spike_time"]


class Decision(NamedTuple):
    class_index: int
    step: int  # t*
    margin: int  # largest V - threshold over the outputs, at t*
    silent: bool


class Frame(NamedTuple):
    spike_times: list[list[int]]  # one list per layer, one entry per neuron
    decision: Decision


class Scores(NamedTuple):
    """All but the last two in percent of the frames."""

    strict: float
    first_index: float
    lenient: float
    fired: float
    silent_share: float
    steps_mean: float
    hidden_spikes_by_decision_mean: float


def latency(intensity, steps, p_min=None):
    """[S2] Spike time of one 8-bit intensity."""
    if p_min is None:
        p_min = max(1, 256 // steps)
    if intensity < p_min:
        return steps
    return (255 - intensity) * steps // 256


def potential(weights, input_times, step):
    """[S3] V(t) of one neuron: the weights of the inputs that have spiked by ``step``, added one by one."""
    total = 0
    for weight, time in zip(weights, input_times, strict=True):
        if time <= step:
            total += weight
    return total


def spike_time(weights, threshold, input_times, steps):
    """[S3], [S4] First step at whose close V reaches the threshold; ``steps`` if there is none."""
    for step in range(steps):
        if potential(weights, input_times, step) >= threshold:
            return step
    return steps


def decide(weights, thresholds, input_times, output_times, steps):
    """[S5] The decision of the output layer."""
    earliest = min(output_times)
    silent = earliest == steps
    decision_step = steps - 1 if silent else earliest
    best_class, best_margin = None, None
    for index, (row, threshold) in enumerate(zip(weights, thresholds, strict=True)):
        margin = potential(row, input_times, decision_step) - threshold
        if best_margin is None or margin > best_margin:  # a later neuron must be better, not as good
            best_class, best_margin = index, margin
    return Decision(best_class, decision_step, best_margin, silent)


def run_frame(layers, input_times, steps):
    """One frame through ``layers``, a list of (weights, thresholds) in plain lists: every spike time and the decision."""
    times = list(input_times)
    spike_times = []
    for weights, thresholds in layers:
        inputs = times
        times = [spike_time(row, threshold, inputs, steps) for row, threshold in zip(weights, thresholds, strict=True)]
        spike_times.append(times)
    weights, thresholds = layers[-1]
    return Frame(spike_times, decide(weights, thresholds, inputs, times, steps))


def score(frames, labels):
    """[S6] All scores of a list of :class:`Frame`."""
    strict = first_index = lenient = fired = silent = taken = hidden = 0
    for frame, label in zip(frames, labels, strict=True):
        decision, outputs = frame.decision, frame.spike_times[-1]
        right = decision.class_index == label
        strict += right
        if decision.silent:
            silent += 1
            first_index += right
            lenient += right
        else:
            fired += right
            earliest = [index for index, time in enumerate(outputs) if time == min(outputs)]
            first_index += earliest[0] == label
            lenient += label in earliest
        taken += decision.step + 1
        for layer in frame.spike_times[:-1]:
            for time in layer:
                hidden += time <= decision.step
    count = len(frames)
    return Scores(
        strict=100 * strict / count,
        first_index=100 * first_index / count,
        lenient=100 * lenient / count,
        fired=100 * fired / count,
        silent_share=100 * silent / count,
        steps_mean=taken / count,
        hidden_spikes_by_decision_mean=hidden / count,
    )
