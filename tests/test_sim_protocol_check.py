"""What a recording says is altered, one thing at a time: each is found, and its run and frame named."""

from dataclasses import replace

import numpy as np
import pytest

from hw.core.words import WordFormat
from sim.build import build
from sim.compare import INPUT, READOUT, Difference
from sim.ports import Ports
from sim.protocol import proof
from sim.protocol.circuits import CIRCUITS, TWO_LAYERS
from sim.protocol.sequences import sequence
from sim.simulate import play

MODES = ("full", "early")
CIRCUIT = CIRCUITS[1]
NETWORK, STEPS = CIRCUIT.network, CIRCUIT.network.steps
FORM = WordFormat(NETWORK.inputs, STEPS, CIRCUIT.folding.simd[0])
RUNS = [run for number in range(12) for run in sequence(FORM, 0, number)]


@pytest.fixture(scope="module")
def played():
    assert CIRCUIT.network is TWO_LAYERS
    assert CIRCUIT.folding.contexts == 2
    verilog, port_map = CIRCUIT.verilog()
    ports = Ports.from_map(port_map)
    built = build(proof.stage(verilog, ports, NETWORK), extra_flags=proof.FLAGS)
    runs = [(run.packed(ports.word), run) for run in RUNS]
    return ports, play(built, ports, runs, modes=proof.MODES, plusargs=proof.arguments(0))


def look(played, mode, transcript=None):
    return proof.judge_all(mode, NETWORK, FORM, RUNS, transcript or played[1][mode])


def difference(mode, run, frame, layer, what, expected, seen, neuron=None):
    """One in a frame of a run."""
    return Difference(mode, sum(len(before.frames) for before in RUNS[:run]) + frame, layer, neuron, what, expected, seen)


def without(log, at):
    cycle, payload = np.delete(log.cycle, at), np.delete(log.payload, at, axis=0)
    return replace(log, starts=log.starts - (log.starts > at), cycle=cycle, payload=payload)


def with_more(log, at, payload):
    """One more record of the same run before one."""
    cycle, payload = np.insert(log.cycle, at, 0), np.insert(log.payload, at, payload, axis=0)
    return replace(log, starts=log.starts + (log.starts > at), cycle=cycle, payload=payload)


def changed(log, at, field, value):
    payload = log.payload.copy()
    unit, shift = divmod(field.offset, 32)
    assert shift + field.width <= 32
    mask = (1 << field.width) - 1 << shift
    payload[at, unit] = payload[at, unit] & ~np.uint32(mask) | value << shift & mask
    return replace(log, payload=payload)


def run_of(log, at):
    return int(np.searchsorted(log.starts, at, "right")) - 1


@pytest.mark.parametrize("mode", proof.MODES)
def test_as_it_is(played, mode):
    expected, found = look(played, mode)
    assert found == []
    for frames in (expected.decided, expected.breach, expected.unchecked, ~expected.taken):
        assert frames.any()


def known_result(played, mode, *, breach=False):
    """The last result of a frame of an uncut run, its run, and its frame."""
    expected, _ = look(played, mode)
    log = played[1][mode].results
    for run in reversed(range(len(RUNS))):
        for frame in range(len(RUNS[run].frames)):
            k = played[1][mode].frames[run] + frame
            flagged = expected.breach[k] and not (mode == "early" and expected.decided[k])
            if RUNS[run].cut == 0 and not expected.unchecked[k] and flagged == breach:
                return int(log.starts[run]) + frame, run, frame
    raise AssertionError("there must be one")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("name", ["class_index", "step", "margin", "silent", "error"])
def test_result(played, mode, name):
    ports, recordings = played
    at, run, frame = known_result(played, mode)
    log = recordings[mode].results
    value = int(ports.result.get(log.payload[at : at + 1], name)[0])
    altered = replace(recordings[mode], results=changed(log, at, ports.result[name], value ^ 1))
    assert look(played, mode, altered)[1] == [difference(mode, run, frame, READOUT, name, value, value ^ 1)]


@pytest.mark.parametrize("mode", MODES)
def test_bad_frame_that_is_not_flagged(played, mode):
    ports, recordings = played
    at, run, frame = known_result(played, mode, breach=True)
    altered = replace(recordings[mode], results=changed(recordings[mode].results, at, ports.result["error"], 0))
    assert look(played, mode, altered)[1] == [difference(mode, run, frame, READOUT, "error", 1, 0)]


