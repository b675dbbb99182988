import pytest
import torch

from export import UserError
from model.augmentation import DropSpikes, RandomDistortion


def affine(shape, pixels, seed=0, **options):
    return RandomDistortion(shape, pixels, torch.Generator().manual_seed(seed), **options)


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


def test_planes_change_alike():
    images = torch.randint(0, 256, (4, 1, 6, 9), generator=torch.Generator().manual_seed(3)).to(torch.uint8).expand(4, 3, 6, 9)
    planes = affine((3, 6, 9), 1.0)(images.flatten(1)).view(4, 3, -1)
    assert torch.equal(planes, affine((6, 9), 1.0)(images[:, 0].flatten(1))[:, None].expand(4, 3, -1))


def test_elastic_displacements_are_smooth_and_within_reach():
    """Bicubic interpolation may overshoot its nodes by a little; the grid is finer than the nodes, so that neighbours move alike."""
    height, width = 28, 21
    still = affine((height, width), 1e-6).draw(300)
    moves = (affine((height, width), 1e-6, elastic=2.0).draw(300) - still) * torch.tensor([width / 2, height / 2])
    assert 1.8 < moves.abs().amax() < 2 * 1.6
    assert moves.mean(0).abs().amax() < 0.3
    assert all(moves.diff(dim=axis).abs().amax() < 1.5 for axis in (1, 2))
    assert moves[:, 0, 0].std(0).min() > 1  # corners, too; uniform within ± 2: 1.15


def test_mirror_swaps_left_and_right_in_half_of_the_images():
    image = torch.arange(200, 200 + 35, dtype=torch.uint8).view(1, 5, 7)
    seen = affine((5, 7), 1e-4, mirror=True)(image.expand(200, 5, 7).flatten(1)).view(200, 5, 7).int()
    same, swapped = ((seen - other.int()).abs().amax((1, 2)) <= 1 for other in (image, image.flip(2)))
    assert (same ^ swapped).all()
    assert 70 < swapped.sum() < 130


def test_shifts_by_whole_pixels_leave_intensities_as_they_are():
    images = torch.randint(1, 256, (600, 5, 7), generator=torch.Generator().manual_seed(6)).to(torch.uint8)
    seen = affine((5, 7), 2.0, shifts=True)(images.flatten(1)).view(-1, 5, 7)
    framed, found = torch.nn.functional.pad(images, (2, 2, 2, 2)), set()
    for frame, image in zip(framed, seen, strict=True):
        (shift,) = [(y, x) for y in range(5) for x in range(5) if torch.equal(frame[y : y + 5, x : x + 7], image)]
        found.add(shift)
    assert len(found) == 25


def test_dropped_spikes_never_come_and_the_others_stay():
    times = torch.randint(0, 8, (50, 40), generator=torch.Generator().manual_seed(4)).to(torch.uint8)
    kept = DropSpikes(0.25, 8, torch.Generator().manual_seed(5))(times)
    dropped = kept == 8
    assert torch.equal(kept[~dropped], times[~dropped])
    assert 0.2 < dropped.float().mean() < 0.3
    assert torch.equal(kept, DropSpikes(0.25, 8, torch.Generator().manual_seed(5))(times))


@pytest.mark.parametrize(
    ("shape", "pixels", "message"),
    [
        (None, 1.0, "augment must be 0 for inputs that are no image (frames, height, width), not 1.0"),
        ((3, 8, 5), 2.5, "augment must be below half of the images' smaller side, 2.5, not 2.5"),
        ((8, 5), 2.5, "augment must be below half of the images' smaller side, 2.5, not 2.5"),
    ],
)
def test_bad_parameters(shape, pixels, message):
    with pytest.raises(UserError) as caught:
        affine(shape, pixels)
    assert str(caught.value) == message


def test_shifts_must_be_whole():
    with pytest.raises(UserError, match=r"^augment must be whole where shifts is true, not 1\.5$"):
        affine((8, 8), 1.5, shifts=True)
