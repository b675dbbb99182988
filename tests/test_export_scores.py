import numpy as np
import pytest

from export import Dense, Layer, Network, Single, UserError, reference
from export.scores import Scores, score
from tests import oracle
from tests.networks import random_network, random_spike_times, run_oracle


@pytest.mark.parametrize("seed", range(10))
def test_equals_oracle(seed):
    rng = np.random.default_rng(seed)
    network = random_network(rng, (7, 6, 5, 3), 4)
    times = random_spike_times(rng, 40, 7, 4)
    labels = rng.integers(0, 3, 40)
    expected = oracle.score(run_oracle(network, times), labels.tolist())
    assert score(reference.run(network, times), labels).as_dict() == pytest.approx(expected._asdict(), rel=1e-12)


def test_tie_rules_differ_where_they_should():
    """[S6] Outputs 0 and 2 fire together at step 1, output 2 with the larger margin; output 1 never fires."""
    layer = Layer(Dense(np.array([[1, 1], [-1, -1], [1, 1]])), Single(np.array([2, 1, 1])))
    result = reference.run(Network((layer,), 3), np.array([[1, 1]]))
    assert result.spike_times[0].tolist() == [[1, 3, 1]]
    by_label = [score(result, np.array([label])) for label in range(3)]
    assert [s.strict for s in by_label] == [0, 0, 100]
    assert [s.first_index for s in by_label] == [100, 0, 0]
    assert [s.lenient for s in by_label] == [100, 0, 100]
    assert [s.fired for s in by_label] == [0, 0, 100]
    assert by_label[0].silent_share == 0
    assert by_label[0].steps_mean == 2


def test_silent_frames_use_the_margin_and_never_count_as_fired():
    """[S6] No output fires; output 1 is closest to its threshold."""
    layer = Layer(Dense(np.array([[1, 1], [1, 1], [1, 1]])), Single(np.array([3, 2, 3])))
    result = reference.run(Network((layer,), 3), np.array([[0, 3]]))
    assert score(result, np.array([1])) == Scores(100, 100, 100, 0, 100, 3, 0)
    assert score(result, np.array([0])) == Scores(0, 0, 0, 0, 100, 3, 0)


def test_hidden_spikes_are_counted_up_to_the_decision():
    """Hidden neurons fire at steps 0, 1 and 2; the output fires at step 1."""
    hidden = Layer(Dense(np.array([[1, -1, -1], [1, 1, -1], [1, 1, 1]])), Single(np.array([1, 2, 3])))
    output = Layer(Dense(np.array([[1, 1, 1]])), Single(np.array([2])))
    result = reference.run(Network((hidden, output), 4), np.array([[0, 1, 2]]))
    assert result.spike_times[0].tolist() == [[0, 1, 2]]
    assert score(result, np.array([0])).hidden_spikes_by_decision_mean == 2


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        ([0], "scores need at least one frame and one label per frame, not 2 frames and labels of shape (1,)"),
        ([[0], [1]], "scores need at least one frame and one label per frame, not 2 frames and labels of shape (2, 1)"),
        ([0, 2], "labels must be from 0 to 1, not 0 to 2"),
        ([-1, 0], "labels must be from 0 to 1, not -1 to 0"),
        ([0, 2**40], "labels must be from 0 to 1, not 0 to 1099511627776"),
        (["cat", "dog"], "labels must be integers, not <U3"),
        ([0.0, 1.0], "labels must be integers, not float64"),
        ([None, 1], "labels must be integers, not object"),
        ([[0], [1, 1]], "labels must be an array, all rows of one length"),
        (np.ma.masked_array([0, 1], [1, 0]), "labels must have no masked entries, but has 1"),
    ],
)
def test_wrong_labels_are_refused(labels, message):
    rng = np.random.default_rng(0)
    result = reference.run(random_network(rng, (3, 2), 2), random_spike_times(rng, 2, 3, 2))
    with pytest.raises(UserError) as caught:
        score(result, labels)
    assert str(caught.value) == message


def test_no_frames_are_refused():
    network = random_network(np.random.default_rng(0), (3, 2), 2)
    with pytest.raises(UserError, match="not 0 frames"):
        score(reference.run(network, np.zeros((0, 3), int)), np.zeros(0, int))