def test_bad_frame_while_the_mode_changes(played):
    """If a rule was broken after the decision, the error may be known or not; if before, it must be."""
    ports, recordings = played
    expected, _ = look(played, "changing")
    log = recordings["changing"].results
    run_of = np.repeat(np.arange(len(RUNS)), np.diff(log.starts))
    frame = played[1]["changing"].frames[run_of] + np.arange(len(run_of)) - log.starts[run_of]
    bad = expected.breach[frame] & ~expected.unchecked[frame]
    error = ports.result.get(log.payload, "error") == 1
    late = np.flatnonzero(bad & expected.decided[frame] & ~error)
    (early, *_) = np.flatnonzero(bad & ~expected.decided[frame])
    assert late.size
    for at, found in ((late[0], False), (early, True)):
        altered = replace(recordings["changing"], results=changed(log, at, ports.result["error"], int(~error[at])))
        assert any(wrong.what == "error" for wrong in look(played, "changing", altered)[1]) == found


@pytest.mark.parametrize("mode", MODES)
def test_number_of_results(played, mode):
    recording = played[1][mode]
    _, run, _ = known_result(played, mode)
    frames, last = len(RUNS[run].frames), int(recording.results.starts[run + 1]) - 1
    fewer = replace(recording, results=without(recording.results, last))
    assert look(played, mode, fewer)[1][0] == difference(mode, run, frames - 1, READOUT, "results", frames, frames - 1)
    more = replace(recording, results=with_more(recording.results, last, recording.results.payload[last]))
    assert look(played, mode, more)[1][0] == difference(mode, run, frames - 1, READOUT, "results", frames, frames + 1)


def test_result_before_its_time(played):
    """In a run that was cut, a result of a frame that has not ended."""
    expected, _ = look(played, "full")
    log = played[1]["full"].results
    for run in range(len(RUNS)):
        came = int(log.starts[run + 1] - log.starts[run])
        if RUNS[run].cut and came < len(RUNS[run].frames) and not expected.taken[played[1]["full"].frames[run] + came]:
            break
    altered = replace(played[1]["full"], results=with_more(log, log.starts[run], 0))
    altered = replace(altered, results=replace(altered.results, starts=log.starts + (np.arange(len(log.starts)) > run)))
    assert difference("full", run, came, READOUT, "results before their time", 0, 1) in look(played, "full", altered)[1]


def spiking(played, mode, layer):
    """A word of an uncut run with one spike, of a frame of which something is known."""
    ports, recordings = played
    expected, _ = look(played, mode)
    log, payload = recordings[mode].monitors[layer], ports.monitors[layer]
    bits = payload.get_bits(log.payload, "bits")
    for at in np.flatnonzero((bits.sum(axis=1) == 1) & (payload.get(log.payload, "error") == 0)).tolist():
        run = run_of(log, at)
        if RUNS[run].cut == 0 and not expected.unchecked[played[1][mode].frames[run] : played[1][mode].frames[run + 1]].any():
            neuron = int(payload.get(log.payload[at : at + 1], "index")[0]) * bits.shape[1] + int(bits[at].argmax())
            return at, run, neuron, int(payload.get(log.payload[at : at + 1], "time")[0])
    raise AssertionError("there must be one")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("layer", [0, 1])
