"""The structure of a network as the field writes it, such as ``32C3-P2-64C3s2p1-P2-256-10``.

Layers from the inputs to the outputs, joined by ``-``:

* ``32C3``: a convolution with 32 kernels of 3 x 3; ``s2``: its stride, 1 if left out; ``p1``: rows and columns of padding on every side, 0
  (no padding, *valid*) if left out. ``32C3p1`` leaves the map as large as it is (*same*);
* ``P2``: pooling over windows of 2 x 2 without overlap, of the layer before or of the inputs; what a window sends is added up [S16];
* ``256``: a dense layer of 256 neurons. The last number is that of the classes.
"""

import re
from typing import NamedTuple

from export import Conv2d, Network, UserError
from export.layer import Layer
from export.maps import crossed

EXAMPLE = "32C3-P2-64C3-P2-10"
_NUMBER = "([1-9][0-9]{0,6})"
_CONVOLUTION = re.compile(f"{_NUMBER}C{_NUMBER}(?:s{_NUMBER})?(?:p(0|{_NUMBER}))?")
_POOL, _DENSE = re.compile("P([2-9]|[1-9][0-9]{1,6})"), re.compile(_NUMBER)


class Stage(NamedTuple):
    """A layer, with the pool in front of it.

    Attributes:
        channels: kernels of a convolution, or neurons of a dense layer.
        kernel: height and width of the kernels; 0: a dense layer.
        stride, padding: of a convolution.
        pool: height and width of a window; 1: no pool.
    """

    channels: int
    kernel: int = 0
    stride: int = 1
    padding: int = 0
    pool: int = 1

    def __str__(self) -> str:
        """As it is written, without the pool."""
        if not self.kernel:
            return str(self.channels)
        return f"{self.channels}C{self.kernel}" + f"s{self.stride}" * (self.stride > 1) + f"p{self.padding}" * (self.padding > 0)


def parse(text: str) -> tuple[Stage, ...]:
    """The layers of a structure.

    Raises:
        UserError: it is not written as said, or layers do not follow one another.
    """
    stages: list[Stage] = []
    pool = 1
    for word in text.split("-"):
        if found := _POOL.fullmatch(word):
            if pool > 1:
                raise UserError(f"structure must have one pool between two layers, not {word} behind P{pool}")
            if stages and not stages[-1].kernel:
                raise UserError(f"structure must pool maps, not the dense layer {stages[-1]} in front of {word}")
            pool = int(found[1])
            continue
        stage = _stage(word)
        if stage.kernel and stages and not stages[-1].kernel:
            raise UserError(f"structure must have its convolutions in front of dense layers, not {word} behind {stages[-1]}")
        stages.append(stage._replace(pool=pool))
        pool = 1
    if pool > 1 or stages[-1].kernel:
        raise UserError(f"structure must end with the number of classes, not with {text.rpartition('-')[2]}")
    return tuple(stages)


def _stage(word: str) -> Stage:
    if found := _DENSE.fullmatch(word):
        return Stage(int(found[1]))
    if not (found := _CONVOLUTION.fullmatch(word)):
        raise UserError(f"structure must be of layers such as 32C3, 32C3s2p1, P2 and 256, joined by -, as {EXAMPLE} is, not {word!r:.60}")
    stage = Stage(int(found[1]), int(found[2]), int(found[3] or 1), int(found[4] or 0))
    if stage.padding >= stage.kernel:
        raise UserError(f"padding must be less than the kernel, but {word} has {stage.padding} for kernels of {stage.kernel}")
    return stage


def notation(network: Network) -> str:
    """The structure of any network, from its inputs, such as ``784-600-10`` or ``28x28-32C3-P2-10``."""
    words = [shown(network.maps[0] or (network.inputs,))]
    for layer in network.layers:
        words += _words(layer)
    return "-".join(words)


def shown(inputs: tuple[int, ...]) -> str:
    """``784``, or, of a map (height, width, planes), ``28x28`` or ``2x40x16``."""
    *image, planes = inputs
    return "x".join(map(str, [planes] * (planes > 1 or not image) + image))


def _words(layer: Layer) -> list[str]:
    pool = [] if layer.pool is None or layer.pool.window == (1, 1) else [f"P{_square(layer.pool.window)}"]
    connection = layer.connection
    if not isinstance(connection, Conv2d):
        return [*pool, str(layer.outputs)]
    options = zip("sp", (connection.strides, connection.paddings), ((1, 1), (0, 0)), strict=True)
    written = (f"{letter}{_square(value)}" for letter, value, usual in options if value != usual)
    return [*pool, f"{connection.channels}C{_square(connection.kernel_shape)}{''.join(written)}"]


def _square(sizes: tuple[int, int]) -> str:
    return str(sizes[0]) if sizes[0] == sizes[1] else crossed(sizes).replace(" ", "")
