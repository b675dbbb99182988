"""Draws ``timing.svg`` from a simulation: ``python -m docs.img.timing`` in the project's root writes it anew.

Two frames through a 10-4-2 network with two contexts, in early mode. The first is decided before its last word; its result waits two cycles
to be taken.
"""

import itertools
from pathlib import Path

import numpy as np

from export import Dense, Layer, Network, Single
from hw import Accelerator, Folding
from tests.accelerators import Monitor
from tests.circuit import Part, Sink, Source, fields, run
from tests.payloads import word_payloads

PATH = Path(__file__).with_suffix(".svg")
INPUTS = ("i_0", "i_1")
LEFT, CYCLE, HIGH, ROW, TOP = 148, 46, 24, 36, 34  # pixels: names, a cycle, a wave, a row, the head
LINE, FILLS, GREY = "#24292f", ("#d7e8fb", "#fbe6cf"), "#8b949e"  # one fill per frame

WEIGHTS = (
    [
        [1, 1, 1, -1, 1, 1, -1, 1, 1, -1],
        [-1, 1, 1, 1, 1, -1, 1, 1, -1, 1],
        [1, -1, 1, 1, -1, 1, 1, 1, 1, 1],
        [1, 1, -1, 1, 1, 1, 1, -1, 1, 1],
    ],
    [[1, -1, 1, 1], [-1, 1, 1, -1]],
)
NETWORK = Network(tuple(Layer(Dense(np.array(w)), Single(np.array(t))) for w, t in zip(WEIGHTS, ([2, 1, 3, 3], [2, 1]), strict=True)), 4)
FOLDING = Folding((2, 2), (4, 2), ("delta", "delta"), contexts=2)
SPIKE_TIMES = np.array([[3, 1, 2, 0, 1, 0, 2, 0, 3, 1], [0, 2, 4, 2, 4, 2, 4, 4, 0, 4]])  # 4: never


class Recorder(Part):
    """All ports, cycle by cycle."""

    def __init__(self, accelerator: Accelerator):
        self._accelerator = accelerator
        self.cycles: list[dict] = []

    def look(self, ctx, cycle):
        seen = {}
        for name in (*INPUTS, "monitor_0", "monitor_1", "o"):
            port = getattr(self._accelerator, name)
            valid = ctx.get(port.valid)
            seen[f"{name}_valid"] = valid
            seen[f"{name}_payload"] = fields(ctx, port.payload) if valid else None
            if hasattr(port, "ready"):
                seen[f"{name}_ready"] = ctx.get(port.ready)
        for name in INPUTS:
            seen[f"{name}_cancel"] = ctx.get(getattr(self._accelerator, f"{name}_cancel"))
        self.cycles.append(seen)


class Early(Part):
    def __init__(self, accelerator: Accelerator):
        self._early = accelerator.early

    def drive(self, ctx):
        ctx.set(self._early, 1)


class LateSink(Sink):
    """Takes each payload two cycles after it is there."""

    waited = 0

    def drive(self, ctx):
        self.waited = self.waited + 1 if ctx.get(self._stream.valid) else 0
        ctx.set(self._stream.ready, self.waited > 2)


def record() -> list[dict]:
    accelerator = Accelerator(NETWORK, FOLDING)
    frames = word_payloads(accelerator.input_format.from_spike_times(SPIKE_TIMES))
    parts = run(
        accelerator,
        lambda: [
            Early(accelerator),
            *(
                Source(getattr(accelerator, name), frames[k::2], cancel=getattr(accelerator, f"{name}_cancel"))
                for k, name in enumerate(INPUTS)
            ),
            LateSink(accelerator.o, len(frames)),
            *(Monitor(getattr(accelerator, f"monitor_{layer}"), len(frames), contexts=2) for layer in range(2)),
            Recorder(accelerator),
        ],
    )
    cycles = parts[-1].cycles
    last = max(k for k, seen in enumerate(cycles) if seen["o_valid"])
    return cycles[: last + 2]


def word_lines(word: dict, simd: int) -> tuple[str, str]:
    bits = "".join(str(word["bits"] >> k & 1) for k in range(simd))
    flags = "F" if word["last_of_frame"] else "S" if word["last_of_step"] else ""
    return f"t{word['time']} w{word['index']}", f"{bits} {flags}".strip()


def result_lines(result: dict) -> tuple[str, str]:
    return f"c{result['class_index']} t{result['step']}", f"m{result['margin']:+d}{' silent' if result['silent'] else ''}"


def text(x: float, y: float, content: str, **attributes: str) -> str:
    extra = "".join(f' {name.replace("_", "-")}="{value}"' for name, value in attributes.items())
    return f'<text x="{x:g}" y="{y:g}"{extra}>{content}</text>'


