"""Figures of circuits in the store: cycles of foldings, and reports of devices."""

import tomllib
from pathlib import Path
from typing import Any

from export import UserError
from export.store import Format, Store
from hw.fpga import report

CYCLES = Format("firstspike-cycles", 1, {"rows": list})
REPORT = Format(report.FORMAT, report.VERSION, {"network": dict, "folding": dict, "device": dict, "area": dict})
FOLDINGS = "foldings.toml"
KEYS = ("network", "simd", "pe", "form", "loop_order", "swap", "contexts", "input", "pixels", "dataset")
"""Of a row: its artifact, and options of ``python -m hw``."""


class Kept(Store):
    """The store, with foldings that are measured and reports of devices."""

    @property
    def page(self) -> Path:
        return self.root / "docs" / "hardware-results.md"

    def rows(self) -> list[dict[str, str]]:
        """The foldings to be measured.

        Raises:
            UserError: the file is not what it should be.
            OSError: it cannot be read.
        """
        path = self.folder / FOLDINGS
        try:
            content = tomllib.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise UserError(f"{path}: must be TOML: {error}") from None
        rows: Any = content.get("row")
        rows = rows if isinstance(rows, list) else [rows]
        for row in rows:
            strings = isinstance(row, dict) and all(isinstance(value, str) for value in row.values())
            if not strings or "network" not in row or not set(row) <= set(KEYS):
                raise UserError(f"{path}: each [[row]] must have a network and no more than {', '.join(KEYS)}, as strings, not {row!r:.80}")
        return rows

    def cycles(self) -> list[dict[str, Any]]:
        """What `hw.fpga.bench` has measured.

        Raises:
            UserError: the file's content is not valid.
            OSError: it cannot be read.
        """
        return CYCLES.read(self.folder / "cycles.json")["rows"]

    def keep_cycles(self, rows: list[dict[str, Any]], made: dict[str, Any]) -> Path:
        """Keep these figures instead of those before; the path."""
        return self.keep("cycles", CYCLES.header | made | {"rows": rows})

    def reports(self) -> list[dict[str, Any]]:
        """All kept reports, each with the ``artifact`` that it is of.

        Raises:
            UserError: a file's content is not valid.
            OSError: it cannot be read.
        """
        return self.read_all("fpga-*", REPORT)

    def keep_report(self, network: Path, data: dict[str, Any]) -> Path:
        """Keep a report under a name that says what it is of; the path."""
        folding = data["folding"]
        parts = [network.stem, (data["board"] or data["device"])["name"]]
        parts += [f"{name}{'_'.join(map(str, folding[name]))}" for name in ("pe", "simd")]
        parts += ["_".join(dict.fromkeys(folding["form"])), "_".join(folding["loop_order"])]
        parts += [f"x{folding['contexts']}", data["frames_in"]]
        return self.keep(f"fpga-{'-'.join(parts)}", data | {"artifact": network.stem})
