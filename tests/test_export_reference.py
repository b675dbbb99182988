import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from export import Dense, Events, Layer, Network, Single, UserError, reference
from tests import oracle
from tests.networks import assert_equal_to_oracle, random_network, random_spike_times, run_oracle


@pytest.mark.parametrize("steps", [1, 2, 5, 8])
@pytest.mark.parametrize(
    "shape",
    [
        (1, 1),
        (1, 1, 1),
        (2, 3),
        (3, 2, 4),
        (7, 8, 9),
        (8, 7, 10),
        (9, 16, 15, 3),
        (15, 17, 1),
        (16, 4, 4),
        (17, 1, 5),
        (33, 31, 10),
    ],
    ids=lambda shape: "-".join(map(str, shape)),
)
def test_equals_oracle(shape, steps):
    rng = np.random.default_rng([*shape, steps])
    for spread in (0.3, 1.0):
        network = random_network(rng, shape, steps, spread=spread)
        assert_equal_to_oracle(network, random_spike_times(rng, 12, shape[0], steps))


@pytest.mark.parametrize("worth", [1, 3])
@pytest.mark.parametrize("density", [0.01, 0.04, 0.3])
@pytest.mark.parametrize("frames", [1, 40])
def test_sums_of_events_are_those_of_all_inputs(frames, density, worth):
    """Few events and many, of one frame and of several, the rest of which have none."""
    rng = np.random.default_rng(2)
    dense = Dense(rng.choice([-1, 1], (90, 400)))
    spikes = rng.integers(1, worth + 1, (frames, 1, 400)) * rng.choice([-1, 1], (frames, 1, 400)) ** (worth - 1)
    spikes *= (rng.random(spikes.shape) < density * rng.random((frames, 1, 1)) * 2) * (rng.random((frames, 1, 1)) < 0.8)
    spikes[0, 0, 7] = worth
    (events,) = Events.from_dense(spikes).by_step()
    expected = spikes[events.frames, 0] @ dense.weights.T.astype(int)
    sums = dense.sums_of_events(events)
    assert sums.dtype == np.float32
    assert np.array_equal(sums, expected)
    assert np.array_equal(dense.sums(events.dense(400)), expected)


@pytest.mark.usefixtures("_dense_by")
@pytest.mark.parametrize("share", [0.05, 0.3, 1.0])
def test_many_steps_equal_oracle(share):
    """Most steps reach few frames, or none."""
    rng = np.random.default_rng(3)
    network = random_network(rng, (30, 20, 12, 4), 80, spread=0.4)
    times = rng.integers(0, 80, (9, 30))
    golden = assert_equal_to_oracle(network, np.where(rng.random(times.shape) < share, times, 80))
    assert len(set(golden.spike_times[1].ravel().tolist())) > 5


@st.composite
def networks_and_frames(draw):
    shape = draw(st.lists(st.integers(1, 6), min_size=2, max_size=4))
    steps = draw(st.integers(1, 5))
    layers = []
    for inputs, outputs in itertools.pairwise(shape):
        row = st.lists(st.sampled_from([-1, 1]), min_size=inputs, max_size=inputs)
        weights = draw(st.lists(row, min_size=outputs, max_size=outputs))
        thresholds = draw(st.lists(st.integers(-inputs, inputs + 1), min_size=outputs, max_size=outputs))
        layers.append(Layer(Dense(np.array(weights)), Single(np.array(thresholds))))
    frame = st.lists(st.integers(0, steps), min_size=shape[0], max_size=shape[0])
    frames = draw(st.lists(frame, min_size=1, max_size=3))
    return Network(tuple(layers), steps), np.array(frames)


@given(networks_and_frames())
@settings(max_examples=200, deadline=None, derandomize=True, database=None)
def test_equals_oracle_on_anything(network_and_frames):
    assert_equal_to_oracle(*network_and_frames)


def test_every_frame_of_a_small_network():
    silent = 0
    frames = np.array(list(itertools.product(range(4), repeat=3)))
    for seed in range(10):
        network = random_network(np.random.default_rng(seed), (3, 4, 3), 3)
        silent += assert_equal_to_oracle(network, frames).decisions.silent.sum()
    assert 0 < silent < 640