def level_wave(values: list[int], y: float) -> str:
    points = [(LEFT + CYCLE * (k + edge), y + HIGH * (1 - value)) for k, value in enumerate(values) for edge in (0, 1)]
    return f'<polyline points="{" ".join(f"{x:g},{at:g}" for x, at in points)}"/>'


def clock_wave(cycles: int, y: float) -> str:
    values = [value for _ in range(cycles) for value in (1, 0)]
    points = [(LEFT + CYCLE * (k + edge) / 2, y + HIGH * (1 - value)) for k, value in enumerate(values) for edge in (0, 1)]
    return f'<polyline points="{" ".join(f"{x:g},{at:g}" for x, at in points)}"/>'


def bus_wave(cells: list, y: float) -> list[str]:
    """``cells``: per cycle, None or (frame, two lines of text); equal neighbours that say so are one."""
    made, at = [], 0
    for cell, group in itertools.groupby(cells):
        count = len(list(group))
        x, width = LEFT + CYCLE * at, CYCLE * count
        if cell is None:
            made.append(f'<path d="M{x},{y + HIGH / 2:g}h{width}" stroke="{GREY}"/>')
        else:
            frame, lines, _ = cell
            shape = f"M{x},{y + HIGH / 2:g}l4,{-HIGH / 2 - 3:g}h{width - 8}l4,{HIGH / 2 + 3:g}l-4,{HIGH / 2 + 3:g}h{8 - width}z"
            made.append(f'<path d="{shape}" fill="{FILLS[frame % 2]}"/>')
            made += [text(x + width / 2, y + dy, line, text_anchor="middle") for dy, line in zip((9, 21), lines, strict=True)]
        at += count
    return made


def bus_cells(cycles: list[dict], port: str, lines) -> list:
    """One cell per cycle; a new one begins where a payload was taken."""
    cells, results, place = [], 0, 0
    for seen in cycles:
        payload = seen[f"{port}_payload"]
        if payload is None:
            cells.append(None)
            continue
        frame = INPUTS.index(port) if port in INPUTS else payload.get("frame", results)  # one frame per input; tags begin at 0
        cells.append((frame, lines(payload), place))
        if seen.get(f"{port}_ready", 1):
            place, results = place + 1, results + 1
    return cells


def draw(cycles: list[dict]) -> str:
    rows: list[tuple[str, list[str]]] = []
    width = LEFT + CYCLE * len(cycles) + 12

    def add(name, make):
        y = TOP + ROW * len(rows)
        made = make(y)
        rows.append((name, made if isinstance(made, list) else [made]))

    def level(name):
        add(name, lambda y: level_wave([seen[name] for seen in cycles], y))

    def bus(port, lines):
        add(f"{port}_payload", lambda y: bus_wave(bus_cells(cycles, port, lines), y))

    add("clk", lambda y: clock_wave(len(cycles), y))
    for port in (*INPUTS, "monitor_0", "monitor_1"):
        level(f"{port}_valid")
        if port in INPUTS:
            level(f"{port}_ready")
        bus(port, lambda word: word_lines(word, 2))
        if port in INPUTS:
            level(f"{port}_cancel")
    level("o_valid")
    level("o_ready")
    bus("o", result_lines)

    height = TOP + ROW * len(rows) + 42
    grid = [f"M{LEFT + CYCLE * k},{TOP - 8}V{TOP + ROW * len(rows) - 4}" for k in range(len(cycles) + 1)]
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}">',
        f'<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="10.5" fill="{LINE}">',
        "<title>Two frames through a 10-4-2 network with two contexts in early mode</title>",
        f'<rect width="{width}" height="{height}" fill="#fff"/>',
        f'<path d="{"".join(grid)}" stroke="#e3e7eb"/>',
        *(text(LEFT + CYCLE * (k + 0.5), TOP - 14, str(k), text_anchor="middle", fill=GREY) for k in range(len(cycles))),
    ]
    for k, (name, _) in enumerate(rows):
        parts.append(text(LEFT - 10, TOP + ROW * k + HIGH / 2 + 4, name, text_anchor="end"))
    parts.append(f'<g fill="none" stroke="{LINE}">')
    parts += [part for _, made in rows for part in made if not part.startswith("<text")]
    parts.append("</g>")
    parts += [part for _, made in rows for part in made if part.startswith("<text")]
    notes = (
        "words: t time, w index, bits (first input left), S last_of_step, F both flags; blue: first frame, orange: second frame",
        "results: c class_index, t step (t*), m margin; cycles are counted from the first in which a word can be taken",
    )
    parts += [text(LEFT, height - 26 + 15 * k, note, fill="#57606a") for k, note in enumerate(notes)]
    return "\n".join([*parts, "</g>", "</svg>", ""])


if __name__ == "__main__":
    PATH.write_text(draw(record()), encoding="utf-8")
