from dataclasses import replace

import numpy as np
import pytest
import torch

from export import Dense, Layer, Network, UserError, load, reference, scores
from export.__main__ import main as export_main
from model import conversion, conversion_checkpoint, conversion_export, convert, metrics, training
from model.__main__ import main
from model.conversion import Conversion
from model.conversion_recipe import ConversionRecipe
from model.convert import Outcome
from model.evaluation import OperatingPoint
from tests.command_line import in_process
from tests.small_data import save_npz, stripes

RECIPE = ConversionRecipe(hidden=(24, 16), epochs=6, batch_size=16, learning_rate=0.01, validation=0.25)
HOWS = [
    Conversion("graded", 1), Conversion("graded", 3), Conversion("ternary", 4), Conversion("rate", 6), Conversion("rate", 2, half=False),
    Conversion("rate", 5, calibration=3), Conversion("graded", 2, balance="percentile", levels=5),
    Conversion("ternary", 3, balance="max", per="neuron"), Conversion("rate", 4, spread=True), Conversion("ternary", 3, spread=True),
    Conversion("graded", 4, spread=True, fraction=5), Conversion("graded", 2, balance="max", fraction=None),
]  # fmt: skip


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    out = tmp_path_factory.mktemp("trained")
    training.train(stripes(), RECIPE, out, say=lambda line: None)
    return out / "checkpoint.safetensors"


@pytest.fixture(scope="module")
def source(trained):
    return conversion_checkpoint.read(trained)


@pytest.fixture(scope="module")
def real(tmp_path_factory):
    out = tmp_path_factory.mktemp("real")
    training.train(stripes(), replace(RECIPE, quantised=False, integer=False), out, say=lambda line: None)
    return conversion_checkpoint.read(out / "checkpoint.safetensors")


@pytest.mark.parametrize("how", HOWS)
def test_the_golden_model_scores_what_was_promised(source, how):
    data, done = stripes(), convert.convert(source, stripes(), how)
    result = reference.run(done.network, done.network.encode(data.test_images))
    assert scores.score(result, data.test_labels).as_dict() == done.network.provenance["scores"]["test"]
    assert (done.network.steps, done.network.layers[0].neuron.kind, done.frames) == (how.steps, how.code, 100)


@pytest.mark.parametrize("how", HOWS)
def test_real_activations_too(real, how):
    done = convert.convert(real, stripes(), how)
    assert not done.exact
    assert done.network.provenance["conversion"]["levels"] == how.levels_of(real.network)


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_graded_loses_nothing(source, steps):
    done = convert.convert(source, stripes(), Conversion("graded", steps))
    assert done.exact
    for part in ("validation", "test"):
        assert (done.losses[part]["conversion"], done.losses[part]["rounding"]) == (0, 0)
        assert done.losses[part]["source"] == source.provenance["scores"][part]["strict"]
    if steps == 1:
        assert done.losses["test"]["exit"] == 0


@pytest.mark.parametrize("how", HOWS)
def test_losses_add_up(source, how):
    done = convert.convert(source, stripes(), how)
    for part, losses in done.losses.items():
        left = losses["source"] - losses["conversion"] - losses["rounding"] - losses["exit"]
        assert left == pytest.approx(done.network.provenance["scores"][part]["strict"])


def test_what_ternary_neurons_have_not_settled(source):
    network = convert.convert(source, stripes(), Conversion("ternary", 2)).network
    unsettled = conversion.fold(Conversion("ternary", 2), source.network).unsettled(torch.from_numpy(source.images))
    how = network.provenance["conversion"]
    assert how["unsettled_share"] == 100 * unsettled[0] / (100 * (24 + 16)) > 0
    assert how["settling_steps"] == unsettled.index(0) > 0
    assert "settling_steps" not in convert.convert(source, stripes(), Conversion("graded", 2)).network.provenance["conversion"]


def test_the_shift_loses_nothing_on_validation_frames(source):
    done = convert.convert(source, stripes(), Conversion("ternary", 4))
    assert done.losses["validation"]["exit"] <= 0
    curve = [OperatingPoint(**point) for point in done.network.provenance["shift_curve"]]
    chosen = next(point for point in curve if point.shift == done.network.provenance["shift"])
    assert chosen.strict == done.network.provenance["scores"]["validation"]["strict"]
    last = curve[-1]
    assert (last.silent_share, last.steps_mean) == (100, 4)
    assert chosen.steps_mean == min(point.steps_mean for point in curve if point.strict >= last.strict)
    assert curve[0].steps_mean == 1