@pytest.mark.parametrize("weight", [-1, 1])
@pytest.mark.parametrize("inputs", [1, 7, 8, 9])
def test_equality_at_the_threshold(inputs, weight):
    """[S3] Every threshold of a neuron whose weights are all one or all minus one; fires exactly where V reaches it."""
    thresholds = np.arange(-inputs, inputs + 2)
    layer = Layer(Dense(np.full((len(thresholds), inputs), weight)), Single(thresholds))
    network = Network((layer,), inputs)
    golden = assert_equal_to_oracle(network, np.arange(inputs)[None])  # one input a step: V goes weight, 2·weight, …
    for threshold, time in zip(thresholds, golden.spike_times[0][0], strict=True):
        if weight == 1:
            assert time == min(max(threshold - 1, 0), inputs)
        else:
            assert time == (0 if threshold <= -1 else inputs)


def test_dead_neuron_never_fires():
    """[S3] A threshold of fan-in + 1 is out of reach, one of fan-in is not, one of -fan-in always is reached at step 0."""
    layer = Layer(Dense(np.ones((3, 5))), Single(np.array([6, 5, -5])))
    golden = assert_equal_to_oracle(Network((layer,), 4), np.zeros((1, 5), int))
    assert golden.spike_times[0].tolist() == [[4, 0, 0]]


def test_layers_have_no_delay():
    """[S3] A spike at step 2 goes through three layers within step 2."""
    layer = Layer(Dense(np.array([[1]])), Single(np.array([1])))
    golden = assert_equal_to_oracle(Network((layer, layer, layer), 4), np.array([[2]]))
    assert [times.item() for times in golden.spike_times] == [2, 2, 2]


def test_potential_is_tested_when_the_step_closes():
    """[S4] Input 0 alone would fire the neuron; input 1 spikes in the same step and takes it back."""
    layer = Layer(Dense(np.array([[1, -1]])), Single(np.array([1])))
    golden = assert_equal_to_oracle(Network((layer,), 3), np.array([[1, 1], [1, 2]]))
    assert golden.spike_times[0].ravel().tolist() == [3, 1]


@pytest.mark.parametrize("seed", range(20))
def test_lemma_no_spike_without_input_spikes_but_at_step_0(seed):
    """[S4] lemma, in every layer: a neuron fires at step t > 0 only if some input of its layer spikes at t."""
    rng = np.random.default_rng(seed)
    network = random_network(rng, (6, 5, 4), 8)
    inputs = random_spike_times(rng, 20, 6, 8)
    inputs[inputs == 0] = 8  # step 0 is empty too: what fires there has a threshold ≤ 0
    golden = reference.run(network, inputs)
    for before, times in itertools.pairwise((inputs, *golden.spike_times)):
        for frame, neuron in np.argwhere((times > 0) & (times < 8)):
            assert times[frame, neuron] in before[frame]
    assert ((golden.spike_times[0] == 0) == (network.layers[0].neuron.thresholds <= 0)).all()


def test_silent_frame_decides_by_margin_at_the_last_step():
    """[S5] Nothing fires: t* = T - 1, and the largest negative margin wins."""
    layer = Layer(Dense(np.array([[1, 1], [1, 1], [1, -1]])), Single(np.array([3, 3, 2])))
    decisions = assert_equal_to_oracle(Network((layer,), 4), np.array([[0, 4], [4, 4], [1, 3]])).decisions
    assert decisions.silent.all()
    assert decisions.step.tolist() == [3, 3, 3]
    assert decisions.class_index.tolist() == [2, 2, 0]
    assert decisions.margin.tolist() == [-1, -2, -1]


def test_tie_goes_to_the_lowest_index():
    """[S5] Equal margins, fired or silent."""
    layer = Layer(Dense(np.array([[-1, 1], [1, 1], [1, 1]])), Single(np.array([2, 1, 1])))
    decisions = assert_equal_to_oracle(Network((layer,), 2), np.array([[0, 2], [2, 2]])).decisions
    assert decisions.class_index.tolist() == [1, 1]
    assert decisions.margin.tolist() == [0, -1]
    assert decisions.silent.tolist() == [False, True]


