"""Proves that the Verilog of the committed artifacts still means what it did: register by register, by Yosys and ABC.

    python equivalence.py OLD NEW [--only digits] [--rename REGEX TEXT …] [--case 'digits --wrapper axi --input pixels']

OLD and NEW are two checkouts of the project (``git worktree add``); the Python that runs this writes the Verilog of both with their own
``python -m hw``. Cases are the foldings of docs/hardware-results/rows.toml, which have all seven artifacts, and wrappers, pixels, loadable
weights and one or several contexts of the small ones; or those given with ``--case``.

Both circuits are flattened by Yosys. Each register bit and each memory of the one must be there in the other under the same name, after all
``--rename`` (regular expressions, applied in order to the OLD text; `RENAMED` first), with the same clock, reset and initial content; contents
of memories are compared as they are. Then registers and memories are cut out: what they hold is an input of the logic between them, what goes
into them an output. ABC proves the two logics equal, for all inputs (`cec`). So the circuits are equal for all inputs and all times. What the
text leaves undefined counts as 0 on both sides. Ends with exit status 1 if anything is unproven.

A refactoring that adds, removes or retimes registers cannot be proven like this; one that renames them needs a ``--rename``.
"""

import argparse
import json
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path

RENAMED = [
    (r"\b((?:i|o|load|monitor)(?:_\d+)?)__(valid|ready|payload)\b", r"\1_\2"),  # ports (and inner names, which need not match)
    (r"\bgate\b", "scheduler"),
    (r"\bissue\b", "sequencer"),
    (r"judged", "step_done"),
]
"""What has other names since commit 646037e."""

MORE = (
    "digits --input pixels",
    "digits --input pixels --wrapper axi",
    "digits --input pixels --wrapper wishbone",
    "digits --wrapper axi",
    "digits --wrapper wishbone",
    "digits --weights loadable",
    "digits --weights loadable --input pixels --wrapper axi",
    "digits --simd 8,8 --pe 32,2 --order step,step --contexts 2",
    "digits --simd 8,8 --pe 32,2 --form xnor,xnor --contexts 1",
    "mnist-128 --input pixels --pixels 4 --contexts 4",
)
FLATTEN = """
read_verilog {side}.v
hierarchy -check -top {top}
proc -norom
flatten
memory_collect
opt_clean
write_json {side}.json
"""
MAP = """
read_json {side}.cut.json
setundef -zero
techmap
simplemap
aigmap
write_aiger {side}.aig
"""


def cases(tree: Path) -> list[str]:
    rows = tomllib.loads((tree / "docs/hardware-results/rows.toml").read_text())["row"]
    options = ("simd", "pe", "form", "order", "swap", "contexts", "input", "pixels")
    made = [row["network"] + "".join(f" --{key} {row[key]}" for key in options if key in row) for row in rows]
    return [*reversed(made), *MORE]


def verilog(tree: Path, case: str, folder: Path) -> str:
    network, *options = shlex.split(case)
    out = folder / "circuit.v"
    command = [sys.executable, "-m", "hw", f"artifacts/{network}.safetensors", "--out", out, *options]
    subprocess.run(command, cwd=tree, check=True, stdout=subprocess.DEVNULL)
    return out.read_text()


class Circuit:
    """A flat circuit: its registers and memories by name, and how they are connected."""

    def __init__(self, path: Path):
        (self.module,) = json.loads(path.read_text())["modules"].values()
        cells = self.module["cells"]
        self.registers = {name: cell for name, cell in cells.items() if re.search(r"ff", cell["type"])}
        self.memories = {name: cell for name, cell in cells.items() if cell["type"].startswith("$mem")}
        self.names: dict[int, set[str]] = {}
        self.inits: dict[int, str] = {}
        for name, net in self.module["netnames"].items():
            for at, bit in enumerate(net["bits"]):
                self.names.setdefault(bit, set()).add(f"{name}[{at}]")
            if "init" in net["attributes"]:
                self.inits |= dict(zip(net["bits"], reversed(net["attributes"]["init"])))
        self.bits = {  # of registers, and what goes into each
            q: (cell["type"], str(sorted((k, v) for k, v in cell["parameters"].items() if k != "WIDTH")), d, *rest)
            for cell in self.registers.values()
            for q, d in zip(cell["connections"]["Q"], cell["connections"]["D"], strict=True)
            for rest in [[bit for port in ("CLK", "ARST") for bit in cell["connections"].get(port, [])]]
        }

    def ports(self, direction: str) -> list[tuple[str, list]]:
        return sorted((name, port["bits"]) for name, port in self.module["ports"].items() if port["direction"] == direction)

    def cut(self, path: Path, order: list[int]) -> None:
        """Write the logic between registers alone; ``order`` has their bits."""
        inside = [self.memories[name]["connections"] for name in sorted(self.memories)]
        given = [bit for _, bits in self.ports("input") for bit in bits] + order + [bit for of in inside for bit in of["RD_DATA"]]
        wanted = [bit for _, bits in self.ports("output") for bit in bits]
        wanted += [bit for q in order for bit in self.bits[q][2:]]
        wanted += [bit for of in inside for name in sorted(of) if name != "RD_DATA" for bit in of[name]]
        cells = {name: cell for name, cell in self.module["cells"].items() if name not in self.registers and name not in self.memories}
        ports = {"i": {"direction": "input", "bits": given}, "o": {"direction": "output", "bits": wanted}}
        assert not any(cell["type"][0] != "$" for cell in cells.values())
        path.write_text(json.dumps({"modules": {"cut": {"attributes": {"top": 1}, "ports": ports, "cells": cells, "netnames": {}}}}))


