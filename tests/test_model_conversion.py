from dataclasses import replace

import numpy as np
import pytest
import torch

from export import UserError
from model import conversion, conversion_checkpoint, multispike, training
from model.conversion import Conversion
from model.conversion_recipe import ConversionRecipe
from model.conversion_trainer import split
from model.synapses import Dense, Weighted
from tests.small_data import stripes

RECIPE = ConversionRecipe(hidden=(24, 16), epochs=6, batch_size=16, learning_rate=0.01, validation=0.25)
KINDS = {
    "integer": {},
    "real": {"integer": False, "quantised": False},
    "relu": {"integer": False, "quantised": False, "clip": "none"},
    "rate-norm": {"clip": "rate-norm"},
}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    found = {}
    for name, changes in KINDS.items():
        out = tmp_path_factory.mktemp(name)
        training.train(stripes(), replace(RECIPE, **changes), out, say=lambda line: None)
        found[name] = conversion_checkpoint.read(out / "checkpoint.safetensors")
    return found


def images():
    return torch.from_numpy(stripes().test_images)


@pytest.mark.parametrize("steps", [1, 2, 5])
@pytest.mark.parametrize("name", ["integer", "rate-norm"])
def test_graded_is_the_trained_network(sources, name, steps):
    source, how = sources[name], Conversion("graded", steps)
    assert conversion.is_exact(how, source)
    conversion.check_exact(source, conversion.fold(how, source.network).run(torch.from_numpy(source.images)))


def test_nothing_is_folded_where_the_network_was_trained_with_whole_numbers(sources):
    network = sources["integer"].network
    spiking, real = (conversion.fold(Conversion(), network, whole=whole) for whole in (True, False))
    for layer, same, trained in zip(spiking.hidden, real.hidden, network.hidden, strict=True):
        thresholds, bias = trained.folded(torch.zeros(1))
        assert torch.equal(layer.thresholds, thresholds)
        assert torch.equal(same.thresholds, thresholds)
        assert torch.equal(layer.start, bias + torch.floor(thresholds / 2))
        assert torch.equal(same.start, bias + thresholds / 2)
    assert torch.equal(spiking.thresholds, real.thresholds)


def test_a_count_that_differs_is_named(sources):
    source = sources["integer"]
    run = conversion.fold(Conversion(), source.network).run(torch.from_numpy(source.images))
    wrong = [layer.copy() for layer in source.activations]
    wrong[1][7, 3] += 1
    with pytest.raises(UserError, match=r"^the count of a neuron of layer 1 must .* in 1 places, first at frame 7, neuron 3: trained "):
        conversion.check_exact(source._replace(activations=wrong), run)
    with pytest.raises(UserError, match=r"^the margin of an output must .* first at frame 0, neuron 0: trained "):
        conversion.check_exact(source._replace(margins=source.margins + 1), run)


@pytest.mark.parametrize(
    "how",
    [
        Conversion("ternary", 4), Conversion("rate", 4), Conversion(levels=2), Conversion(half=False), Conversion(balance="max"),
    ],
)  # fmt: skip
def test_others_need_not_be_exact(sources, how):
    assert not conversion.is_exact(how, sources["integer"])
    assert not conversion.is_exact(Conversion(balance="max"), sources["real"])


def test_real_thresholds_keep_the_function(sources):
    """Many levels, nothing rounded: a graded network gives what the trained one does, up to the size of a level."""
    source = sources["real"]
    spiking = conversion.fold(Conversion(levels=127, balance="trained"), source.network, whole=False)
    run, (wanted, _) = spiking.run(images()), source.network.run(images())
    for found, activations in zip(run.coefficients, wanted, strict=True):
        assert (found.sum(0) / 127 - activations).abs().max() < 0.1
        assert (found.sum(0) / 127 - activations).abs().mean() < 0.01


def test_balance_by_maximum_and_percentile(sources):
    network = sources["relu"].network
    found = conversion.activations(network, images())
    largest = conversion.balanced(Conversion(balance="max"), network, found)
    assert [part.item() for part in largest] == [layer.max().item() for layer in found]
    middle = conversion.balanced(Conversion(balance="percentile", percentile=50.0), network, [torch.arange(5.0)[:, None], found[1]])
    assert middle[0].item() == 2
    by_neuron = conversion.balanced(Conversion(balance="max", per="neuron"), network, found)
    alive = found[0].amax(0) > 0
    assert torch.equal(by_neuron[0][alive], found[0].amax(0)[alive])
    assert (by_neuron[0][~alive] == 1).all()