def test_margin_beats_index_among_the_earliest():
    """[S5] Both outputs fire at step 1; the later index has the larger margin there."""
    layer = Layer(Dense(np.array([[1, 1, 1], [1, 1, 1]])), Single(np.array([2, 1])))
    decisions = assert_equal_to_oracle(Network((layer,), 3), np.array([[1, 1, 2]])).decisions
    assert (decisions.class_index.item(), decisions.step.item(), decisions.margin.item()) == (1, 1, 1)


def test_nothing_after_the_decision_matters():
    """[S5] Input spikes after t* change no decision."""
    rng = np.random.default_rng(11)
    network = random_network(rng, (8, 6, 4), 6)
    times = random_spike_times(rng, 50, 8, 6)
    before = reference.run(network, times).decisions
    assert not before.silent.all()
    later = np.where((times > before.step[:, None]), 6, times)
    after = reference.run(network, later).decisions
    fired = ~before.silent
    for name in ("class_index", "step", "margin", "silent"):
        assert np.array_equal(getattr(before, name)[fired], getattr(after, name)[fired])


@pytest.mark.parametrize("time", [0, 3, 7, 8])
def test_all_inputs_at_once_or_never(time):
    network = random_network(np.random.default_rng(5), (9, 7, 5), 8)
    assert_equal_to_oracle(network, np.full((1, 9), time))


def test_margin_sign_says_whether_an_output_fired():
    silent = 0
    for seed in range(10):
        rng = np.random.default_rng(seed)
        decisions = reference.run(random_network(rng, (8, 6, 4), 6), random_spike_times(rng, 100, 8, 6)).decisions
        assert np.array_equal(decisions.margin >= 0, ~decisions.silent)
        silent += decisions.silent.sum()
    assert 0 < silent < 1000


@pytest.mark.parametrize("frames", [0, 1, reference.CHUNK - 1, reference.CHUNK, reference.CHUNK + 1])
def test_chunks_join(frames):
    rng = np.random.default_rng(17)
    network = random_network(rng, (4, 3, 2), 3)
    times = random_spike_times(rng, frames, 4, 3)
    golden = reference.run(network, times)
    assert [part.shape for part in golden.spike_times] == [(frames, 3), (frames, 2)]
    assert all(part.dtype == np.int32 for part in golden.spike_times)
    decisions = golden.decisions
    assert [a.dtype for a in (decisions.class_index, decisions.step, decisions.margin, decisions.silent)] == [np.int32] * 3 + [bool]
    assert all(len(a) == frames for a in (decisions.class_index, decisions.step, decisions.margin, decisions.silent))
    summary = reference.summarize(network, times)
    assert np.array_equal(summary.output_times, golden.summary.output_times)
    assert np.array_equal(summary.hidden_spikes, golden.summary.hidden_spikes)
    assert all(np.array_equal(getattr(summary.decisions, name), getattr(decisions, name)) for name in reference.DECISION_FIELDS)
    if frames > 1:
        alone = reference.run(network, times[-1:])
        assert np.array_equal(alone.spike_times[0][0], golden.spike_times[0][-1])
        assert alone.decisions.margin[0] == decisions.margin[-1]


def test_large_fan_in_is_exact():
    """Sums far beyond the ±2**11 that a half-precision product would keep."""
    rng = np.random.default_rng(19)
    weights = rng.choice([-1, 1], (2, 5001))
    weights[0] = 1
    network = Network((Layer(Dense(weights), Single(np.array([5001, 40]))),), 2)
    golden = assert_equal_to_oracle(network, np.array([[0] * 5000 + [1], [0] * 5000 + [2]]))
    assert golden.spike_times[0][:, 0].tolist() == [1, 2]


def test_inputs_are_left_alone_and_results_are_repeatable():
    rng = np.random.default_rng(23)
    network, times = random_network(rng, (5, 4, 3), 4), random_spike_times(rng, 10, 5, 4)
    copy = times.copy()
    first, second = reference.run(network, times), reference.run(network, times)
    assert np.array_equal(times, copy)
    assert all(np.array_equal(a, b) for a, b in zip(first.spike_times, second.spike_times, strict=True))


