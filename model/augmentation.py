"""Random small distortions of training images."""

import torch
from torch import Tensor
from torch.nn import functional

from export import UserError


class RandomAffine:
    """Shift, turn, scale and shear images at random, each a little, with bilinear interpolation; outside is 0.

    Each of the six entries of an image's affine map is drawn uniformly: a shift of up to ``pixels`` in both directions, and a linear part
    that moves the middle of an edge by up to ``pixels`` more.

    Parameters:
        image_shape: (height, width); None where the inputs are no image.
        pixels: reach, above 0 and below half of the smaller side.
        generator: source of the randomness.

    Raises:
        UserError: the inputs are no image, or are too small for the reach.
    """

    def __init__(self, image_shape: tuple[int, ...] | None, pixels: float, generator: torch.Generator) -> None:
        if image_shape is None:
            raise UserError(f"augment must be 0 for inputs that are no image (frames, height, width), not {pixels}")
        if not 0 < pixels < min(image_shape) / 2:
            raise UserError(f"augment must be below half of the images' smaller side, {min(image_shape) / 2:g}, not {pixels}")
        self.height, self.width = image_shape
        self.pixels, self.generator = pixels, generator

    def draw(self, frames: int) -> Tensor:
        """Random maps for so many images, float (frames, 2, 3), on the CPU whatever the images are on."""
        reach = torch.tensor([self.pixels * 2 / self.width, self.pixels * 2 / self.height])  # the grid goes from -1 to 1
        change = (torch.rand(frames, 2, 3, generator=self.generator) * 2 - 1) * reach[:, None]
        return torch.eye(2, 3) + change

    def __call__(self, images: Tensor, maps: Tensor | None = None) -> Tensor:
        """Distorted images, uint8 (frames, height · width), of such images; ``maps`` from `draw`, by default new ones."""
        frames = len(images)
        maps = (self.draw(frames) if maps is None else maps).to(images.device)
        grid = functional.affine_grid(maps, [frames, 1, self.height, self.width], align_corners=False)
        planes = images.view(frames, 1, self.height, self.width).to(torch.float32)
        return functional.grid_sample(planes, grid, align_corners=False).round().to(torch.uint8).flatten(1)
