"""What proofs found: rows of a table, kept as JSON, one file per part, so that the parts can be run on different days."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TypeVar

from export.errors import UserError
from export.provenance import made
from export.store import Format, write_json

Content = TypeVar("Content")
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


def select(proofs: Mapping[str, Content], names: Sequence[str]) -> dict[str, Content]:
    """Those proofs that have one of ``names`` in their name, or all if there is none.

    Raises:
        UserError: a name is in none.
    """
    for name in names:
        if not any(name in proof for proof in proofs):
            raise UserError(f"a name must be in one of {', '.join(map(repr, proofs))}, but {name!r} is not")
    return {proof: content for proof, content in proofs.items() if not names or any(name in proof for name in names)}


FORMAT = Format(
    "firstspike-proofs",
    1,
    {"part": str, "rows": list},
    {"rows": {"name": str, "what": str, "how": str, "result": str, "passed": bool, "seconds": (int, float)}},
)


def save(part: str, rows: Sequence[Row], folder: Path) -> Path:
    """Write the rows of a part, in the place of those of the same names; the rest that is there stays. The path.

    Raises:
        UserError: the file that is there is not what this writes.
        OSError: it cannot be read or written.
    """
    named = {row.name: row for row in (*load(folder).get(part, ()), *rows)}
    content = FORMAT.header | {"part": part} | made() | {"rows": [asdict(row) for row in named.values()]}
    return write_json(folder / f"proofs-{part}.json", content)


def load(folder: Path) -> dict[str, list[Row]]:
    """The rows of every part that is there.

    Raises:
        UserError: a file is not what `save` writes.
        OSError: it cannot be read.
    """
    paths = {part: folder / f"proofs-{part}.json" for part in PARTS}
    return {part: [Row(**row) for row in FORMAT.read(path)["rows"]] for part, path in paths.items() if path.exists()}


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
