"""Maps: neurons in rows and columns, with several channels at each position, numbered position by position [S15]."""

from collections.abc import Iterable

import numpy as np

from export.arrays import is_integer
from export.errors import UserError

MAX_NEURONS = 1 << 22
"""Of one map: what a file says of it is not backed by as many bytes, so that it must be bounded."""

Map = tuple[int, int, int]
"""Height, width and channels: neuron ``(y * width + x) * channels + channel``."""


def crossed(sizes: Iterable[int]) -> str:
    """``12 x 12 x 16``."""
    return " x ".join(map(str, sizes))


def size(sizes: Map) -> int:
    """The number of neurons of a map."""
    height, width, channels = sizes
    return height * width * channels


def pair(name: str, value: object, least: int, greatest: tuple[int, int] = (MAX_NEURONS, MAX_NEURONS), why: str = "") -> tuple[int, int]:
    """Two integers, downwards and across, of one for both or of two.

    Parameters:
        least, greatest: of each; ``why`` says what ``greatest`` follows from.

    Raises:
        UserError: it is something else.
    """
    values = tuple(value) if isinstance(value, tuple | list) else (value, value)
    if not (len(values) == 2 and all(is_integer(v) and least <= v <= most for v, most in zip(values, greatest, strict=True))):
        most = str(greatest[0]) if greatest[0] == greatest[1] else f"{greatest}"
        raise UserError(f"{name} must be an integer from {least} to {most}{why}, or two of them, not {value!r:.60}")
    return int(values[0]), int(values[1])


def checked_map(name: str, sizes: Map) -> Map:
    """A map that is not too large.

    Raises:
        UserError: it is.
    """
    if size(sizes) > MAX_NEURONS:
        raise UserError(f"{name} must have at most {MAX_NEURONS} neurons, not {crossed(sizes)}")
    return sizes


def position_major(images: np.ndarray, sizes: Map | None) -> np.ndarray:
    """Images in the order of a network's inputs.

    Parameters:
        images: (frames, inputs), which stays as it is; or, where the inputs are a map, (frames, channels, height, width), plane by plane,
            or (frames, height, width) with one channel.
        sizes: the map of the inputs, or None.

    Raises:
        UserError: the images are of another size.
    """
    if sizes is None or images.ndim <= 2:
        return images
    height, width, channels = sizes
    shape = (channels, height, width)
    if images.shape[1:] != shape and (channels > 1 or images.shape[1:] != (height, width)):
        shown = ", ".join(map(str, shape if channels > 1 else shape[1:]))
        raise UserError(f"images must have shape (frames, {shown}) or (frames, {size(sizes)}), not {images.shape}")
    return images.reshape(len(images), channels, height * width).transpose(0, 2, 1).reshape(len(images), size(sizes))
