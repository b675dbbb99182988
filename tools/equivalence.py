"""Proves that the Verilog of the committed artifacts still means what it did, by induction over pairs of circuits, with Yosys and ABC.

    python tools/equivalence.py OLD NEW OUT [--only 23 …]

OLD and NEW are checkouts of the project, OUT is a folder for texts (those that are there are kept). Cases are the rows of
docs/results/foldings.toml of NEW. Run by a Python that can import NEW (PYTHONPATH).

Run with Yosys 0.23 and its ABC, which are several times as fast as their WebAssembly builds.

Registers, memories and ports are paired by name, fields of packed registers by the name of the field; contents of memories are
compared as they are. What pairs is one input of both circuits' logic; what does not is free, or held by `relations`: what registers
of one circuit alone are worth, and in what order neuron vectors come. Proven, for all inputs and all states in which the relations
hold: whatever goes out, into paired registers and into memories is equal, and the relations hold again; and they hold at reset. So
the circuits are equal, for all inputs and all times. What the text leaves undefined (read registers before the first clock) counts
as equal. Exit status 1 if anything is unproven.
"""

import argparse
import json
import re
import subprocess
import sys
import time
import tomllib
from math import gcd
from pathlib import Path

from export.artifact import load
from hw.core.folding import Folding, default_contexts, default_folding
from hw.core.plan import LayerPlan
from hw.core.sequencer import operation
from hw.core.streams import input_format, neuron_vectors

OPERATION = ("weight_row", "fold", "spikes", "restart", "first", "test", "swap", "beat", "time", "last_of_frame", "error", "frame")
VECTOR = ("time", "fold", "first", "last_of_step", "last_of_frame", "error", "frame", "fire", "margin")
RENAMED = {  # in flat names
    "old": [
        (r"\bgate\b", "scheduler"),
        (r"\bissue\b", "sequencer"),
        ("judged", "step_done"),
        (r"\bgroup\b|(?<=_)group\b", "fold"),
        ("head_base", "head_index"),
        (r"^scheduler\.kept$", "scheduler.granted"),
        (r"^scheduler\.held$", "scheduler.locked"),
        (r"^emitter_0\.read__data$", "emitter_0.waiting"),
        (r"^(layer_\d)\.membranes$", r"\1.memory"),
        (r"write_port__en$", "integrating_valid"),
        ("fired$", "flags"),
        (r"\brow(_number|_tag|_valid|s|s__data|)$", r"block\1"),
    ],
    "new": [(r"^(layer_\d)\.membranes\.", r"\1."), (r"^(layer_\d)\.signal$", r"\1.kept_potential")],
}
NAMED = r"<(old:)?([a-z][\w.\[\]]*)>(\[[^\]]*\])?"
MAP = "setundef -undriven -zero; setundef -zero; simplemap; techmap; simplemap; aigmap; write_aiger -map {0}.map {0}.aig"
FLATTEN = """read_verilog {side}.v; hierarchy -check -top accelerator; proc -norom; flatten; memory_collect; opt_clean
memory_map */emitter_0.queue; write_json {side}.json"""


def plans_of(tree: Path, row: dict) -> tuple[LayerPlan, ...]:
    network = load(tree / f"artifacts/{row['network']}.safetensors")
    simd, pe = (tuple(map(int, row[key].split(","))) if key in row else getattr(default_folding(network), key) for key in ("simd", "pe"))
    form, order = (tuple(row[key].split(",")) if key in row else None for key in ("form", "loop_order"))
    form = form or ("delta",) * len(simd)
    swap = tuple(map(int, row.get("swap", "1" + ",1" * (len(simd) - 1)).split(",")))
    contexts = int(row.get("contexts", default_contexts(network, pe)))
    return Folding(simd, pe, form, order or (), swap, contexts).plans(network)


