"""From a NIR graph to a network."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import nir
import numpy as np

from export.connections import Connection, Dense, Totals
from export.convolution import Conv2d
from export.errors import UserError, prefixed
from export.layer import Layer
from export.maps import Map
from export.network import Network
from export.neuron import Neuron
from export.neurons import Single
from export.nir.conventions import Frames, initial, subtracts
from export.nir.fold import rate_of, readout_of, single_of
from export.nir.graph import Chain, label, pair
from export.pooling import Pool2d

ADVICE = "--reset subtract, if the tool that it comes from does that"


@dataclass(frozen=True, eq=False)
class _Synapses:
    """A connection with what its neurons need.

    Attributes:
        connection: weights of ±1.
        scales: what these are worth, above 0, float64 (channels,).
        bias: what is added in each step, float64 (channels,).
    """

    connection: Connection
    scales: np.ndarray
    bias: np.ndarray


class Reader:
    """Reads a graph node by node.

    Parameters:
        chain: the graph.
        frames: what a frame is.
        subtract: all neurons are reset by subtraction, whatever their metadata say.
    """

    def __init__(self, chain: Chain, frames: Frames, *, subtract: bool = False):
        self._chain, self._frames, self._subtract = chain, frames, subtract
        self._layers: list[Layer] = []
        self._shape = chain.shape
        self._map: Map | None = None  # in the order of our neurons
        self._pool: Pool2d | None = None
        self._synapses: _Synapses | None = None
        self._totals: Totals = frames.encoder.totals

    def read(self, provenance: dict[str, Any]) -> Network:
        """The graph as a network.

        Raises:
            UserError: a node is none that a network can have; the message names it, its type, and what must hold.
        """
        for at, (name, node) in enumerate(self._chain.nodes):
            with prefixed(label(name, node)):
                if isinstance(node, nir.IF | nir.I):
                    self._neurons(node, last=at == len(self._chain.nodes) - 1)
                elif self._synapses is not None:
                    raise UserError("must not come between weights and neurons")
                elif isinstance(node, nir.Linear | nir.Affine | nir.Conv2d):
                    self._synapses = self._connect(node)
                elif isinstance(node, nir.SumPool2d):
                    self._pool_of(node)
                elif len(node.output_type["output"]) != 1:
                    raise UserError("must make a vector")
                self._shape = tuple(int(size) for size in node.output_type["output"])
        if not self._chain.nodes or not isinstance(self._chain.nodes[-1][1], nir.I):
            raise UserError("the last node must be an integrator (I), whose potentials decide")
        return Network(tuple(self._layers), self._frames.steps, self._frames.encoder, self._frames.class_names, provenance)

    def _pool_of(self, node: nir.SumPool2d) -> None:
        if self._pool is not None:
            raise UserError("must not follow another pool")
        window = pair(node.kernel_size)
        if pair(node.stride) != window or pair(node.padding) != (0, 0):
            raise UserError("windows must neither overlap nor leave gaps or have padding")
        if len(self._shape) != 3:
            raise UserError(f"must follow a map, not {self._shape}")
        channels, height, width = self._shape
        self._pool = Pool2d((height, width), channels, window, "sum")
        self._map = self._pool.output_map

    def _connect(self, node: nir.NIRNode) -> _Synapses:
        weights = np.asarray(node.weight, np.float64)
        channels = len(weights)
        size = np.abs(weights).reshape(channels, -1)
        scales = size[:, 0]
        if (wrong := (size != scales[:, None]) | (size == 0) | ~np.isfinite(size)).any():
            j = int(wrong.any(axis=1).argmax())
            values = ", ".join(f"{value:.6g}" for value in np.unique(weights[j])[:4])
            raise UserError(f"weights must be -s or +s, one scale s per output, but those of output {j} are {values}")
        signs = np.where(weights > 0, 1, -1)
        bias = np.zeros(channels) if isinstance(node, nir.Linear) else np.broadcast_to(np.asarray(node.bias, np.float64), channels)
        if isinstance(node, nir.Conv2d):
            return _Synapses(self._conv2d(node, signs), scales, bias)
        if len(self._shape) != 1:
            raise UserError(f"must take a vector, such as Flatten makes, not {self._shape}")
        if self._map is not None:  # numbered plane by plane in NIR
            height, width, planes = self._map
            signs = signs.reshape(channels, planes, height * width).swapaxes(1, 2).reshape(channels, -1)
        return _Synapses(Dense(signs), scales, bias)

    def _conv2d(self, node: nir.Conv2d, signs: np.ndarray) -> Conv2d:
        if len(self._shape) != 3:
            raise UserError(f"must take a map, not {self._shape}")
        named = isinstance(node.padding, str)
        if node.groups != 1 or pair(node.dilation) != (1, 1) or (named and node.padding != "valid"):
            raise UserError("groups and dilation must be 1, and padding must be numbers or 'valid'")
        padding = (0, 0) if named else pair(node.padding)
        return Conv2d(signs, self._shape[1:], pair(node.stride), padding)

    def _neurons(self, node: nir.NIRNode, *, last: bool) -> None:
        if self._synapses is None:
            raise UserError("must follow weights")
        if last != isinstance(node, nir.I):
            raise UserError(
                "must be the last node: ours spike" if not last else "the last node must be an integrator (I), whose potentials decide"
            )
        connection, start = self._synapses.connection, initial(node)
        self._map = connection.output_map
        scales = self._synapses.scales * self._of_channels("r", node.r)
        if not (np.isfinite(scales) & (scales > 0)).all():
            raise UserError("r must be above 0")
        reals = {
            "initial": _over(self._of_channels("initial", start), scales),
            "bias": _over(self._synapses.bias, self._synapses.scales),  # r scales it as it scales sums
        }
        layer = Layer(connection, self._readout(scales, reals) if last else self._spiking(node, scales, reals), self._pool)
        self._layers.append(layer)
        self._totals = layer.neuron.totals(self._frames.steps)
        self._pool, self._synapses = None, None

    def _readout(self, scales: np.ndarray, reals: dict[str, list[Fraction]]) -> Neuron:
        assert self._synapses is not None
        if (scales != scales[0]).any():
            raise UserError("potentials must be of one scale for all classes")
        if self._frames.early and any(reals["bias"]):
            raise UserError("must have no bias in each step, since it decides early")
        offsets = [start + self._frames.steps * bias for start, bias in zip(reals["initial"], reals["bias"], strict=True)]
        readout = readout_of(offsets, early=self._frames.early, greatest=int(self._sums()[1].max()))
        connection = self._synapses.connection
        once = self._coming == (0, 1) and not readout.fraction and connection.output_map is None
        fits = -connection.fan_in <= readout.thresholds.min() <= readout.thresholds.max() <= connection.fan_in + 1
        return Single(readout.thresholds) if once and fits else readout

    def _spiking(self, node: nir.IF, scales: np.ndarray, reals: dict[str, list[Fraction]]) -> Neuron:
        assert self._synapses is not None
        threshold, reset = self._of_channels("v_threshold", node.v_threshold), self._of_channels("v_reset", node.v_reset)
        thresholds, resets = _over(threshold, scales), _over(reset, scales)
        least, greatest = self._sums()
        if not self._subtract and not subtracts(node):
            rises = (greatest - least).tolist()
            once = all(r + rise <= t for r, rise, t in zip(resets, rises, thresholds, strict=True)) and not any(reals["bias"])
            if once:
                fan_in = self._synapses.connection.fan_in
                first = -fan_in if self._synapses.connection.output_map is None else 1
                return Single(single_of([t - v for t, v in zip(thresholds, reals["initial"], strict=True)], first, fan_in + 1))
            if self._frames.steps > 1:
                raise UserError(
                    f"must be reset by subtraction, or to a v_reset from which it cannot fire again, not to {reset[0]:g} ({ADVICE})"
                )
        if min(thresholds) <= 0:
            raise UserError(f"v_threshold must be above 0, not {threshold.min():g}")
        return rate_of(thresholds, reals["initial"], reals["bias"], least, greatest, self._frames.steps)

    def _sums(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest sum of each neuron, or channel, int (channels,) each."""
        assert self._synapses is not None
        connection = self._synapses.connection
        least, greatest = connection.sum_range(self._coming)
        return least.reshape(-1, connection.channels).min(axis=0), greatest.reshape(-1, connection.channels).max(axis=0)

    @property
    def _coming(self) -> Totals:
        """Least and greatest sum of the coefficients of what comes in."""
        return self._totals if self._pool is None else self._pool.range_of(self._totals)

    def _of_channels(self, name: str, numbers: np.ndarray) -> np.ndarray:
        """Numbers of neurons as those of channels, float64 (channels,)."""
        assert self._synapses is not None
        connection = self._synapses.connection
        if numbers.size != connection.outputs:
            raise UserError(f"must be {connection.outputs} neurons, not {numbers.size}")
        rows = np.asarray(numbers, np.float64).reshape(connection.channels, -1)
        if (rows != rows[:, :1]).any():
            raise UserError(f"{name} must be the same at all positions of a channel")
        return rows[:, 0]


def _over(numbers: np.ndarray, scales: np.ndarray) -> list[Fraction]:
    """Quotients, exact."""
    if not np.isfinite(numbers).all():
        raise UserError("all numbers must be finite")
    return [Fraction(number) / Fraction(scale) for number, scale in zip(numbers.tolist(), scales.tolist(), strict=True)]
