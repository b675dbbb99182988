"""Runs inside the simulator: every mutant in turn through all that the wrapper has to send, in one process.

Each leaves its files in a folder with its number.
"""

import json
import os
from pathlib import Path

import cocotb
from cocotb.triggers import RisingEdge, Timer

from sim.testbench import MODES


@cocotb.test
async def run_mutants(dut) -> None:
    folder = Path(os.environ["FIRSTSPIKE_FOLDER"])
    for mutant in map(int, os.environ["FIRSTSPIKE_MUTANTS"].split(",")):
        own = folder / str(mutant)
        own.mkdir()
        status = {}
        for mode in os.environ["FIRSTSPIKE_MODES"].split(","):
            dut.start.value = 0
            dut.early.value = MODES[mode]
            dut.dut.mutant.value = mutant
            dut.rst.value = 1
            await Timer(10, "ns")
            dut.rst.value = 0
            dut.start.value = 1
            await RisingEdge(dut.done)
            status[mode] = {"stuck": bool(int(dut.stuck.value)), "sent": int(dut.sent.value), "seconds": 0.0}
        await Timer(10, "ns")  # the files are closed
        for path in folder.glob("*.*.bin"):
            path.rename(own / path.name)
        (own / "status.json").write_text(json.dumps(status))