class Circuit:
    """A flat circuit: bits by canonical names, registers, memories."""

    def __init__(self, path: Path, side: str, packed: dict[str, list[tuple[str, int]]]):
        (self.module,) = json.loads(path.read_text())["modules"].values()
        cells = self.module["cells"]
        self.side = side
        self.memories = {self._name(name): cell for name, cell in cells.items() if cell["type"].startswith("$mem")}
        self.logic = {name: cell for name, cell in cells.items() if "ff" not in cell["type"] and not cell["type"].startswith("$mem")}
        nets = sorted((self._name(name) == name.replace("__", "_"), name) for name in self.module["netnames"])  # those renamed first
        self.nets = {self._name(name): self.module["netnames"][name]["bits"] for _, name in nets}
        self.inits: dict = {}
        for net in self.module["netnames"].values():
            if "init" in net["attributes"]:
                self.inits |= dict(zip(net["bits"], reversed(net["attributes"]["init"]), strict=False))
        self.registers: dict[str, list[int]] = {}  # fields of packed ones apart
        self.into: dict[int, list] = {}
        for cell in cells.values():
            if "ff" in cell["type"]:
                assert cell["type"] == "$dff" and int(cell["parameters"]["CLK_POLARITY"], 2) == 1, cell["type"]  # noqa: PT018
                (clock,), q = cell["connections"]["CLK"], cell["connections"]["Q"]
                self.into |= {bit: [d, clock] for bit, d in zip(q, cell["connections"]["D"], strict=True)}
                for name in [name for name, bits in self.nets.items() if bits == q and "$" not in name]:
                    pattern = next((key for key in packed if re.fullmatch(key, name)), None)
                    at = 0
                    for field, width in packed[pattern] if pattern else [("", len(q))]:
                        self.registers[name + "." * bool(field) + field] = q[at : at + width]
                        at += width
                    assert not pattern or at >= len(q), (name, at, len(q))
        self.nets |= self.registers

    def _name(self, name: str) -> str:
        for pattern, text in RENAMED[self.side]:
            name = re.sub(pattern, text, name)
        return name.replace("__", "_")

    def ports(self, direction: str) -> list[tuple[str, list]]:
        return sorted((self._name(name), port["bits"]) for name, port in self.module["ports"].items() if port["direction"] == direction)

    def cut(self, given: list, wanted: list, path: Path) -> None:
        """Write the logic between registers alone."""
        ports = {"i": {"direction": "input", "bits": given}, "o": {"direction": "output", "bits": wanted}}
        module = {"attributes": {}, "ports": ports, "cells": self.logic, "netnames": {}}
        path.write_text(json.dumps({"modules": {self.side: module}}))


