"""Generated pages of the documentation; needs jinja2."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import jinja2

from export.errors import UserError
from export.files import atomic_write


def fill(template: Path, filters: Mapping[str, Callable[..., str]], **values: Any) -> str:
    """The template with its filters and values filled in, every one of which must be there."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, **filters}
    return environment.get_template(template.name).render(**values)


def write(path: Path, text: str) -> Path:
    """Write a page, whole or not at all; its path."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
    return path


def replace(path: Path, begin: str, end: str, text: str) -> Path:
    """Replace what is between two lines of a page; its path.

    Raises:
        UserError: the page lacks the lines.
    """
    before, found, rest = path.read_text(encoding="utf-8").partition(begin)
    _, found_end, after = rest.partition(end)
    if not (found and found_end):
        raise UserError(f"{path} must have the lines {begin.strip()} and {end.strip()}, between which the table goes")
    return write(path, before + begin + text + end + after)


def number(value: float | None, digits: int = 2) -> str:
    """A number with so many digits after the point, 0 without a sign; a dash for one that is not known."""
    return "–" if value is None else f"{round(value, digits) + 0.0:,.{digits}f}"
