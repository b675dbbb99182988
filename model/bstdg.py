"""The learning rule: gradients from spike times and from potentials at one step per neuron, without unrolling over time.

After the rule of Z. Cai et al., "Spike Timing Dependent Gradient for Direct Training of Fast and Efficient Binarized Spiking
Neural Networks", IEEE JETCAS 13(4), 2023 (BSTDG), with the chosen step and the window changed; ``docs/model.md`` derives it.

A layer runs without autograd; afterwards one node of the graph is attached to its outcome. That node keeps the spike times that
came in and, per neuron, one step and one potential: nothing that is kept has a time axis.

Between layers the gradient travels on the spike times: ``-∂L/∂t_i`` stands for ``∂L/∂s_i``, what the loss gains if input ``i`` counts
among those that have spiked. Moving a spike later takes its weight out of a potential, hence the sign.
"""

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from model.spikes import SpikeTrain, compared

LEAST_SCALE = 1.0  # of the standard deviation of potentials
ROWS = 64  # frames worked on at a time in `_weight_gradient` from which several steps at once gain little; the order of its sums follows


def binarize(latent: Tensor) -> Tensor:
    """±1 weights, float, of latent ones: their sign, with sign(0) = +1 [S3]."""
    return (latent >= 0).to(latent.dtype).mul_(2).sub_(1)


def round_thresholds(thresholds: Tensor, fan_in: int) -> Tensor:
    """Integer-valued thresholds, float, of real ones: rounded up, then clipped to ``-fan_in … fan_in + 1`` [S3]."""
    return thresholds.ceil().clamp(-fan_in, fan_in + 1)


class SpikeTimes(torch.autograd.Function):
    """Attach the rule to the spike times of a layer.

    With ``g_j = -∂L/∂t_j`` (from the next layer), ``τ_j`` the step at which neuron ``j``'s potential was highest, ``m_j = V_j(τ_j) - θ_j``
    and a triangular window of half-width ``h``::

        δ_j = g_j · max(0, 1 - |m_j| / h) / h
        ∂L/∂w_ji = Σ_frames δ_j · [t_i ≤ τ_j]      (only where the latent |w_ji| ≤ 1)
        ∂L/∂θ_j = -Σ_frames δ_j                    (straight through the rounding)
        -∂L/∂t_i = Σ_j δ_j · w_ji

    If potentials are normalised, ``δ_j`` in ``∂L/∂w_ji`` and in ``-∂L/∂t_i``, not in ``∂L/∂θ_j``, is that of `normalised`.
    """

    @staticmethod
    def forward(
        context: Any,
        times: Tensor,  # (B, N) spike times of the inputs
        latent: Tensor,  # (M, N)
        thresholds: Tensor,  # (M,)
        fired_at: Tensor,  # (B, M) spike times of the layer
        best_step: Tensor,  # (B, M) τ
        best_margin: Tensor,  # (B, M) V(τ) - θ
        window: float,
        normalise: bool = False,
    ) -> Tensor:
        context.save_for_backward(times, latent, best_step, best_margin)
        context.window, context.normalise = window, normalise
        return fired_at.to(latent.dtype)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        times, latent, best_step, best_margin = context.saved_tensors
        delta = windowed(best_margin, gradients[0], context.window)
        thresholds = -delta.sum(0)
        if context.normalise:
            delta = normalised(delta, best_margin)
        weights = _weight_gradient(times, best_step, delta).T.mul_(latent.abs() <= 1) if context.needs_input_grad[1] else None
        inputs = -(delta @ binarize(latent)) if context.needs_input_grad[0] else None
        return inputs, weights, thresholds, *(None,) * 5


class Margins(torch.autograd.Function):
    """Attach the rule to the margins ``m_k = V_k(t*) - θ_k`` of the outputs at the decision: no window, and ``τ_k = t*`` for all.

    ::

        ∂L/∂w_ki = Σ_frames ∂L/∂m_k · [t_i ≤ t*]      ∂L/∂θ_k = -Σ_frames ∂L/∂m_k      -∂L/∂t_i = Σ_k ∂L/∂m_k · w_ki
    """

    @staticmethod
    def forward(
        context: Any,
        times: Tensor,  # (B, N)
        latent: Tensor,  # (K, N)
        thresholds: Tensor,  # (K,)
        margins: Tensor,  # (B, K) at t*
        step: Tensor,  # (B,) t*
    ) -> Tensor:
        context.save_for_backward(times, latent, step)
        return margins.clone()

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor | None, ...]:
        times, latent, step = context.saved_tensors
        delta = gradients[0]
        weights = (delta.T @ (times <= step[:, None]).to(delta.dtype)).mul_(latent.abs() <= 1)
        inputs = -(delta @ binarize(latent)) if context.needs_input_grad[0] else None
        return inputs, weights, -delta.sum(0), None, None