def relations(plans: tuple[LayerPlan, ...], new: Circuit) -> tuple[dict[str, str], list[str]]:
    """What registers are worth, and what holds, as Verilog with names of the new circuit in <>, of the old one in <old:>."""
    worth, holds = {}, []
    for k, plan in enumerate(plans):
        folds, layer = plan.neuron_folds, f"layer_{k}"
        stages = {f"{layer}.{name}": f"<{layer}.{name}_valid>" for name in ("counting", "integrating")}
        if plan.replays:
            stages = {f"{layer}.sequencer.issued": f"<{layer}.sequencer.valid>"} | stages
        for stage, valid in stages.items():
            fold, context = (folds - 1).bit_length(), (plan.contexts - 1).bit_length()
            row = [f"frame>[:{context}]"] * (context > 0) + ["fold>"] * (fold > 0)
            worth[f"{stage}.state_row"] = "{" + ", ".join(f"<{stage}.{part}" for part in row) + "}" if row else "1'b0"
            worth[f"{stage}.last"] = f"(<{stage}.fold> == {folds - 1})"
            holds += [f"<{stage}.fold> < {folds}", f"!{valid} | <{stage}.integrate> != <old:{stage}.swap>"]
        if plan.form == "xnor":
            holds.append(f"<old:{layer}.sequencer.walk.swap> == 0")
        if f"{layer}.sequencer.fold" in new.registers:
            holds.append(f"<{layer}.sequencer.fold> < {folds}")
        if plan.is_last:
            continue
        # The order in which vectors come: `head` is the fold of the first one that is in the queue, or comes next.
        tests = {stage: f"({valid} & <{stage}.test>)" for stage, valid in stages.items()}
        slots, queue, fold, way = plan.vector_slots, "emitter_0", f"<{layer}.sequencer.fold>", f"<{layer}.on_their_way>"
        flying = " + ".join(f"10'd0 + {test}" for test in tests.values())
        if slots > 1:

            def wrapped(place: str, slots: int = slots) -> str:
                return f"({place} >= 10'd{slots} ? {place} - 10'd{slots} : {place})"

            first, count, end = (f"(10'd0 + <{queue}.{name}>)" for name in ("first", "count", "write_addr"))
            holds += [f"{way} == {count} + {flying}", f"{way} <= {slots}", f"{wrapped(f'{first} + {count}')} == {end}"]
            holds += [f"{first} < {slots}", f"{end} < {slots}"]
            for slot in [f"{queue}.queue[{s}]" for s in range(slots)] + [f"{queue}.waiting"]:
                s = slot[:-1].split("[")[1] if "[" in slot else first
                there = f"{wrapped(f'{s} + {slots} - {first}')} < {count}"
                right = f"<old:{slot}.fold> == {s}" if folds > 1 else f"<old:{slot}.fold> == 0"
                holds.append(f"!({there}) | ({right} & {f'<{slot}.last_of_step> == ({s} == {folds - 1})' if folds > 1 else 1})")
            head = first
            if folds > 1:  # each word visits all folds: the word that is being worked on stays on the input
                grants = range(plan.contexts)
                at = [name for name, _ in input_format(plan).layout].index("last_of_step")
                at = sum(field.width for _, field in [*input_format(plan).layout][:at])
                closes = " | ".join(f"(<scheduler.granted> == {c} & <scheduler.i_{c}_stream_payload>[{at}])" for c in grants)
                sends = " | ".join(f"(<scheduler.granted> == {c} & <scheduler.i_{c}_stream_valid>)" for c in grants)
                now, ahead = tests[f"{layer}.integrating"], tests[f"{layer}.counting"]
                holds += [f"{fold} == 0 | (<scheduler.locked> & ({sends}))"]
                holds += [
                    f"!{now} | <{layer}.integrating.fold> == {end}",
                    f"!{ahead} | <{layer}.counting.fold> == {wrapped(f'{end} + {now}')}",
                ]
                holds += [f"({fold} != 0 & ({closes}) ? {fold} : 0) == {wrapped(f'{end} + {now} + {ahead}')}"]
        else:
            waits = f"<{queue}.waits>"
            head = f"({way} == 0 ? {fold} : {fold} == 0 ? {folds - 1} : {fold} - 1)" if folds > 1 else "0"
            holds += [f"{way} == {waits} + {flying}", f"{way} < 2", f"!{waits} | <old:{queue}.waiting.fold> == {head}"]
            holds += [f"!{test} | <{stage}.fold> == {head}" for stage, test in tests.items()]
            holds += [f"!{waits} | <{queue}.waiting.last_of_step> == ({head} == {folds - 1})"] * (folds > 1)
        if folds > 1:
            simd, begins = plan.following_simd, range(0, folds * plan.pe, plan.pe)
            unit = gcd(plan.pe % simd, simd)
            choose = "".join(f"{head} == {b // plan.pe} ? {{}} : ".format(b // simd) for b in begins) + "0"
            worth[f"{queue}.index"] = f"({choose})"
            choose = "".join(f"{head} == {b // plan.pe} ? {{}} : ".format(b % simd // unit) for b in begins) + "0"
            worth[f"{queue}.lane"] = f"({choose})"
    holds.append(f"<scheduler.granted> < {plans[0].contexts}")
    return {name: text for name, text in worth.items() if name in new.registers}, holds


def prove(folder: Path, plans: tuple[LayerPlan, ...]) -> str:
    began = time.monotonic()
    packed: dict[str, dict] = {"old": {}, "new": {}}
    for k, plan in enumerate(plans):
        for kind, layout, old_names in (
            (rf"layer_{k}\.(counting|integrating|sequencer\.(issued|walk))", operation(plan), OPERATION),
            (rf"emitter_{k}\.(waiting|head|queue\[\d+\])", neuron_vectors(plan).members["payload"].shape, VECTOR),
        ):
            widths = {name: field.width for name, field in layout} | {"swap": 1}
            if old_names == VECTOR:
                widths |= {"fold": max(1, (plan.neuron_folds - 1).bit_length()), "margin": plan.pe * plan.membrane_bits}
            packed["new"][kind] = [(name, field.width) for name, field in layout]
            packed["old"][kind] = [(name, widths[name]) for name in old_names]
    sides = []
    for side in ("old", "new"):
        run(["yosys", "-q", "-p", FLATTEN.format(side=side)], folder)
        sides.append(Circuit(folder / f"{side}.json", side, packed[side]))
    old, new = sides

    # What pairs, in one order on both sides.
    given, wanted, names = ([[], []] for _ in range(3))
    for direction, into in (("input", given), ("output", wanted)):
        both = [side.ports(direction) for side in sides]
        assert [(n, len(b)) for n, b in both[0]] == [(n, len(b)) for n, b in both[1]], both
        for side in (0, 1):
            into[side] += [bit for _, bits in both[side] for bit in bits]
        if direction == "output":
            names = [name for name, bits in both[0] for _ in bits]
    seen: list[set] = [set(), set()]
    for name in sorted(old.registers.keys() & new.registers.keys()):
        for a, b in zip(old.registers[name], new.registers[name], strict=len(old.registers[name]) == len(new.registers[name]) or name):
            if a in seen[0] and b in seen[1]:
                continue
            if old.inits.get(a, "x") != new.inits.get(b, "x"):
                raise ValueError(f"initial content of {name}")
            for side, circuit, bit in ((0, old, a), (1, new, b)):
                assert bit not in seen[side], name
                seen[side].add(bit)
                given[side].append(bit)
                wanted[side] += circuit.into[bit]
            names += [name, name + " (clock)"]
    if old.memories.keys() != new.memories.keys():
        raise ValueError(f"memories: {sorted(old.memories)}, {sorted(new.memories)}")
    for name in sorted(old.memories):
        ours, theirs = ({k: v for k, v in side.memories[name]["parameters"].items() if k != "MEMID"} for side in sides)
        if ours != theirs:
            raise ValueError(f"memory {name}: {[key for key in ours if ours[key] != theirs.get(key)]}")
        for side, circuit in enumerate(sides):
            of = circuit.memories[name]["connections"]
            given[side] += of["RD_DATA"]
            wanted[side] += [bit for port in sorted(of) if port != "RD_DATA" for bit in of[port]]
        names += [name] * (len(wanted[0]) - len(names))
    shared, compared = len(given[0]), len(wanted[0])
    assert (shared, compared, compared) == (len(given[1]), len(wanted[1]), len(names))

    # What does not.
    worth, holds = relations(plans, new)
    free = [[bit for bit in circuit.into if bit not in seen[side]] for side, circuit in enumerate(sides)]
    for side, circuit in enumerate(sides):
        wanted[side] += [circuit.into[bit][0] for bit in free[side]]
        circuit.cut(given[side] + free[side], wanted[side], folder / f"{circuit.side}.cut.json")
        run(["yosys", "-q", "-p", f"read_json {circuit.side}.cut.json; {MAP.format(circuit.side)}"], folder)
    goals = [*holds, *(f"<{name}> == {value}" for name, value in worth.items())]
    used: dict[tuple[Circuit, object], int] = {}

    def named(found: re.Match) -> str:
        circuit = old if found[1] else new
        bits, index = circuit.nets[found[2]], found[3] or "[:]"
        end = index.strip("[:]")
        bits = bits[: int(end) if end else None] if ":" in index else [bits[int(end)]]
        return "{" + ", ".join(f"s[{used.setdefault((circuit, bit), len(used))}]" for bit in reversed(bits)) + "}"

    texts = [re.sub(NAMED, named, text) for text in [*worth.values(), *goals]]
    widths = [len(new.registers[name]) for name in worth] + [1] * len(goals)
    outputs = "".join(f"  assign y[{sum(widths[:k])} +: {widths[k]}] = {text};\n" for k, text in enumerate(texts))
    source = f"module relations(input [{len(used) - 1}:0] s, output [{sum(widths) - 1}:0] y);\n{outputs}endmodule\n"
    (folder / "relations.v").write_text(source)
    run(["yosys", "-q", "-p", f"read_verilog relations.v; {MAP.format('relations')}"], folder)

    # One graph of both.
    graph = Graph(shared + len(free[0]) + len(free[1]))
    states = [dict(zip(given[side] + free[side], graph.inputs[:shared], strict=False)) for side in (0, 1)]
    states[0] |= dict(zip(free[0], graph.inputs[shared:], strict=False))
    states[1] |= dict(zip(free[1], graph.inputs[shared + len(free[0]) :], strict=False))

    def related(value) -> list[int]:
        return graph.copy(folder / "relations.aig", [int(bit) if isinstance(bit, str) else value(circuit, bit) for circuit, bit in used])

    def now(circuit: Circuit, bit: int) -> int:
        return states[circuit is new][bit]

    def reset(circuit: Circuit, bit: int) -> int:
        init = circuit.inits.get(bit, "x")
        return now(circuit, bit) if init == "x" else int(init)

    states[1] |= dict(zip([bit for name in worth for bit in new.registers[name]], related(now), strict=False))
    held = 1
    for literal in related(now)[-len(goals) :]:
        held = graph.both(held, literal)
    out = [graph.copy(folder / f"{circuit.side}.aig", list(states[k].values())) for k, circuit in enumerate(sides)]
    after = [dict(zip(wanted[k], out[k], strict=False)) | {"0": 0, "1": 1} for k in (0, 1)]
    checks = [(name, graph.both(held, a), graph.both(held, b)) for name, a, b in zip(names, *out, strict=False) if a != b]
    then = related(lambda circuit, bit: after[circuit is new][circuit.into[bit][0]])[-len(goals) :]
    checks += [(f"afterwards {goal}", graph.both(held, literal), held) for goal, literal in zip(goals, then, strict=True)]
    checks += [(f"at reset {goal}", literal, 1) for goal, literal in zip(goals, related(reset)[-len(goals) :], strict=True)]
    for k in (1, 2):
        graph.write([check[k] for check in checks], folder / f"side_{k}.aig")
    said = run(["yosys-abc", "-q", "&r side_1.aig; &cec side_2.aig"], folder)
    if "Networks are equivalent" not in said:
        places = [checks[int(k)][0] for k in re.findall(r"(?:PO|Output|po|number)\D*(\d+)", said)]
        raise ValueError(f"{places[:5] or said.strip()[-400:]}")
    alone = [len(bits) for bits in free]
    return (
        f"{len(seen[0])} register bits in pairs, {alone} alone, {len(old.memories)} memories, {len(goals)} relations, "
        f"{len(checks)} of {compared + 2 * len(goals)} by SAT, {time.monotonic() - began:.0f} s"
    )


class Graph:
    """An and-inverter graph: literals are twice a node's number, plus 1 for its complement."""

    def __init__(self, inputs: int):
        self.inputs = [2 * k + 2 for k in range(inputs)]
        self._ands: dict[tuple[int, int], int] = {}

    def both(self, a: int, b: int) -> int:
        a, b = max(a, b), min(a, b)
        if b < 2:
            return a * b
        if a >> 1 == b >> 1:
            return a if a == b else 0
        return self._ands.setdefault((a, b), 2 * (len(self.inputs) + len(self._ands) + 1))

    def copy(self, path: Path, inputs: list[int]) -> list[int]:
        """Add what a file in the binary AIGER format has, and give its outputs."""
        text = path.read_bytes()
        header, at = text.split(b"\n", 1)[0].split(), text.index(b"\n") + 1
        _, given, latches, wanted, ands = map(int, header[1:6])
        assert (latches, given) == (0, len(inputs)), path
        outputs = []
        for _ in range(wanted):
            end = text.index(b"\n", at)
            outputs.append(int(text[at:end]))
            at = end + 1
        order = {}  # places of inputs; outputs come as they are in the port
        for kind, place, bit, _ in map(str.split, path.with_suffix(".map").read_text().splitlines()):
            if kind == "input":
                order[int(place)] = int(bit)
            else:
                assert outputs[int(place)] == outputs[int(bit)], (path, place, bit)
        values = [0, *(inputs[order[k]] for k in range(given))]

        def delta() -> int:
            nonlocal at
            number = shift = 0
            while True:
                byte = text[at]
                at += 1
                number |= (byte & 127) << shift
                shift += 7
                if byte < 128:
                    return number

        for k in range(ands):
            a = 2 * (given + k + 1) - delta()
            b = a - delta()
            values.append(self.both(values[a >> 1] ^ a & 1, values[b >> 1] ^ b & 1))
        return [values[o >> 1] ^ o & 1 for o in outputs]

    def write(self, outputs: list[int], path: Path) -> None:
        n, ands = len(self.inputs), len(self._ands)
        text = bytearray(f"aig {n + ands} {n} 0 {len(outputs)} {ands}\n".encode() + b"".join(b"%d\n" % o for o in outputs))
        for (a, b), node in self._ands.items():
            for number in (node - a, a - b):
                while number > 127:
                    text.append(number & 127 | 128)
                    number >>= 7
                text.append(number)
        path.write_bytes(text)


def run(command: list[str], folder: Path) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise ValueError(f"{' '.join(command)[:300]}: {done.stderr[-500:]}")
    return done.stdout


def verilog(tree: Path, row: dict, out: Path) -> None:
    options = [part for key, value in row.items() if key != "network" for part in (f"--{key.replace('loop_order', 'order')}", value)]
    command = [sys.executable, "-m", "hw", f"artifacts/{row['network']}.safetensors", "--out", out, *options]
    subprocess.run(command, cwd=tree, check=True, stdout=subprocess.DEVNULL)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=Path)
    parser.add_argument("new", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of rows, from 0")
    given = parser.parse_args()
    failed = 0
    for number, row in enumerate(tomllib.loads((given.new / "docs/results/foldings.toml").read_text())["row"]):
        if given.only and number not in given.only:
            continue
        folder = given.out.resolve() / f"{number:02d}"
        folder.mkdir(parents=True, exist_ok=True)
        for side, tree in (("old", given.old), ("new", given.new)):
            if not (folder / f"{side}.v").exists():
                verilog(tree.resolve(), row, folder / f"{side}.v")
        try:
            print(f"{number} {row}: equal: {prove(folder, plans_of(given.new, row))}", flush=True)
        except ValueError as error:
            print(f"{number} {row}: NOT PROVEN: {error}", flush=True)
            failed += 1
    return failed > 0


if __name__ == "__main__":
    sys.exit(main())
