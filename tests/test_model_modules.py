"""The modules in somebody else's hands: copied, stored, moved, converted, compiled."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch

from export import UserError
from model.bstdg import margin_loss
from model.conversion_recipe import NORMS
from model.encoding import LatencyEncoder
from model.layers import SingleSpikeLayer, SingleSpikeNetwork
from model.quantized_layers import OutputLayer, QuantizedLayer
from model.synapses import Dense
from tests.networks import random_spike_times

LABELS = torch.arange(40) % 5


def network():
    made = SingleSpikeNetwork((30, 40, 20, 5), 12, window=1.0, generator=torch.Generator().manual_seed(2))
    made.initialize_thresholds(times(), 0.25, 0.1)
    return made


def times():
    return torch.from_numpy(random_spike_times(np.random.default_rng(3), 40, 30, 12))


def outcome(model, of=None):
    """Decisions and gradients, as lists."""
    decisions = model(times() if of is None else of)
    model.zero_grad()
    margin_loss(decisions.margins, LABELS, 0.5).backward()
    return [tensor.tolist() for tensor in (*decisions, *(parameter.grad for parameter in model.parameters()))]


def stored(model):
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    file.seek(0)
    other = SingleSpikeNetwork((30, 40, 20, 5), 12, window=1.0)
    other.load_state_dict(torch.load(file))
    return other


@pytest.mark.parametrize("again", [copy.deepcopy, stored, lambda model: pickle.loads(pickle.dumps(model)), lambda model: model.to("cpu")])
def test_network_is_the_same_again(again):
    model = network()
    expected = outcome(model)
    copied = again(model)
    assert outcome(copied) == expected
    assert np.count_nonzero(expected[3]) > 0
    if copied is not model:
        with torch.no_grad():
            copied.layers[0].weights.neg_()
        assert outcome(model) == expected  # nothing is shared
        assert outcome(copied) != expected


def quantised(norm):
    generator = torch.Generator().manual_seed(4)
    hidden = QuantizedLayer(Dense(30, 40), 3, norm=norm, generator=generator)
    return torch.nn.Sequential(hidden, OutputLayer(Dense(40, 5), norm=norm, generator=generator))


@pytest.mark.parametrize("norm", NORMS)
def test_quantised_layers_are_trained_in_a_loop_of_ones_own(norm):
    """And are the same again, with all that they need in their state."""
    model, inputs = quantised(norm), (times() < 6).float()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        loss = torch.nn.functional.cross_entropy(model(inputs), LABELS)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        for layer in model:
            layer.clamp_()
    expected = model.eval()(inputs)
    assert (expected.argmax(1) == LABELS).float().mean() > 0.9
    other = quantised(norm).eval()
    assert not torch.equal(other(inputs), expected)
    other.load_state_dict(model.state_dict())
    for again in (other, copy.deepcopy(model), pickle.loads(pickle.dumps(model))):
        assert torch.equal(again(inputs), expected)


def test_state_holds_the_parameters_and_nothing_else():
    assert {name: tuple(tensor.shape) for name, tensor in network().state_dict().items()} == {
        "layers.0.weights": (40, 30),
        "layers.0.thresholds": (40,),
        "layers.1.weights": (20, 40),
        "layers.1.thresholds": (20,),
        "layers.2.weights": (5, 20),
        "layers.2.thresholds": (5,),
    }
    assert LatencyEncoder(8).state_dict() == {}


@pytest.mark.parametrize("again", [copy.deepcopy, lambda module: pickle.loads(pickle.dumps(module)), lambda module: module.to("cpu")])
def test_encoder_and_layer_are_the_same_again(again):
    pixels = torch.arange(256, dtype=torch.uint8)[None]
    encoder, layer = LatencyEncoder(8, 10), SingleSpikeLayer(256, 7, 8, generator=torch.Generator().manual_seed(0))
    assert again(layer)(again(encoder)(pixels)).tolist() == layer(encoder(pixels)).tolist()


def test_double_precision_decides_the_same_and_has_gradients_of_its_own():
    expected = outcome(network())
    model = network().to(torch.float64)
    found = outcome(model)
    assert found[:3] == expected[:3]
    assert {parameter.grad.dtype for parameter in model.parameters()} == {torch.float64}
    for mine, single in zip(found[3:], expected[3:], strict=True):
        np.testing.assert_allclose(mine, single, rtol=1e-5, atol=1e-7)
    assert found[3:] != expected[3:]
    layer = model.layers[0]
    assert {tensor.dtype for tensor in (layer(times()), layer.run(times())[1])} == {torch.float64}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_types_that_round_potentials_are_refused(dtype):
    with pytest.raises(UserError) as caught:
        network().to(dtype)(times())
    assert str(caught.value) == f"weights must be torch.float32 or torch.float64, so that potentials are exact, not {dtype}"


def test_autocast_changes_nothing():
    model = SingleSpikeNetwork((30, 1000, 5), 12, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        model.layers[0].thresholds.fill_(-30)  # all fire: potentials that bfloat16 would round
        model.layers[1].thresholds.fill_(900.0)
        model.layers[1].weights.fill_(1.0)
        model.layers[1].weights[:, :1].neg_()
    expected = [tensor.tolist() for tensor in model(times())]
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert [tensor.tolist() for tensor in model(times())] == expected
    assert expected[0][0] == [98.0] * 5


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore:The .grad attribute:UserWarning")  # PyTorch's, of what it does itself
def test_compiled():
    model = network()
    expected = outcome(model)
    assert outcome(torch.compile(model, backend="eager")) == expected