@pytest.mark.parametrize(
    ("times", "message"),
    [
        (np.zeros((2, 2), int), "spike times must have shape (frames, 3), not (2, 2)"),
        (np.zeros(3, int), "spike times must have shape (frames, 3), not (3,)"),
        (np.zeros((1, 3)), "spike times must be integers, not float64"),
        (np.zeros((1, 3), bool), "spike times must be integers, not bool"),
        (np.array([[0, 1, 4], [0, -1, 5]]), "spike times must be from 0 to 4 (4 = never), but input 1 of frame 1 has -1"),
        (np.array([[0, 1, 5]], np.uint8), "spike times must be from 0 to 4 (4 = never), but input 2 of frame 0 has 5"),
    ],
)
def test_wrong_spike_times_are_refused(times, message):
    network = Network((Layer(Dense(np.ones((1, 3))), Single(np.array([1]))),), 4)
    with pytest.raises(UserError) as caught:
        reference.run(network, times)
    assert str(caught.value) == message


def test_oracle_by_hand():
    """The oracle itself, on one frame followed with a pencil.

    Step 0: input 0 spikes; V = (1, -1). Step 2: inputs 1 and 2 spike; V = (1, 1). Thresholds 2 and 1: output 1 fires then.
    """
    network = Network((Layer(Dense(np.array([[1, -1, 1], [-1, 1, 1]])), Single(np.array([2, 1]))),), 4)
    assert run_oracle(network, np.array([[0, 2, 2]])) == [oracle.Frame([[4, 2]], oracle.Decision(1, 2, 0, False))]


class Rate(Single):
    """Another neuron kind: it spikes in each step in which its potential reaches the threshold, which is then subtracted."""

    spikes_once = False
    skips_empty_steps = False

    def step(self, state):
        spikes = state.margin >= 0
        state.margin -= np.where(spikes, self.thresholds, 0)
        state.emitted += spikes
        return spikes.astype(np.int8) * (2 if self.thresholds[0] > 2 else 1)


def test_any_neuron_kind():
    """Coefficients are multiplied, and steps without spikes are closed where neurons can act in them."""
    first = Layer(Dense(np.array([[1, 1, 1], [1, 1, -1]])), Rate(np.array([3, 1])))  # spikes of 2
    second = Layer(Dense(np.array([[1, -1]])), Rate(np.array([1])))
    result = reference.run(Network((first, second), 5), np.array([[0, 0, 0], [5, 5, 5], [0, 0, 5]]))
    events = [list(zip(e.frame.tolist(), e.step.tolist(), e.neuron.tolist(), e.coefficient.tolist(), strict=True)) for e in result.events]
    assert events[0] == [(0, 0, 0, 2), (0, 0, 1, 2), (2, 0, 1, 2), (2, 1, 1, 2)]
    assert events[1] == []
    inputs = Network((Layer(Dense(np.array([[1, 1]])), Rate(np.array([1]))),), 4)
    spikes = reference.run(inputs, np.array([[0, 0], [1, 4]])).events[0]
    assert (spikes.frame.tolist(), spikes.step.tolist()) == ([0, 0, 1], [0, 1, 1])


@pytest.mark.parametrize("chunk", [1, 3, 50])
def test_chunks(chunk, monkeypatch):
    rng = np.random.default_rng(8)
    network = random_network(rng, (9, 8, 3), 4)
    times = random_spike_times(rng, 50, 9, 4)
    whole = reference.run(network, times)
    monkeypatch.setattr(reference, "STATES", 9 * chunk)
    assert reference.chunk_of(network) == chunk
    parts = reference.run(network, times)
    assert all(a.equals(b) for a, b in zip(parts.events, whole.events, strict=True))
    assert all(np.array_equal(getattr(parts.decisions, n), getattr(whole.decisions, n)) for n in reference.DECISION_FIELDS)


def test_slices_and_spike_times():
    rng = np.random.default_rng(9)
    network = random_network(rng, (9, 8, 3), 4)
    times = random_spike_times(rng, 20, 9, 4)
    whole, part = reference.run(network, times), reference.run(network, times[5:9])
    assert len(whole[5:9]) == 4
    assert all(a.equals(b) for a, b in zip(whole[5:9].events, part.events, strict=True))
    again = reference.Result.from_spike_times(whole.spike_times, whole.decisions, 4)
    assert all(a.equals(b) for a, b in zip(again.events, whole.events, strict=True))
    assert np.array_equal(whole[5:9].summary.hidden_spikes, part.summary.hidden_spikes)
