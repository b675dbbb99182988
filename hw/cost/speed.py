"""How fast a folding is on given frames: the cost model's cycles, in early mode, as means."""

from dataclasses import asdict, dataclass

import numpy as np

from export import Network, UserError, reference
from export.events import Events
from export.reference import Result
from hw.core.folding import Folding
from hw.cost import cycles as cost


@dataclass(frozen=True)
class Speed:
    """Cycles of some frames, sent back to back.

    Attributes:
        frames: how many.
        interval: mean cycles from one result to the next.
        limit: the bound that no such folding beats, mean over the same frames.
        latency: mean cycles from a frame's first word to its result.
    """

    frames: int
    interval: float
    limit: float
    latency: float

    @classmethod
    def of(cls, network: Network, folding: Folding, inputs: np.ndarray | Events, golden: Result, frames_in: str = "words") -> "Speed":
        """The speed on some frames.

        Parameters:
            network, folding, frames_in: what the circuit is made of.
            inputs: events, or spike times: integers (frames, inputs), 0 … T.
            golden: what `export.reference.run` gives for them.

        Raises:
            UserError: there are fewer than two frames, and so no interval.
        """
        if len(golden) < 2:
            raise UserError(f"there must be at least two frames to count cycles between results, not {len(golden)}")
        cycles = cost.predict(network, folding, inputs, golden, early=True, frames_in=frames_in)
        limit = cost.limit(network, folding, inputs, golden)
        return cls(len(golden), float(cycles.intervals.mean()), float(limit[1:].mean()), float(cycles.latencies.mean()))

    @classmethod
    def measure(cls, network: Network, folding: Folding, inputs: Events, frames_in: str = "words") -> "Speed":
        """The same by the golden model, of any number of frames: means over parts that fit into memory, each of which begins with an empty
        circuit; a part of a single frame has no interval, and does not count.

        Raises:
            UserError: there are fewer than two frames.
        """
        frames, parts = inputs.shape[0], list[Speed]()
        for part, golden in reference.shards(network, inputs):
            if len(golden) > 1 or frames < 2:
                parts.append(cls.of(network, folding, inputs[part], golden, frames_in))
        if len(parts) == 1:
            return parts[0]
        weights = [part.frames for part in parts]
        interval, limit, latency = np.average([(part.interval, part.limit, part.latency) for part in parts], axis=0, weights=weights)
        return cls(sum(weights), float(interval), float(limit), float(latency))

    def images_per_second(self, mhz: float) -> float:
        """Frames per second at a clock of so many MHz."""
        return mhz * 1e6 / self.interval

    def latency_us(self, mhz: float) -> float:
        """Microseconds from a frame's first word to its result."""
        return self.latency / mhz

    def as_dict(self) -> dict[str, float]:
        return asdict(self)


def against(streaming: int, interval: float) -> str:
    """What a dense streaming design takes (see `hw.cost.streaming`), beside the mean interval, in words."""
    return f"{streaming:,} cycles per image with the same PE and SIMD, {streaming / interval:,.1f} × as many"
