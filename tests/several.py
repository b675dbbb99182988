"""Functions in processes of their own: several connected as ``torchrun`` does it, or one that may be killed.

The processes are forked from a server that has PyTorch loaded, so that they start in no time.
"""

import multiprocessing
import os
import socket
import sys
import threading
import traceback

from tqdm import tqdm

from export import UserError
from model.processes import connect

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["tests.several", "model.reproduce", "tests.small_data", "torch._dynamo"]
)  # the first optimizer loads the last
tqdm.set_lock(threading.RLock())  # tqdm's own is between processes: one that is killed with it would block all others
LIMIT_S = 300  # a hang, on however busy a machine


def start(function, *arguments):
    """Run ``function`` in a process; the process, and the end of a pipe that gets what `outcome` reads."""
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_run, args=(sender, function, arguments))
    process.start()
    sender.close()
    return process, receiver


def outcome(process, receiver):
    """What the function returned, or the mistake that it raised, as an exception; None if the process was killed."""
    try:
        if not receiver.poll(LIMIT_S):
            process.kill()
            raise TimeoutError("the process hangs")
        value, error = receiver.recv()
    except EOFError:
        return None
    finally:
        process.join()
        receiver.close()
    if error is not None:
        raise RuntimeError(error)
    return value


def _run(sender, function, arguments):
    try:
        value, error = function(*arguments), None
    except (UserError, OSError, KeyboardInterrupt) as mistake:
        value, error = mistake, None
    except BaseException:
        value, error = None, traceback.format_exc()
    sender.send((value, error))


def start_connected(function, *arguments, count=2):
    """Run ``function(processes, *arguments)`` in several processes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    return [start(_connected, rank, count, port, function, arguments) for rank in range(count)]


def connected(function, *arguments, count=2):
    """The outcomes of `start_connected`, by rank."""
    return [outcome(*started) for started in start_connected(function, *arguments, count=count)]


def _connected(rank, count, port, function, arguments):
    place = {
        "RANK": rank,
        "LOCAL_RANK": rank,
        "WORLD_SIZE": count,
        "LOCAL_WORLD_SIZE": count,
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": port,
    }
    loopback = "lo0" if sys.platform == "darwin" else "lo"
    os.environ.update({name: str(value) for name, value in place.items()} | {"GLOO_SOCKET_IFNAME": loopback})
    with connect("cpu") as processes:
        return function(processes, *arguments)
