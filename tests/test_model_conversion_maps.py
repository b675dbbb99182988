"""Networks with convolutions and pools, from training to the artifact."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import export
from export import Conv2d, Layer, Network, UserError, load, reference, scores
from model import codes, conversion, conversion_checkpoint, conversion_trainer, convert, metrics, training
from model.__main__ import main
from model.conversion import Conversion
from model.conversion_recipe import ConversionRecipe
from model.conversion_trainer import ConversionTrainer, run
from model.structure import parse
from tests.command_line import in_process
from tests.maps import assert_equal_to_oracle
from tests.multi_spike import dense
from tests.small_data import save_npz, striped_planes, stripes

RECIPE = ConversionRecipe(structure="6C3-P2-5C2p1-12-4", epochs=6, batch_size=16, learning_rate=0.01, validation=0.25)
HOWS = [
    Conversion("graded", 1), Conversion("graded", 3), Conversion("ternary", 4), Conversion("rate", 5), Conversion("rate", 3, calibration=2),
    Conversion("graded", 2, balance="percentile", levels=5), Conversion("ternary", 3, balance="max", per="neuron"),
    Conversion("rate", 4, spread=True), Conversion("graded", 2, balance="max", fraction=None),
]  # fmt: skip
CASES = {
    "small": (stripes, RECIPE),
    "strides": (stripes, replace(RECIPE, structure="6C3s2p1-4C2-4", bits=3)),
    "planes": (striped_planes, replace(RECIPE, structure="8C3p1-P2-6C2-4", augment=0.3, epochs=10)),
    "pooled inputs": (striped_planes, replace(RECIPE, structure="P2-6C2-4", levels=7)),
    "bfloat16": (stripes, replace(RECIPE, precision="bfloat16", augment=1.0, shifts=True, epochs=10)),
    "deviations": (stripes, replace(RECIPE, norm="l1", clip="rate-norm", balance="rate-norm", bias=False)),
    "no convolution": (stripes, replace(RECIPE, structure="16-4")),
}


def train(out, recipe=RECIPE, data=None, **options):
    lines = []
    return training.train(data or stripes(), recipe, out, say=lines.append, **options), lines


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    found = {}
    for name, (data, recipe) in CASES.items():
        out = tmp_path_factory.mktemp("trained")
        train(out, recipe, data())
        found[name] = conversion_checkpoint.read(out / "checkpoint.safetensors")
    return found


@pytest.fixture(scope="module")
def source(sources):
    return sources["small"]


def images_of(data):
    """Test images as a user has them: plane by plane."""
    return data.test_images.reshape(-1, *data.image_shape)


@pytest.mark.parametrize("name", CASES)
def test_graded_is_the_trained_network(sources, name, tmp_path):
    """From PyTorch over the artifact to the golden model."""
    source, data = sources[name], CASES[name][0]()
    assert source.provenance["scores"]["test"]["strict"] > 60  # chance: 25
    for steps in (1, 3):
        done = convert.convert(source, data, Conversion("graded", steps, balance=source.recipe.balance))
        assert (done.exact, done.frames, done.counted) == (True, 100, 100)
        export.save(done.network, tmp_path / "network.safetensors")
        network = load(tmp_path / "network.safetensors")
        result = reference.run(network, network.encode(images_of(data)))
        assert scores.score(result, data.test_labels).as_dict() == done.network.provenance["scores"]["test"]
        for events, counts in zip(result.events, source.activations, strict=False):
            assert np.array_equal(dense(events).sum(axis=1), counts)


@pytest.mark.parametrize("how", HOWS)
@pytest.mark.parametrize("name", ["small", "planes"])
def test_the_golden_model_scores_what_was_promised(sources, name, how):
    data = CASES[name][0]()
    done = convert.convert(sources[name], data, how)
    result = reference.run(done.network, done.network.encode(images_of(data)))
    assert scores.score(result, data.test_labels).as_dict() == done.network.provenance["scores"]["test"]


@pytest.mark.parametrize("code", ["rate", "ternary", "graded"])
@pytest.mark.parametrize("name", ["strides", "planes"])
def test_plain_loops_agree(sources, name, code):
    """The oracle that is written from the semantics alone."""
    data = CASES[name][0]()
    network = convert.convert(sources[name], data, Conversion(code, 2)).network
    assert_equal_to_oracle(network, dense(network.encode(images_of(data)[:3])))


@pytest.mark.parametrize("layer", [0, 1])
def test_a_kernel_that_is_transposed_is_refused(source, monkeypatch, layer):
    to_network = convert.to_network

    def other(*arguments):
        network = to_network(*arguments)
        layers = list(network.layers)
        was = layers[layer].connection
        kernels = was.kernels.copy()
        channel = next(index for index, kernel in enumerate(kernels) if not np.array_equal(kernel, kernel.transpose(0, 2, 1)))
        kernels[channel] = kernels[channel].transpose(0, 2, 1)
        layers[layer] = Layer(Conv2d(kernels, was.map_shape, was.stride, was.padding), layers[layer].neuron, layers[layer].pool)
        return Network(tuple(layers), network.steps, network.encoder, network.class_names, network.provenance)

    monkeypatch.setattr(convert, "to_network", other)
    place = rf"layer {layer} differs in .* first in frame .* neuron \d+ \(row \d, column \d, channel \d\): PyTorch "
    with pytest.raises(UserError, match=f"^the golden model must equal PyTorch, but {place}"):
        convert.convert(source, stripes(), Conversion("ternary", 2))


def test_a_trained_network_that_differs_is_refused(source):
    wrong = [part.copy() for part in source.activations]
    wrong[1][7, 23] += 1
    with pytest.raises(UserError, match=r"^the count of a neuron of layer 1 .* in 1 places, first at frame 7, neuron 23: trained "):
        convert.convert(source._replace(activations=wrong), stripes(), Conversion())


@pytest.mark.parametrize("numbers", [1, 500, 1 << 23])
def test_frames_at_a_time_change_nothing(source, monkeypatch, numbers):
    monkeypatch.setattr("model.evaluation.NUMBERS", numbers)
    assert source.network.batch == {1: 1, 500: 5, 1 << 23: 500}[numbers]
    again = run(source.network, torch.from_numpy(source.images), keep=37)
    for found, kept in zip(again.activations, source.activations, strict=True):
        assert np.array_equal(found.reshape(len(found), -1), kept[:37])
    assert np.array_equal(again.margins, source.margins)
    assert np.array_equal(again.hidden_events, np.sum([np.count_nonzero(part, axis=1) for part in source.activations], axis=0))
    how = Conversion("rate", 3, calibration=1)
    done = convert.convert(source, stripes(), how)
    monkeypatch.undo()
    assert done.network.provenance["scores"] == convert.convert(source, stripes(), how).network.provenance["scores"]
    spiking = conversion.fold(Conversion("ternary", 2), source.network)
    assert spiking.unsettled(torch.from_numpy(source.images))[-1] == 0


def test_large_networks_are_balanced_on_fewer_frames(source, monkeypatch):
    assert conversion.balancing_frames(source.network) == conversion.BALANCING_FRAMES
    monkeypatch.setattr(conversion, "BALANCING_NUMBERS", 10 * sum(source.network.sizes))
    assert conversion.balancing_frames(source.network) == 10
    train, _ = convert.parts_of(source, stripes())
    found = convert.balancing_activations(source, train, ("trained", "max"))
    assert [part.shape for part in found] == [(10, 4, 4, 6), (10, 3, 3, 5), (10, 12)]


def test_balance_by_channel(source):
    found = conversion.activations(source.network, torch.from_numpy(source.images))
    by_channel = conversion.balanced(Conversion(balance="max", per="neuron"), source.network, found)
    assert [part.shape for part in by_channel] == [(6,), (5,), (12,)]
    assert torch.equal(by_channel[0], found[0].amax((0, 1, 2)).clamp(min=1))


def test_calibration_brings_mean_counts_of_channels_to_the_source(source):
    train, _ = convert.parts_of(source, stripes())
    how = Conversion("rate", 6, calibration=5)
    plain = conversion.fold(how, source.network)
    spiking = conversion.calibrated(how, plain, source.network, train.images)
    wanted = source.network.run(train.images)[0][0].mean((0, 1, 2)) * 6 / 3
    before, after = (
        float((some.run(train.images).coefficients[0].sum(0).mean((0, 1, 2)) - wanted).abs().mean()) for some in (plain, spiking)
    )
    assert after < before / 2


def test_interrupted_and_resumed_equals_never_interrupted(tmp_path, monkeypatch):
    recipe, data = CASES["planes"][1], striped_planes()
    recipe = replace(recipe, epochs=3, drop_inputs=0.1)
    train(tmp_path / "whole", recipe, data)
    original = ConversionTrainer.run_epoch

    def stop(self, bar):
        if self.epoch == 1:
            raise KeyboardInterrupt
        return original(self, bar)

    with monkeypatch.context() as patch:
        patch.setattr(ConversionTrainer, "run_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            train(tmp_path / "parts", recipe, data)
    assert train(tmp_path / "parts", recipe, data, resume=True)[1][0] == "resumed after epoch 1 of 3"
    assert (tmp_path / "parts" / "checkpoint.safetensors").read_bytes() == (tmp_path / "whole" / "checkpoint.safetensors").read_bytes()
    with pytest.raises(UserError, match=r"to resume, structure must be '8C3p1-P2-6C2-4' as before, not '8C3p1-4'$"):
        train(tmp_path / "parts", replace(recipe, structure="8C3p1-4"), data, resume=True)


def test_training_images_come_position_by_position():
    """With an augmentation that changes nothing, and without one."""
    data = striped_planes()
    trainer = ConversionTrainer(data, replace(RECIPE, structure="8C3p1-4"))
    batch = torch.arange(20)
    wanted = trainer.train.images[batch].view(20, 2, 6, 5).permute(0, 2, 3, 1).flatten(1)
    assert torch.equal(trainer._inputs(batch, slice(None)), wanted)
    trainer.distort = lambda images: images.flip(0)
    assert torch.equal(trainer._inputs(batch, slice(None)), wanted.flip(0))
    _, validation = conversion_trainer.split(data, trainer.recipe)
    assert torch.equal(trainer.validation.images, validation.images.view(-1, 2, 6, 5).permute(0, 2, 3, 1).flatten(1))
    _, plain = conversion_trainer.split(data, replace(RECIPE, structure="8-4"))
    assert torch.equal(ConversionTrainer(data, replace(RECIPE, structure="8-4")).validation.images, plain.images)


def test_codes(source):
    content = codes.measure([source], stripes(), "test", (1, 2), ("trained",), {"levels": None}, "the command")
    assert content["network"] == "6x6-6C3-P2-5C2p1-12-4"
    found = {row["code"]: row["strict"] for row in content["rows"] if row["steps"] == 2}
    assert found["graded"] == content["source"] == source.provenance["scores"]["test"]["strict"]


def test_ratios_after_the_rate_inference_loss(tmp_path):
    recipe = replace(RECIPE, clip="rate-norm", balance="rate-norm", quantised=False, integer=False, code="rate", steps=3, inference_loss=4)
    train(tmp_path, recipe)
    done = convert.by_recipe(tmp_path / "checkpoint.safetensors", stripes())
    assert done.network.provenance["conversion"]["inference_loss"] == 4
    assert conversion_checkpoint.read(tmp_path / "checkpoint.safetensors").activations[0].dtype == np.float32


def test_on_the_command_line(tmp_path, capfd, monkeypatch):
    """Training, pictures, conversion, reproduction, evaluation."""
    model = in_process(main, capfd, monkeypatch)
    npz = save_npz(tmp_path / "own.npz")
    recipe = tmp_path / "own.toml"
    lines = ['method = "conversion"', f'dataset = "{npz}"', "seeds = [3, 5]", 'structure = "5C3s2p1-P3-4"', 'code = "ternary"']
    recipe.write_text("\n".join([*lines, "steps = 3", "epochs = 2", "batch_size = 16", "validation = 0.25", ""]))
    done = model("reproduce", recipe, "--out", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    seed = tmp_path / "out" / "seed-3"
    assert metrics.read(seed / "metrics.json")["network"] == "6x6-5C3s2p1-P3-4"
    assert {path.stem for path in seed.glob("*.svg")} == {"learning", "thresholds", "operating-points"}
    text = (seed / "thresholds.svg").read_text()
    assert "layer 0: 6 x 6 x 1 → 3 x 3 x 5" in text
    assert ">channels<" in text
    out = tmp_path / "network.safetensors"
    done = model("convert", seed / "checkpoint.safetensors", "--dataset", npz, "--code", "graded", "--steps", 1, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-1].startswith(f"{out}: 6x6-5C3s2p1-P3-4, T = 1, ")
    done = model("evaluate", out, "--dataset", npz)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"{load(out).provenance['scores']['test']['strict']:5.2f}%" in done.stdout
    done = model("train", recipe, "--hidden", "16", "--out", tmp_path / "other")
    assert (done.returncode, done.stderr) == (2, "error: hidden must be left out where there is a structure, not [16]\n")
    assert not (tmp_path / "other").exists()


def test_recipe():
    assert (RECIPE.hidden, ConversionRecipe().hidden) == ((), (256,))
    assert ConversionRecipe(hidden=()).stages(3) == parse("3")
    assert ConversionRecipe(hidden=(8, 4)).stages(3) == parse("8-4-3")
    assert RECIPE.stages(4) == parse("6C3-P2-5C2p1-12-4")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"structure": "6C3-P2"}, "structure must end with the number of classes, not with P2"),
        ({"hidden": (256,)}, "hidden must be left out where there is a structure, not [256]"),
    ],
)
def test_mistakes_of_a_recipe(changes, message):
    with pytest.raises(UserError) as caught:
        replace(RECIPE, **changes)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("structure", "image_shape", "message"),
    [
        ("6C3-10", (6, 6), "structure must end with the data set's 4 classes, not with 10"),
        ("6C7-4", (6, 6), "6C7 of the structure: kernels must be at most as large as the map with its padding, 6 x 6, not 7 x 7"),
        ("6C3-4", None, "6C3 of the structure: a convolution must be behind a map, not behind 36 inputs"),
    ],
)
def test_structures_that_do_not_fit_the_data(tmp_path, structure, image_shape, message):
    with pytest.raises(UserError) as caught:
        train(tmp_path, replace(RECIPE, structure=structure), replace(stripes(), image_shape=image_shape))
    assert str(caught.value) == message


def test_counts_behind_a_pool_must_be_exact():
    """In bfloat16, which has whole numbers up to 256."""
    recipe = replace(RECIPE, structure="6C3-P2-5C2p1-4", precision="bfloat16")
    ConversionTrainer(stripes(), replace(recipe, levels=64))
    with pytest.raises(UserError, match=r"^inputs of layer 1 must be at most 256 where precision is 'bfloat16', not up to 260$"):
        ConversionTrainer(stripes(), replace(recipe, levels=65))
