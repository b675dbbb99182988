"""What proofs found: rows of a table, kept as JSON, one file per part, so that the parts can be run on different days."""

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from export.errors import UserError
from export.files import atomic_write

PARTS = ("formal", "netlist", "mutants", "protocol")


@dataclass(frozen=True)
class Row:
    """One proof.

    Attributes:
        name: of it.
        what: a sentence.
        how: the method, and how far it reaches.
        result: what was found.
        passed: whether that is what had to be found.
        seconds: what it took.
    """

    name: str
    what: str
    how: str
    result: str
    passed: bool
    seconds: float


def save(part: str, rows: Sequence[Row], folder: Path) -> Path:
    """Write the rows of a part, in the place of those of the same names; the rest that is there stays. The path.

    Raises:
        UserError: the file that is there is not what this writes.
        OSError: it cannot be read or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{part}.json"
    named = {row.name: row for row in (*load(folder).get(part, ()), *rows)}
    with atomic_write(path) as temporary:
        temporary.write_text(json.dumps([asdict(row) for row in named.values()], indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def load(folder: Path) -> dict[str, list[Row]]:
    """The rows of every part that is there.

    Raises:
        UserError: a file is not what `save` writes.
        OSError: it cannot be read.
    """
    parts = {}
    for part in PARTS:
        path = folder / f"{part}.json"
        if path.exists():
            try:
                parts[part] = [Row(**entry) for entry in json.loads(path.read_text(encoding="utf-8"))]
            except (ValueError, TypeError):
                names = ", ".join(field.name for field in fields(Row))
                raise UserError(f"{path} must hold a list of entries with {names}, but does not") from None
    return parts


def table(rows: Iterable[Row]) -> str:
    """The rows for a terminal."""
    return "\n".join(f"{'ok  ' if row.passed else 'FAIL'}  {row.name:<41}  {row.seconds:>7.1f} s  {row.how}: {row.result}" for row in rows)


def markdown(parts: dict[str, list[Row]]) -> str:
    """A table for the documentation."""
    lines = ["| part | proof | what holds | how | found | s |", "|---|---|---|---|---|---|"]
    for part, rows in parts.items():
        for row in rows:
            found = row.result if row.passed else f"**fails**: {row.result}"
            lines.append(f"| {part} | {row.name} | {row.what} | {row.how} | {found} | {row.seconds:.0f} |")
    return "\n".join(lines) + "\n"
