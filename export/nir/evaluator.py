"""The equations of NIR's nodes, in Euler steps of length 1, and the golden model against them.

In float64, which is exact for float32 parameters whose sizes differ by less than 2**20.
"""

from dataclasses import dataclass, field

import nir
import numpy as np

from export import reference
from export.encoder import Encoder, random_images
from export.errors import UserError
from export.events import Events
from export.maps import Map
from export.network import Network
from export.nir.conventions import Frames, initial, subtracts
from export.nir.graph import Chain, label, pair

CHUNK = 64  # frames


@dataclass
class Run:
    """What a graph did.

    Attributes:
        spikes: bool (frames, steps, *shape) of each IF node, by name.
        outputs: float64 (frames, steps, classes), the potentials of the last node.
    """

    spikes: dict[str, np.ndarray] = field(default_factory=dict)
    outputs: np.ndarray = field(default_factory=lambda: np.empty(0))

    def decide(self, frames: Frames) -> tuple[np.ndarray, np.ndarray]:
        """Class and step of each frame's decision, int (frames,) each."""
        steps = self.outputs.shape[1]
        reached = np.logical_or.reduce(self.outputs >= 0, axis=2) & frames.early
        step = np.where(reached.any(axis=1), reached.argmax(axis=1), steps - 1)
        return self.outputs[np.arange(len(step)), step].argmax(axis=1), step


def run(chain: Chain, inputs: np.ndarray, *, subtract: bool = False) -> Run:
    """Run frames through a graph.

    Parameters:
        chain: the graph.
        inputs: what comes in: (frames, steps, *shape of the input).
        subtract: all neurons are reset by subtraction, whatever their metadata say.
    """
    frames, steps = inputs.shape[:2]
    state = {name: np.tile(initial(node), (frames, *(1,) * node.r.ndim)) for name, node in chain.nodes if hasattr(node, "r")}
    spikes: dict[str, list[np.ndarray]] = {name: [] for name, node in chain.nodes if isinstance(node, nir.IF)}
    outputs = []
    for step in range(steps):
        values = inputs[:, step].astype(np.float64)
        for name, node in chain.nodes:
            if name not in state:
                values = _apply(node, values)
                continue
            state[name] += node.r * values
            values = state[name].copy()
            if isinstance(node, nir.IF):
                fires = values > node.v_threshold
                after = values - node.v_threshold if subtract or subtracts(node) else np.broadcast_to(node.v_reset, values.shape)
                state[name] = np.where(fires, after, values)
                spikes[name].append(fires)
                values = fires.astype(np.float64)
        outputs.append(values)
    return Run({name: np.stack(found, axis=1) for name, found in spikes.items()}, np.stack(outputs, axis=1))


def _apply(node: nir.NIRNode, values: np.ndarray) -> np.ndarray:
    """A node without a state: (frames, *shape) to (frames, *shape)."""
    if isinstance(node, nir.Linear | nir.Affine):
        sums = values @ np.asarray(node.weight, np.float64).T
        return sums + node.bias if isinstance(node, nir.Affine) else sums
    if isinstance(node, nir.Conv2d):
        down, across = pair(node.stride)
        above, left = pair(0 if isinstance(node.padding, str) else node.padding)
        padded = np.pad(values, ((0, 0), (0, 0), (above, above), (left, left)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, node.weight.shape[2:], (2, 3))[:, :, ::down, ::across]
        sums = np.tensordot(windows, np.asarray(node.weight, np.float64), ((1, 4, 5), (1, 2, 3))).transpose(0, 3, 1, 2)
        return sums + np.asarray(node.bias)[:, None, None]
    if isinstance(node, nir.SumPool2d):
        down, across = pair(node.stride)
        windows = np.lib.stride_tricks.sliding_window_view(values, pair(node.kernel_size), (2, 3))[:, :, ::down, ::across]
        return windows.sum(axis=(4, 5))
    return values.reshape(len(values), *node.output_type["output"])


def prove(chain: Chain, network: Network, frames: Frames, number: int, *, subtract: bool = False, seed: int = 0) -> int:
    """Run random frames through a graph and its network, and compare every spike and every decision.

    Returns:
        How many spikes of hidden neurons were equal.

    Raises:
        UserError: something differs; the message names the first difference.
    """
    events = random_events(network, number, seed)
    return sum(_prove(chain, network, frames, events[at : at + CHUNK], at, subtract) for at in range(0, number, CHUNK))


def _prove(chain: Chain, network: Network, frames: Frames, events: Events, first: int, subtract: bool) -> int:
    sizes = network.maps[0]
    found = run(chain, _dense(events, sizes).reshape(*events.shape[:2], *chain.shape), subtract=subtract)
    golden = reference.run(network, events)
    for (name, spikes), own, own_map in zip(found.spikes.items(), golden.events[:-1], network.maps[1:-1], strict=True):
        expected = _dense(own, own_map).reshape(spikes.shape)
        if (different := spikes != expected).any():
            frame, step, *place = map(int, np.argwhere(different)[0])
            where = f"first at frame {first + frame}, step {step}, neuron {', '.join(map(str, place))}"
            raise UserError(f"{label(name, chain.graph.nodes[name])} must spike as the golden model, but differs {where}")
    classes, steps = found.decide(frames)
    for what, graph, ours in (("class", classes, golden.decisions.class_index), ("step", steps, golden.decisions.step)):
        if (different := graph != ours).any():
            frame = int(different.argmax())
            raise UserError(f"{what} of frame {first + frame} must be that of the golden model, {ours[frame]}, not {graph[frame]}")
    return sum(map(len, golden.events[:-1]))


def _dense(events: Events, sizes: Map | None) -> np.ndarray:
    """Coefficients (frames, steps, neurons), plane by plane where the neurons are a map."""
    coefficients = np.zeros(events.shape)
    coefficients[events.frame, events.step, events.neuron] = events.coefficient
    if sizes is None:
        return coefficients
    return coefficients.reshape(*events.shape[:2], -1, sizes[2]).swapaxes(2, 3).reshape(events.shape)


def random_events(network: Network, frames: int, seed: int) -> Events:
    """Input spikes of random images, each with its own share of dark pixels."""
    encoder = network.encoder
    if encoder.kind == "none":
        encoder = Encoder("latency", p_min=1) if encoder.bits is None else Encoder("spread", bits=encoder.bits)
    return network.check_inputs(encoder.encode(random_images(frames, network.inputs, seed), network.steps))
