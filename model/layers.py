"""Binarized single-spike integrate-and-fire layers as PyTorch modules."""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from export import UserError
from model.bstdg import Margins, SpikeTimes, binarize, round_thresholds
from model.encoding import check_steps

LATENT_RANGE = 0.1  # latent weights start uniformly within ± this: a tenth of the way to where their gradient stops


class State(NamedTuple):
    """What a layer knows at the close of a step; B frames, M neurons."""

    margin: Tensor  # (B, M) V - θ
    fired_at: Tensor  # (B, M) spike time, T = never
    best_margin: Tensor  # (B, M) highest V - θ so far
    best_step: Tensor  # (B, M) the first step that had it

    def select(self, frames: Tensor) -> "State":
        return State(*(tensor[frames] for tensor in self))


def time_dtype(steps: int) -> torch.dtype:
    """The smallest integer type that holds spike times up to ``steps``."""
    return torch.uint8 if steps <= 255 else torch.int32


class SingleSpikeLayer(nn.Module):
    """A fully connected layer of integrate-and-fire neurons that spike at most once, with ±1 weights [S3].

    Parameters (of the module, both trained):
        weights: float (outputs, inputs), latent; the forward pass takes their sign, with sign(0) = +1.
        thresholds: float (outputs,); the forward pass rounds them up and clips them to ``-inputs … inputs + 1``.

    Parameters (of the constructor):
        inputs, outputs: sizes, at least 1.
        steps: ``T``, the number of time steps.
        window: half-width of the gradient's window around the threshold, in units of √inputs.
        generator: source of the initial latent weights.

    Raises:
        UserError: a size or the number of steps is not a positive integer.
    """

    def __init__(self, inputs: int, outputs: int, steps: int, *, window: float = 0.5, generator: torch.Generator | None = None) -> None:
        super().__init__()
        for name, size in (("inputs", inputs), ("outputs", outputs)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise UserError(f"a layer's {name} must be a positive integer, not {size!r}")
        check_steps(steps)
        self.inputs, self.outputs, self.steps = inputs, outputs, steps
        self.window = window * math.sqrt(inputs)
        self.weights = nn.Parameter((torch.rand(outputs, inputs, generator=generator) * 2 - 1) * LATENT_RANGE)
        self.thresholds = nn.Parameter(torch.full((outputs,), math.sqrt(inputs) / 2))

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.outputs}, steps={self.steps}"

    def binary_weights(self) -> Tensor:
        """±1, float (outputs, inputs)."""
        return binarize(self.weights.detach())

    def integer_thresholds(self) -> Tensor:
        """Integer-valued, float (outputs,)."""
        return round_thresholds(self.thresholds.detach(), self.inputs)

    def begin(self, frames: int) -> State:
        """The state before step 0."""
        margin = -self.integer_thresholds().expand(frames, -1)
        never = torch.full(margin.shape, self.steps, dtype=time_dtype(self.steps), device=margin.device)
        return State(margin, never, torch.full_like(margin, -math.inf), torch.zeros_like(never))

    def step(self, state: State, spikes: Tensor, weights: Tensor, step: int) -> tuple[State, Tensor]:
        """Close one step: the new state, and which neurons spike in it, float 0/1 (B, M).

        Parameters:
            spikes: float 0/1 (B, N), the inputs that spike at this step.
            weights: `binary_weights`, taken once for all steps.
        """
        margin = torch.addmm(state.margin, spikes, weights.T)
        better = margin > state.best_margin
        fires = (margin >= 0) & (state.fired_at == self.steps)
        following = State(
            margin,
            state.fired_at.masked_fill(fires, step),
            torch.maximum(margin, state.best_margin),
            state.best_step.masked_fill(better, step),
        )
        return following, fires.to(spikes.dtype)

    def forward(self, times: Tensor) -> Tensor:
        """Spike times float (frames, outputs), 0 … T, of input spike times (frames, inputs), any real dtype.

        They carry the gradient of `model.bstdg`, taken where each potential was highest.

        Raises:
            UserError: the spike times have another number of inputs.
        """
        check_inputs(times, self.inputs)
        with torch.no_grad():
            weights, state = self.binary_weights(), self.begin(len(times))
            for step in range(self.steps):
                state, _ = self.step(state, (times == step).to(weights.dtype), weights, step)
        return self.attach(times, state)

    def attach(self, times: Tensor, state: State) -> Tensor:
        """Spike times of a run that ended in ``state``, float, with the gradient attached."""
        arguments = (state.fired_at, state.best_step, state.best_margin, self.window)
        return SpikeTimes.apply(times, self.weights, self.thresholds, *arguments)


class Decisions(NamedTuple):
    """One decision per frame [S5]; K classes."""

    margins: Tensor  # float (B, K), V - θ of every output at t*, with the gradient attached
    step: Tensor  # int64 (B,) t*
    silent: Tensor  # bool (B,)

    @property
    def class_index(self) -> Tensor:
        """int64 (B,), the largest margin, lowest index on a tie."""
        return self.margins.argmax(1)


