"""What becomes of images in front of a network: the latency code as a PyTorch module."""

import numpy as np
import torch
from torch import Tensor, nn

from export import Encoder, UserError
from export.maps import Map


class LatencyEncoder(nn.Module):
    """Spike times of 8-bit intensities: brighter is earlier [S2]. The definition is `export.Encoder`'s, looked up in a table.

    Parameters:
        steps: ``T``, the number of time steps.
        p_min: smallest intensity that spikes; None stands for ``max(1, 256 // steps)``.

    Raises:
        UserError: ``p_min`` is not an integer from 0 to 256, ``steps`` is not a positive integer, or (forward) intensities are not uint8.
    """

    table: Tensor

    def __init__(self, steps: int, p_min: int | None = None) -> None:
        super().__init__()
        check_steps(steps)
        self.steps = steps
        self.definition = Encoder("latency", p_min).resolved(steps)
        intensities = np.arange(256, dtype=np.uint8)[None]
        times = self.definition.encode(intensities, steps)
        assert isinstance(times, np.ndarray), "the latency encoder makes spike times"
        self.register_buffer("table", as_spike_times(times[0], steps), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        """Spike times (frames, inputs), 0 … steps, of intensities uint8 (frames, …)."""
        if images.dtype != torch.uint8 or images.ndim < 2:
            raise UserError(f"intensities must be uint8 of shape (frames, inputs), not {images.dtype} {tuple(images.shape)}")
        return self.table[images.flatten(1).long()]


def arranged(images: Tensor, sizes: Map | None) -> Tensor:
    """Images (frames, pixels), plane by plane, in the order of a network's inputs: position by position where these are a map [S15]."""
    if sizes is None or sizes[2] == 1:
        return images
    return images.view(len(images), sizes[2], -1).transpose(1, 2).reshape(len(images), -1)


def check_steps(steps: int) -> None:
    """Raise UserError unless the number of time steps is an integer from 1 to 32768."""
    if isinstance(steps, bool) or not isinstance(steps, int) or not 1 <= steps <= 1 << 15:
        raise UserError(f"steps (T) must be an integer from 1 to {1 << 15}, not {steps!r}")


def as_spike_times(times: np.ndarray, steps: int) -> Tensor:
    """The spike times as a tensor of the smallest integer type that can hold ``steps``: data sets stay small."""
    dtype = np.uint8 if steps <= 255 else np.int32
    return torch.from_numpy(np.asarray(times).astype(dtype))
