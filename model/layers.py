"""Binarized single-spike integrate-and-fire layers as PyTorch modules."""

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from export import UserError
from export.maps import Map
from model.bstdg import Margins, SpikeTimes, binarize, moments, round_thresholds
from model.encoding import check_steps
from model.spikes import FEW, ROWS, Spikes, SpikeTrain, as_bool, compared, drive_of, falling, time_dtype

LATENT_RANGE = 0.1  # latent weights start uniformly within ± this: a tenth of the way to where their gradient stops
MOMENTUM = 0.1  # of a batch in the running mean of potentials
GRADIENT_AT = ("peak", "spike", "end")


class State(NamedTuple):
    """A layer's state at the end of a step; B frames, M neurons. Updated in place."""

    margin: Tensor  # float (B, M) V - θ
    fired_at: Tensor  # (B, M) spike time, T = never
    best_margin: Tensor  # float (B, M) V - θ at best_step
    best_step: Tensor  # (B, M) τ so far, where the gradient is taken

    def select(self, frames: Tensor) -> "State":
        return State(*(tensor[frames] for tensor in self))


class SingleSpikeLayer(nn.Module):
    """A fully connected layer of integrate-and-fire neurons that spike at most once, with ±1 weights [S3].

    Attributes:
        mean: where potentials are normalised, the running mean of ``V(τ)``, float (outputs,); NaN before the first batch.

    Parameters (of the module, both trained):
        weights: float (outputs, inputs), latent; the forward pass takes their sign, with sign(0) = +1.
        thresholds: float (outputs,); the forward pass rounds them up and clips them to ``-inputs … inputs + 1``.

    Parameters (of the constructor):
        inputs, outputs: sizes, at least 1.
        steps: ``T``, the number of time steps.
        window: half-width of the gradient's window around the threshold, in units of √inputs.
        gradient_at: the step ``τ`` that a neuron's gradient is taken at: ``peak``, the first at which its potential was highest; ``spike``,
            the same, but nothing after its spike counts; ``end``, the last step.
        normalise: take the gradient as batch normalisation of the potentials ``V(τ)`` gives it (`model.bstdg.normalised`), and let the
            thresholds follow the running mean of these, with each forward pass; in training mode only.
        generator: source of the initial latent weights.

    Raises:
        UserError: a size or the number of steps is not a positive integer, or ``gradient_at`` is unknown.
    """

    mean: Tensor

    def __init__(
        self,
        inputs: int,
        outputs: int,
        steps: int,
        *,
        window: float = 0.5,
        gradient_at: str = "peak",
        normalise: bool = False,
        generator: torch.Generator | None = None,
    ) -> None:
        super().__init__()
        if gradient_at not in GRADIENT_AT:
            raise UserError(f"gradient_at must be one of {', '.join(GRADIENT_AT)}, not {gradient_at!r}")
        for name, size in (("inputs", inputs), ("outputs", outputs)):
            if isinstance(size, bool) or not isinstance(size, int) or size < 1:
                raise UserError(f"a layer's {name} must be a positive integer, not {size!r}")
        check_steps(steps)
        self.inputs, self.outputs, self.steps = inputs, outputs, steps
        self.incoming, self.positions = inputs, 1
        self.window, self.gradient_at = window * math.sqrt(inputs), gradient_at
        self.weights = nn.Parameter((torch.rand(outputs, inputs, generator=generator) * 2 - 1) * LATENT_RANGE)
        self.thresholds = nn.Parameter(torch.full((outputs,), math.sqrt(inputs) / 2))
        self.normalise = normalise
        if normalise:
            self.register_buffer("mean", torch.full((outputs,), math.nan))

    def extra_repr(self) -> str:
        return f"{self.inputs}, {self.outputs}, steps={self.steps}"

    @property
    def normalising(self) -> bool:
        """Whether potentials are normalised now: only in training mode."""
        return self.normalise and self.training

    def binary_weights(self) -> Tensor:
        """±1, float (outputs, inputs)."""
        return binarize(self.weights.detach())

    def synapses(self) -> Tensor:
        """`binary_weights` by input, float (inputs, outputs), in the memory layout that is fastest in `model.spikes`.

        Raises:
            UserError: the weights have a type in which potentials are not exact.
        """
        if self.weights.dtype not in (torch.float32, torch.float64):
            raise UserError(f"weights must be torch.float32 or torch.float64, so that potentials are exact, not {self.weights.dtype}")
        weights = self.binary_weights().T
        return weights if self.outputs <= FEW else weights.contiguous()

    def integer_thresholds(self) -> Tensor:
        """Integer-valued, float (outputs,)."""
        return round_thresholds(self.thresholds.detach(), self.inputs)

    @torch.no_grad()
    def clamp_(self) -> None:
        """Bring the parameters back into their range after an update."""
        self.weights.clamp_(-1, 1)

    def begin(self, frames: int) -> State:
        """The state before step 0."""
        margin = -self.integer_thresholds().repeat(frames, self.positions)
        never = torch.full(margin.shape, self.steps, dtype=time_dtype(self.steps), device=margin.device)
        return State(margin, never, torch.full_like(margin, -math.inf), torch.zeros_like(never))

    def margins(self, state: State, drive: Tensor) -> Tensor:
        """``V - θ``, float (C, B, M), in the next C steps, in the place of ``drive``, what each step's spikes add to it; the state is not
        changed."""
        before = state.margin
        for now in drive.unbind():
            before = now.add_(before)
        return drive

    def potentials(self, state: State, drive: Tensor) -> tuple[Tensor, Tensor]:
        """`margins`, and which neurons spike, bool (C, B, M)."""
        margins = self.margins(state, drive)
        fires = as_bool(compared(torch.ge, margins, 0)) & as_bool(compared(torch.eq, state.fired_at, self.steps))
        if len(drive) > 1:  # the first time only
            earliest = fires.view(torch.uint8)  # by way of uint8, since bool converts slowly
            earliest = earliest * falling(len(drive), earliest)
            fires &= as_bool(compared(torch.eq, earliest, earliest.amax(0)))
        return margins, fires

    def advance(self, state: State, margins: Tensor, fires: Tensor, first: int, closed: Tensor | None = None) -> None:
        """Advance the state, in place, by the steps from ``first`` on, given what `potentials` returned.

        Parameters:
            closed: int64 (B,), 0 … C - 1: how many steps after ``first`` a frame's last one is; None: all have C steps.
        """
        settle(state, margins, closed)
        if closed is not None:
            after = (torch.arange(len(margins), device=margins.device)[:, None] > closed)[..., None]  # (C, B, 1)
            margins = margins + margins.new_zeros(after.shape).masked_fill_(after, -math.inf)
            fires = as_bool(fires.view(torch.uint8) * (~after).view(torch.uint8))
        self._take_best(state, margins, fires, first)
        if len(fires) == 1:
            state.fired_at.sub_(fires[0].view(torch.uint8), alpha=self.steps - first)
        else:
            before_never = falling(len(fires), state.fired_at) + (self.steps - first - len(fires))
            state.fired_at.sub_((fires.view(torch.uint8) * before_never).amax(0))

    def _take_best(self, state: State, margins: Tensor, fires: Tensor, first: int) -> None:
        """Update ``τ`` and its margin by the steps from ``first`` on; a margin of -inf is after the frame's last step."""
        if self.gradient_at == "spike":
            fired_before = (fires.cumsum(0, dtype=torch.int32) > fires) | (state.fired_at < self.steps)
            margins = margins.masked_fill(fired_before, -math.inf)
        peak: Tensor = margins[0]
        step: Tensor | int = first
        if len(margins) > 1:
            peak = margins.amax(0)
            earliest = compared(torch.eq, margins, peak).mul_(falling(len(margins), margins)).amax(0)
            step = (first + len(margins) - earliest).to(state.best_step.dtype)
        better = as_bool(compared(torch.gt, peak, state.best_margin)).view(torch.uint8)
        torch.maximum(state.best_step, better.to(state.best_step.dtype) * step, out=state.best_step)
        torch.maximum(state.best_margin, peak, out=state.best_margin)

    def states(self, times: Tensor) -> Iterator[State]:
        """The state after each step of the frames (frames, inputs), always the same tensors."""
        train, synapses, state = SpikeTrain.of(times, self.steps), self.synapses(), self.begin(len(times))
        for step in range(self.steps):
            drive = train.between(step, step + 1).spikes.sum(synapses, len(times))[None]
            self.advance(state, *self.potentials(state, drive), step)
            yield state

    @torch.no_grad()
    def run(self, times: Tensor) -> tuple[State, Tensor]:
        """The state after all steps of the frames (frames, inputs), and ``V - θ`` of every step, float (T, frames, outputs)."""
        check_inputs(times, self.incoming)
        margins = []
        for state in self.states(times):
            margins.append(state.margin.clone())
        return state, torch.stack(margins)

    def forward(self, times: Tensor) -> Tensor:
        """Spike times float (frames, outputs), 0 … T, of input spike times (frames, inputs), any real dtype.

        They carry the gradient of `model.bstdg`.

        Raises:
            UserError: the spike times have another number of inputs.
        """
        return self.attach(times, self.run(times)[0], torch.full((len(times),), self.steps - 1, device=times.device))

    def attach(self, times: Tensor, state: State, last: Tensor) -> Tensor:
        """Spike times of a run that ended in ``state``, float, with the gradient attached.

        Parameters:
            last: int64 (frames,), the last step of each.
        """
        step, margin = state.best_step, state.best_margin
        if self.gradient_at == "end":
            step, margin = last[:, None].expand_as(step), state.margin
        if self.normalising:
            self._follow(margin)
        return SpikeTimes.apply(times, self.weights, self.thresholds, state.fired_at, step, margin, self.window, self.normalising)

    @torch.no_grad()
    def _follow(self, margin: Tensor) -> None:
        """Move the thresholds as the running mean of ``V(τ)`` moves with a batch, given ``V(τ) - θ`` float (R, outputs)."""
        mean = moments(margin)[1] + self.integer_thresholds()
        mean = torch.where((margin > -math.inf).any(0), mean, self.mean)  # as before where there was no potential
        moved = ((mean - self.mean) * MOMENTUM).nan_to_num_()  # NaN before the first batch
        self.mean.copy_(torch.where(self.mean.isnan(), mean, self.mean + moved))
        self.thresholds.add_(moved)


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
    """A sequence of layers, run together step by step, and the readout.

    Attributes:
        layers: the layers (a ``ModuleList``).

    Parameters:
        sizes: from the inputs to the outputs, such as (784, 600, 10).
        steps, options: as in `SingleSpikeLayer`; the outputs are never normalised.

    Raises:
        UserError: fewer than two sizes, or as in `SingleSpikeLayer`.
    """

    def __init__(self, sizes: Sequence[int], steps: int, **options: Any) -> None:
        super().__init__()
        if len(sizes) < 2:
            raise UserError(f"a network's sizes must be at least two, inputs and outputs, not {list(sizes)}")
        self.steps = steps
        pairs = list(itertools.pairwise(sizes))
        layers = [SingleSpikeLayer(*pair, steps, **options) for pair in pairs[:-1]]
        layers.append(SingleSpikeLayer(*pairs[-1], steps, **options | {"normalise": False}))
        self.layers = cast("list[SingleSpikeLayer]", nn.ModuleList(layers))

    @property
    def inputs(self) -> int:
        """The number of inputs."""
        return self.layers[0].inputs

    @property
    def input_map(self) -> Map | None:
        """Height, width and planes, if the inputs are a map."""
        return None

    @property
    def sizes(self) -> tuple[int, ...]:
        """From the inputs to the outputs, such as (784, 600, 10)."""
        return (self.inputs, *(layer.outputs for layer in self.layers))

    def forward(self, times: Tensor) -> Decisions:
        """Decide frames (B, N); a frame leaves the computation at its decision ``t*``."""
        states, step, silent = self._run_to_decision(times)
        last = self.layers[-1]
        margins = Margins.apply(self._attach(times, states, step), last.weights, last.thresholds, states[-1].margin, step)
        return Decisions(margins, step, silent)

    def _attach(self, times: Tensor, states: list[State], step: Tensor) -> Tensor:
        """What comes to the last layer, with the gradients of the hidden ones attached."""
        carrier = times
        for layer, state in zip(self.layers[:-1], states[:-1], strict=True):
            carrier = layer.attach(carrier, state, step)
        return carrier

    @torch.no_grad()
    def run(self, times: Tensor) -> tuple[list[Tensor], Tensor]:
        """The whole frame, without gradient: spike times of every layer (B, M_l), and the margins of the outputs (T, B, K)."""
        fired_at = []
        for layer in self.layers:
            state, margins = layer.run(times)
            times = state.fired_at
            fired_at.append(times)
        return fired_at, margins

    @torch.no_grad()
    def initialize_thresholds(self, times: Tensor, firing: float, firing_outputs: float) -> None:
        """Data-dependent initialization: each neuron fires in the given share of the frames, hidden and output."""
        for index, layer in enumerate(self.layers):
            if index:
                times = self.layers[index - 1].run(times)[0].fired_at
            share = firing_outputs if layer is self.layers[-1] else firing
            highest = layer.run(times)[1].amax(0) + layer.integer_thresholds()
            layer.thresholds.copy_(torch.quantile(highest, 1 - share, dim=0))

    @torch.no_grad()
    def _run_to_decision(self, times: Tensor) -> tuple[list[State], Tensor, Tensor]:
        """The states at the decision, of the last layer the margins only, ``t*`` and silence.

        A decided frame gets no more spikes, so its state stays; when half of the running frames are decided, the others are compacted.
        The fewer are left, the more steps are computed at once.
        """
        check_inputs(times, self.layers[0].inputs)
        train, synapses = SpikeTrain.of(times, self.steps), [layer.synapses() for layer in self.layers]
        final = running = [layer.begin(len(times)) for layer in self.layers]
        decided_at = torch.full((len(times),), self.steps - 1, device=times.device)
        silent = torch.ones_like(decided_at, dtype=torch.bool)
        frames = torch.arange(len(times), device=times.device)  # by row of what is running
        row_of = frames.clone()  # by frame; -1: decided
        step, left = 0, len(times)
        while step < self.steps and left:
            count = min(self.steps - step, max(1, ROWS // len(frames)))
            drive = _rows_at(train.between(step, step + count), row_of, step, len(frames), count).sum(synapses[0], count * len(frames))
            drive, found = drive.view(count, len(frames), -1), []
            for layer, state, following in zip(self.layers, running, synapses[1:], strict=False):
                found.append(layer.potentials(state, drive))
                drive = drive_of(found[-1][1], following)
            margins = self.layers[-1].margins(running[-1], drive)
            fired = (margins >= 0).any(2)  # (count, rows)
            rows = (fired.any(0) & silent[frames]).nonzero()[:, 0]
            closed = None
            if len(rows):
                decided = frames[rows]
                decided_at[decided], silent[decided], row_of[decided] = step, False, -1
                if count > 1:
                    closed = torch.full_like(frames, count - 1)
                    closed[rows] = fired[:, rows].to(torch.uint8).argmax(0)
                    decided_at[decided] += closed[rows]
            for layer, state, outcome in zip(self.layers, running, found, strict=False):
                layer.advance(state, *outcome, step, closed)
            settle(running[-1], margins, closed)
            step, left = step + count, left - len(rows)
            if 0 < 2 * left <= len(frames):
                _put(final, frames, running)
                staying = (row_of[frames] >= 0).nonzero()[:, 0]
                running = [state.select(staying) for state in running]
                frames = frames[staying]
                row_of[frames] = torch.arange(left, device=times.device)
        _put(final, frames, running)
        return final, decided_at, silent


def _rows_at(train: SpikeTrain, row_of: Tensor, first: int, rows: int, count: int) -> Spikes:
    """The spikes of ``count`` steps from ``first`` on with a row for each step and place ``row_of[frame] ≥ 0``, in that order."""
    places = row_of[train.spikes.rows]
    there = (places >= 0).nonzero()[:, 0]
    places = places[there]
    if count > 1:
        places += rows * (train.steps[there].to(places.dtype) - first)
    return Spikes(places, train.spikes.neurons[there])


def settle(state: State, margins: Tensor, closed: Tensor | None) -> None:
    """Take the margins of each frame's last step, of float (C, B, M); ``closed`` as in `SingleSpikeLayer.advance`."""
    state.margin.copy_(margins[-1] if closed is None else margins[closed, torch.arange(len(closed), device=closed.device)])


def put(state: State, frames: Tensor, part: State) -> None:
    """Write the state of some frames."""
    for tensor, values in zip(state, part, strict=True):
        tensor[frames] = values


def _put(states: list[State], frames: Tensor, parts: list[State]) -> None:
    if states is not parts:
        for state, part in zip(states, parts, strict=True):
            put(state, frames, part)


def check_inputs(times: Tensor, inputs: int) -> None:
    """Raise UserError unless spike times have the shape (frames, ``inputs``)."""
    if times.ndim != 2 or times.shape[1] != inputs:
        raise UserError(f"spike times must have shape (frames, {inputs}), not {tuple(times.shape)}")
