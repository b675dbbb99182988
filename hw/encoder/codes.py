"""What an encoder keeps of a pixel, and the spikes that it makes of that: one class per kind of `export.Encoder`."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from amaranth.hdl import C, Mux, Value

from export import Encoder
from hw.core.words import bits_for


@dataclass(frozen=True)
class PixelCode(ABC):
    """What is kept of a pixel: a number of few bits.

    Parameters:
        steps: ``T``.
    """

    steps: int

    @property
    @abstractmethod
    def active_steps(self) -> int:
        """Steps in which a pixel can spike; all of them are before the others."""

    @property
    @abstractmethod
    def bits(self) -> int:
        """Width of what is kept."""

    @property
    @abstractmethod
    def never(self) -> int:
        """What is kept of a pixel that does not spike."""

    @property
    @abstractmethod
    def is_step(self) -> bool:
        """What is kept is the one step in which the pixel spikes."""

    @abstractmethod
    def keep(self, intensity: Value) -> Value:
        """What is kept of an intensity of 8 bits."""

    @abstractmethod
    def coefficient(self, kept: Value, step: Value | int) -> Value:
        """What the pixel's spike in a step is worth; 0 for none."""


@dataclass(frozen=True)
class LatencyCode(PixelCode):
    """A spike time, or never [S2].

    Parameters:
        p_min: smallest intensity that spikes, 0 … 256.
    """

    p_min: int

    @property
    def active_steps(self) -> int:
        return max(1, ((255 - self.p_min) * self.steps // 256) + 1)

    @property
    def bits(self) -> int:
        return bits_for(self.active_steps + 1)

    @property
    def never(self) -> int:
        return (1 << self.bits) - 1

    @property
    def is_step(self) -> bool:
        return True

    def keep(self, intensity: Value) -> Value:
        return Mux(intensity < self.p_min, self.never, ((~intensity) * self.steps) >> 8)

    def coefficient(self, kept: Value, step: Value | int) -> Value:
        return kept == step


@dataclass(frozen=True)
class SpreadCode(PixelCode):
    """A count, which is spread over all steps [S13].

    Parameters:
        count_bits: bits of a count: by default, the upper bits of an intensity.
        thresholds: or the count is how many of these an intensity reaches.
    """

    count_bits: int
    thresholds: tuple[int, ...] = ()

    @property
    def active_steps(self) -> int:
        return self.steps

    @property
    def bits(self) -> int:
        return self.count_bits

    @property
    def never(self) -> int:
        return 0

    @property
    def is_step(self) -> bool:
        return False

    def keep(self, intensity: Value) -> Value:
        if self.thresholds:
            return sum((intensity >= threshold for threshold in self.thresholds), C(0))[: self.count_bits]
        return intensity[8 - self.count_bits :]

    def coefficient(self, kept: Value, step: Value | int) -> Value:
        before = kept * step
        return (self._divided(before + kept) - self._divided(before))[: self.count_bits]

    def _divided(self, product: Value) -> Value:
        """``⌊product / T⌋`` of at most ``T`` times the greatest count: a multiplication with ``⌈2^s / T⌉``, exact as ``2^s`` is more than
        ``T`` times the product."""
        if self.steps & (self.steps - 1) == 0:
            return product >> (self.steps.bit_length() - 1)
        shift = (((1 << self.count_bits) - 1) * self.steps * self.steps).bit_length()
        return (product * C(-(-(1 << shift) // self.steps))) >> shift


def code_of(encoder: Encoder, steps: int) -> PixelCode:
    """What is kept of the pixels of an encoder."""
    if encoder.kind == "spread":
        return SpreadCode(steps, encoder.totals[1].bit_length(), encoder.thresholds or ())
    assert encoder.p_min is not None  # a network resolves its encoder
    return LatencyCode(steps, encoder.p_min)