def test_choose_shift():
    points = [OperatingPoint(*row, 0.0) for row in ((-3, 90.0, 0.0, 1.0), (0, 98.0, 5.0, 2.0), (1, 97.9, 6.0, 1.5), (9, 98.0, 99.0, 2.0))]
    assert convert.choose_shift(points, 98.0).shift == 0
    assert convert.choose_shift(points, 97.9).shift == 1


def test_outcome_by_hand():
    margins = np.array([[[-2, -1], [3, 4]], [[1, 0], [9, 0]]])  # (T, frames, classes)
    found = Outcome(margins, np.array([[2, 5], [3, 4]]))
    labels = np.array([0, 0])
    assert found.strict(labels) == 100
    score = found.scores(0, labels)
    assert (score.strict, score.steps_mean, score.hidden_spikes_by_decision_mean, score.silent_share) == (50, 1.5, 4, 0)
    assert found.scores(5, labels).steps_mean == 2
    assert found.scores(5, labels).silent_share == 50


@pytest.mark.parametrize("layer", [0, 1, 2])
def test_a_golden_model_that_differs_is_refused(source, monkeypatch, layer):
    to_network = convert.to_network

    def other(*arguments):
        network = to_network(*arguments)
        layers = list(network.layers)
        weights = layers[layer].connection.weights.copy()
        weights[0] *= -1
        layers[layer] = Layer(Dense(weights), layers[layer].neuron)
        return Network(tuple(layers), network.steps, network.encoder, network.class_names, network.provenance)

    monkeypatch.setattr(convert, "to_network", other)
    what = f"layer {layer} differs in .* first in frame .* neuron 0: PyTorch " if layer < 2 else "the decision's .* differs in .* golden "
    with pytest.raises(UserError, match=f"^the golden model must equal PyTorch, but {what}"):
        convert.convert(source, stripes(), Conversion("ternary", 2))


def test_a_trained_network_that_differs_is_refused(source):
    wrong = source._replace(activations=[source.activations[0] + 1, source.activations[1]])
    with pytest.raises(UserError, match=r"^the count of a neuron of layer 0 must be the trained network's"):
        convert.convert(wrong, stripes(), Conversion())


def test_a_baseline_cannot_be_exported(source):
    with pytest.raises(UserError, match=r"^code must be one of rate, ternary, graded, not 'ungated': a baseline cannot be exported$"):
        convert.convert(source, stripes(), Conversion("ungated", 2))


@pytest.mark.parametrize(("code", "steps"), [("graded", 4), ("ternary", 3), ("ternary", 8)])
def test_a_bias_that_is_spread(source, code, steps):
    done = convert.convert(source, stripes(), Conversion(code, steps, spread=True))
    assert done.exact == (code == "graded")
    for layer, trained in zip(done.network.layers, source.network.hidden, strict=False):
        assert layer.neuron.fraction == (steps - 1).bit_length()
        bias = trained.folded(torch.zeros(1)).bias.detach()
        assert layer.neuron.bias.tolist() == (bias * 2**layer.neuron.fraction / steps).round().tolist()
        assert layer.neuron.has_bias
    assert done.network.provenance["conversion"]["spread"] is True
    if code == "graded":
        assert done.losses["test"]["conversion"] == done.losses["test"]["rounding"] == 0


def test_the_fewest_fractional_bits(real, monkeypatch):
    """Accuracies by F, on validation frames only."""
    train, parts = convert.parts_of(real, stripes())
    accuracies, seen = {"real": 90.0, 0: 80.0, 1: 89.0, 2: 90.0, 3: 95.0}, []

    class Found:
        def __init__(self, fraction):
            self.fraction = fraction

        def strict(self, labels):
            return accuracies.get(self.fraction, 0.0)

    def outcome(spiking, images):
        assert images is parts["validation"].images
        seen.append(spiking.fraction if spiking.hidden[0].thresholds.frac().eq(0).all() else "real")
        return Found(seen[-1])

    monkeypatch.setattr(convert, "outcome", outcome)
    how = Conversion("rate", 5, fraction=None)
    assert convert.with_fraction(real, train, how, [], parts["validation"]).fraction == 2
    assert seen == ["real", 0, 1, 2]
    accuracies["real"] = 99.0
    assert convert.with_fraction(real, train, how, [], parts["validation"]).fraction == 3
    assert convert.with_fraction(real, train, replace(how, spread=True, steps=16), [], parts["validation"]).fraction == 4
    assert convert.with_fraction(real, train, replace(how, fraction=7), [], parts["validation"]).fraction == 7


