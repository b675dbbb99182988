"""A model of the inner ear: sound to events."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from export import UserError


@dataclass(frozen=True)
class Cochlea:
    """Gammatone filters, evenly spaced on the ERB scale; each drives a hair cell that integrates and fires.

    1. Pre-emphasis, ``x[n] - pre_emphasis · x[n - 1]``: the outer and middle ear let high frequencies through better.
    2. Gammatone filters of fourth order (Slaney's recursive form, `scipy.signal.gammatone`) stand for the basilar membrane.
    3. Half-wave rectification and compression by a power stand for the hair cell's receptor.
    4. A hair cell adapts to what is there for long: its drive is divided by a power of its mean over the recording, so that the spectrum of
       a voice or a microphone weighs less. (So what comes later in a recording matters to what is before.)
    5. The drive is scaled so that the recording's mean over time and channels is ``rate_hz``: loud and soft speakers sound alike.
    6. A hair cell sums its drive and sends an event whenever the sum passes an integer.

    Parameters:
        sample_rate_hz: of the sound.
        channels: filters.
        lowest_hz, highest_hz: centre frequencies of the first and the last.
        pre_emphasis: 0 … 1.
        compression: exponent, above 0.
        adaptation: exponent, 0 (none) … 1 (all hair cells have the same mean).
        rate_hz: events per second and channel, on average.

    Raises:
        UserError: the frequencies are out of order or reach half the sample rate, or the adaptation is out of range.
    """

    sample_rate_hz: int = 8000
    channels: int = 40
    lowest_hz: float = 100.0
    highest_hz: float = 3800.0
    pre_emphasis: float = 0.97
    compression: float = 0.5
    adaptation: float = 0.5
    rate_hz: float = 380.0

    def __post_init__(self) -> None:
        if not 0 < self.lowest_hz < self.highest_hz < self.sample_rate_hz / 2:
            given = f"{self.lowest_hz:g} to {self.highest_hz:g} Hz"
            raise UserError(f"centre frequencies must rise from above 0 to below {self.sample_rate_hz / 2:g} Hz, not from {given}")
        if not 0 <= self.adaptation <= 1:
            raise UserError(f"adaptation must be 0 to 1, not {self.adaptation:g}")

    @property
    def centre_frequencies_hz(self) -> np.ndarray:
        """Evenly spaced on the scale of equivalent rectangular bandwidths, ``21.4 · log10(1 + 0.00437 f)`` (Glasberg and Moore, 1990)."""
        lowest, highest = 21.4 * np.log10(1 + 0.00437 * np.array([self.lowest_hz, self.highest_hz]))
        return (10 ** (np.linspace(lowest, highest, self.channels) / 21.4) - 1) / 0.00437

    @cached_property
    def _filters(self) -> list[tuple[np.ndarray, np.ndarray]]:
        from scipy import signal

        return [signal.gammatone(frequency, "iir", fs=self.sample_rate_hz) for frequency in self.centre_frequencies_hz]

    def drive(self, sound: np.ndarray) -> np.ndarray:
        """What drives the hair cells, float64 (channels, samples), on any scale: steps 1 to 4."""
        from scipy import signal

        emphasised = sound - self.pre_emphasis * np.append(0, sound[:-1])
        waves = np.stack([signal.lfilter(*coefficients, emphasised) for coefficients in self._filters])
        drive = np.maximum(0, waves) ** self.compression
        mean = drive.mean(1, keepdims=True)
        return drive / np.where(mean > 0, mean, 1) ** self.adaptation

    def events(self, sound: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Events of a recording: their times int64 in microseconds, and their channels int64, channel by channel.

        Parameters:
            sound: (samples,), on any scale; silence has no events.
        """
        sound = np.asarray(sound, np.float64)
        if not sound.any() or not (drive := self.drive(sound)).any():
            return np.zeros(0, np.int64), np.zeros(0, np.int64)
        total = np.floor(np.cumsum(drive, 1) * (self.rate_hz / self.sample_rate_hz / drive.mean())).astype(np.int64)
        fired = np.diff(total, axis=1, prepend=0)
        channel, sample = np.nonzero(fired)
        repeats = fired[channel, sample]
        return np.repeat(sample * 1_000_000 // self.sample_rate_hz, repeats), np.repeat(channel, repeats)
