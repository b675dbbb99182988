"""``python -m hw bench``, what is kept, and the page that is made of it."""

import json
import re
from dataclasses import replace

import numpy as np
import pytest

import export
from export import UserError
from hw.fpga import bench, results
from hw.fpga.kept import REPORT, Kept
from tests.networks import random_network


@pytest.fixture
def kept(tmp_path):
    kept = Kept(tmp_path)
    kept.folder.mkdir(parents=True)
    kept.artifact("own").parent.mkdir()
    network = random_network(np.random.default_rng(2), (6, 5, 3), 4)
    export.save(replace(network, provenance={"dataset": "random"}), kept.artifact("own"))
    (kept.folder / "foldings.toml").write_text(
        '[[row]]\nnetwork = "own"\nsimd = "2,1"\npe = "3,3"\nloop_order = "step,event"\n[[row]]\nnetwork = "own"\npe = "5,3"\n'
    )
    return kept


def test_bench(kept, capsys):
    assert bench.main(["--areas", "hx8k"], kept) == 0
    said = capsys.readouterr().out.splitlines()
    rows = kept.cycles()
    assert [results.folding(row) for row in rows] == ["PE 3,3, SIMD 2,1, order step,event, 2 contexts", "PE 5,3, SIMD 6,1, 2 contexts"]
    assert {row["frames"] for row in rows} == {1000}
    reports = kept.reports()
    for data in reports:
        assert data["sum_of_parts"]["luts"] == pytest.approx(data["area"]["luts"], rel=0.15)
        assert data["machine"]["cores"] >= 1
        assert data["date"].endswith("Z")
    assert sorted(path.name for path in kept.folder.glob("fpga-*")) == [
        "fpga-own-hx8k-pe3_3-simd2_1-delta-step_event-x2-words.json",
        "fpga-own-hx8k-pe5_3-simd6_1-delta-event_event-x2-words.json",
    ]
    head = next(index for index, line in enumerate(said) if line.startswith("network"))
    for row, data, line in zip(rows, reports, said[head + 1 :], strict=False):
        cells = re.split(r"  +", line)
        assert cells[2:5] == [f"{row['limit']:.1f}", f"{row['interval']:.1f}", f"{row['interval'] / row['limit']:.2f}"]
        assert cells[6:9] == ["hx8k", str(data["area"]["luts"]), str(data["area"]["ffs"])]
    assert said[-2:] == [str(kept.folder / "cycles.json"), str(kept.page)]
    assert kept.page.read_text() == results.page(kept)
    page = kept.page.read_text().splitlines()
    for table in re.findall(r"(?:^\|.*\n)+", kept.page.read_text(), re.MULTILINE):
        assert {line.count("|") for line in table.splitlines()} == {table.splitlines()[0].count("|")}
    assert any(line.startswith("| own | 6-5-3 | words | PE 3,3, SIMD 2,1, order step,event, 2 contexts |") for line in page)


def test_with_fewer_frames_nothing_is_kept(kept):
    assert bench.main(["--images", "20"], kept) == 0
    assert [path.name for path in kept.folder.iterdir()] == ["foldings.toml"]
    assert not kept.page.exists()


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("[[row]\n", "must be TOML: "),
        (
            "",
            "each [[row]] must have a network and no more than network, simd, pe, form, loop_order, ",
        ),
        ('[[row]]\npe = "1,1"\n', "each [[row]] must have a network and no more"),
        ('[[row]]\nnetwork = "own"\npe = 3\n', "each [[row]] must have a network and no more"),
    ],
)
def test_rows_with_mistakes(kept, rows, message):
    path = kept.folder / "foldings.toml"
    path.write_text(rows)
    with pytest.raises(UserError) as caught:
        kept.rows()
    assert str(caught.value).startswith(f"{path}: {message}")


def test_kept_files_with_mistakes(kept):
    path = kept.folder / "fpga-own.json"
    for text, message in (("{", "must be JSON: "), ("{}", "format must be 'firstspike-fpga', not None")):
        path.write_text(text)
        with pytest.raises(UserError) as caught:
            kept.reports()
        assert str(caught.value).startswith(f"{path}: {message}")


def test_reports_are_in_the_order_of_their_sizes(kept):
    for pe in (120, 16, 64):
        data = REPORT.header | {"network": {}, "folding": {}, "device": {}, "area": {}, "pe": pe}
        (kept.folder / f"fpga-own-pe{pe}.json").write_text(json.dumps(data))
    assert [data["pe"] for data in kept.reports()] == [16, 64, 120]


def test_what_is_of_an_earlier_artifact(kept):
    now = export.digest(export.load(kept.artifact("own")))
    for name, sha256, said in (("own", now, "own"), ("own", "0" * 64, "own (an earlier one)"), ("gone", now, "gone")):
        assert results.artifact(kept, {"artifact": name, "sha256": sha256}) == said
        assert results.artifact(kept, {"artifact": name, "network": {"sha256": sha256}}) == said


def test_page_is_what_the_committed_files_give():
    kept = Kept()
    assert kept.page.read_text(encoding="utf-8") == results.page(kept), "run python -m hw bench"


def test_committed_cycles_are_of_the_committed_rows_and_networks():
    kept = Kept()
    rows, cycles = kept.rows(), kept.cycles()
    assert [row["network"] for row in rows] == [row["artifact"] for row in cycles]
    for row in cycles:
        assert row["sha256"] == export.digest(export.load(kept.artifact(row["artifact"])))