class SingleSpikeNetwork(nn.Module):
    """Layers in a row, run together step by step, and the readout.

    Attributes:
        layers: the layers (a ``ModuleList``).

    Parameters:
        sizes: from the inputs to the outputs, such as (784, 600, 10).
        steps, window, generator: as in `SingleSpikeLayer`.

    Raises:
        UserError: fewer than two sizes, or one is not a positive integer.
    """

    def __init__(self, sizes: Sequence[int], steps: int, *, window: float = 0.5, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise UserError(f"a network's sizes must be at least two, inputs and outputs, not {list(sizes)}")
        self.steps = steps
        pairs = itertools.pairwise(sizes)
        layers = [SingleSpikeLayer(n, m, steps, window=window, generator=generator) for n, m in pairs]
        self.layers = cast("list[SingleSpikeLayer]", nn.ModuleList(layers))

    def forward(self, times: Tensor) -> Decisions:
        """Decide frames (B, N); a frame leaves the computation at its decision, since nothing after ``t*`` matters.

        Raises:
            UserError: the spike times have another number of inputs.
        """
        states, step, silent = self._run_to_decision(times)
        carrier = times
        for layer, state in zip(self.layers[:-1], states[:-1], strict=True):
            carrier = layer.attach(carrier, state)
        last = self.layers[-1]
        margins = Margins.apply(carrier, last.weights, last.thresholds, states[-1].margin, step)
        return Decisions(margins, step, silent)

    @torch.no_grad()
    def run(self, times: Tensor) -> tuple[list[Tensor], Tensor]:
        """The whole frame, without gradient: spike times of every layer (B, M_l), and the margins of the outputs (T, B, K).

        Raises:
            UserError: the spike times have another number of inputs.
        """
        check_inputs(times, self.layers[0].inputs)
        weights = [layer.binary_weights() for layer in self.layers]
        states = [layer.begin(len(times)) for layer in self.layers]
        margins = []
        for step in range(self.steps):
            states = self._step(states, times, weights, step)
            margins.append(states[-1].margin)
        return [state.fired_at for state in states], torch.stack(margins)

    @torch.no_grad()
    def settle_thresholds(self, times: Tensor, firing: float, firing_outputs: float) -> None:
        """Set the thresholds so that given shares of each neuron's frames make it fire: a start that depends on the data."""
        for layer in self.layers:
            share = firing_outputs if layer is self.layers[-1] else firing
            weights, state = layer.binary_weights(), layer.begin(len(times))
            for step in range(layer.steps):
                state, _ = layer.step(state, (times == step).to(weights.dtype), weights, step)
            highest = state.best_margin + layer.integer_thresholds()
            layer.thresholds.copy_(torch.quantile(highest, 1 - share, dim=0))
            times = layer(times)

    def _step(self, states: list[State], times: Tensor, weights: list[Tensor], step: int) -> list[State]:
        spikes = (times == step).to(weights[0].dtype)
        following = []
        for layer, state, binary in zip(self.layers, states, weights, strict=True):
            state, spikes = layer.step(state, spikes, binary, step)
            following.append(state)
        return following

    @torch.no_grad()
    def _run_to_decision(self, times: Tensor) -> tuple[list[State], Tensor, Tensor]:
        check_inputs(times, self.layers[0].inputs)
        weights = [layer.binary_weights() for layer in self.layers]
        running = [layer.begin(len(times)) for layer in self.layers]
        final = [State(*(tensor.clone() for tensor in state)) for state in running]
        frames = torch.arange(len(times), device=times.device)  # those still undecided
        decided_at = torch.full_like(frames, self.steps - 1)
        silent = torch.ones_like(frames, dtype=torch.bool)
        for step in range(self.steps):
            running = self._step(running, times, weights, step)
            fired = (running[-1].margin >= 0).any(1)
            leaving = fired | (step == self.steps - 1)
            gone, staying = leaving.nonzero()[:, 0], (~leaving).nonzero()[:, 0]
            if len(gone):
                for whole, state in zip(final, running, strict=True):
                    for target, tensor in zip(whole, state.select(gone), strict=True):
                        target[frames[gone]] = tensor
                decided_at[frames[gone]] = step
                silent[frames[gone]] = ~fired[gone]
                frames, times = frames[staying], times[staying]
                running = [state.select(staying) for state in running]
            if not len(frames):
                break
        return final, decided_at, silent


def check_inputs(times: Tensor, inputs: int) -> None:
    """Refuse spike times of another width.

    Raises:
        UserError: they are not (frames, ``inputs``).
    """
    if times.ndim != 2 or times.shape[1] != inputs:
        raise UserError(f"spike times must have shape (frames, {inputs}), not {tuple(times.shape)}")
