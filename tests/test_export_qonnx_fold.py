"""Tables of integers, and encoders and neurons that have the same levels: against brute force over all integers."""

import numpy as np
import pytest

from export import Conv2d, Dense, Encoder, Rate, Readout, Single, Ternary, UserError
from export.qonnx import table
from export.qonnx.fold import code_of, encoder_of, neuron_of, readout_of, spaced
from export.qonnx.table import merged, repeated, tabulate


def stairs(*columns):
    """A step that has the value ``columns[channel][integer]`` for each integer from 0 on."""
    return lambda integers: np.array(columns, np.float32).T[integers]


def refused(call):
    with pytest.raises(UserError) as caught:
        call()
    return str(caught.value)


class TestTable:
    def test_levels_of_rising_and_falling_channels(self, monkeypatch):
        for cells in (1, 4, 1 << 21):
            monkeypatch.setattr(table, "CELLS", cells)
            found = tabulate(0, 3, stairs([0, 0, 1, 2], [2, 0, 0, 0]), [lambda values: values * 0.5])
            assert found.levels.tolist() == [0, 0.5, 1]
            assert found.below.tolist() == [[0, 0], [2, 3], [3, 3]]
            assert found.falls.tolist() == found.falls_before.tolist() == [False, True]

    def test_what_is_pooled_may_rise_while_what_is_tested_falls(self):
        found = tabulate(0, 2, stairs([1, 2, 3]), [], [lambda values: -values])
        assert (found.falls.tolist(), found.falls_before.tolist()) == ([True], [False])

    @pytest.mark.parametrize(
        ("column", "message"),
        [
            ([0, 1, 0], "values must rise or fall with the sum, but those of channel 0 do both"),
            ([0, np.nan, 0], "values must be finite"),
            (range(300), "must come after a quantiser, of at most 256 levels"),
        ],
    )
    def test_what_neurons_cannot_do(self, column, message):
        assert refused(lambda: tabulate(0, len(column) - 1, stairs(column), [])) == message

    def test_columns(self):
        values = np.array([[1, 2]])
        assert repeated(2)(values).tolist() == [[1, 1, 2, 2]]
        assert merged(2)(repeated(2)(values)).tolist() == [[1, 2]]
        assert refused(lambda: merged(2)(values)) == "constants must be the same at all positions of a channel"


class TestCode:
    @pytest.mark.parametrize(
        ("levels", "padded", "least", "greatest", "zero"),
        [
            ([-1, 1], False, 0, 1, -1),
            ([-1, 1], True, -1, 1, 0),
            ([-1, 0, 1], False, -1, 1, 0),
            ([-3, -1, 1, 3], False, 0, 3, -3),
            ([-3, -1, 1, 3], True, -3, 3, 0),
            ([-2, -1, 0, 1], False, 0, 3, -2),
            ([0, 1, 2], True, 0, 2, 0),
            ([0, 1, 3], False, 0, 3, 0),
        ],
    )
    def test_counts(self, levels, padded, least, greatest, zero):
        code = code_of(tabulate(0, len(levels) - 1, stairs(levels), []), padded=padded, neurons=True)
        assert (code.least, code.greatest, code.zero.tolist()) == (least, greatest, [zero])
        counts = np.arange(least, greatest + 1)
        known = ~np.isnan(code.values[0])
        assert code.values[0][known].tolist() == levels
        assert (code.zero + code.worth * counts)[known].tolist() == levels
        reached = (np.arange(len(levels))[:, None] >= code.reached_after[:, 0]).sum(axis=1) + least
        assert (code.zero + code.worth * reached).tolist() == levels

    def test_falling_levels_behind_a_pool(self):
        code = code_of(tabulate(0, 2, stairs([0, 1, 2]), [], [lambda values: 4 - 2 * (values > 0)]), padded=False, neurons=True)
        assert (code.zero.tolist(), code.worth.tolist(), code.values.tolist()) == ([4], [-2], [[4, 2]])
        assert code.reached_after.tolist() == [[1]]

    @pytest.mark.parametrize(
        ("levels", "padded", "neurons", "message"),
        [
            ([2, 2], False, True, "an activation must have at least two levels, not only 2"),
            ([0, 1, 2.5], False, True, "levels of an activation must be evenly spaced, not 0, 1, 2.5"),
            ([-1, 0], True, True, "zeros can only be added to an activation with levels from 0, or from -s to s, not from -1 to 0"),
            ([-1, 1], True, False, "zeros can only be added to an activation with levels from 0, not from -1 to 1"),
        ],
    )
    def test_refused(self, levels, padded, neurons, message):
        found = tabulate(0, len(levels) - 1, stairs(levels), [])
        assert refused(lambda: code_of(found, padded=padded, neurons=neurons)) == message


