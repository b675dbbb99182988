"""LUTs against images per second, as a picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib.figure import Figure

from export import Network
from export.files import atomic_write
from export.text import dashed
from hw.fpga.search import Found

COLOUR, MUTED = "#1f77b4", "#8a94a0"
STYLE: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": MUTED,
    "svg.hashsalt": "firstspike",
    "svg.fonttype": "none",
}


def draw(path: Path, network: Network, target: str, found: Sequence[Found], mhz: float) -> Path:
    """Draw the frontier of a search on a device or board, and write it whole or not at all; its path.

    Raises:
        OSError: the file cannot be written.
    """
    with mpl.rc_context(STYLE), atomic_write(path) as temporary:
        figure = Figure(figsize=(7.5, 4.5), layout="constrained")
        panel = figure.subplots()
        luts = [item.area.placed for item in found]
        rate = [item.speed.images_per_second(mhz) for item in found]
        panel.plot(luts, rate, "o-", color=COLOUR, markersize=4, lw=1)
        for item, x, y in list(zip(found, luts, rate, strict=True))[:: max(1, len(found) // 8)]:
            label = f"PE {','.join(map(str, item.folding.pe))}  SIMD {','.join(map(str, item.folding.simd))}"
            panel.annotate(label, (x, y), xytext=(6, -8), textcoords="offset points", fontsize=7, color=MUTED)
        panel.set_xscale("log")
        panel.set_yscale("log")
        panel.set_xlabel("LUTs, by formula")
        panel.set_ylabel(f"images per second at {mhz:g} MHz")
        panel.set_title(f"{dashed(network.shape)} on {target}")
        panel.grid(True, which="both", color="#eef1f4", lw=0.6)
        metadata = {"Date": None} if path.suffix == ".svg" else {"Software": None}
        figure.savefig(temporary, format=path.suffix[1:], metadata=metadata, dpi=150)
    return path
