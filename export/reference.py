"""The golden model: what a network does, spike for spike, in numpy and nothing else.

All arithmetic is on integers; the matrix products run in float32, which is exact here because no sum reaches 2**24.
"""

from dataclasses import dataclass, fields

import numpy as np

from export.network import Layer, Network

CHUNK = 1024  # frames worked on at a time: bounds the memory


@dataclass(frozen=True, eq=False)
class Decisions:
    """One decision per frame [S5].

    Attributes:
        class_index: int32 (frames,), the decided class.
        step: int32 (frames,), ``t*``; steps taken are ``step + 1``.
        margin: int32 (frames,), ``V_j(t*) - θ_j`` of the decided class.
        silent: bool (frames,), True where no output spiked.
    """

    class_index: np.ndarray
    step: np.ndarray
    margin: np.ndarray
    silent: np.ndarray


DECISION_FIELDS = tuple(field.name for field in fields(Decisions))


@dataclass(frozen=True, eq=False)
class Result:
    """Spike times of every layer and the decisions.

    Attributes:
        spike_times: one int32 array (frames, outputs) per layer, 0 … T, ``T`` = never.
        decisions: the readout's decisions.
    """

    spike_times: tuple[np.ndarray, ...]
    decisions: Decisions


def run(network: Network, spike_times: np.ndarray) -> Result:
    """Run frames through the network [S3–S5].

    Parameters:
        network: the network.
        spike_times: integers (frames, inputs), 0 … T, ``T`` = never.

    Raises:
        UserError: the spike times do not fit the network.
    """
    spike_times = network.check_spike_times(spike_times)
    chunks = [_run_chunk(network, spike_times[at : at + CHUNK]) for at in range(0, max(1, len(spike_times)), CHUNK)]
    times = tuple(np.concatenate(parts) for parts in zip(*(chunk.spike_times for chunk in chunks), strict=True))
    decisions = Decisions(*(np.concatenate([getattr(c.decisions, name) for c in chunks]) for name in DECISION_FIELDS))
    return Result(times, decisions)


def _run_chunk(network: Network, times: np.ndarray) -> Result:
    layer_times = []
    for layer in network.layers[:-1]:
        times = _run_layer(layer, times, network.steps)[0]
        layer_times.append(times)
    output_times, decisions = _run_layer(network.layers[-1], times, network.steps)
    return Result((*layer_times, output_times), decisions)


def _run_layer(layer: Layer, times: np.ndarray, steps: int) -> tuple[np.ndarray, Decisions]:
    """Spike times (frames, outputs) of one layer, and what it would decide if it were the last."""
    frames = len(times)
    state = layer.neuron.start(frames)
    fired_at = np.full((frames, layer.outputs), steps, np.int32)
    decided_margin = np.empty_like(state.margin)
    undecided = np.ones(frames, bool)
    for t in range(steps):
        spikes = times == t
        active = spikes.any(axis=1)
        state.margin[active] += layer.connection.sums(spikes[active])
        fires = layer.neuron.step(state) != 0
        fired_at[fires] = t
        deciding = undecided & (fires.any(axis=1) | (t == steps - 1))
        decided_margin[deciding] = state.margin[deciding]
        undecided &= ~deciding
    first = fired_at.min(axis=1)
    class_index = decided_margin.argmax(axis=1)  # the lowest index on a tie
    return fired_at, Decisions(
        class_index=class_index.astype(np.int32),
        step=np.minimum(first, steps - 1),
        margin=decided_margin[np.arange(frames), class_index].astype(np.int32),
        silent=first == steps,
    )
