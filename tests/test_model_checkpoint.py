import numpy as np
import pytest

from export import UserError
from export.artifact import read_tensors
from model import checkpoint
from tests.networks import random_network, random_spike_times, write_checkpoint


@pytest.fixture
def path(tmp_path):
    rng = np.random.default_rng(6)
    network = random_network(rng, (9, 5, 3), 6)
    return write_checkpoint(tmp_path / "checkpoint.safetensors", network, random_spike_times(rng, 4, 9, 6))


def rewritten(path, header=None, tensors=None):
    """The file with entries replaced, or removed by None."""
    tensors, header = (old | (new or {}) for old, new in zip(read_tensors(path), (tensors, header), strict=True))
    checkpoint.save(path, *({key: value for key, value in new.items() if value is not None} for new in (tensors, header)))
    return path


def test_read(path):
    network, encoder, header = checkpoint.read(path)
    tensors, _ = read_tensors(path)
    assert [layer.weights.shape for layer in network.layers] == [(5, 9), (3, 5)]
    assert network.layers[1].thresholds.tolist() == tensors["layers.1.thresholds"].tolist()
    assert (network.steps, encoder.kind, header["version"]) == (6, "none", 1)


@pytest.mark.parametrize(
    ("header", "tensors", "message"),
    [
        ({"format": "other"}, {}, "format must be 'firstspike-checkpoint', not 'other'"),
        ({"version": 9}, {}, "version must be 1, the one this release reads, not 9"),
        ({"steps": 0}, {}, "steps (T) must be an integer from 1 to 32768, not 0"),
        ({"steps": None}, {}, "header field 'steps' must be int, not None"),
        ({}, {"layers.0.weights": None}, "must have tensors 'layers.0.weights' and 'layers.0.thresholds', but has none"),
        ({}, {"layers.1.thresholds": None}, "layers.1: must have weights (outputs, inputs) and thresholds (outputs,)"),
        ({}, {"layers.0.weights": np.zeros(3)}, "layers.0: must have weights (outputs, inputs) and thresholds (outputs,)"),
        ({}, {"layers.1.weights": np.zeros((3, 4))}, "layers.1: must take 5 inputs, not 4"),
        ({"encoder": {"kind": "rate"}}, {}, "encoder kind must be one of latency, spread, none, not 'rate'"),
    ],
)
def test_wrong_content(path, header, tensors, message):
    with pytest.raises(UserError) as caught:
        checkpoint.read(rewritten(path, header, tensors))
    assert str(caught.value) == f"{path}: {message}"


def test_nothing_is_half_written(tmp_path):
    with pytest.raises(TypeError):
        checkpoint.save(tmp_path / "x.safetensors", {"a": np.zeros(2)}, {"not JSON": {1, 2}})
    assert list(tmp_path.iterdir()) == []
