"""Runs inside the simulator: starts each mode, waits for its end, and writes down the counts. Python is woken once per mode.

Everything else (feeding frames, recording spikes) is the wrapper's work, and comparing is done afterwards.
"""

import json
import os
import time
from pathlib import Path

import cocotb
from cocotb.triggers import RisingEdge, Timer

MODES = {"full": 0, "early": 1, "changing": 2}


@cocotb.test
async def run_frames(dut) -> None:
    status = {}
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
        status[mode] = {
            "stuck": bool(int(dut.stuck.value)),
            "sent": int(dut.sent.value),
            "received": int(dut.received.value),
            "seconds": seconds,
        }
    Path(os.environ["FIRSTSPIKE_STATUS"]).write_text(json.dumps(status))