def test_rounding_costs_less_with_fractional_bits(real):
    """On validation frames, where their number is chosen."""
    coarse, fine = (convert.convert(real, stripes(), Conversion("graded", 2, levels=9, fraction=fraction)) for fraction in (0, None))
    fraction = fine.network.provenance["conversion"]["fraction"]
    assert fine.losses["validation"]["rounding"] <= max(0, coarse.losses["validation"]["rounding"])
    assert {layer.neuron.fraction for layer in fine.network.layers[:-1]} == {fraction}


def test_events_of_coefficients():
    coefficients = torch.zeros(2, 3, 4)
    coefficients[1, 0, 2], coefficients[0, 2, 1], coefficients[0, 2, 0] = 3, -1, 1
    events = conversion_export.events_of(coefficients)
    rows = [getattr(events, name).tolist() for name in ("frame", "step", "neuron", "coefficient")]
    assert (events.shape, rows) == ((3, 2, 4), [[0, 2, 2], [1, 0, 0], [2, 0, 1], [3, 1, -1]])


@pytest.fixture
def model(capfd, monkeypatch):
    return in_process(main, capfd, monkeypatch)


@pytest.fixture(scope="module")
def npz(tmp_path_factory):
    return save_npz(tmp_path_factory.mktemp("npz") / "stripes.npz")


@pytest.fixture
def recipe(npz, tmp_path):
    text = f'method = "conversion"\ndataset = "{npz}"\nseeds = [3, 5]\nhidden = [16]\nepochs = 2\nbatch_size = 16\nlearning_rate = 0.01\n'
    path = tmp_path / "quick.toml"
    path.write_text(text + 'validation = 0.25\ncode = "ternary"\nsteps = 3\n')
    return path


def test_commands(model, recipe, npz, tmp_path):
    run = tmp_path / "run"
    done = model("train", recipe, "--out", run)
    assert (done.returncode, done.stderr) == (0, "")
    assert "% of the hidden counts of the check set are not settled after the last step, all of them after" in done.stdout
    assert "golden model equal to PyTorch, event for event on all 100 frames of the check set" in done.stdout
    pictures = {"learning.svg", "operating-points.svg", "thresholds.svg"}
    assert {path.name for path in run.iterdir()} == {
        *pictures, "checkpoint.safetensors", "metrics.json", "network.safetensors", "resume.safetensors",
    }  # fmt: skip
    content = metrics.read(run / "metrics.json")
    provenance = load(run / "network.safetensors").provenance
    assert content["scores"] == provenance["scores"]
    logged = {name: provenance["conversion"][name] for name in ("losses", "settling_steps", "unsettled_share")}
    assert content["conversion"] == logged
    assert metrics.losses_of(content, "test") == logged["losses"]["test"]
    assert model("plots", run).returncode == 0
    out = tmp_path / "network.safetensors"
    done = model("convert", run / "checkpoint.safetensors", "--dataset", npz, "--code", "graded", "--steps", "2", "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == "graded, T = 2, L = 3, balance trained"
    assert [line.split(":")[0] for line in lines[1:3]] == ["validation", "test"]
    assert lines[3] == (
        "golden model equal to PyTorch, event for event, and to the trained network, count for count, on all 100 frames of the check set"
    )
    assert lines[4].startswith(f"{out}: 36-16-4, T = 2, ")
    assert load(out).provenance["conversion"]["code"] == "graded"
    spread = ("--code", "rate", "--steps", "4", "--spread", "--fraction", "auto")
    done = model("convert", run / "checkpoint.safetensors", "--dataset", npz, *spread, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0] == "rate, T = 4, L = 4, balance trained, bias spread, F = 2"
    assert load(out).layers[0].neuron.has_bias
    done = model("codes", run / "checkpoint.safetensors", "--dataset", npz, "--steps", "1,2", "--balance", "max", "--split", "validation")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[-2:] == [f"{run}/codes.json", f"{run}/codes.svg"]
    done = model("evaluate", out, "--dataset", npz)
    assert (done.returncode, done.stderr) == (0, "")
    assert "golden model, test" in done.stdout


def test_inference_loss(model, recipe, npz, tmp_path):
    recipe.write_text(recipe.read_text() + 'clip = "rate-norm"\nbalance = "rate-norm"\nquantised = false\ninteger = false\n')
    out = tmp_path / "network.safetensors"
    assert model("train", recipe, "--out", tmp_path / "run").returncode == 0
    done = model("convert", tmp_path / "run" / "checkpoint.safetensors", "--dataset", npz, "--inference-loss", 5, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("ternary, T = 3, L = 3, balance rate-norm, ratios after 5 rounds of the rate inference loss\n")
    assert load(out).provenance["conversion"]["inference_loss"] == 5


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ('balance = "rate-norm"', "balance must be another than 'rate-norm' where clip is 'trained'"),
        ('clip = "none"\nquantised = false\ninteger = false', "balance must be max or percentile where clip is 'none', not 'trained'"),
    ],
)
def test_a_balance_that_the_network_cannot_have_is_refused_before_training(model, recipe, tmp_path, options, message):
    recipe.write_text(recipe.read_text() + options + "\n")
    done = model("train", recipe, "--out", tmp_path / "run")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}\n")
    assert not (tmp_path / "run").exists()


