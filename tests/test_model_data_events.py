import numpy as np
import pytest

from export import Encoder, UserError
from model.data.events import CountCode, EventCode


def brute_force(code, times, channels):
    """The intensities, one input at a time."""
    _, groups, windows = code.shape
    expected = np.zeros(code.shape, np.uint8)
    for plane, rank in enumerate(code.ranks):
        for group in range(groups):
            for window in range(windows):
                start = window * code.window_us
                mine = [time - start for time, channel in zip(times, channels, strict=True) if channel // code.pooled == group]
                inside = sorted(time for time in mine if 0 <= time < code.window_us)
                if len(inside) >= rank:
                    expected[plane, group, window] = 255 - 256 * inside[rank - 1] // code.window_us
    return expected.ravel()


@pytest.mark.parametrize(
    "code",
    [
        EventCode(1, 1, 1),
        EventCode(3, 1, 1000),
        EventCode(4, 5, 256, (1,)),
        EventCode(6, 3, 333, (2, 1), pooled=2),
        EventCode(8, 4, 1001, (1, 3, 7), pooled=8),
    ],
)
@pytest.mark.parametrize("events", [0, 1, 40, 400])
def test_against_brute_force(code, events):
    rng = np.random.default_rng(events)
    times = rng.integers(0, code.windows * code.window_us * 5 // 4 + 1, events)  # some come after the last window
    channels = rng.integers(0, code.channels, events)
    found = code.encode(times, channels)
    assert found.dtype == np.uint8
    assert found.tolist() == brute_force(code, times.tolist(), channels.tolist()).tolist()


def test_latency_counts_from_the_start_of_the_window():
    code = EventCode(channels=2, windows=3, window_us=2560)
    found = code.encode([2560, 5120 + 10, 5120 + 2559, 2559], [0, 1, 0, 1]).reshape(code.shape)
    assert found.tolist() == [[[0, 255, 0], [0, 0, 254]]]  # the last 256th of a window is as good as never


def test_the_latency_encoder_gives_the_windows_steps():
    code = EventCode(channels=1, windows=1, window_us=8000)
    for step in range(7):  # the faintest of 8 steps is background
        for time in (1000 * step, 1000 * step + 999):
            assert Encoder("latency").resolved(8).encode(code.encode([time], [0])[None], 8).tolist() == [[step]]


def test_order_of_events_does_not_matter():
    code = EventCode(channels=9, windows=4, window_us=777, ranks=(1, 2), pooled=3)
    rng = np.random.default_rng(1)
    times, channels, order = rng.integers(0, 3108, 200), rng.integers(0, 9, 200), rng.permutation(200)
    assert code.encode(times, channels).tolist() == code.encode(times[order], channels[order]).tolist()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"windows": 0}, "windows must be at least 1, not 0"),
        ({"window_us": 0}, "window_us must be at least 1, not 0"),
        ({"channels": 0}, "channels must be at least 1, not 0"),
        ({"pooled": -1}, "pooled must be at least 1, not -1"),
        ({"pooled": 4}, "pooled must divide the 6 channels, but 4 does not"),
        ({"ranks": ()}, "ranks must be positive integers, at least one, not []"),
        ({"ranks": (1, 0)}, "ranks must be positive integers, at least one, not [1, 0]"),
    ],
)
def test_bad_parameters(parameters, message):
    with pytest.raises(UserError) as caught:
        EventCode(**{"channels": 6, "windows": 2, "window_us": 100} | parameters)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("times", "channels", "message"),
    [
        ([0, 1], [0], "events must have one time and one channel each, not (2,) times and (1,) channels"),
        ([[0]], [[0]], "events must have one time and one channel each, not (1, 1) times and (1, 1) channels"),
        ([5, -3], [0, 0], "times of events must be at least 0, not -3"),
        ([5, 5], [0, 6], "channels of events must be 0 to 5, not 0 to 6"),
        ([5, 999], [3, -1], "channels of events must be 0 to 5, not -1 to 3"),
    ],
)
def test_bad_events(times, channels, message):
    with pytest.raises(UserError) as caught:
        EventCode(channels=6, windows=2, window_us=100).encode(np.array(times), np.array(channels))
    assert str(caught.value) == message


@pytest.mark.parametrize("events", [0, 1, 300])
def test_counts(events):
    code = CountCode(channels=5, steps=4, step_us=250, most=9)
    rng = np.random.default_rng(events)
    times, channels = rng.integers(0, 1200, events), rng.integers(0, 5, events)  # some come after the last step
    expected = np.zeros((4, 5), int)
    for time, channel in sorted(zip(times.tolist(), channels.tolist(), strict=True)):
        if time < 1000 and expected[:, channel].sum() < 9:
            expected[time // 250, channel] += 1
    found = code.encode(times, channels)
    assert found.dtype == np.int16
    assert found.tolist() == expected.tolist()
    assert (found.sum() == 45) == (events == 300)


def test_counts_refuse_what_is_no_event():
    with pytest.raises(UserError, match=r"^most must be at least 1, not 0$"):
        CountCode(channels=5, steps=4, step_us=250, most=0)
    code = CountCode(channels=5, steps=4, step_us=250, most=9)
    with pytest.raises(UserError, match=r"^channels of events must be 0 to 4, not 5 to 5$"):
        code.encode([1], [5])
    with pytest.raises(UserError, match=r"^times of events must be at least 0, not -1$"):
        code.encode([-1], [0])
