"""The examples of ``docs/model.md`` run, and the network they train is one."""

import re
from pathlib import Path

PAGE = Path(__file__).parent.parent / "docs" / "model.md"


def test_own_loop(capsys):
    code = re.findall(r"^```python\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)
    assert len(code) == 2
    names: dict[str, object] = {}
    for block in code:
        exec(compile(block, str(PAGE), "exec"), names)
    accuracy, silent = re.fullmatch(r"(\S+)%, (\S+)% silent\n", capsys.readouterr().out).groups()
    assert float(accuracy) > 80
    assert 0 <= float(silent) <= 100