def paired(old: Circuit, new: Circuit) -> list[tuple[int, int]]:
    """The bits of all registers of both, those with a name in common together.

    Raises:
        ValueError: they do not pair, or their reset, clock or initial content differs.
    """
    by_name = {name: bit for bit in new.bits for name in new.names.get(bit, ())}
    pairs, lonely = [], []
    for bit in old.bits:
        found = {by_name[name] for name in old.names.get(bit, ()) if name in by_name}
        if len(found) != 1:
            lonely.append(sorted(old.names.get(bit, ["?"]))[0])
            continue
        (other,) = found
        pairs.append((bit, other))
        for what, ours, theirs in (
            ("initial content", old.inits.get(bit, "x"), new.inits.get(other, "x")),
            ("kind", old.bits[bit][:2], new.bits[other][:2]),
        ):
            if ours != theirs:
                raise ValueError(f"{what} of {sorted(old.names[bit])[0]}: {ours}, {theirs}")
    missing = set(new.bits) - {other for _, other in pairs}
    if lonely or missing or len({other for _, other in pairs}) != len(pairs):
        raise ValueError(
            f"registers only in old: {lonely[:9]}; only in new: {[sorted(new.names.get(bit, ['?']))[0] for bit in missing][:9]}"
        )
    return pairs


def same_outside(old: Circuit, new: Circuit) -> None:
    """Raises ValueError if ports or memories, with what is in them, differ."""
    for direction in ("input", "output"):
        sides = [[(name, len(bits)) for name, bits in side.ports(direction)] for side in (old, new)]
        if sides[0] != sides[1]:
            raise ValueError(f"{direction} ports: {sides[0]}, {sides[1]}")
    for name in sorted(old.memories.keys() | new.memories.keys()):
        if name not in old.memories or name not in new.memories:
            raise ValueError(f"memories: {sorted(old.memories)}, {sorted(new.memories)}")
        ours, theirs = ({k: v for k, v in side.memories[name]["parameters"].items() if k != "MEMID"} for side in (old, new))
        if ours != theirs:
            raise ValueError(f"memory {name}: {[key for key in ours if ours[key] != theirs.get(key)]}")


def prove(old: str, new: str, yosys: str, abc: str, folder: Path) -> str:
    """Prove two texts equal; returns a line about it."""
    began = time.monotonic()

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
        if done.returncode:
            raise ValueError(f"{' '.join(command)}: {done.stderr[-500:]} ({folder})")
        return done.stdout

    top = re.search(r"^module (\w+)", new, re.MULTILINE)[1]
    for side, text in (("old", old), ("new", new)):
        (folder / f"{side}.v").write_text(text)
        run(yosys, "-q", "-p", FLATTEN.format(side=side, top=top))
    before, after = (Circuit(folder / f"{side}.json") for side in ("old", "new"))
    same_outside(before, after)
    pairs = paired(before, after)
    for side, circuit, order in (("old", before, [a for a, _ in pairs]), ("new", after, [b for _, b in pairs])):
        circuit.cut(folder / f"{side}.cut.json", order)
        run(yosys, "-q", "-p", MAP.format(side=side))
    said = run(abc, "-q", "cec old.aig new.aig")
    if "Networks are equivalent" not in said:
        raise ValueError(f"{said.strip()[-500:]} ({folder})")
    return f"{len(pairs)} register bits, {len(before.memories)} memories, {time.monotonic() - began:.0f} s"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("--only", default="", help="cases that begin with this")
    parser.add_argument("--case", action="append", help="network and options, instead of all")
    parser.add_argument("--rename", action="append", nargs=2, default=[], metavar=("REGEX", "TEXT"))
    parser.add_argument("--yosys", default="yosys")
    parser.add_argument("--abc", default="yosys-abc")
    given = parser.parse_args()
    renamed = [*RENAMED, *given.rename]
    failed = 0
    for case in given.case or cases(given.new):
        if not case.startswith(given.only):
            continue
        folder = Path(tempfile.mkdtemp(prefix="equivalence."))
        old, new = (verilog(tree.resolve(), case, folder) for tree in (given.old, given.new))
        for pattern, text in renamed:
            old = re.sub(pattern, text, old)
        try:
            print(f"{case}: equal: {prove(old, new, given.yosys, given.abc, folder)}", flush=True)
            shutil.rmtree(folder)
        except ValueError as error:
            print(f"{case}: NOT PROVEN: {error}", flush=True)
            failed += 1
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
