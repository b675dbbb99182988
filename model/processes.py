"""The device and the processes of a training run.

``torchrun`` starts the processes and numbers them by environment variables. Each computes its share of every batch; gradients and counts
are summed over all (all-reduce), so that all hold the same parameters at any time. Random numbers are drawn for the whole batch in every
process. Only process 0 writes files and prints.
"""

import gc
import importlib
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, TypeVar

import torch
from torch import Tensor, distributed

from export import UserError
from export.cli import one_line
from model.machine import launched

PLACE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")  # set by torchrun
TIMEOUT = timedelta(minutes=30)  # the others wait while process 0 writes files
LATE = "torch._dynamo"
"""PyTorch imports it with the first step of an optimizer. Its modules hold on to the process group that exists at that time, with its
threads, and a process that exits with these may be aborted. So it is imported before there is a group."""
Value = TypeVar("Value")


@dataclass
class Processes:
    """The processes that train together; by default one, on the CPU, where every method returns at once.

    Attributes:
        device: where this process computes.
        rank: this process's number, from 0.
        count: number of processes.
        local_rank: number among the processes of this machine.
        stopping: Ctrl-C was pressed.
        gradients: the process group that sums gradients: NCCL on CUDA; None: the default group, gloo on the CPU, as for all else.

    Raises:
        UserError: by all methods that communicate, if another process has ended.
    """

    device: torch.device = field(default_factory=lambda: torch.device("cpu"))
    rank: int = 0
    count: int = 1
    local_rank: int = 0
    stopping: bool = False
    gradients: distributed.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        return self.rank == 0

    def share(self, frames: int) -> slice:
        """This process's part of a batch; empty where there are fewer frames than processes."""
        return slice(frames * self.rank // self.count, frames * (self.rank + 1) // self.count)

    def total(self, frames: int, *values: Tensor) -> list[float]:
        """Sums over the processes, in double precision, of a number of frames and of scalar tensors.

        Raises:
            KeyboardInterrupt: Ctrl-C was pressed in one of the processes; raised in all of them.
        """
        found = torch.stack([value.to(torch.float64) for value in values]).tolist()  # one transfer
        if self.count == 1:
            return [frames, *found]
        sums = torch.tensor([frames, *found, self.stopping], dtype=torch.float64)
        _reached(distributed.all_reduce, sums)
        *totals, stopping = sums.tolist()
        if stopping:
            raise KeyboardInterrupt
        return totals

    def sum_gradients(self, parameters: Iterable[torch.nn.Parameter]) -> None:
        """Add up each parameter's gradient over the processes: a bit for bit equal sum in all."""
        if self.count > 1:
            for parameter in parameters:
                _reached(distributed.all_reduce, parameter.grad, group=self.gradients)

    def gather(self, value: Value) -> list[Value]:
        """``value`` of every process, by rank."""
        values = [value] * self.count
        if self.count > 1:
            _reached(distributed.all_gather_object, values, value)
        return values

    def together(self, function: Callable[[], Value]) -> Value:
        """What ``function`` returns here; an error in any process ends all of them.

        The first process of each machine runs it before the others do: they find what it downloads.

        Raises:
            UserError: ``function`` raised one, or an OSError, in another process.
            OSError: ``function`` raised it here.
        """
        if self.local_rank:
            self.gather(None)
        value, error = _attempt(function)
        if not self.local_rank:
            self.gather(None)
        self._raise_any(error)
        return value  # type: ignore[return-value]  # there is one if there was no error

    def from_first(self, function: Callable[[], Value]) -> Value:
        """What ``function`` returns in process 0, the only one to run it.

        Raises:
            UserError, OSError: as `together`.
        """
        value, error = _attempt(function) if self.first else (None, None)
        self._raise_any(error)
        return self.gather(value)[0]  # type: ignore[return-value]

    def _raise_any(self, error: Exception | None) -> None:
        lines = self.gather(error and one_line(error))
        if error is not None:
            raise error
        for rank, line in enumerate(lines):
            if line:
                raise UserError(f"process {rank}: {line}")

    def check_same(self, name: str, value: object) -> None:
        """Refuse to go on with processes that differ.

        Raises:
            UserError: ``value`` is not the same in all processes.
        """
        first, *others = self.gather(value)
        for rank, other in enumerate(others, 1):
            if other != first:
                raise UserError(f"{name} must be the same in all processes, but is {first} in process 0 and {other} in {rank}")

    @contextmanager
    def stopped_together(self) -> Iterator[None]:
        """Within the block, Ctrl-C in any of several processes stops all of them, at the same `total`; a single process stops at once."""
        if self.count == 1:
            yield
            return

        def stop(*_: object) -> None:
            self.stopping = True

        before = signal.signal(signal.SIGINT, stop)
        try:
            yield
        finally:
            signal.signal(signal.SIGINT, before)


@contextmanager
def connect(device: str) -> Iterator[Processes]:
    """The processes that ``torchrun`` started, connected until the block ends; without it, this one alone.

    Parameters:
        device: ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UserError: there is no such device, ``torchrun`` did not tell a process its place, or the processes cannot reach each other.
    """
    if not launched():
        yield Processes(find_device(device))
        return
    try:
        rank, local_rank, count, local_count = (int(os.environ[name]) for name in PLACE)
    except (KeyError, ValueError) as error:
        raise UserError(f"{', '.join(PLACE)} must be numbers, as torchrun sets them: {error}") from None
    importlib.import_module(LATE)
    try:
        distributed.init_process_group("gloo", timeout=TIMEOUT)
    except (RuntimeError, ValueError) as error:
        raise UserError(f"the processes must reach each other, but process {rank} cannot: {error}") from None
    try:
        processes = Processes(rank=rank, count=count, local_rank=local_rank)
        processes.device = processes.together(lambda: find_device(device, local_rank, local_count))
        if processes.device.type == "cuda":
            torch.cuda.set_device(processes.device)
            processes.gradients = distributed.new_group(backend="nccl", timeout=TIMEOUT)
        yield processes
    finally:
        distributed.destroy_process_group()
        gc.collect()


def find_device(name: str, local_rank: int = 0, local_count: int = 1) -> torch.device:
    """The device of a process; of several on one machine, each takes a GPU of its own.

    Raises:
        UserError: there is no such device.
    """
    match = re.fullmatch(r"cpu|cuda(?::(\d+))?", name)
    if not match:
        raise UserError(f"device must be cpu, cuda or cuda:N, not {name!r}")
    if name == "cpu":
        return torch.device(name)
    if match[1] and local_count > 1:
        raise UserError(f"device must be cuda, a GPU for each of the {local_count} processes of this machine, not {name}")
    there, index = torch.cuda.device_count(), int(match[1] or local_rank)
    if index >= there:
        wanted = f"cuda:{index}" if match[1] or local_count > 1 else name
        raise UserError(f"device {wanted} must be there, but PyTorch {torch.__version__} sees {there} CUDA devices: use --device cpu")
    return torch.device("cuda", index)


def _attempt(function: Callable[[], Value]) -> tuple[Value | None, Exception | None]:
    try:
        return function(), None
    except (UserError, OSError) as error:
        return None, error


def _reached(collective: Callable[..., Any], *arguments: Any, **options: Any) -> None:
    """Run a collective operation; a lost process becomes one line."""
    try:
        collective(*arguments, **options)
    except RuntimeError:  # torch.distributed's own errors are among these
        raise UserError(
            "all processes must stay to the end, but one has stopped or cannot be reached: --resume goes on after the last finished epoch"
        ) from None
