"""How much memory the tensors of a piece of code take at most."""

from collections.abc import Callable

import torch
from torch.autograd.profiler import profile


def peak_bytes(function: Callable[[], object]) -> int:
    """The most bytes that PyTorch's CPU allocator had handed out while ``function`` ran, above what it had handed out before.

    Every allocation counts from the moment it is made until it is freed, whoever makes it: results, what autograd keeps, gradients, the
    optimizer's state, temporaries inside an operator. What existed before does not count, and is not subtracted when freed. Memory that
    does not go through the allocator (Python's, the BLAS library's own buffers) does not count.

    It runs on one thread: the profiler, which reports every allocation and release, is slow where several share a busy core.
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
