import numpy as np
import pytest

from export import UserError
from model.data.cochlea import Cochlea

COCHLEA = Cochlea()


def tone(frequency_hz, seconds=0.5, rate_hz=8000):
    return np.sin(2 * np.pi * frequency_hz * np.arange(int(seconds * rate_hz)) / rate_hz)


@pytest.mark.parametrize("channel", [0, 7, 20, 39])
def test_a_tone_drives_the_channel_of_its_frequency(channel):
    _, channels = COCHLEA.events(tone(COCHLEA.centre_frequencies_hz[channel]))
    assert np.bincount(channels, minlength=40).argmax() == channel


def test_centre_frequencies():
    frequencies = COCHLEA.centre_frequencies_hz
    assert frequencies[[0, -1]] == pytest.approx([100, 3800])
    assert (np.diff(frequencies, 2) > 0).all()  # wider and wider
    assert Cochlea(channels=3, lowest_hz=1000, highest_hz=2000).centre_frequencies_hz == pytest.approx([1000, 1426.12, 2000], abs=0.01)


@pytest.mark.parametrize("rate_hz", [50.0, 380.0, 20000.0])
def test_rate_of_events(rate_hz):
    """A hair cell owes at most one event; above the sample rate several come at once."""
    times, channels = Cochlea(rate_hz=rate_hz).events(np.random.default_rng(0).normal(size=4000))
    expected = rate_hz * 40 * 0.5
    assert expected - 40 <= len(times) <= expected
    assert times.min() >= 0
    assert times.max() < 500_000
    assert len(times) == len(channels)


def test_loudness_does_not_matter():
    sound = np.random.default_rng(1).integers(-100, 100, 1000)
    for once, again in zip(COCHLEA.events(sound), COCHLEA.events(16 * sound), strict=True):
        assert once.tolist() == again.tolist()


def test_what_follows_changes_no_drive():
    sound, cochlea = np.random.default_rng(2).normal(size=800), Cochlea(adaptation=0)
    assert (cochlea.drive(sound)[:, :500] == cochlea.drive(sound[:500])).all()


@pytest.mark.parametrize("adaptation", [0.0, 0.5, 1.0])
def test_adaptation(adaptation):
    """At 0.5, a channel whose drive is four times as strong as another's has twice its mean; at 1, the same."""
    sound = np.random.default_rng(3).normal(size=4000)
    before = Cochlea(adaptation=0).drive(sound).mean(1)
    after = Cochlea(adaptation=adaptation).drive(sound).mean(1)
    assert after == pytest.approx(before ** (1 - adaptation))


def test_silence_has_no_drive():
    assert not Cochlea(adaptation=1).drive(np.zeros(100)).any()


def test_silence_has_no_events():
    for samples in (0, 100):
        times, channels = COCHLEA.events(np.zeros(samples, np.int16))
        assert (len(times), len(channels)) == (0, 0)


def test_full_scale_does_not_overflow():
    sound = np.where(np.arange(4000) % 2, -32768, 32767).astype(np.int16)
    for once, again in zip(COCHLEA.events(sound), COCHLEA.events(sound.astype(float)), strict=True):
        assert once.tolist() == again.tolist()


@pytest.mark.parametrize(("lowest", "highest"), [(0, 100), (200, 100), (100, 4000)])
def test_bad_frequencies(lowest, highest):
    with pytest.raises(UserError) as caught:
        Cochlea(lowest_hz=lowest, highest_hz=highest)
    assert str(caught.value) == f"centre frequencies must rise from above 0 to below 4000 Hz, not from {lowest} to {highest} Hz"


@pytest.mark.parametrize("adaptation", [-0.1, 1.5, float("nan")])
def test_bad_adaptation(adaptation):
    with pytest.raises(UserError, match=f"^adaptation must be 0 to 1, not {adaptation:g}$"):
        Cochlea(adaptation=adaptation)
