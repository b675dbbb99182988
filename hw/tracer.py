"""The same names of signals in every version of Python.

Amaranth names a signal after the variable that it is assigned to, which it finds behind the call in the bytecode. From Python 3.13 on, a
store and the load or store behind it are one instruction there, which Amaranth 0.5 does not know: some signals would lose their names.
"""

import dis
import sys
from collections.abc import Iterable
from functools import cache
from types import CodeType
from typing import Any

from amaranth import tracer

STORES = ("STORE_NAME", "STORE_ATTR", "STORE_FAST", "STORE_DEREF")
PAIRS = ("STORE_FAST_LOAD_FAST", "STORE_FAST_STORE_FAST")
SKIPPED = ("LOAD_", "BUILD_LIST", "COPY", "CACHE")
"""What Amaranth passes over between call and store, by how it begins."""
CALLS = ("CALL", "CALL_KW", "CALL_FUNCTION_EX")


def stored(behind: Iterable[dis.Instruction]) -> str | None:
    """The variable that a call's value is stored in.

    Parameters:
        behind: the instructions behind the call.
    """
    for instruction in behind:
        if instruction.opname in STORES:
            return instruction.argval
        if instruction.opname in PAIRS:
            return instruction.argval[0]
        if not instruction.opname.startswith(SKIPPED):
            return None
    return None


@cache
def names(code: CodeType) -> dict[int, str | None]:
    """By the place of each call, the variable that its value is stored in."""
    instructions = list(dis.get_instructions(code))
    return {item.offset: stored(instructions[at + 1 :]) for at, item in enumerate(instructions) if item.opname in CALLS}


def get_var_name(depth: int = 2, default: Any = tracer._raise_exception) -> Any:
    """As Amaranth's own."""
    frame = sys._getframe(depth)
    code, call = frame.f_code, frame.f_lasti
    while dis.opname[code.co_code[call]] == "CACHE":
        call -= 2
    name = names(code).get(call)
    if name is None and default is tracer._raise_exception:
        raise tracer.NameNotFound
    return default if name is None else name


if sys.version_info >= (3, 13):
    tracer.get_var_name = get_var_name
