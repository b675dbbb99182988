import numpy as np
import pytest

from export import UserError
from hw import Folding
from sim.bench import Bench, Speed, measure
from tests.networks import random_network, random_spike_times


def test_both_run_the_same_cycles():
    rng = np.random.default_rng(61)
    network = random_network(rng, (12, 6, 3), 4)
    bench = measure(network, random_spike_times(rng, 30, 12, 4), Folding((3, 6), (6, 3), ("delta", "delta")))
    assert set(bench.speeds) == {"full", "early"}
    for speed in bench.speeds.values():
        assert speed.frames == 30
        assert speed.cycles > 30
        assert speed.ratio == speed.bare_seconds / speed.cosimulation_seconds > 0


def test_text():
    text = str(Bench({"full": Speed(1_500_000, 10_000, 4.0, 3.0)}, 42.0))
    assert text == (
        "build    42.0 s\n"
        "full     1,500,000 cycles, 10,000 frames:  co-simulation 375 k cycles/s, 2,500 frames/s   "
        "bare C++ loop 500 k cycles/s, 3,333 frames/s   ratio 0.75 (goal 0.7)"
    )


def test_no_frames():
    network = random_network(np.random.default_rng(62), (3, 2), 2)
    with pytest.raises(UserError, match="there must be at least one frame, not 0"):
        measure(network, np.empty((0, 3), int), Folding((1,), (1,), ("delta",)))
