import numpy as np
import pytest

from export import UserError, reference
from hw import default_folding
from hw.cost import Speed
from tests.networks import random_network, random_spike_times

NETWORK = random_network(np.random.default_rng(3), (12, 9, 4), 5)
FOLDING = default_folding(NETWORK)


def frames(number):
    return NETWORK.check_inputs(random_spike_times(np.random.default_rng(4), number, NETWORK.inputs, NETWORK.steps))


def test_of_all_frames_at_once():
    assert Speed.measure(NETWORK, FOLDING, frames(20)) == Speed.of(NETWORK, FOLDING, frames(20), reference.run(NETWORK, frames(20)))


@pytest.mark.parametrize("number", [20, 22])
def test_means_over_parts(number, monkeypatch):
    """Of seven frames each; one that is left over has no interval."""
    monkeypatch.setattr(reference, "CHUNK", 7)
    monkeypatch.setattr(reference, "SHARD_BYTES", 1)
    events = frames(number)
    parts = [Speed.of(NETWORK, FOLDING, some := events[at : at + 7], reference.run(NETWORK, some)) for at in range(0, 20, 7)]
    found = Speed.measure(NETWORK, FOLDING, events)
    counts = [part.frames for part in parts]
    assert found.frames == sum(counts) == number - (number % 7 == 1)
    for name in ("interval", "limit", "latency"):
        assert getattr(found, name) == np.average([getattr(part, name) for part in parts], weights=counts)


@pytest.mark.parametrize("number", [0, 1])
def test_too_few_frames(number):
    with pytest.raises(UserError, match=rf"^there must be at least two frames to count cycles between results, not {number}$"):
        Speed.measure(NETWORK, FOLDING, frames(number))