def test_what_the_greatest_count_stands_for_scales_thresholds(sources):
    network = sources["relu"].network
    found = [torch.full((1, 24), 4.0), torch.full((1, 16), 6.0)]
    how = Conversion("graded", balance="max", levels=8)
    first, second = conversion.fold(how, network, found, whole=False).hidden
    thresholds, bias = zip(*(layer.folded(torch.zeros(1)) for layer in network.hidden), strict=True)
    torch.testing.assert_close(first.thresholds, thresholds[0] * 4 / 8)
    torch.testing.assert_close(second.thresholds, thresholds[1] * 6 / 8 / (4 / 8))  # a spike of the first layer is worth 4/8
    torch.testing.assert_close(second.start, bias[1] / (4 / 8) + second.thresholds / 2)
    whole = conversion.fold(how, network, found).hidden
    assert torch.equal(whole[1].thresholds, second.thresholds.round().clamp(min=1))


def test_a_start_of_nothing(sources):
    network = sources["integer"].network
    layer = conversion.fold(Conversion(half=False), network).hidden[0]
    assert torch.equal(layer.start, network.hidden[0].folded(torch.zeros(1)).bias)


def test_calibration_brings_mean_counts_to_the_source(sources):
    source, (train, _) = sources["integer"], split(stripes(), RECIPE)
    how = Conversion("rate", 6, calibration=5)
    plain = conversion.fold(how, source.network)
    spiking = conversion.calibrated(how, plain, source.network, train.images)
    wanted = [part.mean(0) * 6 / 3 for part in source.network.run(train.images)[0]]
    errors = [
        [float((found.sum(0).mean(0) - part).abs().mean()) for found, part in zip(some.run(train.images).coefficients, wanted, strict=True)]
        for some in (plain, spiking)
    ]
    assert all(after < before / 2 for before, after in zip(*errors, strict=True))
    assert all(torch.equal(layer.start, layer.start.round()) for layer in spiking.hidden)
    assert not conversion.is_exact(Conversion(calibration=1), source)
    assert conversion.calibrated(Conversion("rate", 6), plain, source.network, train.images) is plain


@pytest.mark.parametrize(("steps", "bits"), [(1, 0), (2, 1), (6, 3), (8, 3), (256, 8), (300, 8)])
def test_a_bias_that_is_spread(sources, steps, bits):
    network = sources["integer"].network
    layer = conversion.fold(how := Conversion("graded", steps, spread=True), network).hidden[0]
    thresholds, bias = network.hidden[0].folded(torch.zeros(1))
    assert layer.fraction == bits
    assert torch.equal(layer.thresholds, 2**bits * thresholds)
    assert torch.equal(layer.start, 2**bits * torch.floor(thresholds / 2))
    assert torch.equal(layer.bias, (2**bits * bias / steps).round())
    assert conversion.is_exact(how, sources["integer"]) == (steps in (1, 2, 8, 256))


@pytest.mark.parametrize("code", ["ternary", "graded"])
def test_a_bias_that_is_spread_as_it_is_defined(sources, code):
    """[S9]: ``⌊b(t+1)/T⌋ - ⌊bt/T⌋`` in step ``t``, in whole numbers."""
    network = sources["integer"].network
    spiking = conversion.fold(Conversion(code, 4, spread=True), network)
    plain = conversion.fold(Conversion(code, 4), network).hidden
    found = spiking.run(images()).coefficients
    inputs = multispike.spread(images() >> 4, 4)
    for layer, trained, coefficients in zip(plain, network.hidden, found, strict=True):
        dealt = multispike.spread(trained.folded(torch.zeros(1)).bias, 4)[:, None].expand(-1, inputs.shape[1], -1)
        weights = torch.cat([layer.weighted.weights, torch.eye(trained.synapses.channels)], dim=1)
        wide = layer._replace(weighted=Weighted(Dense(weights.shape[1], len(weights)), weights), start=torch.floor(layer.thresholds / 2))
        inputs = multispike.run_layer(wide, torch.cat([inputs, dealt], dim=2))
        assert torch.equal(coefficients, inputs)


def test_fractional_bits(sources):
    network = sources["real"].network
    real = conversion.fold(how := Conversion(levels=9), network, whole=False).hidden
    for fraction in (0, 3, 8):
        for layer, exact in zip(conversion.fold(replace(how, fraction=fraction), network).hidden, real, strict=True):
            assert layer.fraction == fraction
            assert torch.equal(layer.thresholds, (exact.thresholds * 2**fraction).round())
            bias = ((exact.start - exact.thresholds / 2) * 2**fraction).round()
            assert (layer.start - bias - torch.floor(layer.thresholds / 2)).abs().max() <= 1  # how the bias is computed here
    assert {layer.fraction for layer in conversion.fold(replace(how, fraction=2, spread=True, steps=16), network).hidden} == {4}
    assert {layer.fraction for layer in conversion.fold(replace(how, fraction=6, spread=True, steps=16), network).hidden} == {6}


