"""The cost model: cycles per frame, computed from spike times alone."""

from hw.cost.cycles import Cycles, limit, predict, streaming
from hw.cost.speed import Speed

__all__ = ["Cycles", "Speed", "limit", "predict", "streaming"]
