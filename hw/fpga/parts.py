"""The area of a circuit as the sum of its parts: each component is synthesised by itself, and kept, so that only what has changed is
synthesised when another folding is tried. Synthesis of the whole makes a little more of constants and of outputs that nobody reads.
"""

import json
import os
import re
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor

from hw.fpga.area import Estimate
from hw.fpga.devices import Device
from hw.fpga.flow import CELLS, Area, Design
from hw.fpga.tools import YOSYS, Job

CONTAINERS = ("accelerator", "circuit", "hosted")
"""Modules that are taken apart, by the last word of their names."""
PART = "part"
REST = "rest"
_MODULE = re.compile(r"^module\s+(\S+?)\s*\(.*?^endmodule\n", re.MULTILINE | re.DOTALL)
_HEADER = re.compile(r"module.*?\);\n", re.DOTALL)
_PORT = re.compile(r"^ *(?:input|output|inout) .*;\n", re.MULTILINE)
_NAME = re.compile(r"\\\S+|\b[A-Za-z_]\w*")
_BOX = re.compile(r"^\(\* blackbox \*\)\nmodule\s+([^\s(]+)", re.MULTILINE)
_COMMENT = re.compile(r"^\s*//.*\n", re.MULTILINE)


def sum_of_parts(design: Design, device: Device, say: Callable[[str], None] = lambda line: None) -> Estimate:
    """The area of a design by synthesis of its parts, those at once for which there are cores.

    Parameters:
        say: gets a line if something must be synthesised.

    Raises:
        UserError: Yosys is not installed.
        ToolError: it failed.
    """
    texts = part_texts(design)
    jobs = {name: _job(text, PART if name != REST else design.top, design.unused, device) for name, text in texts.items()}
    different = {job.folder: job for job in jobs.values()}
    new = [job for job in different.values() if not job.is_made()]
    if new:
        say(f"synthesising {len(new)} of {len(texts)} parts; the others are alike or were kept")
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        list(pool.map(Job.make, new))
    areas = {name: _area(job, device) for name, job in jobs.items()}
    luts = {name: area.luts for name, area in areas.items()}
    ffs, block_rams, sprams = (sum(getattr(area, kind) for area in areas.values()) for kind in ("ffs", "block_rams", "sprams"))
    return Estimate.of(device.family, luts, ffs=ffs, block_rams=block_rams, sprams=sprams)


def part_texts(design: Design) -> dict[str, str]:
    """Verilog of each part, by name, its top module named `PART`: the same text for the same component, wherever it is. What remains is
    `REST`, in which the parts are black boxes."""
    text = _COMMENT.sub("", "".join(design.sources.values()))
    modules = {match[1].lstrip("\\"): match[0] for match in _MODULE.finditer(text)}
    children = {name: [word for word in _words(body) if word in modules and word != name] for name, body in modules.items()}
    containers = {name for name in modules if name == design.inside or re.split(r"[._]", name)[-1] in CONTAINERS}
    found: dict[str, str] = {}
    boxes, inside = [], set()
    for container in sorted(containers):
        for name in children[container]:
            if name in containers:
                continue
            within = _within(name, children)
            inside |= set(within)
            new_names = {other: PART + other.removeprefix(name).replace(".", "_") for other in within}
            found[name.removeprefix(container)[1:]] = "".join(_renamed(modules[other], new_names) for other in within)
            boxes.append("\n".join(("(* blackbox *)", *_HEADER.findall(modules[name])[:1], *_PORT.findall(modules[name]), "endmodule\n")))
    found[REST] = "".join(body for name, body in modules.items() if name not in inside) + "".join(boxes)
    return found


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(word.lstrip("\\") for word in _NAME.findall(text)))


def _within(name: str, children: Mapping[str, list[str]]) -> list[str]:
    """A module, and all that are inside."""
    return [name, *(inner for child in children[name] for inner in _within(child, children))]


def _renamed(text: str, names: Mapping[str, str]) -> str:
    return _NAME.sub(lambda word: names.get(word[0].lstrip("\\"), word[0]), text)


def _job(text: str, top: str, unused: str, device: Device) -> Job:
    script = ["read_verilog part.v", f"{device.family.synthesis} -top {top}", f"tee -q -o {CELLS} stat -json"]
    if unused and top != PART:
        script.insert(1, f"delete -output {top}/o:{unused}")
    return Job(YOSYS, ("-q", "script.ys"), {"part.v": text, "script.ys": "\n".join(script) + "\n"}, (CELLS,))


def _area(job: Job, device: Device) -> Area:
    """The cells of a part, black boxes aside; modules that synthesis has kept in one piece are counted, too."""
    modules = json.loads((job.make().folder / CELLS).read_text(encoding="utf-8"))["modules"]
    names = {name.lstrip("\\") for name in (*modules, *_BOX.findall(job.contents["part.v"].decode()))}
    counts: Counter[str] = Counter()
    for module in modules.values():
        counts.update({kind: count for kind, count in module["num_cells_by_type"].items() if kind.lstrip("\\") not in names})
    return Area.of(device.family, counts)
