"""Turn about: what is compared is run in the same minutes, so that a busy machine slows both sides alike."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

Key = TypeVar("Key", bound=Hashable)


def alternate(functions: Mapping[Key, Callable[[], object]], rounds: int) -> dict[Key, float]:
    """Median seconds of each function; in every round each runs once, in the order given.

    What they return is dropped. Nothing is run to warm up: do that before.
    """
    seconds: dict[Key, list[float]] = {key: [] for key in functions}
    for _ in range(rounds):
        for key, function in functions.items():
            begin = time.perf_counter()
            function()
            seconds[key].append(time.perf_counter() - begin)
    return {key: statistics.median(values) for key, values in seconds.items()}
