"""Generated pages of the documentation; needs jinja2."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jinja2


def fill(template: Path, filters: dict[str, Callable[..., str]], **values: Any) -> str:
    """The template with its filters and values filled in, every one of which must be there."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(template.parent),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= filters
    return environment.get_template(template.name).render(**values)