def test_reproduce(model, recipe, tmp_path):
    out = tmp_path / "out"
    done = model("reproduce", recipe, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    runs = [metrics.read(out / f"seed-{seed}" / "metrics.json") for seed in (3, 5)]
    best = max(runs, key=lambda content: content["scores"]["validation"]["strict"])
    network = load(out / "network.safetensors")
    assert (network.provenance["seed"], network.steps) == (best["seed"], 3)
    again = model("reproduce", recipe, "--out", out)
    assert again.stdout.count("nothing to do") == 2


def test_a_balance_that_the_network_cannot_have(source):
    with pytest.raises(UserError, match=r"^balance must be another than 'rate-norm' for a network that was trained without"):
        convert.convert(source, stripes(), Conversion(balance="rate-norm"))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--levels", 0), "levels (L) must be an integer from 1 to 127, not 0"),
        (("--steps", 0), "steps (T) must be an integer from 1 to 32768, not 0"),
        (("--steps", "many"), "argument --steps: invalid int value: 'many'"),
        (("--fraction", 9), "fraction must be auto or an integer from 0 to 8, not 9"),
        (("--fraction", "some"), "argument --fraction: invalid fraction value: 'some'"),
        (("--code", "morse"), "code must be one of rate, ternary, graded, not 'morse'"),
        (("--code", "ungated"), "code must be one of rate, ternary, graded, not 'ungated'"),
        (("--balance", "min"), "balance must be one of trained, max, percentile, rate-norm, not 'min'"),
        (("--percentile", 0), "percentile must be above 0 and at most 100, not 0.0"),
        (("--balance", "max", "--percentile", 99), "--percentile must come with the balance percentile, not max, which it does not change"),
        (("--percentile", 99), "--percentile must come with the balance percentile, not trained, which it does not change"),
        (("--per", "neuron"), "--per must come with the balance max or percentile, not trained, which it does not change"),
        (("--inference-loss", 4), "inference_loss must be 0 for the balance 'trained', not 4: it is for 'rate-norm'"),
        (("--code", "rate", "--steps", 4, "--levels", 3), "levels must be T = 4 for the code rate"),
        (("--dataset", "digits"), "data set must be the one of the training, with digest"),
    ],
)
def test_mistakes(model, trained, npz, tmp_path, options, message):
    out = tmp_path / "network.safetensors"
    done = model("convert", trained, "--dataset", npz, "--out", out, *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: {message}")
    assert done.stderr.count("\n") == 1
    assert not out.exists()
    assert list(tmp_path.iterdir()) == []


def test_options_that_no_balance_of_codes_takes(model, trained, npz, tmp_path):
    done = model("codes", trained, "--dataset", npz, "--balance", "trained,max", "--percentile", 99, "--out", tmp_path / "codes.json")
    message = "error: --percentile must come with the balance percentile, not trained, max, which it does not change\n"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", message)


def test_export_says_who_converts(trained, tmp_path, capfd, monkeypatch):
    done = in_process(export_main, capfd, monkeypatch)(trained, "--out", tmp_path / "network.safetensors")
    wrong = "must be a checkpoint of single spikes, not of the method 'conversion': export it with python -m model convert"
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {trained}: {wrong}\n")


def test_the_other_kind_of_checkpoint(model, npz, tmp_path):
    quick = ("--hidden", "16", "--epochs", "1", "--batch-size", "16", "--validation", "0.25", "--augment", "0")
    assert model("train", "--dataset", npz, "--out", tmp_path, *quick).returncode == 0
    done = model("convert", tmp_path / "checkpoint.safetensors", "--out", tmp_path / "network.safetensors")
    assert done.returncode == 2
    assert done.stderr.endswith("must be a checkpoint of the method 'conversion', not of single spikes: those need no conversion\n")
