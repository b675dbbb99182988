"""Steps of training over all positions of a map as one node of the graph each, with their gradients.

They keep nothing but their inputs, and work on parts that stay in a processor's cache: a map of a batch has tens of megabytes, and every
operation of its own would go through all of them. Sums may be bfloat16, and so then are counts and gradients of sums;
all that is computed of them is float32.
"""

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

PART = 1 << 17  # numbers worked on at a time


def parts(*tensors: Tensor) -> Iterator[tuple[Tensor, ...]]:
    """Rows of tensors (…, channels) of one shape, as many at a time as are worked on: (rows, channels) each."""
    flat = [tensor.reshape(-1, tensor.shape[-1]) for tensor in tensors]
    rows = max(1, PART // flat[0].shape[1])
    return zip(*(tensor.split(rows) for tensor in flat), strict=True)


class Moments(torch.autograd.Function):
    """Mean and standard deviation, float (channels,) each, of sums (…, channels)."""

    @staticmethod
    def forward(context: Any, sums: Tensor, least: float, centred: bool) -> tuple[Tensor, Tensor]:
        """
        Parameters:
            least: the least standard deviation; below it the gradient is 0.
            centred: otherwise the mean is 0, and the deviation is taken from there.
        """
        count = sums[..., 0].numel()
        flat, kind = sums.reshape(count, -1), torch.promote_types(sums.dtype, torch.float32)
        mean = flat.sum(0, dtype=kind) / count if centred else flat.new_zeros(flat.shape[1], dtype=kind)
        squares = torch.zeros_like(mean)
        for (part,) in parts(sums):
            squares += (part - mean).square_().sum(0)
        scale = (squares / count).sqrt()
        context.save_for_backward(sums, mean, scale)
        context.least, context.centred = least, centred
        return mean, scale.clamp(min=least)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        sums, mean, scale = context.saved_tensors
        count = sums[..., 0].numel()
        factor = torch.where(scale < context.least, 0, gradients[1] / (scale * count))
        offset = gradients[0] / count if context.centred else torch.zeros_like(mean)
        of_sums = torch.empty_like(sums, memory_format=torch.contiguous_format)
        offset -= mean * factor
        for part, out in parts(sums, of_sums):
            out.copy_(torch.addcmul(offset, part.to(mean.dtype), factor))
        return of_sums, None, None


class Counts(torch.autograd.Function):
    """``clip(⌊(S + b + h) / θ⌋, 0, L)`` of sums (…, channels), with the gradient of ``x = (S + b) / θ`` for ``-1/2 ≤ x ≤ L + 1/2``."""

    @staticmethod
    def forward(context: Any, sums: Tensor, thresholds: Tensor, bias: Tensor, half: Tensor, levels: int) -> Tensor:
        """
        Parameters:
            thresholds, bias, half: ``θ``, ``b`` and ``h``, float (channels,).
            levels: ``L``.
        """
        counts = torch.empty_like(sums, memory_format=torch.contiguous_format)
        start = bias + half
        for part, out in parts(sums, counts):
            out.copy_((part + start).div_(thresholds).floor_().clamp_(0, levels))
        context.save_for_backward(sums, thresholds, bias)
        context.levels = levels
        return counts

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        sums, thresholds, bias = context.saved_tensors
        of_sums = torch.empty_like(sums, memory_format=torch.contiguous_format)
        of_thresholds, of_bias = torch.zeros_like(thresholds), torch.zeros_like(bias)
        for part, gradient, out in parts(sums, gradients[0], of_sums):
            x = (part + bias).div_(thresholds)
            inside = x.clamp(-0.5, context.levels + 0.5).eq_(x)
            of_part = inside.mul_(gradient).div_(thresholds)
            of_bias += of_part.sum(0)
            of_thresholds -= x.mul_(of_part).sum(0)
            out.copy_(of_part)
        return of_sums, of_thresholds, of_bias, None, None
