"""From events to the spikes of inputs: the one path that recorded spikes, event cameras and cochlea models share.

Events are pairs of a time and a channel, any number of them. `EventCode` makes at most one spike per input of them, `CountCode` numbers
of events per step.

*One spike.* Time is cut into windows; neighbouring channels may be pooled into groups.
An input belongs to a rank ``r``, a group and a window, and spikes when the ``r``-th event of its group in its window comes: the more
events there are, the earlier. All windows are shown to the network at once, so an input's latency counts from the start of its window.

This latency ``t``, in 256ths of the window, becomes the 8-bit intensity ``p = 255 - t``. So the events are a picture like any other: the
latency encoder of the network and of the circuit turns it into spike times for any number of steps. 0 stands for an input that never
spikes (and for one in the last 256th of its window).
"""

from dataclasses import dataclass

import numpy as np

from export import UserError


@dataclass(frozen=True)
class EventCode:
    """How events become one spike per input.

    Parameters:
        channels: that events come from.
        pooled: neighbouring channels that make a group; must divide ``channels``.
        windows: how many; later events are left out.
        window_us: length of a window in microseconds.
        ranks: which event of a group in a window makes an input spike, counted from 1; as many inputs as there are ranks.

    Raises:
        UserError: a value is out of range.
    """

    channels: int
    windows: int
    window_us: int
    ranks: tuple[int, ...] = (1,)
    pooled: int = 1

    def __post_init__(self) -> None:
        for name in ("channels", "windows", "window_us", "pooled"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.channels % self.pooled:
            raise UserError(f"pooled must divide the {self.channels} channels, but {self.pooled} does not")
        if not self.ranks or min(self.ranks) < 1:
            raise UserError(f"ranks must be positive integers, at least one, not {list(self.ranks)}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """(ranks, groups, windows): the inputs as planes of pictures."""
        return len(self.ranks), self.channels // self.pooled, self.windows

    def encode(self, times_us: np.ndarray, channels: np.ndarray) -> np.ndarray:
        """Intensities uint8 (inputs,) of the events of one frame, in any order.

        Parameters:
            times_us: integers (events,), microseconds from the start of the frame.
            channels: integers (events,).

        Raises:
            UserError: a channel is out of range, a time is negative, or there are not as many channels as times.
        """
        times, sources = _checked(times_us, channels, self.channels)
        early = times < self.windows * self.window_us
        times, sources = times[early], sources[early]
        window, latency = np.divmod(times, self.window_us)
        cell, latency = np.divmod(np.sort((sources // self.pooled * self.windows + window) * self.window_us + latency), self.window_us)
        rank = np.arange(1, len(cell) + 1) - np.searchsorted(cell, cell)
        intensities = np.zeros((len(self.ranks), self.channels // self.pooled * self.windows), np.uint8)
        for plane, wanted in zip(intensities, self.ranks, strict=True):
            hit = rank == wanted
            plane[cell[hit]] = 255 - latency[hit] * 256 // self.window_us
        return intensities.ravel()


@dataclass(frozen=True)
class CountCode:
    """How events become coefficients [S13]: an input is a channel, and its coefficient in a step is the number of its events in that time.

    Parameters:
        channels: that events come from.
        steps: how many; later events are left out.
        step_us: length of a step in microseconds.
        most: of a channel's events in a frame; later ones are left out.

    Raises:
        UserError: a value is out of range.
    """

    channels: int
    steps: int
    step_us: int
    most: int

    def __post_init__(self) -> None:
        for name in ("channels", "steps", "step_us", "most"):
            if getattr(self, name) < 1:
                raise UserError(f"{name} must be at least 1, not {getattr(self, name)}")

    def encode(self, times_us: np.ndarray, channels: np.ndarray) -> np.ndarray:
        """Coefficients int16 (steps, channels) of the events of one frame, in any order.

        Parameters and errors as of `EventCode.encode`.
        """
        times, sources = _checked(times_us, channels, self.channels)
        order = np.lexsort((times, sources))
        step, source = times[order] // self.step_us, sources[order]
        before = np.arange(len(source)) - np.searchsorted(source, source)  # events of the channel
        kept = (step < self.steps) & (before < self.most)
        place = step[kept] * self.channels + source[kept]
        return np.bincount(place, minlength=self.steps * self.channels).reshape(self.steps, self.channels).astype(np.int16)


def _checked(times_us: np.ndarray, channels: np.ndarray, number: int) -> tuple[np.ndarray, np.ndarray]:
    """Times and channels as int64 (events,)."""
    times, sources = np.asarray(times_us, np.int64), np.asarray(channels, np.int64)
    if times.ndim != 1 or times.shape != sources.shape:
        raise UserError(f"events must have one time and one channel each, not {times.shape} times and {sources.shape} channels")
    if len(times) and times.min() < 0:
        raise UserError(f"times of events must be at least 0, not {times.min()}")
    if len(times) and not 0 <= sources.min() <= sources.max() < number:
        raise UserError(f"channels of events must be 0 to {number - 1}, not {sources.min()} to {sources.max()}")
    return times, sources
