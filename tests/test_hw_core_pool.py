# amaranth: UnusedElaboratable=no

"""hw.core.pool: words of a map come out as those of its windows [S16], from frames in turn, with gaps and stalls, a word per cycle."""

from itertools import pairwise

import numpy as np
import pytest

from export import Dense, Events, Layer, Pool2d, Readout, Single
from hw.core.dense import DensePlan
from hw.core.pool import Pool
from hw.core.streams import connection_format, input_format
from tests import oracle_maps
from tests.circuit import Sink, Source, run
from tests.payloads import in_turn, word_payloads

STEPS = 4


def plan_of(map_shape, channels, size, kind, simd, contexts=1, coefficients=(0, 1)):
    pool = Pool2d(map_shape, channels, size, kind)
    neuron = Single([1]) if coefficients == (0, 1) else Readout([1])
    layer = Layer(Dense(np.ones((1, pool.outputs))), neuron, pool)
    return DensePlan(layer, STEPS, simd, 1, "delta", contexts=contexts, input_coefficients=coefficients)


def random_spikes(rng, plan, frames):
    """Coefficients (frames, steps, neurons)."""
    least, greatest = plan.input_coefficients
    inputs = plan.layer.inputs
    if greatest > 1:
        return rng.integers(least, greatest + 1, (frames, STEPS, inputs)) * (rng.random((frames, STEPS, inputs)) < 0.4)
    times = np.where(rng.random((frames, inputs)) < 0.5, rng.integers(0, STEPS, (frames, inputs)), STEPS)
    return np.arange(STEPS)[:, None] == times[:, None, :]


def value(bits, lane, form):
    worth = bits >> lane * form.lane_bits & (1 << form.lane_bits) - 1
    return worth - (1 << form.lane_bits) if form.signed and worth >> form.lane_bits - 1 else worth


def pooled(plan, steps, words, frames):
    """What came out, as coefficients (frames, steps, windows), each step checked: flags, and no word without spikes but to close it."""
    form = connection_format(plan)
    found = np.zeros((frames, STEPS, form.inputs), int)
    left = iter(words)
    for frame, sent in steps:
        began = sent[0]["first"]
        while True:
            word = next(left)
            assert word["frame"] == frame % plan.frames
            assert word["first"] == began
            assert word["time"] == sent[0]["time"]
            assert word["bits"] or word["last_of_step"]
            for lane in range(plan.simd):
                found[frame, word["time"], word["index"] * plan.simd + lane] += value(word["bits"], lane, form)
            began = 0
            if word["last_of_step"]:
                assert word["last_of_frame"] == sent[-1]["last_of_frame"]
                break
    assert next(left, None) is None
    return found


@pytest.mark.parametrize(("gaps", "stalls", "contexts"), [(0, 0, 1), (0.5, 0.3, 2), (0, 0.8, 4)])
@pytest.mark.parametrize(
    ("map_shape", "channels", "size", "kind", "simd", "coefficients"),
    [
        ((4, 4), 4, (2, 2), "max", 2, (0, 1)),
        ((5, 3), 3, (2, 1), "max", 3, (0, 1)),  # a row is left out
        ((3, 7), 2, (3, 2), "max", 1, (0, 1)),
        ((2, 2), 4, (2, 2), "max", 4, (0, 1)),  # one word of windows
        ((5, 5), 2, (2, 3), "sum", 2, (0, 1)),
        ((4, 5), 3, (2, 2), "sum", 1, (-2, 3)),
    ],
)
def test_windows(map_shape, channels, size, kind, simd, coefficients, gaps, stalls, contexts):
    plan = plan_of(map_shape, channels, size, kind, simd, contexts, coefficients)
    rng = np.random.default_rng([channels, simd, contexts])
    spikes = random_spikes(rng, plan, 24)
    spikes[2] = 0
    steps = in_turn(word_payloads(input_format(plan).from_events(Events.from_dense(spikes.astype(int)))), plan, seed=simd)
    dut = Pool(plan)

    def start():
        count = len(steps)
        sink = Sink(dut.o, count, stalls=stalls, ends="last_of_step", seed=1)
        return sink, Source(dut.i, [words for _, words in steps], gaps=gaps, seed=2)

    sink = run(dut, start, watch=lambda: [dut.o])[0]
    found = pooled(plan, steps, [word for step in sink.received for word in step], len(spikes))
    pool = plan.layer.pool
    expected = [oracle_maps.pool(pool.kind, pool.input_map, pool.window, frame) for frame in spikes.astype(int).tolist()]
    assert found.tolist() == expected


@pytest.mark.parametrize(("kind", "latency"), [("sum", 1), ("max", 2)])
def test_a_word_per_cycle(kind, latency):
    """Words of one position after the other, of the frame's second step: none waits, and each comes after the latency."""
    plan = plan_of((2, 8), 4, (1, 1), kind, 4)
    spikes = np.zeros((1, STEPS, 64), int)
    spikes[0, 1] = 1
    (words,) = word_payloads(input_format(plan).from_events(Events.from_dense(spikes)))
    assert len(words) == 17
    words = [word | {"first": int(place == 0), "frame": 0} for place, word in enumerate(words)]
    dut = Pool(plan)
    sink, source = run(dut, lambda: [Sink(dut.o, 17), Source(dut.i, [[word] for word in words])])
    assert [after - before for before, after in pairwise(source.first_cycles[2:])] == [1] * 14
    assert [out - came for out, came in zip(sink.cycles[2:], source.first_cycles[2:], strict=True)] == [latency] * 15
