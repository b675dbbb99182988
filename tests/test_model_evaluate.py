import csv
import dataclasses
import xml.etree.ElementTree

import numpy as np
import pytest

import export
from export import Conv2d, Dense, Encoder, Layer, Network, Readout, Single, UserError
from model import evaluate, training
from model.data.dataset import Dataset
from model.recipes import Recipe
from tests.maps import signs
from tests.networks import random_layer, random_network
from tests.small_data import stripes


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A directory with a checkpoint and the network exported from it."""
    directory = tmp_path_factory.mktemp("trained")
    training.train(stripes(), Recipe(hidden=(12,), epochs=2, batch_size=16, validation=0.25), directory, say=lambda line: None)
    network, _ = export.check.network_from_checkpoint(directory / "checkpoint.safetensors")
    export.save(network, directory / "network.safetensors")
    return directory


@pytest.mark.parametrize("part", ["test", "train"])
def test_pytorch_and_golden_model_agree(trained, part):
    reports = []
    for name, by in (("checkpoint.safetensors", "PyTorch"), ("network.safetensors", "golden model")):
        subject, score, report = evaluate.evaluate(trained / name, stripes(), part)
        assert report["by"] == subject.by == by
        assert (report["network"], report["dataset"], report["part"], report["frames"]) == (name, "stripes", part, 100)
        assert report["strict"] == score.strict
        reports.append({key: value for key, value in report.items() if key not in ("network", "by")})
    assert reports[0] == reports[1]
    assert {"strict", "first_index", "lenient", "fired", "silent_share", "steps_mean", "hidden_spikes_by_decision_mean"} <= set(reports[0])


def test_scores_are_those_in_the_provenance(trained):
    _, score, _ = evaluate.evaluate(trained / "checkpoint.safetensors", stripes(), "test")
    assert export.load(trained / "network.safetensors").provenance["scores"]["test"] == score.as_dict()


def test_curve(trained, tmp_path):
    curves = []
    for name in ("checkpoint", "network"):
        subject = evaluate.StoredNetwork.read(trained / f"{name}.safetensors")
        curves.append(subject.shift_curve(*subject.frames(stripes(), "test")))
    assert curves[0] == curves[1]
    middle = curves[0][len(curves[0]) // 2]
    _, score, _ = evaluate.evaluate(trained / "network.safetensors", stripes(), "test")
    names = ("strict", "silent_share", "steps_mean", "hidden_spikes_by_decision_mean")
    assert [middle.shift, *(getattr(middle, name) for name in names)] == [0, *(getattr(score, name) for name in names)]
    plot = evaluate.write_curve(curves[0], tmp_path / "curve.csv")
    with (tmp_path / "curve.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [{key: float(value) for key, value in row.items()} for row in rows] == [point.as_dict() for point in curves[0]]
    assert evaluate.write_curve(curves[0], tmp_path / "again.csv").read_bytes() == plot.read_bytes()
    assert xml.etree.ElementTree.parse(plot).getroot().tag.endswith("svg")


def saved(tmp_path, network):
    export.save(network, tmp_path / "network.safetensors")
    return tmp_path / "network.safetensors"


def refused(path, dataset, part="test"):
    with pytest.raises(UserError) as caught:
        evaluate.evaluate(path, dataset, part)
    return str(caught.value)


def random(shape, steps=8, encoder="latency"):
    network = random_network(np.random.default_rng(0), shape, steps)
    return dataclasses.replace(network, encoder=Encoder(encoder))


def test_other_number_of_inputs(tmp_path):
    path = saved(tmp_path, random((64, 4)))
    assert refused(path, stripes()) == "the network takes 64 inputs, but stripes has 36"


def test_fewer_classes(tmp_path):
    path = saved(tmp_path, random((36, 3)))
    assert refused(path, stripes()) == "the network has 3 classes, but stripes has 4"


def test_images_for_a_network_without_encoder(tmp_path):
    path = saved(tmp_path, random((36, 4), encoder="none"))
    assert refused(path, stripes()) == "encoder must be 'latency' or 'spread' to encode intensities, not 'none': spikes come from outside"


def test_spike_times_for_a_network_with_encoder(tmp_path):
    path = saved(tmp_path, random((36, 4)))
    data = dataclasses.replace(stripes(), test_images=None, test_spike_times=np.zeros((100, 36), np.int32))
    assert refused(path, data) == "stripes has spike times, but the network takes images through its encoder 'latency'"


def test_no_such_part(tmp_path):
    path = saved(tmp_path, random((36, 4)))
    assert refused(path, dataclasses.replace(stripes(), train_images=None), "train") == "stripes must have a train part, but has none"


def test_no_labels(tmp_path):
    path = saved(tmp_path, random((36, 4)))
    data = dataclasses.replace(stripes(), test_labels=None)
    assert refused(path, data) == "stripes must have labels for its test part, y_test, to be scored, but has none"


def test_neither_checkpoint_nor_network(trained):
    path = trained / "resume.safetensors"
    assert refused(path, stripes()) == f"{path}: format must be 'firstspike-network', not 'firstspike-resume'"


def test_one_layer(tmp_path):
    layer = random_layer(np.random.default_rng(1), 36, 4)
    path = saved(tmp_path, Network((layer,), 8, Encoder("latency")))
    assert evaluate.evaluate(path, stripes(), "test")[1].hidden_spikes_by_decision_mean == 0


def test_network_with_maps(tmp_path):
    """By the golden model only; the images' planes become channels."""
    images = np.random.default_rng(3).integers(0, 256, (20, 2 * 3 * 4)).astype(np.uint8)
    labels = np.arange(20) % 2
    dataset = Dataset("planes", ("a", "b"), "0", "none", test_images=images, test_labels=labels, image_shape=(2, 3, 4))
    convolution = Layer(Conv2d(np.array([[1, -1], [1, 1]]).reshape(2, 2, 1, 1), (3, 4)), Single([1, 1]))
    network = Network((convolution, Layer(Dense(signs(np.random.default_rng(1), 2, 24)), Readout([2, 2]))), 4, Encoder("latency"))
    export.save(network, tmp_path / "n")
    subject, score, report = evaluate.evaluate(tmp_path / "n", dataset, "test")
    assert subject.trained is None
    assert report["by"] == "golden model"
    golden = export.reference.run(network, network.encode(images.reshape(20, 2, 3, 4)))
    assert score == export.scores.score(golden, labels)
    flat = export.reference.run(network, network.encode(images))
    assert not golden.events[0].equals(flat.events[0])
    with pytest.raises(UserError) as caught:
        subject.shift_curve(*subject.frames(dataset, "test"))
    message = "the shift curve must be of a network that was trained by single spikes; of others, convert keeps it in the provenance"
    assert str(caught.value) == message
    with pytest.raises(UserError) as caught:
        subject.frames(dataclasses.replace(dataset, image_shape=(2, 4, 3)), "test")
    assert str(caught.value) == "images must have shape (frames, 2, 3, 4) or (frames, 24), not (20, 2, 4, 3)"
