"""A layer: what is pooled in front of it, its synapses and its neurons."""

from dataclasses import dataclass

import numpy as np

from export.connections import Connection, Dense, Totals
from export.convolution import Conv2d
from export.errors import UserError
from export.maps import Map, crossed
from export.neuron import Neuron
from export.neurons import NEURONS
from export.pooling import Pool2d
from export.text import one_of

CONNECTIONS: dict[str, type[Connection]] = {connection.kind: connection for connection in (Dense, Conv2d)}


@dataclass(frozen=True, eq=False)
class Layer:
    """A layer: a connection and the neurons that it ends at.

    Parameters:
        connection: the synapses, such as `export.Dense`.
        neuron: the neurons, such as `export.Single`: arrays have one entry per output of the connection, or per channel if these are a map.
        pool: windows into which the map that comes in is pooled before it comes to the connection; None for none.

    Raises:
        UserError: they do not go together.
    """

    connection: Connection
    neuron: Neuron
    pool: Pool2d | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.connection, Connection):
            raise UserError(f"connection must be {one_of(CONNECTIONS)}, not {type(self.connection).__name__}")
        if not isinstance(self.neuron, Neuron):
            raise UserError(f"neuron must be {one_of(NEURONS)}, not {type(self.neuron).__name__}")
        self.neuron.check(self.connection)
        if self.pool is None:
            return
        if not isinstance(self.pool, Pool2d):
            raise UserError(f"pool must be a Pool2d or None, not {type(self.pool).__name__}")
        pooled, taken = self.pool.output_map, self.connection.input_map
        if taken is not None and pooled != taken:
            raise UserError(f"connection must take the pooled map, {crossed(pooled)}, not one of {crossed(taken)}")
        if self.pool.outputs != self.connection.inputs:
            raise UserError(f"connection must take the {self.pool.outputs} windows of the pool, but has {self.connection.inputs} inputs")

    @property
    def outputs(self) -> int:
        return self.connection.outputs

    @property
    def inputs(self) -> int:
        """What comes in, before it is pooled."""
        return self.connection.inputs if self.pool is None else self.pool.inputs

    @property
    def input_map(self) -> Map | None:
        """Height, width and channels, if what comes in must be a map."""
        return self.connection.input_map if self.pool is None else self.pool.input_map

    @property
    def output_map(self) -> Map | None:
        """Height, width and channels, if the outputs are a map."""
        return self.connection.output_map

    @property
    def is_dense(self) -> bool:
        """A full matrix, without a pool in front."""
        return type(self.connection) is Dense and self.pool is None

    def sum_range(self, totals: Totals = (0, 1)) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest sum of each neuron, over all spikes that can come in: int64 (positions, channels) each.

        Parameters:
            totals: least and greatest sum of the coefficients that an input can have sent at any time of a frame.
        """
        least, greatest = self.connection.sum_range(totals if self.pool is None else self.pool.range_of(totals))
        return least.reshape(-1, self.connection.channels), greatest.reshape(-1, self.connection.channels)

    def margin_range(self, totals: Totals, steps: int) -> tuple[int, int]:
        """Least and greatest potential that any neuron can have (see `Neuron.margin_range`).

        Parameters:
            totals: as in `sum_range`.
            steps: ``T``, which bounds what biases add.
        """
        return self.neuron.margin_range(*self.sum_range(totals), steps)
