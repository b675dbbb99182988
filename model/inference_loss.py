"""The second stage of rate norm layers: their ratios, fine-tuned so that the rates of spikes come close to the activations in few steps.

J. Ding et al., "Optimal ANN-SNN Conversion for Fast and Accurate Inference in Deep Spiking Neural Networks", IJCAI 2021 (RNL-RIL). With
``z_l = clip(y_l, 0, c_l)`` of a layer, ``c_l = sigmoid(p_l) · r_l`` and the rate ``a_l = z_l / c_l``, the mean square of what the rate
after ``T`` steps differs by, in shares of that of ``a_l``, is bounded by ``2 Ω_l / T``, with the rate inference loss ``Ω_l``. So with all
else fixed the ``p_l`` are trained by::

    loss = 1 - cos(outputs before, outputs) + WEIGHT · mean over l of Ω_l        Ω_l = Σ a_l / Σ a_l²

which is one for all ``T`` and codes. A lower clip makes rates higher and ``Ω`` smaller; the cosine keeps the function.

A reconstruction where the text leaves it open: sums go over all frames at once; ``l`` over the hidden layers, since the output layer has no
rate; what follows a layer sees ``z_l``, whatever ``c_l``, as the running maxima of the paper would see to; every update is of all frames.
"""

from collections.abc import Sequence
from copy import deepcopy

import torch
from torch import Tensor
from torch.nn import functional

from export import UserError
from model.quantized import QuantizedNetwork

WEIGHT = 0.1  # of Ω, as in the code that its authors published
LEARNING_RATE = 0.05  # Adam's, of p


def refined(network: QuantizedNetwork, images: Tensor, rounds: int) -> tuple[QuantizedNetwork, list[float]]:
    """A copy with other ratios, and the loss before each update of them, and after the last.

    Parameters:
        network: of rate norm layers with real activations; it stays as it is.
        images: training frames, uint8 (frames, pixels).
        rounds: updates, at least 0.

    Raises:
        UserError: the network is another.
    """
    if any(layer.clip != "rate-norm" or layer.quantised for layer in network.hidden):
        raise UserError('inference_loss must be 0 for a network that was trained without clip = "rate-norm" or with quantised activations')
    done = deepcopy(network).eval().requires_grad_(False)
    first = [layer.bound for layer in done.hidden if layer.bound is not None]
    bounds = [bound.clone().requires_grad_() for bound in first]
    if not rounds or not bounds:
        return done, []
    inputs, found = done.intensities(images), []
    wanted, _ = _outputs(done, inputs, [torch.ones(1) for _ in bounds])
    optimizer = torch.optim.Adam(bounds, lr=LEARNING_RATE)
    for left in range(rounds, -1, -1):
        outputs, omega = _outputs(done, inputs, _shares(bounds, first))
        loss = 1 - functional.cosine_similarity(outputs, wanted).mean() + WEIGHT * omega
        found.append(loss.item())
        if left:
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        for following, share in zip(done.layers[1:], _shares(bounds, first), strict=True):
            following.norm.mean /= share  # the sums that follow are of rates that are so much higher
            following.norm.scale /= share
        for before, bound in zip(first, bounds, strict=True):
            before.copy_(bound)
    return done, found


def _shares(bounds: Sequence[Tensor], first: Sequence[Tensor]) -> list[Tensor]:
    """What clips are of those before, float (1,) each."""
    return [torch.sigmoid(bound) / torch.sigmoid(before) for bound, before in zip(bounds, first, strict=True)]


def _outputs(network: QuantizedNetwork, inputs: Tensor, shares: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
    """Logits float (frames, classes) with clips that are ``shares`` of the network's, and the mean of ``Ω``, float scalar."""
    omega = []
    for layer, share in zip(network.hidden, shares, strict=True):
        thresholds, bias = layer.folded(share)  # in evaluation, of no sums in particular
        inputs = torch.minimum(((layer.sums(inputs) + bias) / thresholds).relu(), share)
        rates = inputs / share
        omega.append(rates.sum() / rates.square().sum().clamp(min=1e-6))
    return network.output(inputs), torch.stack(omega).mean()
