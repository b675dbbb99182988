"""Encoders: how an 8-bit intensity becomes spikes."""

from dataclasses import dataclass, replace

import numpy as np

from export.arrays import is_integer
from export.connections import Totals
from export.errors import UserError
from export.events import Events

KINDS = ("latency", "spread", "none")
ENCODED = 512  # frames that are spread at a time, which bounds the memory


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

    Raises:
        UserError: a parameter is not as said.
    """

    kind: str = "none"
    p_min: int | None = None
    bits: int | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise UserError(f"encoder kind must be one of {', '.join(KINDS)}, not {self.kind!r}")
        if self.kind != "latency" and self.p_min is not None:
            raise UserError(f"encoder '{self.kind}' takes no p_min, not {self.p_min!r}")
        if self.p_min is not None and not (is_integer(self.p_min) and 0 <= self.p_min <= 256):
            raise UserError(f"encoder p_min must be an integer from 0 to 256, not {self.p_min!r}")
        if self.kind == "latency" and self.bits is not None:
            raise UserError(f"encoder 'latency' takes no bits, not {self.bits!r}")
        if (self.kind == "spread" or self.bits is not None) and self.bits not in range(1, 9):
            raise UserError(f"encoder bits must be an integer from 1 to 8, not {self.bits!r}")

    @property
    def spikes_once(self) -> bool:
        """An input spikes at most once per frame, with coefficient 1."""
        return self.bits is None

    @property
    def totals(self) -> Totals:
        """Least and greatest sum of an input's coefficients so far."""
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
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim < 2:
            raise UserError(f"intensities must be uint8 of shape (frames, inputs), not {images.dtype} {images.shape}")
        images = images.reshape(len(images), -1)
        if self.kind == "spread":
            return Events.concatenate([self._spread(images[at : at + ENCODED], steps) for at in range(0, max(1, len(images)), ENCODED)])
        p = np.arange(256, dtype=np.int32)
        p_min = default_p_min(steps) if self.p_min is None else self.p_min
        table = np.where(p < p_min, steps, (255 - p) * steps // 256).astype(np.int32)
        return table[images]

    def _spread(self, images: np.ndarray, steps: int) -> Events:
        assert self.bits is not None
        p = np.arange(1 << self.bits, dtype=np.int64)[:, None]
        sent = p * np.arange(steps + 1) // steps  # by the end of the step before
        return Events.from_dense(np.diff(sent, axis=1).astype(np.int16)[images >> (8 - self.bits)].transpose(0, 2, 1))
