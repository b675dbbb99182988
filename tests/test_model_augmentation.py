import pytest
import torch

from export import UserError
from model.augmentation import RandomAffine


def affine(shape, pixels, seed=0):
    return RandomAffine(shape, pixels, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", [(8, 8), (5, 9)])
def test_nearly_no_reach_changes_nearly_nothing(shape):
    images = torch.randint(0, 256, (10, shape[0] * shape[1]), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
    assert (affine(shape, 1e-4)(images).int() - images.int()).abs().max() <= 1


def test_a_dot_stays_within_reach():
    image = torch.zeros(500, 11, 11, dtype=torch.uint8)
    image[:, 5, 5] = 255
    seen = affine((11, 11), 1.0)(image.flatten(1)).view(-1, 11, 11).amax(0) > 0
    assert seen[3:8, 3:8].sum() == seen.sum()  # a pixel of shift, and interpolation's other half
    assert seen[4:7, 4:7].all()


def test_every_frame_has_its_own_and_the_seed_decides():
    image = torch.randint(0, 256, (1, 64), generator=torch.Generator().manual_seed(2)).to(torch.uint8).repeat(3, 1)
    once, again, other = affine((8, 8), 1)(image), affine((8, 8), 1)(image), affine((8, 8), 1, seed=1)(image)
    assert torch.equal(once, again)
    assert not torch.equal(once, other)
    assert not torch.equal(once[0], once[1])


def test_planes_move_together():
    plane = torch.randint(0, 256, (7, 6 * 9), generator=torch.Generator().manual_seed(3)).to(torch.uint8)
    alone = affine((6, 9), 1)(plane)
    together = affine((3, 6, 9), 1)(torch.cat([plane, plane, plane.flip(0)], 1)).view(7, 3, 54)
    assert torch.equal(together[:, 0], alone)
    assert torch.equal(together[:, 1], alone)
    assert not torch.equal(together[:, 2], alone)


@pytest.mark.parametrize(
    ("shape", "pixels", "message"),
    [
        (None, 1.0, "augment must be 0 for inputs that are no image (frames, height, width), not 1.0"),
        ((2, 8, 5), 2.5, "augment must be below half of the images' smaller side, 2.5, not 2.5"),
        ((8, 5), 2.5, "augment must be below half of the images' smaller side, 2.5, not 2.5"),
    ],
)
def test_bad_parameters(shape, pixels, message):
    with pytest.raises(UserError) as caught:
        affine(shape, pixels)
    assert str(caught.value) == message
