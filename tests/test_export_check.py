import numpy as np
import pytest
import safetensors.numpy

from export import Dense, Encoder, Layer, Network, Single, UserError
from export.check import binarize, network_from_checkpoint, round_thresholds
from tests.networks import random_network, random_spike_times, write_checkpoint


@pytest.fixture
def network():
    """Some frames fire, some don't (asserted below)."""
    return random_network(np.random.default_rng(79), (6, 5, 3), 4)


@pytest.fixture
def times():
    return random_spike_times(np.random.default_rng(2), 9, 6, 4)


@pytest.fixture
def checkpoint(tmp_path, network, times):
    return write_checkpoint(tmp_path / "checkpoint.safetensors", network, times)


def rewrite(checkpoint, change):
    """Change one tensor of a checkpoint in place."""
    tensors = safetensors.numpy.load_file(checkpoint)
    with safetensors.safe_open(checkpoint, framework="numpy") as file:
        metadata = file.metadata()
    change(tensors)
    safetensors.numpy.save_file(tensors, checkpoint, metadata=metadata)


def refusal(checkpoint):
    with pytest.raises(UserError) as caught:
        network_from_checkpoint(checkpoint)
    return str(caught.value).removeprefix(f"{checkpoint}: ")


def test_sign_of_zero():
    """[S3]"""
    assert binarize(np.array([[0.0, -0.0, 1e-30, -1e-30, 3, -3]])).tolist() == [[1, 1, 1, -1, 1, -1]]


def test_thresholds_round_up_and_stay_in_range():
    """[S3]"""
    real = np.array([0.0, 0.1, 1.0, 1.5, -0.5, -1.0, -1.5, 99, -99])
    assert round_thresholds(real, 3).tolist() == [0, 1, 1, 2, 0, -1, -1, 4, -3]
    assert round_thresholds(real, 3).dtype == np.int32


def test_network_comes_back(checkpoint, network):
    found, frames = network_from_checkpoint(checkpoint)
    assert frames == 9
    for made, original in zip(found.layers, network.layers, strict=True):
        assert np.array_equal(made.connection.weights, original.connection.weights)
        assert np.array_equal(made.neuron.thresholds, original.neuron.thresholds)
    assert found.provenance["scores"]["test"]["strict"] == 50.0


def test_encoder_comes_back(tmp_path, network, times):
    with_encoder = Network(network.layers, 4, Encoder("latency", 9), ("a", "b", "c"))
    found, _ = network_from_checkpoint(write_checkpoint(tmp_path / "checkpoint.safetensors", with_encoder, times))
    assert found.encoder == Encoder("latency", 9)
    assert found.class_names == ("a", "b", "c")


@pytest.mark.parametrize(("layer", "frame", "neuron"), [(0, 0, 0), (0, 8, 4), (1, 3, 2), (1, 8, 0)])
def test_altered_spike_time_is_named(checkpoint, layer, frame, neuron):
    name = f"check.spike_times.{layer}"
    before = {}

    def change(tensors):
        before["time"] = int(tensors[name][frame, neuron])
        tensors[name][frame, neuron] = (before["time"] + 1) % 5

    rewrite(checkpoint, change)
    assert refusal(checkpoint) == (
        f"the golden model must equal the trained network, but {name} differs in 1 places, first at frame {frame}, "
        f"neuron {neuron}: trained {(before['time'] + 1) % 5}, golden {before['time']}"
    )


@pytest.mark.parametrize("name", ["class_index", "step", "margin", "silent"])
def test_altered_decision_is_named(checkpoint, name):
    def change(tensors):
        tensors[f"check.{name}"][5] ^= 1

    rewrite(checkpoint, change)
    assert refusal(checkpoint).startswith(
        f"the golden model must equal the trained network, but check.{name} differs in 1 places, first at frame 5: trained "
    )


def test_altered_weight_is_named(tmp_path):
    """One visible weight: the neuron that it belongs to is the first that differs."""
    network = Network((Layer(Dense(np.ones((3, 4))), Single(np.array([1, 2, 3]))),), 4)
    checkpoint = write_checkpoint(tmp_path / "checkpoint.safetensors", network, np.array([[0, 1, 2, 3]], np.int32))

    def change(tensors):
        tensors["layers.0.weights"][1, 0] *= -1

    rewrite(checkpoint, change)
    assert refusal(checkpoint) == (
        "the golden model must equal the trained network, but check.spike_times.0 differs in 1 places, first at frame 0, "
        "neuron 1: trained 1, golden 3"
    )


@pytest.mark.parametrize("shift", [1, -1])
def test_altered_threshold_is_named(tmp_path, shift):
    network = Network((Layer(Dense(np.ones((3, 4))), Single(np.array([1, 2, 3]))),), 4)
    checkpoint = write_checkpoint(tmp_path / "checkpoint.safetensors", network, np.array([[0, 1, 2, 3]], np.int32))

    def change(tensors):
        tensors["layers.0.thresholds"][2] += shift

    rewrite(checkpoint, change)
    assert refusal(checkpoint) == (
        "the golden model must equal the trained network, but check.spike_times.0 differs in 1 places, first at frame 0, "
        f"neuron 2: trained 2, golden {2 + shift}"
    )


