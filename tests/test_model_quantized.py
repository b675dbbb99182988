import math

import numpy as np
import pytest
import torch

from export import UserError
from model.normalisation import MOMENTUM, Normalisation
from model.quantized import QuantizedNetwork
from model.quantized_layers import OutputLayer, QuantizedLayer
from model.structure import Stage, parse
from model.synapses import Dense, chain


def generator():
    return torch.Generator().manual_seed(3)


def dense(inputs, *sizes):
    return chain(map(Stage, sizes), inputs)


def counts(frames, inputs, most=15):
    return torch.randint(0, most + 1, (frames, inputs), generator=generator()).float()


def used(layer, frames=64):
    """A layer whose statistics are not those that it starts with."""
    layer.train()
    with torch.no_grad():
        layer.norm.gain.mul_(1 + torch.rand(layer.norm.gain.shape, generator=generator()))
        layer.norm.offset.add_(torch.rand(layer.norm.offset.shape, generator=generator()) - 0.5)
        for _ in range(40):
            layer(counts(frames, *layer.synapses.inputs))
    return layer.eval()


@pytest.mark.parametrize("levels", [1, 3, 15])
def test_integer_layer_is_a_formula_of_whole_numbers(levels):
    layer = used(QuantizedLayer(Dense(50, 20), levels, generator=generator()))
    inputs = counts(30, 50)
    thresholds, bias = (part.detach().numpy() for part in layer.folded(torch.zeros(1)))
    assert (thresholds == np.round(thresholds)).all()
    assert thresholds.min() >= 1
    assert (bias == np.round(bias)).all()
    weights = np.where(layer.weights.detach().numpy() >= 0, 1, -1)
    sums = inputs.numpy().astype(np.int64) @ weights.T
    theta, b = thresholds.astype(np.int64), bias.astype(np.int64)
    assert np.array_equal(layer(inputs).detach().numpy(), np.clip((sums + b + theta // 2) // theta, 0, levels))


def test_thresholds_are_at_least_one():
    layer = QuantizedLayer(Dense(4, 3), 100)
    layer.eval()
    assert layer.folded(torch.zeros(1)).thresholds.tolist() == [1, 1, 1]


def test_division_is_exact_below_2_to_the_24():
    layer = QuantizedLayer(Dense(1, 1), 1 << 20)
    thresholds, sums = torch.tensor([7.0]), torch.arange((1 << 24) - 4000, (1 << 24) - 4)[:, None].float()
    found = layer.activate(sums, type(layer.folded(sums))(thresholds, torch.zeros(1)))
    wanted = np.clip((sums.numpy().astype(np.int64) + 3) // 7, 0, 1 << 20)
    assert np.array_equal(found.detach().numpy(), wanted)


def test_unquantised_is_clipped_and_normalised():
    layer = used(QuantizedLayer(Dense(50, 20), 3, quantised=False, integer=False, generator=generator()))
    inputs = counts(30, 50)
    norm, sums = layer.norm, layer.sums(inputs)
    normalised = norm.gain * (sums - norm.mean) / norm.scale + norm.offset
    torch.testing.assert_close(layer(inputs), (normalised / layer.bound).clamp(0, 1), rtol=1e-4, atol=1e-5)


def test_without_clip_it_is_a_relu():
    layer = used(QuantizedLayer(Dense(50, 20), 3, quantised=False, integer=False, clip="none", generator=generator()))
    found = layer(counts(30, 50))
    assert found.min() == 0
    assert found.max() > 1
    assert layer.ceiling().item() == 1


def test_rate_norm_follows_the_running_maximum():
    layer = QuantizedLayer(Dense(50, 20), 3, clip="rate-norm", generator=generator())
    before, inputs = layer.greatest.clone(), counts(30, 50)
    layer.norm.train()
    sums = layer.sums(inputs).detach()
    unit, bias = layer.norm(sums)
    largest = ((sums + bias) / unit).max()
    layer(inputs)
    torch.testing.assert_close(layer.greatest, (1 - MOMENTUM) * before + MOMENTUM * largest)
    assert layer.ceiling().item() == pytest.approx(0.7 * layer.greatest.item())
    layer.eval()
    layer(inputs * 9)
    torch.testing.assert_close(layer.greatest, (1 - MOMENTUM) * before + MOMENTUM * largest)


@pytest.mark.parametrize("kind", ["batch", "l1", "linf"])
@pytest.mark.parametrize("shared", [False, True])
def test_statistics(kind, shared):
    sums = torch.randn(200, 7, generator=generator()) * torch.arange(1, 8) + 5
    mean, scale = Normalisation(7, kind, shared=shared).statistics(sums)
    values = sums.numpy().astype(np.float64)
    deviation = values - values.mean(axis=0)
    axis, n = (None, 1400) if shared else (0, 200)
    wanted = {
        "batch": np.sqrt((deviation**2).mean(axis=axis)),
        "l1": np.sqrt(np.pi / 2) * np.abs(deviation).mean(axis=axis),
        "linf": np.abs(deviation).max(axis=axis) * (np.sqrt(1 / (2 * np.log(n))) + np.sqrt(np.pi * np.log(2) / np.log(n))) / 2,
    }[kind]
    np.testing.assert_allclose(mean, values.mean(axis=0), rtol=1e-4)
    np.testing.assert_allclose(scale, np.atleast_1d(wanted), rtol=1e-4)


def test_running_statistics_are_used_in_evaluation_only():
    norm = Normalisation(3)
    sums = torch.randn(50, 3, generator=generator()) * 4 + 9
    norm(sums)
    torch.testing.assert_close(norm.mean, MOMENTUM * sums.mean(0))
    norm.eval()
    unit, bias = norm(sums + 100)
    torch.testing.assert_close(unit, norm.scale)
    torch.testing.assert_close(bias, -norm.mean)


def test_a_neuron_that_never_changes_has_a_scale():
    assert Normalisation(2).statistics(torch.ones(5, 2))[1].min() > 0


@pytest.mark.parametrize("integer", [False, True])
def test_without_bias(integer):
    layer = QuantizedLayer(Dense(50, 20), 3, integer=integer, bias=False, generator=generator())
    inputs = counts(64, 50)
    layer(inputs)
    sums = layer.sums(inputs)
    torch.testing.assert_close(layer.norm.statistics(sums)[1], sums.square().mean(0).sqrt())
    assert not layer.eval().folded(torch.zeros(1)).bias.any()
    assert "norm.offset" not in dict(layer.named_parameters())


def test_one_scale_for_all_classes():
    layer = OutputLayer(Dense(30, 5), integer=False, generator=generator())
    layer.train()
    inputs = counts(40, 30)
    margins, unit = layer.margins(inputs)
    assert unit.shape == (1,)
    torch.testing.assert_close(layer.eval()(inputs), layer.margins(inputs)[0] / layer.margins(inputs)[1])
    assert margins.shape == (40, 5)


def test_whole_margins():
    layer = used(OutputLayer(Dense(30, 5), generator=generator()))
    margins = layer.margins(counts(40, 30))[0]
    assert torch.equal(margins, margins.round())


@pytest.mark.parametrize(
    "options", [{}, {"integer": False}, {"integer": False, "quantised": False}, {"clip": "rate-norm"}, {"norm": "linf"}]
)
def test_gradients_reach_every_parameter(options):
    network = QuantizedNetwork(dense(36, 12, 8, 4), 3, generator=generator(), **options)
    images = torch.randint(0, 256, (50, 36), dtype=torch.uint8, generator=generator())
    torch.nn.functional.cross_entropy(network(images), torch.arange(50) % 4).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_no_gradient_where_a_latent_weight_has_left_its_range():
    layer = QuantizedLayer(Dense(6, 3), 3, generator=generator())
    with torch.no_grad():
        layer.weights[0, 0] = 1.5
    layer(counts(20, 6)).sum().backward()
    assert layer.weights.grad[0, 0] == 0
    assert layer.weights.grad[0, 1] != 0
    layer.clamp_()
    assert layer.weights.max() == 1


def test_the_network_sees_the_upper_bits():
    network = QuantizedNetwork(dense(3, 2), 3, bits=2)
    assert network.intensities(torch.tensor([[0, 63, 255]], dtype=torch.uint8)).tolist() == [[0, 0, 3]]
    with pytest.raises(UserError, match=r"^images must be uint8 of shape \(frames, 3\), not torch.uint8 \(1, 2\)$"):
        network.intensities(torch.zeros(1, 2, dtype=torch.uint8))


def test_run_gives_what_forward_sees():
    network = QuantizedNetwork(dense(36, 12, 8, 4), 3, generator=generator()).eval()
    images = torch.randint(0, 256, (5, 36), dtype=torch.uint8, generator=generator())
    hidden, margins = network.run(images)
    assert [part.shape for part in hidden] == [(5, 12), (5, 8)]
    torch.testing.assert_close(network(images), margins / network.output.margins(hidden[-1])[1])
    assert math.isfinite(margins.sum())


@pytest.mark.parametrize("norm", ["batch", "l1", "linf"])
def test_a_channel_is_normalised_over_frames_and_positions(norm):
    """As a dense layer whose frames are the positions."""
    layer = QuantizedLayer(chain(parse("5C3-2"), (6, 7, 2))[0], 3, norm=norm, generator=torch.Generator().manual_seed(1))
    sums = layer.sums(torch.randint(0, 16, (9, 6, 7, 2), generator=torch.Generator().manual_seed(2)).float())
    assert sums.shape == (9, 4, 5, 5)
    for one, other in zip(layer.norm.statistics(sums), layer.norm.statistics(sums.reshape(-1, 5)), strict=True):
        torch.testing.assert_close(one, other)
    with torch.no_grad():
        for _ in range(9):
            layer.folded(sums)
    thresholds, bias = (part.detach().numpy().astype(int) for part in layer.eval().folded(sums))
    counts = np.clip((sums.detach().numpy().astype(int) + bias + thresholds // 2) // thresholds, 0, 3)
    assert len(set(thresholds)) > 1
    assert np.array_equal(layer.activate(sums, layer.folded(sums)).detach().numpy(), counts)


def test_gradients_reach_every_parameter_of_convolutions():
    network = QuantizedNetwork(chain(parse("4C3-P2-3C2p1-8-4"), (6, 6, 1)), 3, generator=torch.Generator().manual_seed(3))
    images = torch.randint(0, 256, (50, 36), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    torch.nn.functional.cross_entropy(network(images), torch.arange(50) % 4).backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_sums_that_float32_does_not_have():
    with pytest.raises(UserError, match=r"^sums of layer 0 must stay below 16777216, where float32 is exact, but can reach 391680000$"):
        QuantizedNetwork(chain(parse("P8-4"), (40, 64, 600)), 3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QuantizedLayer(Dense(0, 3), 1), "a layer's inputs must be a positive integer, not 0"),
        (lambda: QuantizedLayer(Dense(3, 3), 0), "levels must be a positive integer, not 0"),
        (lambda: QuantizedLayer(Dense(3, 3), 1, norm="l2"), "norm must be one of batch, l1, linf, not 'l2'"),
        (lambda: QuantizedLayer(Dense(3, 3), 1, quantised=False), "integer must be false where quantised is false"),
        (lambda: QuantizedLayer(Dense(3, 3), 1, clip="no"), "clip must be one of trained, rate-norm, none, not 'no'"),
        (lambda: QuantizedLayer(Dense(3, 3), 1, precision="half"), "precision must be one of float32, bfloat16, not 'half'"),
        (
            lambda: QuantizedLayer(Dense(3, 3), 1, quantised=False, integer=False, precision="bfloat16"),
            "quantised must be true where precision is 'bfloat16'",
        ),
        (lambda: QuantizedLayer(Dense(3, 3), 1, clip="none"), "quantised must be false where clip is 'none'"),
        (lambda: QuantizedNetwork(dense(3, 2), 1, bits=9), "bits must be an integer from 1 to 8, not 9"),
    ],
)
def test_mistakes(make, message):
    with pytest.raises(UserError) as caught:
        make()
    assert str(caught.value) == message
