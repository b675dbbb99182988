import numpy as np
import pytest
import torch

from export import Encoder, UserError
from model.encoding import LatencyEncoder
from tests import oracle

ALL = np.arange(256, dtype=np.uint8)[None]


@pytest.mark.parametrize("steps", [1, 2, 7, 8, 9, 255, 256, 300])
@pytest.mark.parametrize("p_min", [None, 0, 1, 128, 256])
def test_every_intensity(steps, p_min):
    times = LatencyEncoder(steps, p_min)(torch.from_numpy(ALL))
    assert times[0].tolist() == [oracle.latency(p, steps, p_min) for p in range(256)]
    assert (times.numpy() == Encoder("latency", p_min).encode(ALL, steps)).all()
    assert times.dtype == (torch.uint8 if steps <= 255 else torch.int32)


def test_images_are_flattened():
    images = torch.arange(24, dtype=torch.uint8).view(2, 3, 4)
    assert torch.equal(LatencyEncoder(8, 0)(images), LatencyEncoder(8, 0)(images.view(2, 12)))


def test_no_frames():
    assert LatencyEncoder(8)(torch.empty(0, 4, dtype=torch.uint8)).shape == (0, 4)


@pytest.mark.parametrize(
    ("steps", "p_min", "message"),
    [
        (0, None, "steps (T) must be an integer from 1 to 32768, not 0"),
        (True, None, "steps (T) must be an integer from 1 to 32768, not True"),
        (2.0, None, "steps (T) must be an integer from 1 to 32768, not 2.0"),
        (8, 257, "encoder p_min must be an integer from 0 to 256, not 257"),
    ],
)
def test_bad_parameters(steps, p_min, message):
    with pytest.raises(UserError) as caught:
        LatencyEncoder(steps, p_min)
    assert str(caught.value) == message


def test_bad_images():
    with pytest.raises(UserError) as caught:
        LatencyEncoder(8)(torch.zeros(2, 3))
    assert str(caught.value) == "intensities must be uint8 of shape (frames, inputs), not torch.float32 (2, 3)"