def test_every_visible_weight_of_a_network_is_found(checkpoint, network, times):
    """Flip each weight in turn: the replay refuses exactly where the golden model says that the flip shows."""
    from export import reference

    golden = reference.run(network, times)
    original = checkpoint.read_bytes()
    seen = 0
    for index, layer in enumerate(network.layers):
        for j, i in np.ndindex(layer.connection.weights.shape):
            weights = layer.connection.weights.copy()
            weights[j, i] *= -1
            layers = list(network.layers)
            layers[index] = Layer(Dense(weights), Single(layer.neuron.thresholds))
            flipped = reference.run(Network(tuple(layers), network.steps), times)
            visible = any((a != b).any() for a, b in zip(golden.spike_times, flipped.spike_times, strict=True)) or (
                (golden.decisions.margin != flipped.decisions.margin).any()
                or (golden.decisions.class_index != flipped.decisions.class_index).any()
            )

            def change(tensors, name=f"layers.{index}.weights", j=j, i=i):
                tensors[name][j, i] = -tensors[name][j, i]

            checkpoint.write_bytes(original)
            rewrite(checkpoint, change)
            if visible:
                assert "the golden model must equal the trained network" in refusal(checkpoint)
                seen += 1
            else:
                network_from_checkpoint(checkpoint)
    assert seen > 10


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"format": "firstspike-network"}, "format must be 'firstspike-checkpoint', not 'firstspike-network'"),
        ({"format": None}, "format must be 'firstspike-checkpoint', not None"),
        ({"version": 2}, "version must be 1, the one this release reads, not 2"),
        ({"steps": 0}, "steps (T) must be an integer from 1 to 32768, not 0"),
        ({"steps": "4"}, "header field 'steps' must be int, not '4'"),
        ({"steps": None}, "header field 'steps' must be int, not None"),
        ({"steps": 3}, "spike times must be from 0 to 3 (3 = never), but input 0 of frame 0 has 4"),
        ({"encoder": None}, "header field 'encoder' must be dict, not None"),
        ({"encoder": {"kind": "rate"}}, "encoder kind must be one of latency, spread, none, not 'rate'"),
        (
            {"encoder": {"kind": "latency", "p_max": 3}},
            "header field 'encoder' must have 'kind', 'p_min', 'bits' and 'thresholds' only, but has ['p_max']",
        ),
        ({"class_names": ["a"]}, "class_names must be 3, one per output, not 1"),
        ({"class_names": None}, "header field 'class_names' must be list, not None"),
        ({"provenance": []}, "header field 'provenance' must be dict, not []"),
    ],
)
def test_wrong_header_is_refused(tmp_path, network, times, header, message):
    times[0, 0] = 4
    assert refusal(write_checkpoint(tmp_path / "checkpoint.safetensors", network, times, header=header)) == message


@pytest.mark.parametrize(
    ("tensors", "message"),
    [
        ({"layers.0.weights": None}, "a network must have at least one layer, not 0"),
        ({"layers.1.thresholds": None}, "tensor 'layers.1.thresholds' must be there, but is missing"),
        ({"check.inputs": None}, "tensor 'check.inputs' must be there, but is missing"),
        ({"check.spike_times.1": None}, "tensor 'check.spike_times.1' must be there, but is missing"),
        ({"check.silent": None}, "tensor 'check.silent' must be there, but is missing"),
        ({"check.inputs": np.zeros((0, 6), np.int32)}, "check set must have at least one frame, not 0"),
        ({"check.inputs": np.zeros((9, 5), np.int32)}, "spike times must have shape (frames, 6), not (9, 5)"),
        ({"check.margin": np.zeros(8, np.int32)}, "check.margin must have shape (9,), not (8,)"),
        (
            {"layers.0.weights": np.ones(6, np.float32)},
            "layers.0: weights must be a finite matrix and thresholds a finite vector",
        ),
        (
            {"layers.0.weights": np.full((5, 6), np.nan, np.float32)},
            "layers.0: weights must be a finite matrix and thresholds a finite vector",
        ),
        (
            {"layers.1.thresholds": np.full(3, np.inf, np.float32)},
            "layers.1: weights must be a finite matrix and thresholds a finite vector",
        ),
        ({"layers.0.weights": np.ones((4, 6), np.float32)}, "thresholds must have shape (4,), one per output, not (5,)"),
        ({"layers.1.weights": np.ones((3, 4), np.float32)}, "layer 1 must take the 5 outputs of layer 0, but has 4 inputs"),
    ],
)
def test_wrong_tensors_are_refused(tmp_path, network, times, tensors, message):
    assert refusal(write_checkpoint(tmp_path / "checkpoint.safetensors", network, times, tensors=tensors)) == message


def test_tensors_for_resuming_do_not_disturb(tmp_path, network, times):
    extra = {"resume.moment": np.ones((2, 2), np.float64)}
    _, frames = network_from_checkpoint(write_checkpoint(tmp_path / "checkpoint.safetensors", network, times, tensors=extra))
    assert frames == 9


def test_fixture_has_both_silent_and_fired_frames(checkpoint):
    silent = safetensors.numpy.load_file(checkpoint)["check.silent"]
    assert 0 < silent.sum() < len(silent)