def windowed(margin: Tensor, gradient: Tensor, window: float) -> Tensor:
    """``δ`` of margins ``m`` and gradients ``∂L/∂t``, with a window of half-width ``window``."""
    return (1 - margin.abs() / window).clamp_(min=0).div_(window).mul_(gradient).neg_()


def normalised(delta: Tensor, margin: Tensor) -> Tensor:
    """``δ`` as batch normalisation of the potentials passes it on: without what would move or scale them all alike.

    With the mean ``μ_j`` and standard deviation ``σ_j`` of ``V_j(τ_j)`` over the batch and ``x = (V - μ) / σ``, it is
    ``δ - mean(δ) - x · mean(δ x)``, with ``σ`` at least `LEAST_SCALE` (S. Ioffe and C. Szegedy,
    "Batch Normalization", ICML 2015, section 3, for ``γ = σ``).

    Parameters:
        delta: float (R, M), of R frames, or frames and positions.
        margin: float (R, M), ``V(τ) - θ``; -inf where there is no potential, which counts for nothing.
    """
    counts, mean = moments(margin)
    there = margin > -torch.inf
    deviation = torch.where(there, margin - mean, 0)
    scale = (deviation.square().sum(0) / counts).sqrt().clamp_(min=LEAST_SCALE)
    deviation /= scale
    delta = torch.where(there, delta, 0)
    return torch.where(there, delta - delta.sum(0) / counts - deviation * ((delta * deviation).sum(0) / counts), 0)


def moments(margin: Tensor) -> tuple[Tensor, Tensor]:
    """How many margins are not -inf, at least 1, and their mean, float (M,) both, of float (R, M)."""
    there = margin > -torch.inf
    counts = there.sum(0).clamp_(min=1).to(margin.dtype)
    return counts, torch.where(there, margin, 0).sum(0) / counts


def _weight_gradient(times: Tensor, best_step: Tensor, delta: Tensor) -> Tensor:
    """``Σ_frames δ_j · [t_i ≤ τ_j]``, shape (N, M): each spike adds its frame's ``δ`` where ``τ`` is not before it.

    The fewer frames are left that have a ``τ`` so late, the more steps are taken at once.
    """
    gradient = delta.new_zeros(times.shape[1], delta.shape[1])
    if not len(times):
        return gradient
    last, order = best_step.amax(1).to(torch.int64).sort(descending=True)  # by frame: the last τ
    times, best_step, delta = times[order], best_step[order], delta[order]
    end = int(last[0]) + 1
    train = SpikeTrain.of(torch.where(times <= last[:, None], times, end).T, end)  # rows: inputs; neurons: frames
    left = torch.bincount(last, minlength=end).flip(0).cumsum(0).flip(0).tolist()  # by step: frames whose last τ is not before it
    step = 0
    while step < end:
        count = min(end - step, max(1, ROWS // left[step]))
        part = train.between(step, step + count)
        if len(part.steps):
            inputs, frames = part.spikes
            table = delta[: left[step]]
            if count > 1:
                later = torch.arange(step, step + count, device=times.device)[:, None, None]
                still = compared(torch.ge, best_step[: left[step]].expand(count, -1, -1), later)
                table = still.to(delta.dtype).mul_(table).flatten(0, 1)
                inputs, sequence = inputs.sort(stable=True)
                frames = (frames + left[step] * (part.steps.to(frames.dtype) - step))[sequence]
            elif step:
                table = compared(torch.ge, best_step[: left[step]], step).to(delta.dtype).mul_(table)
            touched, counts = inputs.unique_consecutive(return_counts=True)
            gradient.index_add_(0, touched, functional.embedding_bag(frames, table, counts.cumsum(0).sub_(counts), mode="sum"))
        step += count
    return gradient


def margin_loss(margins: Tensor, labels: Tensor, scale: float) -> Tensor:
    """Cross-entropy over the classes, with the scaled margins at the decision as logits.

    A shift that all margins share does not change it; homeostasis (`model.trainer`) controls that shift.

    Parameters:
        margins: float (frames, classes), ``V_k(t*) - θ_k``.
        labels: int64 (frames,).
        scale: logits per unit of potential.
    """
    return functional.cross_entropy(margins * scale, labels)


def timing_loss(margins: Tensor, labels: Tensor, silent: Tensor, scale: float, fire: float, wait: float) -> Tensor:
    """Loss on the time of the decision, which `margin_loss` does not see.

    ``fire · softplus(-c m_label)`` in silent frames, ``wait · softplus(c m_winner)`` in frames that a wrong output decided, mean over all
    frames. The first raises the label's potential at the end of the frame, the second lowers the winner's before.

    Parameters:
        margins, labels, scale: as in `margin_loss`.
        silent: bool (frames,).
        fire, wait: weights of the two.
    """
    logits = margins * scale
    winner, place = logits.max(1)
    late = functional.softplus(-logits.gather(1, labels[:, None])[:, 0]) * silent
    early = functional.softplus(winner) * ((place != labels) & ~silent)
    return (fire * late + wait * early).mean()
