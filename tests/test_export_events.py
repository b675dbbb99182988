import numpy as np
import pytest

from export.events import Events

RNG = np.random.default_rng(20)
FRAMES, STEPS, NEURONS = 9, 5, 7


def spike_times(frames: int = FRAMES) -> np.ndarray:
    return RNG.integers(0, STEPS + 1, (frames, NEURONS)).astype(np.int32)


def test_there_and_back():
    times = spike_times()
    events = Events.from_spike_times(times, STEPS)
    assert events.shape == (FRAMES, STEPS, NEURONS)
    assert len(events) == (times < STEPS).sum()
    assert np.array_equal(events.spike_times(), times)
    assert [array.dtype for array in (events.frame, events.step, events.neuron, events.coefficient)] == ["i8", "i4", "i4", "i2"]
    assert (np.diff(events.place) > 0).all()


def test_sorted_by_many_frames_as_by_few(monkeypatch):
    times = spike_times()
    few = Events.from_spike_times(times, STEPS)
    monkeypatch.setattr("export.events.RADIX", 1)
    assert Events.from_spike_times(times, STEPS).equals(few)


def test_sort():
    events = Events.from_spike_times(spike_times(), STEPS)
    order = RNG.permutation(len(events))
    again = Events.sort(events.shape, events.frame[order], events.step[order], events.neuron[order])
    assert again.equals(events)
    signed = Events.sort(events.shape, events.frame[order], events.step[order], events.neuron[order], order % 3 - 1)
    assert np.array_equal(signed.coefficient, np.arange(len(events)) % 3 - 1)


def test_the_first_spike_of_a_neuron_is_its_spike_time():
    events = Events.sort((2, STEPS, 3), np.array([1, 0, 1, 1]), np.array([4, 3, 2, 3]), np.array([2, 0, 2, 2]))
    assert events.spike_times().tolist() == [[3, 5, 5], [5, 5, 2]]
    twice = Events.concatenate([Events.from_spike_times(np.full((100, 50), step), 4) for step in (1, 3)])
    again = Events.sort((100, 4, 50), twice.frame % 100, twice.step, twice.neuron)
    assert (again.spike_times() == 1).all()


@pytest.mark.parametrize("frames", [slice(0, 4), slice(4, None), slice(3, 3), slice(7, 2), slice(-2, None), slice(None)])
def test_slice(frames):
    times = spike_times()
    assert Events.from_spike_times(times, STEPS)[frames].equals(Events.from_spike_times(times[frames], STEPS))


def test_slices_are_of_consecutive_frames():
    with pytest.raises(ValueError, match="a slice of events must be of consecutive frames, not of every 2th"):
        Events.from_spike_times(spike_times(), STEPS)[::2]


def test_concatenate():
    parts = [spike_times(frames) for frames in (3, 0, 1, 5)]
    joined = Events.concatenate([Events.from_spike_times(part, STEPS) for part in parts])
    assert joined.equals(Events.from_spike_times(np.concatenate(parts), STEPS))


@pytest.mark.parametrize("name", ["frame", "step", "neuron", "coefficient"])
def test_equal_means_every_number(name):
    events = Events.from_spike_times(spike_times(), STEPS)
    other = events.select(np.arange(len(events)))
    assert other.equals(events)
    changed = getattr(events, name).copy()
    changed[3] += 1
    object.__setattr__(other, name, changed)
    assert not other.equals(events)
    assert not events.equals(events.select(np.arange(len(events) - 1)))
    assert not events.equals(Events((*events.shape[:2], 8), events.frame, events.step, events.neuron, events.coefficient))


def test_missing_in():
    events = Events.from_spike_times(spike_times(), STEPS)
    kept = RNG.random(len(events)) < 0.5
    assert np.array_equal(events.missing_in(events.select(kept)), ~kept)
    assert not events.select(kept).missing_in(events).any()
    assert events.missing_in(events.select(np.zeros(len(events), bool))).all()


def test_places_beyond_32_bits():
    events = Events.sort((1 << 40, 1 << 15, 1 << 20), np.array([1 << 27, (1 << 27) - 1]), np.array([7, 7]), np.array([5, 5]))
    assert events.place.tolist() == [((((1 << 27) - 1) << 15) + 7 << 20) + 5, (((1 << 27) << 15) + 7 << 20) + 5]


def test_by_step():
    rng = np.random.default_rng(3)
    coefficients = rng.integers(-3, 4, (7, 5, 6)) * (rng.random((7, 5, 1)) < 0.6)
    coefficients[:, 2] = 0
    steps = list(Events.from_dense(coefficients).by_step())
    assert len(steps) == 5
    for step, events in enumerate(steps):
        assert events.frames.tolist() == np.flatnonzero(coefficients[:, step].any(axis=1)).tolist()
        assert events.counts.tolist() == np.count_nonzero(coefficients[events.frames, step], axis=1).tolist()
        assert np.array_equal(events.dense(6), coefficients[events.frames, step])
        assert events.dense(6).dtype == np.float32
