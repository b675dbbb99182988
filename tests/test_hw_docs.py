"""docs/hardware.md: what its examples print, the constants that it names, and the picture, are those of the circuit."""

import importlib
import re
from pathlib import Path

from docs.img import timing

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/hardware.md").read_text()


def test_examples_print_what_the_page_says(capsys):
    pairs = re.findall(r"```python\n(.*?)```\n\nprints\n\n```text\n(.*?)```", PAGE, re.DOTALL)
    assert len(pairs) == 4
    for program, printed in pairs:
        exec(program, {})
        assert capsys.readouterr().out == printed


def test_constants():
    found = re.findall(r"`(hw\.[\w.]+)\.([A-Z_]+)` = (\d+)", PAGE)
    assert len(found) == 10
    for module, name, value in found:
        assert getattr(importlib.import_module(module), name) == int(value), name


def test_picture_is_that_of_the_circuit():
    assert timing.PATH.read_text() == timing.draw(timing.record()), "run python -m docs.img.timing"
