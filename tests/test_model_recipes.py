import math

import pytest

from export import UserError
from model.recipes import Recipe


def test_json():
    assert Recipe(**Recipe(hidden=(3, 4)).as_dict()) == Recipe(hidden=(3, 4))
    assert Recipe(hidden=()).as_dict()["hidden"] == []


@pytest.mark.parametrize(("validation", "frames", "held_out"), [(0.2, 100, 20), (0.5, 3, 2), (7, 100, 7), (99.0, 100, 99)])
def test_held_out(validation, frames, held_out):
    assert Recipe(validation=validation).held_out(frames) == held_out


@pytest.mark.parametrize(("validation", "frames", "held_out"), [(0.01, 10, 0), (100, 100, 100), (0.99, 3, 3)])
def test_nothing_left(validation, frames, held_out):
    with pytest.raises(UserError) as caught:
        Recipe(validation=validation).held_out(frames)
    assert str(caught.value) == (f"validation must leave frames on both sides: {held_out} of {frames} training frames would be held out")


def test_silence_falls_and_then_stays():
    recipe = Recipe(silent_start=50.0, silent_end=2.0)
    targets = [recipe.silent_target(step / 10) for step in range(11)]
    assert targets[0] == 0.5
    assert targets[4] == pytest.approx(0.1)
    assert targets[8:] == [pytest.approx(0.02)] * 3
    assert targets == sorted(targets, reverse=True)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("hidden", (600, 0), "hidden must be positive integers, not [600, 0]"),
        ("hidden", (1.5,), "hidden must be positive integers, not [1.5]"),
        ("steps", 0, "steps must be an integer, at least 1 and at most 32768, not 0"),
        ("steps", 40000, "steps must be an integer, at least 1 and at most 32768, not 40000"),
        ("epochs", 0, "epochs must be an integer, at least 1, not 0"),
        ("seed", -1, "seed must be an integer, at least 0 and at most 4294967295, not -1"),
        ("batch_size", 0, "batch_size must be an integer, at least 1, not 0"),
        ("learning_rate", 0.0, "learning_rate must be a positive number, not 0.0"),
        ("learning_rate", float("nan"), "learning_rate must be a positive number, not nan"),
        ("threshold_rate", -0.1, "threshold_rate must be a number, at least 0, not -0.1"),
        ("validation", -1.0, "validation must be a positive number, not -1.0"),
        ("fire", -1.0, "fire must be a number, at least 0, not -1.0"),
        ("wait", math.inf, "wait must be a number, at least 0, not inf"),
        ("mirror", True, "mirror must be false where augment is 0"),
        ("elastic", 1.0, "elastic must be 0 where augment is 0"),
        ("elastic", -1.0, "elastic must be a number of pixels, at least 0, not -1.0"),
        ("drop_spikes", 1.0, "drop_spikes must be a share from 0 to below 1, not 1.0"),
        ("drop_spikes", -0.1, "drop_spikes must be a share from 0 to below 1, not -0.1"),
        ("average", -1.0, "average must be a number of epochs, at least 0, not -1.0"),
        ("augment", -0.5, "augment must be a number of pixels, at least 0, not -0.5"),
        ("max_silent", 0.0, "max_silent must be in percent, above 0 and at most 100, not 0.0"),
        ("silent_end", 101.0, "silent_end must be in percent, above 0 and at most 100, not 101.0"),
    ],
)
def test_bad_values(name, value, message):
    with pytest.raises(UserError) as caught:
        Recipe(**{name: value})
    assert str(caught.value) == message