@pytest.mark.parametrize(
    ("thresholds", "expected"),
    [
        ([128], Encoder("latency", p_min=128)),
        ([64, 128, 192], Encoder("spread", bits=2)),
        (range(1, 256), Encoder("spread", bits=8)),
        ([64, 192], Encoder("spread", thresholds=(64, 192))),
    ],
)
def test_encoders(thresholds, expected):
    encoder = encoder_of(np.array(thresholds))
    assert encoder == expected
    images = np.arange(256, dtype=np.uint8)[None]
    counts = encoder.encode(images, 1)
    counts = 1 - counts[0] if encoder.kind == "latency" else np.bincount(counts.neuron, counts.coefficient, 256)
    assert counts.tolist() == [sum(p >= threshold for threshold in thresholds) for p in range(256)]


class TestNeurons:
    @pytest.mark.parametrize("seed", range(20))
    def test_spaced_thresholds_of_any_scale(self, seed):
        """Thresholds of a scale and an offset, some of which no sum reaches, and some all do."""
        rng = np.random.default_rng(seed)
        counts = np.arange(1, 1 + rng.integers(2, 8)) - rng.integers(0, 4)
        scale, offset = rng.uniform(0.1, 9, 6), rng.uniform(-40, 40, 6)
        thresholds = np.ceil(counts[:, None] * scale - offset).astype(np.int64)
        least, greatest = np.full(6, -30), np.full(6, 30)
        fraction, steps, starts = spaced(thresholds, counts, least, greatest)
        sums = np.arange(-30, 31)[:, None]
        for n, threshold in zip(counts, thresholds, strict=True):
            assert ((sums * 2**fraction + starts >= n * steps) == (sums >= threshold)).all()
        assert (steps >= 1).all()

    def test_uneven_thresholds(self):
        thresholds = np.array([[0, 0], [2, 4], [4, 20]])
        bounds = np.full(2, -20), np.full(2, 20)
        message = "thresholds must be evenly spaced, but those of channel 1, [0, 4, 20], are not"
        assert refused(lambda: spaced(thresholds, np.arange(1, 4), *bounds)) == message
        assert spaced(thresholds, np.arange(1, 4), bounds[0], np.array([20, 5]))[0] <= 8  # none reaches 20

    @pytest.mark.parametrize("threshold", [-9, -3, -2, 0, 1, 4, 5, 9])
    def test_binary(self, threshold):
        """Of one sum from -3 to 4, ``Single`` where it may have the threshold."""
        connections = Dense(np.array([[1, 1, 1, 1, -1, -1, -1]])), Conv2d(np.array([[[[1, 1, 1, 1, -1, -1, -1]]]]), (1, 9))
        column = (np.arange(-3, 5) >= threshold).astype(float)
        if len(set(column)) == 1:
            column = np.append(column, 1 - column[0])  # another sum, which never comes
        for connection in connections:
            code = code_of(tabulate(0, len(column) - 1, stairs(sorted(column)), []), padded=False, neurons=True)
            code.reached_after[:] = threshold + 3
            neuron = neuron_of(code, -3, 4, connection, (np.array([-3]), np.array([4])))
            assert type(neuron) is (Single if connection.output_map is None or threshold >= 1 else Rate)
            state = neuron.start(8)
            neuron.add(state, np.arange(-3, 5, dtype=np.float32)[:, None])
            assert neuron.step(state).ravel().tolist() == [int(s >= threshold) for s in range(-3, 5)]

    def test_double_threshold(self):
        code = code_of(tabulate(0, 6, stairs([-1, -1, 0, 0, 0, 1, 1]), []), padded=False, neurons=True)
        neuron = neuron_of(code, -3, 3, Dense(np.array([[1, 1, 1, -1, -1, -1]])), (np.array([-3]), np.array([3])))
        assert isinstance(neuron, Ternary)
        state = neuron.start(7)
        neuron.add(state, np.arange(-3, 4, dtype=np.float32)[:, None])
        assert neuron.step(state).ravel().tolist() == [-1, -1, 0, 0, 0, 1, 1]

    def test_too_many_levels(self):
        code = code_of(tabulate(0, 128, stairs(range(129)), []), padded=False, neurons=True)
        message = "counts of an activation must be at most 127, not 128"
        assert refused(lambda: neuron_of(code, 0, 128, Dense(np.ones((1, 128))), (np.zeros(1, int), np.full(1, 128)))) == message


