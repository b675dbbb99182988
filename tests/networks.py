"""Small networks, frames and checkpoints that tests of every part share."""

import itertools
import json
from pathlib import Path

import numpy as np
import safetensors.numpy

from export import Conv2d, Dense, Encoder, Graded, Layer, Network, Pool2d, Readout, Single
from export.reference import Result, run
from tests import oracle


def random_layer(rng: np.random.Generator, inputs: int, outputs: int, *, spread: float = 1.0) -> Layer:
    """Random weights, and thresholds around ``±spread·√fan-in``: some never fire, some fire at once, most in between."""
    weights = rng.choice(np.array([-1, 1], np.int8), (outputs, inputs))
    thresholds = np.rint(rng.normal(0.5, spread, outputs) * np.sqrt(inputs)).astype(int)
    return Layer(Dense(weights), Single(np.clip(thresholds, -inputs, inputs + 1)))


def random_network(rng: np.random.Generator, shape: tuple[int, ...], steps: int, *, spread: float = 1.0) -> Network:
    """A network of ``shape`` (inputs, …, outputs) that takes spike times."""
    layers = [random_layer(rng, n, m, spread=spread) for n, m in itertools.pairwise(shape)]
    return Network(tuple(layers), steps)


def random_spike_times(rng: np.random.Generator, frames: int, inputs: int, steps: int) -> np.ndarray:
    """Spike times int32 (frames, inputs), 0 … steps, each frame with its own share of inputs that never spike."""
    times = rng.integers(0, steps, (frames, inputs))
    never = rng.random((frames, inputs)) < rng.random((frames, 1))
    return np.where(never, steps, times).astype(np.int32)


def plain_layers(network: Network) -> list[tuple[list[list[int]], list[int]]]:
    """The layers as the oracle takes them."""
    return [(layer.connection.weights.tolist(), layer.neuron.thresholds.tolist()) for layer in network.layers]


def run_oracle(network: Network, spike_times: np.ndarray) -> list[oracle.Frame]:
    """Every frame through the oracle."""
    layers = plain_layers(network)
    return [oracle.run_frame(layers, times, network.steps) for times in spike_times.tolist()]


def assert_equal_to_oracle(network: Network, spike_times: np.ndarray) -> Result:
    """The golden model and the oracle agree on every spike time and decision of every frame."""
    golden = run(network, spike_times)
    decisions = golden.decisions
    for frame, expected in enumerate(run_oracle(network, spike_times)):
        assert [times[frame].tolist() for times in golden.spike_times] == expected.spike_times, f"frame {frame}"
        seen = (decisions.class_index[frame], decisions.step[frame], decisions.margin[frame], decisions.silent[frame])
        assert tuple(field.item() for field in seen) == expected.decision, f"frame {frame}"
    return golden


def write_checkpoint(
    path: Path, network: Network, spike_times: np.ndarray, *, header: dict | None = None, tensors: dict | None = None
) -> Path:
    """A checkpoint as training writes it: real weights and thresholds that binarize to ``network``, and its check set.

    ``header`` and ``tensors`` replace entries (None removes one).
    """
    rng = np.random.default_rng(7)
    golden = run(network, spike_times)
    contents: dict[str, np.ndarray | None] = {"check.inputs": spike_times}
    for index, layer in enumerate(network.layers):
        size = rng.random(layer.connection.weights.shape, np.float32)
        contents[f"layers.{index}.weights"] = np.where(layer.connection.weights > 0, size, -size - np.float32(0.01)).astype(np.float32)
        contents[f"layers.{index}.thresholds"] = (layer.neuron.thresholds - rng.random(layer.outputs) * 0.9).astype(np.float32)
        contents[f"check.spike_times.{index}"] = golden.spike_times[index]
    for name in ("class_index", "step", "margin"):
        contents[f"check.{name}"] = getattr(golden.decisions, name)
    contents["check.silent"] = golden.decisions.silent.astype(np.uint8)
    encoder = {"kind": "none"} if network.encoder.kind == "none" else {"kind": "latency", "p_min": network.encoder.p_min}
    fields = {
        "format": "firstspike-checkpoint",
        "version": 1,
        "steps": network.steps,
        "encoder": encoder,
        "class_names": list(network.class_names),
        "provenance": {"dataset": "random", "seed": 7, "scores": {"test": {"strict": 50.0}}},
        "resume": {"epoch": 1},
    }
    fields = {key: value for key, value in (fields | (header or {})).items() if value is not None}
    contents = {key: value for key, value in (contents | (tensors or {})).items() if value is not None}
    safetensors.numpy.save_file(contents, path, metadata={"firstspike": json.dumps(fields)})
    return path


def worked_example() -> Network:
    """Three inputs, two outputs, small enough to follow by hand; ``docs/artifact.md`` shows its file."""
    return Network((Layer(Dense(np.array([[1, -1, 1], [-1, 1, 1]])), Single(np.array([1, 2]))),), 4, Encoder("latency"), ("left", "right"))


def graded_example() -> Network:
    """The same for spikes with coefficients."""
    hidden = Layer(Dense([[1, -1, 1], [-1, 1, 1]]), Graded([2, 3], [1, -1], levels=3))
    outputs = Layer(Dense([[1, -1], [-1, 1]]), Readout([1, -2]))
    return Network((hidden, outputs), 2, Encoder("spread", bits=4), ("left", "right"))


def map_example() -> Network:
    """The convolution and the pool of ``docs/artifact.md``."""
    kernels = np.array([[[[1, 1, 1]], [[-1, -1, -1]]], [[[-1, 1, -1]], [[1, 1, 1]]]])
    hidden = Layer(Conv2d(kernels, (3, 5), stride=(1, 2), padding=(0, 2)), Single(np.array([1, 2])))
    outputs = Layer(Dense(np.array([[1, -1, -1, 1], [-1, 1, 1, -1]])), Single(np.array([1, 1])), Pool2d((3, 4), 2, (3, 2)))
    return Network((hidden, outputs), 4, Encoder("latency"), ("left", "right"))
