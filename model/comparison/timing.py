"""Turn about: what is compared is run in the same minutes, so that a busy machine slows both sides alike."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import torch

Key = TypeVar("Key", bound=Hashable)


def clock() -> str:
    """What `alternate` measures: processor time where PyTorch has one thread, since other work on the machine does not add to it.

    On an idle machine that is the time by the clock. Where there are several threads, they wait for each other and only the clock tells.
    """
    return "processor time" if torch.get_num_threads() == 1 else "time by the clock"


def alternate(functions: Mapping[Key, Callable[[], object]], rounds: int) -> dict[Key, float]:
    """Median seconds of each function, by `clock`; in every round each runs once, in the order given.

    What they return is dropped. Nothing is run to warm up: do that before.
    """
    now = time.process_time if clock() == "processor time" else time.perf_counter
    seconds: dict[Key, list[float]] = {key: [] for key in functions}
    for _ in range(rounds):
        for key, function in functions.items():
            begin = now()
            function()
            seconds[key].append(now() - begin)
    return {key: statistics.median(values) for key, values in seconds.items()}
