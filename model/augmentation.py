"""Augmentation: random distortions of images, dropped spikes."""

import torch
from torch import Tensor
from torch.nn import functional

from export import UserError

NODE_SPACING = 7  # pixels between the nodes of elastic displacements: a stroke of a digit bends, and keeps its width


class RandomDistortion:
    """Shift, turn, scale, shear and bend images at random, each a little, with bilinear interpolation; outside is 0.

    Each of the six entries of an image's affine map is drawn uniformly: a shift of up to ``pixels`` in both directions, and a linear part
    that moves the middle of an edge by up to ``pixels`` more. Or only shifts, by whole pixels, which leave intensities as they are.
    Elastic displacements are drawn uniformly at nodes, and bicubic between them (after P. Y. Simard et al., "Best Practices for
    Convolutional Neural Networks Applied to Visual Document Analysis", ICDAR 2003, which smooths displacements of all pixels).

    Parameters:
        image_shape: (height, width) or (planes, height, width), all planes changed alike; None where the inputs are no image.
        pixels: reach of the affine map, above 0 and below half of the smaller side.
        elastic: reach of the elastic displacements in pixels, in both directions at the nodes; 0: none.
        generator: source of the randomness.
        mirror: whether to swap left and right in half of the images, too.
        shifts: whether to shift only, by whole pixels; ``pixels`` must be whole then.

    Raises:
        UserError: the inputs are no image, or are too small for the reach, or shifts are not whole.
    """

    def __init__(
        self,
        image_shape: tuple[int, ...] | None,
        pixels: float,
        generator: torch.Generator,
        *,
        elastic: float = 0.0,
        mirror: bool = False,
        shifts: bool = False,
    ) -> None:
        if image_shape is None:
            raise UserError(f"augment must be 0 for inputs that are no image (frames, height, width), not {pixels}")
        if not 0 < pixels < min(image_shape[-2:]) / 2:
            raise UserError(f"augment must be below half of the images' smaller side, {min(image_shape[-2:]) / 2:g}, not {pixels}")
        self.shape = (1, *image_shape)[-3:]
        if shifts and pixels % 1:
            raise UserError(f"augment must be whole where shifts is true, not {pixels}")
        self.pixels, self.generator, self.elastic, self.mirror, self.shifts = pixels, generator, elastic, mirror, shifts

    def draw(self, frames: int) -> Tensor:
        """Where the pixels of so many images come from, float (frames, height, width, 2), -1 … 1 from edge to edge, on the CPU."""
        _, height, width = self.shape
        pixel = torch.tensor([2 / width, 2 / height])[:, None]
        maps = torch.eye(2, 3).repeat(frames, 1, 1)
        if self.shifts:
            reach = int(self.pixels)
            maps[:, :, 2:] += torch.randint(-reach, reach + 1, (frames, 2, 1), generator=self.generator) * pixel
        else:
            maps += (torch.rand(frames, 2, 3, generator=self.generator) * 2 - 1) * (self.pixels * pixel)
        if self.mirror:
            maps[:, :, 0] *= torch.randint(0, 2, (frames, 1), generator=self.generator) * 2 - 1
        grid = functional.affine_grid(maps, [frames, *self.shape], align_corners=False)
        if self.elastic:
            nodes = [max(2, round(side / NODE_SPACING) + 1) for side in (height, width)]
            moves = (torch.rand(frames, 2, *nodes, generator=self.generator) * 2 - 1) * (self.elastic * pixel[..., None])
            grid += functional.interpolate(moves, (height, width), mode="bicubic", align_corners=True).permute(0, 2, 3, 1)
        return grid

    def __call__(self, images: Tensor, grid: Tensor | None = None) -> Tensor:
        """Distorted images, uint8 (frames, planes · height · width), of such images; ``grid`` from `draw`, by default a new one."""
        if not len(images):  # a process whose share of a batch is empty
            return images.flatten(1)
        grid = (self.draw(len(images)) if grid is None else grid).to(images.device)
        planes = images.view(-1, *self.shape).to(torch.float32)
        return functional.grid_sample(planes, grid, align_corners=False).round().to(torch.uint8).flatten(1)


class DropSpikes:
    """Leave out input spikes at random, anew for each frame and epoch.

    Parameters:
        share: of the inputs that never spike, above 0 and below 1.
        steps: ``T``, which stands for never.
        generator: source of the randomness.
    """

    def __init__(self, share: float, steps: int, generator: torch.Generator) -> None:
        self.share, self.steps, self.generator = share, steps, generator

    def draw(self, frames: int, inputs: int) -> Tensor:
        """Which inputs must not spike, bool (frames, inputs), on the CPU."""
        return torch.rand(frames, inputs, generator=self.generator) < self.share

    def __call__(self, times: Tensor, dropped: Tensor | None = None) -> Tensor:
        """Spike times (frames, inputs) with fewer spikes; ``dropped`` from `draw`, by default new ones."""
        dropped = self.draw(*times.shape) if dropped is None else dropped
        return times.masked_fill(dropped.to(times.device), self.steps)
