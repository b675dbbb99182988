"""The same network in snntorch, for training by surrogate-gradient backpropagation through time.

What it computes is what `model.layers.SingleSpikeNetwork` computes, spike for spike; how it comes by a gradient differs. It is written
the way snntorch's own tutorials are: a loop over the steps, a ``Leaky`` neuron per layer, and autograd through all of it.
"""

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from export import UserError
from model.layers import Decisions, SingleSpikeNetwork
from model.quantized_layers import Binarize


class UnrolledNetwork(nn.Module):
    """Integrate-and-fire layers of snntorch, unrolled over all ``T`` steps.

    ``Leaky`` with ``beta = 1`` and without reset is the neuron without leak; a mask lets only its first spike through. It fires where the
    potential is above its threshold, so an integer threshold is set half a unit lower. The surrogate gradient is the fast sigmoid, as wide
    as the window of this project's rule.

    Parameters:
        network: where sizes, steps, latent weights and thresholds come from; they are copied.

    Raises:
        UserError: snntorch is not installed.
    """

    def __init__(self, network: SingleSpikeNetwork) -> None:
        super().__init__()
        try:
            import snntorch
            from snntorch import surrogate
        except ImportError:
            raise UserError("the comparison needs snntorch, which is not installed: see 'comparison' in pyproject.toml") from None
        self.steps = network.steps
        self.weights = nn.ParameterList(layer.weights.detach().clone() for layer in network.layers)
        self.neurons = nn.ModuleList(
            snntorch.Leaky(
                beta=1.0,
                threshold=layer.integer_thresholds() - 0.5,
                learn_threshold=True,
                reset_mechanism="none",
                spike_grad=surrogate.fast_sigmoid(slope=1 / layer.window),
            )
            for layer in network.layers
        )

    def forward(self, times: Tensor) -> Decisions:
        """Decide frames (frames, inputs), given as spike times."""
        frames = len(times)
        weights = [Binarize.apply(latent) for latent in self.weights]
        potentials = [times.new_zeros((frames, len(latent)), dtype=torch.float32) for latent in weights]
        quiet = [torch.ones_like(potential) for potential in potentials[:-1]]  # 1 until the neuron's first spike
        thresholds = cast(Tensor, self.neurons[-1].threshold)
        margins = []
        for step in range(self.steps):
            spikes = (times == step).to(torch.float32)
            for layer, neuron in enumerate(self.neurons):
                fires, potentials[layer] = neuron(functional.linear(spikes, weights[layer]), potentials[layer])
                if layer < len(quiet):
                    spikes = fires * quiet[layer]
                    quiet[layer] = quiet[layer] - spikes.detach()
            margins.append(potentials[-1] - thresholds)
        return decide(torch.stack(margins))


def decide(margins: Tensor) -> Decisions:
    """The decisions that follow from the margins (T, frames, classes) of all steps [S5]."""
    fired = (margins.detach() >= 0).any(2)  # (T, frames)
    silent = ~fired.any(0)
    step = fired.to(torch.uint8).argmax(0).masked_fill(silent, len(margins) - 1)
    return Decisions(margins[step, torch.arange(len(step))], step, silent)
