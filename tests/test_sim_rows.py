"""Co-simulation of convolutions by rows, and faults planted in their Verilog: each is seen, and its place named, as in
`tests.test_sim_maps`."""

from functools import cache

import numpy as np
import pytest

import sim
from export import Conv2d, Dense, Encoder, Events, Graded, Layer, Network, Pool2d, Readout, reference
from hw import Accelerator, Folding, cost
from hw.verilog import generate, port_map
from sim.compare import Difference
from tests import plusargs
from tests.maps import random_inputs, signs
from tests.multi_spike import dense
from tests.test_sim_maps import in_module, named, row_changed

FAULTS = ("stale membranes", "row tested too early")
EARLY = 3, 2  # row and column of the word before which a row is tested too early
FOLDING = Folding((1, 3, 4), (3, 2, 3), ("delta",) * 3, contexts=2)
RNG = np.random.default_rng(41)
FIRST = Layer(Conv2d(signs(RNG, 3, 1, 3, 3), (7, 6), padding=1), Graded(np.array([4, 5, 6]), levels=3))
SECOND = Layer(Conv2d(signs(RNG, 4, 3, 2, 2), (3, 3)), Graded(np.array([4, 5, 6, 7]), levels=3), Pool2d((7, 6), 3, 2, "sum"))
NETWORK = Network((FIRST, SECOND, Layer(Dense(signs(RNG, 3, 16)), Readout([2, 4, 3]))), 1, Encoder("none", bits=2))
INPUTS = random_inputs(RNG, NETWORK, 40)
GOLDEN = reference.run(NETWORK, Events.from_dense(INPUTS))
SHAPE = FIRST.output_map


def sums(spikes):
    """Of the first layer's neurons, (rows, columns, channels)."""
    return FIRST.connection.sums(spikes.reshape(1, -1).astype(np.float32)).reshape(SHAPE)


def stale():
    """Potentials that begin with what the position left which had the same place of the ring before."""
    ring, start = 3 * SHAPE[1], FIRST.neuron.start(1).margin
    added = np.concatenate([sums(frame).reshape(-1, SHAPE[2]) for frame in INPUTS])
    found = np.empty_like(added)
    for place, more in enumerate(added):
        found[place] = (start if place < ring else found[place - ring]) + more
    return found


def too_early():
    """Potentials of frames in which the row that a word reaches first is tested before it: it and those behind it, of its row, reach a row
    further down."""
    start, (y, x) = FIRST.neuron.start(1).margin, EARLY
    found = []
    for frame in INPUTS:
        late = np.zeros((7, 6), int)
        if frame.reshape(7, 6)[y, x]:
            late[y, x:] = frame.reshape(7, 6)[y, x:]
        found.append(start + sums(frame - late.reshape(frame.shape)) + np.roll(sums(late), 1, axis=0))
    return np.stack(found)


def first_difference(fault, mode):
    """What a comparison has to name."""
    state = FIRST.neuron.start(len(INPUTS) * SHAPE[0] * SHAPE[1])
    state.margin[:] = (stale if fault == FAULTS[0] else too_early)().reshape(-1, SHAPE[2])
    seen, expected = FIRST.neuron.step(state).reshape(len(INPUTS), -1), dense(GOLDEN.events[0])[:, 0]
    frame, neuron = np.argwhere(seen != expected)[0].tolist()
    return Difference(mode, frame, 0, neuron, "coefficient", int(expected[frame, neuron]), int(seen[frame, neuron]), 0)


@cache
def planted():
    """The Verilog with both faults, and its port map."""
    accelerator = Accelerator(NETWORK, FOLDING)
    plan = accelerator.plans[0]
    assert plan.by_rows
    word = EARLY[0] * 6 + EARLY[1]
    text = in_module(
        generate(accelerator),
        "layer_0_sequencer_walks",
        [row_changed(word, plan.walk_rows[word] + (1 << plan.walk_layout["line"].offset), FAULTS[1])],
    )
    kept = [(r"(assign write__data = )(.*);", r"\1(stale & !now_restart) ? new_potential : (\2);")]
    return in_module(text, "layer_0_membranes", kept, chosen=[("stale", FAULTS[0])]), port_map(accelerator)


def cosimulate(fault, monkeypatch):
    """Run the circuit with one of its faults."""
    plusargs.add(monkeypatch, f"+fault_{named(fault)}.")
    return sim.cosimulate(NETWORK, Events.from_dense(INPUTS), folding=FOLDING, verilog=planted())


def test_no_fault(monkeypatch):
    report = cosimulate("none", monkeypatch)
    assert report.passed, report.first_difference
    for mode, timing in report.timings.items():
        predicted = cost.predict(NETWORK, FOLDING, Events.from_dense(INPUTS), GOLDEN, early=mode == "early")
        assert timing.latency.tolist() == predicted.latencies.tolist()
        assert timing.intervals.tolist() == predicted.intervals.tolist()


@pytest.mark.parametrize("fault", FAULTS)
def test_fault(fault, monkeypatch):
    report = cosimulate(fault, monkeypatch)
    assert not report.passed
    for mode, comparison in report.comparisons.items():
        assert comparison.first == first_difference(fault, mode), mode
    assert "layer 0, neuron" in report.table()
