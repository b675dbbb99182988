"""The store of results: JSON files in ``docs/results``, from which pages of the documentation are made (`export.pages`).

A file says by ``format`` and ``version`` what kind of result it is, what it is of, by which ``command``, on which ``date``, ``commit`` and
``machine`` it was made (of those that were kept before version 0.6, some are not known), and holds the figures. Its name begins with the
kind, or is that of a recipe.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from export.artifact import check_format, get
from export.errors import UserError, prefixed
from export.files import atomic_write, check_regular

ROOT = Path(__file__).resolve().parent.parent


@dataclass(frozen=True)
class Format:
    """A kind of result.

    Parameters:
        name, version: in the file.
        fields: names and types of fields that must be there.
        rows: fields of each row of a table, by name of the table.
    """

    name: str
    version: int
    fields: Mapping[str, type] = field(default_factory=dict)
    rows: Mapping[str, Mapping[str, type | tuple[type, ...]]] = field(default_factory=dict)

    @property
    def header(self) -> dict[str, Any]:
        """The fields that a file of this kind begins with."""
        return {"format": self.name, "version": self.version}

    def read(self, path: Path) -> dict[str, Any]:
        """The result in a file.

        Raises:
            UserError: its content is not valid.
            OSError: it cannot be read.
        """
        content = read_json(path)
        with prefixed(path):
            check_format(content, self.name, self.version)
            for name, kind in self.fields.items():
                get(content, name, kind)
            for table, columns in self.rows.items():
                for number, row in enumerate(content[table]):
                    if not isinstance(row, dict) or not all(isinstance(row.get(name), kinds) for name, kinds in columns.items()):
                        raise UserError(f"{table}[{number}] must have {', '.join(columns)}, not {row!r:.60}")
        return content


@dataclass(frozen=True)
class Store:
    """Where results, pages and what they are of lie, below the folder that holds them all."""

    root: Path = ROOT

    @property
    def folder(self) -> Path:
        return self.root / "docs" / "results"

    def artifact(self, name: str) -> Path:
        return self.root / "artifacts" / f"{name}.safetensors"

    def read_all(self, pattern: str, kind: Format) -> list[dict[str, Any]]:
        """The results whose files' names match, in the order of the names, in which 16 comes before 120.

        Raises:
            UserError: a file's content is not valid.
            OSError: it cannot be read.
        """
        return [kind.read(path) for path in sorted(self.folder.glob(f"{pattern}.json"), key=_natural)]

    def keep(self, name: str, content: dict[str, Any]) -> Path:
        """Keep a result under a name, in place of the one before; its path."""
        return write_json(self.folder / f"{name}.json", content)


def _natural(path: Path) -> list[str | int]:
    return [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", path.name)]


def write_json(path: Path, content: dict[str, Any]) -> Path:
    """Write an object as JSON, whole or not at all: a line per field, and one per row where a field is a table; the path.

    Raises:
        OSError: the file cannot be written.
    """
    fields = []
    for name, value in content.items():
        text = json.dumps(value, allow_nan=False, ensure_ascii=False)
        if isinstance(value, list) and value and isinstance(value[0], dict):
            rows = (json.dumps(row, allow_nan=False, ensure_ascii=False) for row in value)
            text = "[\n    " + ",\n    ".join(rows) + "\n  ]"
        fields.append(f"  {json.dumps(name)}: {text}")
    with atomic_write(path) as temporary:
        temporary.write_text("{\n" + ",\n".join(fields) + "\n}\n", encoding="utf-8")
    return path


def read_json(path: Path) -> dict[str, Any]:
    """The JSON object in a file.

    Raises:
        UserError: it holds something else.
        OSError: it cannot be read.
    """
    check_regular(path)
    try:
        content = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: must be JSON: {error}") from None
    if not isinstance(content, dict):
        raise UserError(f"{path}: must be a JSON object, not {type(content).__name__}")
    return content
