import numpy as np
import pytest

from export import UserError
from model import checkpoint, conversion_checkpoint, convert, training
from model.conversion import Conversion
from model.conversion_recipe import ConversionRecipe
from tests.small_data import stripes

RECIPE = ConversionRecipe(structure="6C3-P2-5C2p1-12-4", epochs=2, batch_size=16, learning_rate=0.01, validation=0.25)


def train(out):
    training.train(stripes(), RECIPE, out, say=lambda line: None)
    return conversion_checkpoint.read(out / "checkpoint.safetensors")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return train(tmp_path_factory.mktemp("trained"))


def test_activations_of_the_first_frames(tmp_path, monkeypatch):
    """Of a network that is too large, the check set has all images and margins, but the activations of some frames only."""
    whole = train(tmp_path / "whole")
    neurons = 4 * 4 * 6 + 3 * 3 * 5 + 12
    assert [part.shape for part in whole.activations] == [(100, 96), (100, 45), (100, 12)]
    assert {part.dtype for part in whole.activations} == {np.dtype(np.uint8)}
    monkeypatch.setattr(conversion_checkpoint, "ACTIVATION_BYTES", 30 * neurons + 7)
    source = train(tmp_path / "part")
    assert (source.counted, len(source.images)) == (30, 100)
    assert all(np.array_equal(part, other[:30]) for part, other in zip(source.activations, whole.activations, strict=True))
    assert np.array_equal(source.margins, whole.margins)
    done = convert.convert(source, stripes(), Conversion())
    assert convert.describe(done).endswith(
        "event for event, and to the trained network, count for count on the first 30, on all 100 frames of the check set"
    )
    margins = source.margins.copy()
    margins[70, 2] += 1
    monkeypatch.setattr("model.evaluation.NUMBERS", 600)
    with pytest.raises(UserError, match=r"^the margin of an output must be .* first at frame 70, neuron 2: trained "):
        convert.convert(source._replace(margins=margins), stripes(), Conversion())


@pytest.mark.parametrize(
    ("shape", "message"),
    [([6, 6], r"must be three integers, of 36 pixels in all, not \[6, 6\]"), ([6, 6, 2], "of 36 pixels"), ("6", "'input_map' must be")],
)
def test_a_damaged_checkpoint(source, tmp_path, shape, message):
    tensors = {f"network.{name}": value.numpy() for name, value in source.network.state_dict().items()}
    tensors |= {"check.images": source.images, "check.margins": source.margins}
    tensors |= {f"check.activations.{index}": part for index, part in enumerate(source.activations)}
    header = {"format": conversion_checkpoint.SOURCE_FORMAT, "version": 1, "class_names": list(source.class_names)}
    header |= {"provenance": source.provenance, "input_map": [6, 6, 1]}
    path = tmp_path / "checkpoint.safetensors"
    checkpoint.save(path, tensors, header)
    assert conversion_checkpoint.read(path).counted == 100
    checkpoint.save(path, tensors, header | {"input_map": shape})
    with pytest.raises(UserError, match=message):
        conversion_checkpoint.read(path)
    checkpoint.save(path, tensors | {"check.activations.1": source.activations[1][:, :-1]}, header)
    with pytest.raises(UserError, match=r"the check set must have activations and margins of .* not "):
        conversion_checkpoint.read(path)
    checkpoint.save(path, tensors | {"check.activations.1": source.activations[1][:0]}, header)
    with pytest.raises(UserError, match="the check set must have activations of a frame, but has none"):
        conversion_checkpoint.read(path)
