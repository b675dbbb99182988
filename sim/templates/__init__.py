"""Text templates (Verilog, C++, HTML), and how to fill them in."""

from functools import cache

import jinja2


@cache
def _environment() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.PackageLoader("sim", "templates"),
        autoescape=lambda name: name is not None and name.endswith(".html.j2"),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        trim_blocks=False,
    )


def render(name: str, **values: object) -> str:
    """The template ``name``, filled in."""
    return _environment().get_template(name).render(**values)