def test_spike(played, mode, layer):
    ports, recordings = played
    log, payload = recordings[mode].monitors[layer], ports.monitors[layer]
    at, run, neuron, time = spiking(played, mode, layer)

    def found(log):
        monitors = list(recordings[mode].monitors)
        monitors[layer] = log
        first, *_ = (d for d in look(played, mode, replace(recordings[mode], monitors=tuple(monitors)))[1] if d.neuron is not None)
        return first

    frames = recordings[mode].frames
    first = found(changed(log, at, payload["bits"], 0))
    assert frames[run] <= first.frame < frames[run + 1]
    assert first == Difference(mode, first.frame, layer, neuron, "step", time, None)
    assert found(changed(log, at, payload["time"], 4 if time < 4 else 3)).seen == (4 if time < 4 else 3)
    assert found(changed(log, at, payload["time"], 7)) == first  # no step 7: it is missing, and there is an impossible one
    assert found(with_more(log, at, log.payload[at])) == Difference(mode, first.frame, layer, neuron, "second spike", None, time)
    if layer == 0:
        outputs, simd = 7, payload["bits"].width
        beyond = changed(changed(log, at, payload["bits"], 1 << simd - 1), at, payload["index"], -(-outputs // simd) - 1)
        neuron = -(-outputs // simd) * simd - 1
        assert neuron >= outputs
        lost = Difference(mode, first.frame, layer, neuron, "impossible spike", None, time)
        monitors = (beyond, *recordings[mode].monitors[1:])
        assert lost in look(played, mode, replace(recordings[mode], monitors=monitors))[1]


def test_spike_after_the_decision(played):
    """In early mode nothing comes after it, even if it is golden."""
    full, early = (played[1][mode] for mode in ("full", "early"))
    monitors = (full.monitors[0], early.monitors[1])
    found = look(played, "early", replace(early, monitors=monitors))[1]
    assert any(d.layer == 0 and d.what == "spike after the decision" and d.expected is None for d in found)


@pytest.mark.parametrize("mode", MODES)
def test_words_of_a_frame(played, mode):
    """A frame that shows nothing at all on a monitor, and one that was never sent."""
    ports, recordings = played
    log, payload = recordings[mode].monitors[1], ports.monitors[1]
    run = next(k for k in range(len(RUNS)) if RUNS[k].cut == 0 and len(RUNS[k].frames) == 3)
    of_run = np.arange(log.starts[run], log.starts[run + 1])
    words = of_run[payload.get(log.payload[of_run], "frame") == 2]  # of the last frame, which is good
    assert words[-1] == of_run[-1]
    fewer = log
    for at in reversed(words.tolist()):
        fewer = without(fewer, at)
    for altered, what, frame, expected, seen in (
        (changed(log, words[-1], payload["frame"], 3), "words of frames that were not sent", 2, 0, 1),
        (fewer, "words", 2, 1, 0),
    ):
        monitors = (recordings[mode].monitors[0], altered)
        found = look(played, mode, replace(recordings[mode], monitors=monitors))[1]
        assert difference(mode, run, frame, 1, what, expected, seen) in found


def test_end_of_a_frame(played):
    """In full mode: a frame that does not end, one that ends in another step, and a word that breaks a rule of words."""
    ports, recordings = played
    log, payload = recordings["full"].monitors[0], ports.monitors[0]
    run = next(k for k in range(len(RUNS)) if RUNS[k].cut == 0 and len(RUNS[k].frames) == 3)
    of_run = np.arange(log.starts[run], log.starts[run + 1])
    at = of_run[payload.get(log.payload[of_run], "frame") == 2][-1]  # of the last frame, which is good
    time = int(payload.get(log.payload[at : at + 1], "time")[0])
    assert payload.get(log.payload[at : at + 1], "last_of_frame") == 1
    assert time < STEPS - 1
    for altered, wanted in (
        (changed(log, at, payload["last_of_frame"], 0), difference("full", run, 2, 0, "ends", 1, 0)),
        (changed(log, at, payload["time"], time + 1), difference("full", run, 2, 0, "step of the end", time, time + 1)),
        (changed(log, at, payload["last_of_step"], 0), difference("full", run, 2, 0, 'word rule "a frame ends with a step"', 1, 0)),
    ):
        monitors = (altered, recordings["full"].monitors[1])
        assert wanted in look(played, "full", replace(recordings["full"], monitors=monitors))[1]


def test_cancels(played):
    full, early = (played[1][mode] for mode in ("full", "early"))

    def cancelled(recording, at):
        log, *others = recording.inputs
        payload = log.payload.copy()
        payload[at, 1] |= 1 << 31
        return replace(recording, inputs=(replace(log, payload=payload), *others))

    whats = {wrong.what for wrong in look(played, "full", cancelled(full, 5))[1]}
    assert "cancels in full mode" in whats
    run = next(k for k in range(len(RUNS)) if RUNS[k].cut == 0 and len(RUNS[k].frames[0].words) > 1)
    at = int(early.inputs[0].starts[run])
    found = look(played, "early", cancelled(early, at))[1]
    assert difference("early", run, 0, INPUT, "cancelled first words", 0, 1) in found
    assert difference("early", run, 0, INPUT, "cancels before a decision", 0, 1) in found


def test_frame_that_was_not_taken(played):
    recording = played[1]["full"]
    run = next(k for k in range(len(RUNS)) if RUNS[k].cut == 0)
    stream = (len(RUNS[run].frames) - 1) % 2
    inputs = list(recording.inputs)
    inputs[stream] = without(inputs[stream], int(inputs[stream].starts[run + 1]) - 1)
    found = [wrong for wrong in look(played, "full", replace(recording, inputs=tuple(inputs)))[1] if wrong.what == "frames taken"]
    assert found == [difference("full", run, len(RUNS[run].frames) - 1, INPUT, "frames taken", 1, 0)]


def test_result_that_did_not_hold(played):
    held = np.zeros(len(RUNS), int)
    held[[3, 4]] = 1
    altered = replace(played[1]["full"], held=held)
    assert look(played, "full", altered)[1] == [difference("full", 3, 0, READOUT, "offered results that change", 0, 1)]


def test_stuck_without_a_difference(played):
    altered = replace(played[1]["full"], stuck=True)
    assert look(played, "full", altered)[1] == [difference("full", len(RUNS) - 1, 0, READOUT, "runs that come to no end", 0, 1)]


def test_text():
    assert Difference("full", 3, 0, 4, "step", 2, 5).text == "layer 0, neuron 4: step expected 2, seen 5"
    assert Difference("full", 3, READOUT, None, "error", None, 1).text == "readout: error expected none, seen 1"
