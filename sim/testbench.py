"""Runs inside the simulator: starts each mode, waits for its end, and writes down how it ended. Python is woken once per mode.

Everything else (feeding frames, recording spikes) is the wrapper's work, and comparing is done afterwards.
"""

import json
import os
import time
from pathlib import Path

import cocotb
from cocotb.triggers import RisingEdge, Timer

MODES = {"full": 0, "early": 1, "changing": 2}
"""In "changing", the mode changes at any moment."""


@cocotb.test
async def play(dut) -> None:
    """All modes, in the folder in which the simulator runs; or, for each of the mutants that are asked for, in a folder of its own."""
    here = Path.cwd()
    for mutant in filter(None, os.environ.get("FIRSTSPIKE_MUTANTS", "").split(",")):
        dut.dut.mutant.value = int(mutant)
        await play_modes(dut)
        await Timer(10, "ns")  # the files are closed
        (here / mutant).mkdir()
        for path in (*here.glob("*.*.bin"), *here.glob("*.json")):
            path.rename(here / mutant / path.name)
    if "FIRSTSPIKE_MUTANTS" not in os.environ:
        await play_modes(dut)


async def play_modes(dut) -> None:
    for mode in os.environ["FIRSTSPIKE_MODES"].split(","):
        dut.start.value = 0
        dut.early.value = MODES[mode]
        dut.rst.value = 1
        await Timer(10, "ns")
        dut.rst.value = 0
        dut.start.value = 1
        began = time.perf_counter()
        await RisingEdge(dut.done)
        seconds = time.perf_counter() - began
        Path(f"{mode}.json").write_text(json.dumps({"stuck": bool(int(dut.stuck.value)), "seconds": seconds}), encoding="utf-8")
