"""Where a training run computes: on which device, and in how many processes.

``torchrun`` starts the processes and tells each its place by environment variables. Each works on its share of every batch; what
must be known of the whole batch is summed over all of them, so that all hold the same parameters at any time. What is drawn at
random is drawn for the whole batch in every process. Only the first writes files and speaks.
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

PLACE = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE")  # what torchrun tells each process
TIMEOUT = timedelta(minutes=30)  # the others wait while the first judges an epoch and writes files
LATE = "torch._dynamo"
"""PyTorch imports it with the first step of an optimizer. Modules that it brings take the process group that there is then as a default
of their functions, and keep it, with its threads, to the very end; a process that ends with these may be aborted. Imported before there
is a group, they cannot."""
Value = TypeVar("Value")


@dataclass
class Processes:
    """The processes that train together. With one, nothing here costs anything.

    Attributes:
        device: where this process computes.
        rank: this process's number; the first, 0, speaks for all.
        count: number of processes.
        local_rank: number among the processes of this machine.
        stopping: the user asked to stop.
        gradients: the group that sums gradients: on CUDA one of its own, by NCCL; None: the one for all else, by gloo, on the CPU.
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
        """Sums over the processes, in double precision: the number of frames, and what tensors without dimensions hold.

        Raises:
            KeyboardInterrupt: the user stopped one of the processes; raised in all of them.
            UserError: another process is gone.
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
        """Add up each parameter's gradient over the processes: a bit for bit equal sum in all.

        Raises:
            UserError: another process is gone.
        """
        if self.count > 1:
            gradients = [parameter.grad for parameter in parameters if parameter.grad is not None]
            flat = torch.cat([gradient.flatten() for gradient in gradients])
            _reached(distributed.all_reduce, flat, group=self.gradients)
            for gradient, total in zip(gradients, flat.split([gradient.numel() for gradient in gradients]), strict=True):
                gradient.copy_(total.view_as(gradient))

    def together(self, function: Callable[[], Value]) -> Value:
        """What ``function`` gives here; if it meets a user's mistake in any process, that ends all of them.

        The first process of each machine runs it before the others do: they find what it downloads.

        Raises:
            UserError: ``function`` raised one, or an OSError, in another process, or that process is gone.
            OSError: ``function`` raised it here.
        """
        if self.count > 1 and self.local_rank:
            _reached(distributed.barrier)
        value, mistake = _attempt(function)
        if self.count > 1 and not self.local_rank:
            _reached(distributed.barrier)
        if self.count > 1:
            lines: list[str | None] = [None] * self.count
            _reached(distributed.all_gather_object, lines, mistake and one_line(mistake))
            if mistake is None:
                rank, line = next(((rank, line) for rank, line in enumerate(lines) if line), (0, None))
                if line:
                    raise UserError(f"process {rank}: {line}")
        if mistake is not None:
            raise mistake
        return value  # type: ignore[return-value]  # there is one if there was no mistake

    def from_first(self, function: Callable[[], Value]) -> Value:
        """What ``function`` gives in the first process, the only one to run it.

        Raises:
            UserError: ``function`` raised one, or an OSError, in the first process, or that process is gone.
            OSError: ``function`` raised it here.
        """
        value, mistake = _attempt(function) if self.first else (None, None)
        if self.count > 1:
            outcome = [(value, mistake and one_line(mistake))]
            _reached(distributed.broadcast_object_list, outcome, src=0)
            value, line = outcome[0]
            if line and mistake is None:
                raise UserError(line)
        if mistake is not None:
            raise mistake
        return value  # type: ignore[return-value]

    def check_same(self, name: str, value: object) -> None:
        """Refuse to go on with processes that differ.

        Raises:
            UserError: ``value`` is not the same in all processes, or one is gone.
        """
        if self.count > 1:
            values: list[Any] = [None] * self.count
            _reached(distributed.all_gather_object, values, value)
            for rank, other in enumerate(values):
                if other != values[0]:
                    raise UserError(f"{name} must be the same in all processes, but is {values[0]} in process 0 and {other} in {rank}")

    @contextmanager
    def stopped_together(self) -> Iterator[None]:
        """Ctrl-C in any of several processes stops all of them, at the same `total`; one alone it stops at once."""
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
    """Run a collective operation; a process that does not take part any more becomes one line."""
    try:
        collective(*arguments, **options)
    except RuntimeError:  # torch.distributed's own errors are among these
        raise UserError(
            "all processes must stay to the end, but one has stopped or cannot be reached: --resume goes on after the last finished epoch"
        ) from None
