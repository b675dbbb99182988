"""Encoders: how an 8-bit intensity becomes spikes."""

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from export.arrays import array, is_integer
from export.connections import Totals
from export.errors import UserError
from export.events import Events
from export.text import one_of

KINDS = ("latency", "spread", "none")
MAX_BITS = 8
GREATEST = (1 << MAX_BITS) - 1
SPREAD = 1 << 23  # coefficients that are worked on at a time, which bounds the memory


def random_images(frames: int, inputs: int, seed: int = 0) -> np.ndarray:
    """Images uint8 (frames, inputs) of random intensities, each with its own share of dark pixels."""
    rng, shape = np.random.default_rng(seed), (frames, inputs)
    return (rng.integers(0, 256, shape) * (rng.random(shape) < rng.random((frames, 1)))).astype(np.uint8)


def default_p_min(steps: int) -> int:
    """Smallest intensity that spikes unless the encoder says otherwise: the faintest bin is background [S2]."""
    return max(1, 256 // steps)


@dataclass(frozen=True)
class Encoder:
    """How an 8-bit intensity becomes a spike time [S2], or a count that is spread over the steps [S13].

    Parameters:
        kind: ``"latency"``, ``"spread"``, or ``"none"`` when spikes come from outside.
        p_min: of ``latency``, the smallest intensity that spikes, 0 to 256; None stands for ``max(1, 256 // steps)``.
        bits: of ``spread``, the upper bits of an intensity that count, 1 to 8; of ``none``, the same for spikes with coefficients, whose
            sum per frame and input is then from 0 to ``2**bits - 1``; None stands for spikes that come once.
        thresholds: of ``spread``, instead of ``bits``: the count is how many of these an intensity reaches; 1 to 255 integers from 1 to
            255, none less than the one before.

    Raises:
        UserError: a parameter is not as said.
    """

    kind: str = "none"
    p_min: int | None = None
    bits: int | None = None
    thresholds: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"encoder kind must be {one_of(KINDS)}, not {self.kind!r}")
        if self.kind != "latency" and self.p_min is not None:
            raise UserError(f"encoder '{self.kind}' takes no p_min, not {self.p_min!r}")
        if self.kind == "latency" and self.bits is not None:
            raise UserError(f"encoder 'latency' takes no bits, not {self.bits!r}")
        if self.p_min is not None:
            self._set("p_min", 0, 256)
        if self.thresholds is not None:
            self._set_thresholds()
        elif self.bits is not None or self.kind == "spread":
            self._set("bits", 1, MAX_BITS)

    def _set(self, name: str, least: int, greatest: int) -> None:
        """Make a parameter an ``int``, which JSON can hold."""
        value = getattr(self, name)
        if not (is_integer(value) and least <= value <= greatest):
            raise UserError(f"encoder {name} must be an integer from {least} to {greatest}, not {value!r}")
        object.__setattr__(self, name, int(value))

    def _set_thresholds(self) -> None:
        """Make thresholds a tuple of ``int``."""
        if self.kind != "spread" or self.bits is not None:
            raise UserError("encoder takes thresholds only if it is 'spread', and instead of bits")
        given: Any = self.thresholds
        right = isinstance(given, tuple | list) and all(map(is_integer, given)) and list(given) == sorted(given)
        if not (right and 1 <= len(given) <= GREATEST and given[0] >= 1 and given[-1] <= GREATEST):
            raise UserError(f"encoder thresholds must be 1 to {GREATEST} ascending integers from 1 to {GREATEST}, not {given!r:.60}")
        object.__setattr__(self, "thresholds", tuple(map(int, given)))

    @property
    def spikes_once(self) -> bool:
        """An input spikes at most once per frame, with coefficient 1."""
        return self.bits is None and self.thresholds is None

    @property
    def totals(self) -> Totals:
        """Least and greatest sum of an input's coefficients so far."""
        if self.thresholds is not None:
            return 0, len(self.thresholds)
        return (0, 1) if self.bits is None else (0, (1 << self.bits) - 1)

    def coefficients(self, steps: int) -> Totals:
        """Least and greatest coefficient of a spike, or of none."""
        least, greatest = self.totals
        return least, -(-greatest // steps) if self.kind == "spread" else greatest

    def resolved(self, steps: int) -> "Encoder":
        """The same encoder with its default ``p_min`` made explicit."""
        if self.kind == "latency" and self.p_min is None:
            return replace(self, p_min=default_p_min(steps))
        return self

    def encode(self, images: np.ndarray, steps: int) -> np.ndarray | Events:
        """What becomes of intensities uint8 (frames, …): spike times int32 (frames, inputs), 0 … steps [S2], or `Events` [S13].

        Raises:
            UserError: the encoder is ``none``, or the intensities are not uint8.
        """
        if self.kind == "none":
            raise UserError("encoder must be 'latency' or 'spread' to encode intensities, not 'none': spikes come from outside")
        images = array("intensities", images)
        if images.dtype != np.uint8 or images.ndim < 2:
            raise UserError(f"intensities must be uint8 of shape (frames, inputs), not {images.dtype} {images.shape}")
        images = images.reshape(len(images), math.prod(images.shape[1:]))
        if self.kind == "spread":
            chunk = max(1, SPREAD // (steps * images.shape[1]))
            return Events.concatenate([self._spread(images[at : at + chunk], steps) for at in range(0, max(1, len(images)), chunk)])
        p = np.arange(256, dtype=np.int32)
        p_min = default_p_min(steps) if self.p_min is None else self.p_min
        table = np.where(p < p_min, steps, (255 - p) * steps // 256).astype(np.int32)
        return table[images]

    def _spread(self, images: np.ndarray, steps: int) -> Events:
        intensities = np.arange(GREATEST + 1)
        counts = intensities >> (MAX_BITS - self.bits) if self.bits else np.searchsorted(self.thresholds or (), intensities, "right")
        sent = counts[:, None] * np.arange(steps + 1) // steps  # by the end of the step before
        return Events.from_dense(np.diff(sent, axis=1).astype(np.int16)[images].transpose(0, 2, 1))
