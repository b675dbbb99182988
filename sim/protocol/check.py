"""Whether what came out of a circuit is what had to: every result, every spike, and nothing else."""

from collections.abc import Sequence

import numpy as np

from export import Conv2d, Network
from export.reference import DECISION_FIELDS
from sim.compare import INPUT, READOUT, Difference, Found, compare_spikes
from sim.frames import spikes
from sim.protocol.expectation import Expectation
from sim.protocol.monitor_rules import breaches, end_times
from sim.recording import Transcript
from sim.stimuli import Pace


def differences(mode: str, runs: Sequence[Pace], transcript: Transcript, expected: Expectation, network: Network) -> list[Difference]:
    """All that differs in one mode, the first of each kind per port, in order; ``runs`` are those that were played."""
    found = Found(mode, np.ones(len(expected.taken), bool))
    whole = np.array([run.cut == 0 for run in runs], bool)
    over = np.repeat(whole, np.diff(transcript.frames))  # frames of runs that were not cut
    _inputs(found, expected, over)
    _results(found, whole, transcript, expected)
    for layer in range(len(transcript.monitors)):
        _monitor(found, layer, transcript, expected, network, over)
    found.frames(READOUT, "offered results that change", transcript.frames[:-1][transcript.held > 0], 0, 1)
    if transcript.stuck and not found.differences:
        found.frames(READOUT, "runs that come to no end", transcript.frames[-2:-1], 0, 1)
    return sorted(found.firsts, key=lambda difference: difference.order)


def _inputs(found: Found, expected: Expectation, over: np.ndarray) -> None:
    found.frames(INPUT, "frames taken", np.flatnonzero(over & ~expected.taken), 1, 0)
    known = ~expected.unchecked
    wrong = {
        "cancelled first words": expected.cancelled_late,
        "cancels before a decision": expected.cancelled & known & ~expected.breach & ~expected.decided,
        "cancels in full mode": expected.cancelled & (found.mode == "full"),
    }
    for what, which in wrong.items():
        found.frames(INPUT, what, np.flatnonzero(which), 0, 1)


def _results(found: Found, whole: np.ndarray, transcript: Transcript, expected: Expectation) -> None:
    log, sent = transcript.results, np.diff(transcript.frames)
    came = np.diff(log.starts)
    wrong = (came > sent) | ((came < sent) & whole)
    found.frames(READOUT, "results", (transcript.frames[:-1] + np.minimum(came, sent - 1))[wrong], sent[wrong], came[wrong])
    number = np.arange(len(log.run)) - log.starts[log.run]
    real = number < sent[log.run]
    frame = (transcript.frames[log.run] + number)[real]
    values = {name: value[real] for name, value in transcript.fields.items()}
    known = ~expected.unchecked[frame]
    breach, decided = expected.breach[frame], expected.decided[frame] & (found.mode != "full")
    may_come = expected.taken[frame] | ((found.mode != "full") & (decided | breach | ~known))
    found.frames(READOUT, "results before their time", frame[~may_come], 0, 1)
    # What breaks a rule after the decision is not known, unless the mode may have been another one by then.
    must_be, may_be = breach & ~decided, breach & ~(decided & (found.mode == "early"))
    flag = np.where(must_be | (may_be & (values["error"] == 1)), 1, 0)
    found.field("error", frame[known], flag[known], values["error"][known])
    right = known & ~must_be & (values["error"] == 0)
    for name in DECISION_FIELDS:
        golden = getattr(expected.golden.decisions, name)[frame[right]].astype(int)
        found.field(name, frame[right], golden, values[name][right])


def _monitor(found: Found, layer: int, transcript: Transcript, expected: Expectation, network: Network, over: np.ndarray) -> None:
    log, payload = transcript.monitors[layer], transcript.ports.monitors[layer]
    golden = expected.golden.events[layer]
    frames, _, neurons = golden.shape
    frame = transcript.frame_of_words(layer)
    real = frame < frames
    found.frames(layer, "words of frames that were not sent", transcript.frames[1:][log.run[~real]] - 1, 0, 1)
    words, frame = log.payload[real], frame[real]
    silent = over.copy()
    silent[frame] = False
    found.frames(layer, "words", np.flatnonzero(silent), 1, 0)

    # Rules of words, whatever their spikes; and each whole frame ends, a good one in the step in which its words ended.
    last_layer = layer == len(transcript.monitors) - 1
    skips = all(later.neuron.skips_empty_steps for later in network.layers[layer + 1 :])
    idle = all(before.neuron.skips_empty_steps for before in network.layers[: layer + 1])
    for rule, broken in breaches(words, frame, payload, neurons, last_layer=last_layer, skips=skips, idle=idle).items():
        found.frames(layer, f'word rule "{rule}"', broken, 1, 0)
    if found.mode == "full":
        ended = end_times(words, frame, payload, frames)
        found.frames(layer, "ends", np.flatnonzero(over & (ended < 0)), 1, 0)
        wrong = np.flatnonzero((ended >= 0) & ~expected.breach & ~expected.unchecked & (ended != expected.closed))
        found.frames(layer, "step of the end", wrong, expected.closed[wrong], ended[wrong])

    # Spikes of words without error, in frames of which something is known. By rows, words leave before it is known how their step closes.
    by_rows = network.steps == 1 and any(isinstance(before.connection, Conv2d) for before in network.layers[: layer + 1])
    counts = ~expected.unchecked[frame] & (payload.get(words, "error") == 0) & ((expected.closed[frame] >= 0) | (not by_rows))
    decided = np.minimum(expected.closed, expected.decision)
    compare_spikes(
        found,
        layer,
        golden,
        spikes(words[counts], payload, frame[counts]).events,
        required=np.where(over & ~expected.unchecked, expected.closed if found.mode == "full" else decided, -1),
        allowed=decided if found.mode == "early" else expected.closed,
        once=network.layers[layer].neuron.spikes_once,
    )
