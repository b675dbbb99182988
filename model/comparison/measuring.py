"""Time and peak memory of functions that are compared, and the table of a comparison."""

import statistics
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import torch
from torch.autograd.profiler import profile

Key = TypeVar("Key", bound=Hashable)


def clock() -> str:
    """What `interleave` measures: processor time where PyTorch has one thread, since other work on the machine does not add to it.

    On an idle machine that is the time by the clock. Where there are several threads, they wait for each other and only the clock tells.
    """
    return "processor time" if torch.get_num_threads() == 1 else "time by the clock"


def interleave(functions: Mapping[Key, Callable[[], object]], rounds: int) -> dict[Key, float]:
    """Median seconds of each function, by `clock`; in every round each runs once, so that a busy machine slows all alike.

    Nothing is run to warm up: do that before.
    """
    now = time.process_time if clock() == "processor time" else time.perf_counter
    seconds: dict[Key, list[float]] = {key: [] for key in functions}
    for _ in range(rounds):
        for key, function in functions.items():
            begin = now()
            function()
            seconds[key].append(now() - begin)
    return {key: statistics.median(values) for key, values in seconds.items()}


def peak_bytes(function: Callable[[], object]) -> int:
    """The most bytes that PyTorch's CPU allocator had handed out while ``function`` ran, above what it had handed out before.

    Every allocation counts until it is freed: results, what autograd keeps, gradients, temporaries inside an operator. Memory that does
    not go through the allocator (Python's, the BLAS library's buffers) does not count. It runs on one thread: the profiler is slow where
    several share a core.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with profile(profile_memory=True) as profiler:
            function()
    finally:
        torch.set_num_threads(threads)
    results = profiler.kineto_results
    assert results is not None, "the profiler must have run"
    changes = sorted((event.start_ns(), event.nbytes()) for event in results.events() if event.name() == "[memory]")
    now = most = 0
    for _, change in changes:
        now += change
        most = max(most, now)
    return most


class Row(NamedTuple):
    """A quantity of both sides; ``ratio``: whether the baseline's over this project's is shown, too."""

    name: str
    unit: str
    decimals: int
    baseline: float
    ours: float
    ratio: bool = True


@dataclass(frozen=True)
class Comparison:
    """The figures of a benchmark.

    Attributes:
        title: what was compared.
        about: how it was measured.
        baseline: the name of the other side.
        rows: quantities of both sides.
        others: further figures: name, value, unit.
    """

    title: str
    about: str
    baseline: str
    rows: list[Row]
    others: list[tuple[str, float, str]]

    def figures(self) -> list[tuple[str, float, str]]:
        """All figures: name, value, unit."""
        found = []
        for name, unit, _, baseline, ours, ratio in self.rows:
            found += [(f"{name}, {self.baseline}", baseline, unit), (f"{name}, this project", ours, unit)]
            if ratio:
                found.append((f"{name}, {self.baseline} / this project", baseline / ours, "×"))
        return [*found, *self.others]

    def __str__(self) -> str:
        lines = [self.title, self.about, f"{'':42}{self.baseline:>14}{'this project':>14}{'ratio':>10}"]
        for name, unit, decimals, baseline, ours, ratio in self.rows:
            cells = f"{baseline:14,.{decimals}f}{ours:14,.{decimals}f}" + (f"{baseline / ours:9.1f}×" if ratio else "")
            lines.append(f"{f'{name}, {unit}' if unit else name:42}{cells}")
        lines += [f"{name}: {value:.1f} {unit}" for name, value, unit in self.others]
        return "\n".join(lines)