SCORES = "scores must be one scale times the sums, the same for all classes, and offsets, at most 256 fractions"


class TestReadout:
    def decide(self, values, first, single=(-9, 10)):
        """Flips and thresholds, after every pair of sums of two classes was decided as the scores say."""
        flips, neuron = readout_of(values, first, single)
        sums = np.arange(first, first + len(values))
        margins = ((-sums if flips else sums)[:, None] << neuron.fraction) - neuron.thresholds
        for a in range(len(values)):
            for b in range(len(values)):
                scores, own = [values[a, 0], values[b, 1]], [margins[a, 0], margins[b, 1]]
                assert np.argmax(scores) == np.argmax(own)
        return flips, neuron

    def test_whole_offsets(self):
        sums = np.arange(-4.0, 5)[:, None]
        flips, neuron = self.decide((sums + np.array([0, 2])) * 0.25, -4)
        assert (flips, neuron.thresholds.tolist(), type(neuron)) == (False, [0, -2], Single)
        flips, neuron = self.decide(-(sums + np.array([0, 2])), -4)
        assert (flips, neuron.thresholds.tolist()) == (True, [0, 2])
        assert type(self.decide(sums + np.array([0, 2]), -4, single=None)[1]) is Readout
        assert type(self.decide(sums + np.array([0, 20]), -4)[1]) is Readout

    def test_fractions(self):
        """The first of two classes that are equal but for a fraction, or the second."""
        sums = np.arange(-4.0, 5)[:, None]
        for offsets in ([0.5, 0], [0, 0.5], [-0.25, 0.5], [7.3, -0.2]):
            for scale in (1, -0.3):
                assert type(self.decide((sums + np.array(offsets)) * scale, -4)[1]) is Readout
        neuron = self.decide(sums + np.array([0, 0.5]), -4)[1]
        assert (neuron.fraction, neuron.thresholds.tolist()) == (1, [0, -1])

    def test_many_classes(self):
        """In float32, in which scores are rounded."""
        rng = np.random.default_rng(3)
        for classes, fraction in ((10, 4), (100, 7)):
            values = (np.arange(-70, 71)[:, None] * 0.37 + rng.normal(0, 9, classes)).astype(np.float32)
            flips, neuron = readout_of(values, -70, None)
            margins = (np.arange(-70, 71)[:, None] << neuron.fraction) - neuron.thresholds
            assert (flips, neuron.fraction) == (False, fraction)
            order = np.lexsort(
                (-np.broadcast_to(np.arange(classes), margins.shape).ravel(), margins.ravel())
            )  # on a tie, the first is greater
            assert np.array_equal(order, np.argsort(values, axis=None))

    def test_equal_offsets_that_are_rounded(self):
        for values in (np.arange(-70, 71)[:, None] * np.full(9, 0.37) + offset for offset in (0.1, 1.7, 0.37 / 2)):
            assert readout_of(values.astype(np.float32), -70, (-99, 99))[1].fraction == 0

    @pytest.mark.parametrize(
        ("values", "message"),
        [
            ([[0, 1], [1, 0]], "scores must rise with the sum, or fall, for all classes, and be different for each sum"),
            ([[0, 0], [1, 0]], "scores must rise with the sum, or fall, for all classes, and be different for each sum"),
            ([[0, 0], [1, 3], [2, 6]], SCORES),
            (np.arange(3)[:, None] + np.arange(300) / 400, SCORES),
        ],
    )
    def test_refused(self, values, message):
        assert refused(lambda: readout_of(np.array(values, float), -1, (-9, 10))) == message
