"""Figures of circuits that are kept in ``docs/hardware-results``: cycles of foldings, and reports of devices."""

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from export import UserError
from export.files import atomic_write
from hw.fpga import report

ROOT = Path(__file__).resolve().parent.parent.parent
CYCLES_FORMAT, CYCLES_VERSION = "firstspike-cycles", 1
KEYS = ("network", "simd", "pe", "form", "loop_order", "swap", "contexts", "input", "pixels", "dataset")
"""Of a row: its artifact, and options of ``python -m hw``."""


@dataclass(frozen=True)
class Kept:
    """Where things are, below the folder that holds them all."""

    root: Path = ROOT

    @property
    def folder(self) -> Path:
        return self.root / "docs" / "hardware-results"

    @property
    def page(self) -> Path:
        return self.root / "docs" / "hardware-results.md"

    @property
    def cycles_file(self) -> Path:
        return self.folder / "cycles.json"

    def artifact(self, name: str) -> Path:
        return self.root / "artifacts" / f"{name}.safetensors"

    def rows(self) -> list[dict[str, str]]:
        """The foldings to be measured.

        Raises:
            UserError: the file is not what it should be.
            OSError: it cannot be read.
        """
        path = self.folder / "rows.toml"
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
            UserError: the file is something else.
            OSError: it cannot be read.
        """
        return _read(self.cycles_file, CYCLES_FORMAT, CYCLES_VERSION)["rows"]

    def keep_cycles(self, rows: list[dict[str, Any]]) -> Path:
        """Keep these figures instead of those before; the path."""
        content = {"format": CYCLES_FORMAT, "version": CYCLES_VERSION, "rows": rows}
        return _write(self.cycles_file, json.dumps(content, indent=1) + "\n")

    def reports(self) -> list[dict[str, Any]]:
        """All kept reports, in the order of their files' names, each with the ``artifact`` that it is of.

        Raises:
            UserError: a file is something else.
            OSError: a file cannot be read.
        """
        return [_read(path, report.FORMAT, report.VERSION) for path in sorted(self.folder.glob("fpga-*.json"), key=_natural)]

    def keep_report(self, network: Path, data: dict[str, Any]) -> Path:
        """Keep a report under a name that says what it is of; the path."""
        folding = data["folding"]
        parts = [network.stem, (data["board"] or data["device"])["name"]]
        parts += [f"{name}{'_'.join(map(str, folding[name]))}" for name in ("pe", "simd")]
        parts += ["_".join(dict.fromkeys(folding["form"])), "_".join(folding["loop_order"])]
        parts += [f"x{folding['contexts']}", data["frames_in"]]
        return _write(self.folder / f"fpga-{'-'.join(parts)}.json", report.text(data | {"artifact": network.stem}))


def _natural(path: Path) -> list[str | int]:
    """Sorts PE 16 before PE 120."""
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def _read(path: Path, name: str, version: int) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: must be JSON: {error}") from None
    if not isinstance(content, dict) or (content.get("format"), content.get("version")) != (name, version):
        raise UserError(f"{path}: must have format {name!r}, version {version}")
    return content


def _write(path: Path, text: str) -> Path:
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path