def test_a_bias_of_nothing_needs_no_fractional_bits(sources):
    layer = sources["integer"].network.hidden[0]
    how = Conversion("ternary", 8, spread=True)
    for bias, bits in ((torch.zeros(24), 0), (torch.ones(24), 3)):
        assert conversion._fraction(how, [(layer.folded(torch.zeros(1)).thresholds, bias)]) == bits


def test_whole_numbers_need_no_fractional_bits(sources):
    network = sources["integer"].network
    for how in (Conversion(fraction=5), Conversion("rate", 3, fraction=8)):
        spiking, plain = (conversion.fold(some, network) for some in (how, replace(how, fraction=0)))
        assert spiking.fraction == 0
        assert all(torch.equal(one.thresholds, other.thresholds) for one, other in zip(spiking.hidden, plain.hidden, strict=True))


@pytest.mark.parametrize(
    ("name", "how", "levels"),
    [
        ("integer", Conversion("rate", 5), 5),
        ("integer", Conversion("ternary", 5), 3),
        ("integer", Conversion("graded", 5, levels=7), 7),
        ("real", Conversion("ternary", 5), 5),
        ("real", Conversion("graded", 5), conversion.UNQUANTISED_LEVELS),
    ],
)
def test_levels(sources, name, how, levels):
    assert how.levels_of(sources[name].network) == levels


def test_ternary_settles(sources):
    network, frames = sources["integer"].network, images()
    unsettled = conversion.fold(Conversion("ternary", 2), network).unsettled(frames)
    assert len(unsettled) == 1 + 2 * 3  # layers, levels
    assert unsettled[-1] == 0
    assert unsettled[0] > 0
    counts = [conversion.fold(Conversion(code, 2), network).run(frames).coefficients for code in ("ternary", "graded")]
    assert unsettled[0] == sum(int((a.sum(0) != b.sum(0)).sum()) for a, b in zip(*counts, strict=True))
    assert set(conversion.fold(Conversion("graded", 2), network).unsettled(frames)) == {0}


def test_many_steps_at_once(sources):
    """Chunks of frames are run one after the other."""
    source = sources["integer"]
    train, _ = split(stripes(), RECIPE)
    many = train.images.repeat(9, 1)
    spiking = conversion.fold(Conversion("ternary", 3), source.network)
    whole, part = spiking.run(many), spiking.run(many[-5:])
    assert whole.sums.shape == (3, len(many), 4)
    assert torch.equal(whole.sums[:, -5:], part.sums)
    assert np.array_equal(whole.events()[-5:], part.events())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"code": "morse"}, "code must be one of rate, ternary, graded, not 'morse'"),
        ({"balance": "min"}, "balance must be one of trained, max, percentile, rate-norm, not 'min'"),
        ({"per": "frame"}, "per must be one of layer, neuron, not 'frame'"),
        ({"steps": 0}, "steps (T) must be an integer from 1 to 32768, not 0"),
        ({"levels": 0}, "levels (L) must be an integer from 1 to 127, not 0"),
        ({"levels": 128}, "levels (L) must be an integer from 1 to 127, not 128"),
        ({"calibration": -1}, "calibration must be a number of rounds, at least 0, not -1"),
        ({"inference_loss": -1}, "inference_loss must be a number of rounds, at least 0, not -1"),
        ({"inference_loss": 5}, "inference_loss must be 0 for the balance 'trained', not 5: it is for 'rate-norm'"),
        ({"fraction": 9}, "fraction must be auto or an integer from 0 to 8, not 9"),
        ({"fraction": True}, "fraction must be auto or an integer from 0 to 8, not True"),
        ({"percentile": 0.0}, "percentile must be above 0 and at most 100, not 0.0"),
        (
            {"code": "rate", "steps": 4, "levels": 3},
            "levels must be T = 4 for the code rate, whose counts have no other bound, not 3",
        ),
    ],
)
def test_mistakes(options, message):
    with pytest.raises(UserError) as caught:
        Conversion(**options)
    assert str(caught.value) == message


def test_balances_that_a_network_cannot_have(sources):
    with pytest.raises(UserError, match=r"^balance must be max or percentile for a network without a trained clip, not 'trained'$"):
        conversion.fold(Conversion(), sources["relu"].network)
    with pytest.raises(UserError, match=r"^balance must be another than 'rate-norm' for a network that was trained without clip = "):
        conversion.fold(Conversion(balance="rate-norm"), sources["integer"].network)
