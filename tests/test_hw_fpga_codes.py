"""One network in all spike codes, in one table, and the page that is made of it."""

import json

import numpy as np
import pytest

from export import UserError, save
from hw.fpga import codes
from hw.fpga.kept import Kept
from tests.multi_spike import code_network
from tests.networks import random_network

FOLDING = ["--simd", "4,3,3", "--pe", "9,7,4"]


@pytest.fixture
def network(tmp_path):
    path = tmp_path / "net.safetensors"
    save(code_network(np.random.default_rng(1), (12, 9, 7, 4), 1, "graded", levels=5, bits=4), path)
    return path


def test_table_and_page(network, tmp_path, capsys):
    (tmp_path / "docs" / "results").mkdir(parents=True)
    kept = Kept(tmp_path)
    arguments = [str(network), "--dataset", "random", "--images", "20", "--steps", "1,4", *FOLDING, "--second-pe", "3,2,4", "--keep"]
    assert codes.main(arguments, kept) == 0
    said = capsys.readouterr().out.splitlines()
    content = json.loads((tmp_path / "docs" / "results" / "codes.json").read_text())
    rows = {(row["code"], row["steps"]): row for row in content["rows"]}
    assert set(rows) == {(code, steps) for code in ("rate", "ternary", "graded") for steps in (1, 4)}
    assert rows["graded", 4]["hidden_events_mean"] > rows["graded", 1]["hidden_events_mean"] > 0
    assert rows["graded", 1]["luts"] > rows["rate", 1]["luts"]  # a division beside a subtraction
    assert all(row["interval"] >= 1 and row["memory_bits"] > 0 for row in content["rows"])
    assert "net, 12-9-7-4, 20 test frames, ecp5-25k, LUTs by formula" in said
    page = (tmp_path / "docs" / "codes.md").read_text()
    assert page.startswith("# Which code for my network?\n")
    assert f"| {rows['graded', 4]['interval']:.1f} |" in page
    second = rows["graded", 4]["second"]
    assert second["interval"] > rows["graded", 4]["interval"]  # fewer neurons at once
    assert second["luts"] < rows["graded", 4]["luts"]
    assert "| memory bits | cycles, PE 3,2,4 | LUTs placed, PE 3,2,4 |" in page
    assert f" | {second['interval']:,.1f} | {second['luts']:,} |" in page
    del content["second"]
    for row in content["rows"]:
        del row["second"]
    kept.keep("codes", content)  # as earlier releases wrote it
    assert "| memory bits |\n" in codes.write(kept).read_text()


def test_cheapest_rows():
    """The first has the fewest cycles, the second the fewest events, the third the fewest LUTs; the fourth is alone the most accurate."""
    rows = [
        {"code": code, "steps": 2, "strict": strict, "interval": interval, "hidden_events_mean": events, "luts": luts}
        for code, strict, interval, events, luts in (("a", 97.6, 1, 9, 9), ("b", 97.8, 6, 1, 9), ("c", 97.95, 5, 9, 1), ("d", 98, 8, 8, 8))
    ]
    d, c, b, a = (f"{code}, T = 2" for code in "dcba")
    assert codes.cheapest(rows) == [("98.00 %", d, d, d), ("97.95 %", c, d, c), ("97.80 %", c, b, c), ("97.50 %", a, b, c)]
    assert codes.cheapest([*rows, {"code": "e"}]) == []


def test_a_network_in_no_such_code(tmp_path):
    path = tmp_path / "single.safetensors"
    save(random_network(np.random.default_rng(2), (6, 5, 3), 4), path)
    with pytest.raises(UserError, match=r"^inputs of a network in another code must be spread over the steps, not encoded by 'none'$"):
        codes.main([str(path), "--dataset", "random", "--images", "5"], Kept(tmp_path))
