"""``python -m hw fpga`` as a user meets it."""

import json
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import export
from export import reference
from hw import Folding, cost, default_folding, inputs, verilog
from hw.__main__ import main
from hw.fpga import command as fpga
from hw.fpga import flow
from hw.fpga.area import AreaModel
from hw.fpga.devices import ICE40
from hw.fpga.tools import Made
from hw.host.boards import BOARDS
from tests.command_line import call
from tests.networks import random_network

command = partial(call, main, "fpga")


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    path = tmp_path_factory.mktemp("fpga") / "network.safetensors"
    network = random_network(np.random.default_rng(2), (6, 5, 3), 4)
    export.save(replace(network, provenance={"dataset": "random"}), path)
    return path


FOLDING = ("--simd", "2,1", "--pe", "3,3", "--form", "delta,delta")


def test_place_and_route(tmp_path, artifact):
    done = command(artifact, "--device", "hx8k", "--seeds", 3, "--images", 50, *FOLDING, "--out", tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    names = ["accelerator.v", "harness.bin", "harness.v", "nextpnr-ice40.log", "report.json", "yosys.log"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names
    data = json.loads((tmp_path / "report.json").read_text())
    network, folding = export.load(artifact), Folding((2, 1), (3, 3), ("delta", "delta"), contexts=2)
    times = inputs.random_events(network, 50, 0)
    golden = reference.run(network, times)
    cycles = cost.predict(network, folding, times, golden, early=True)
    limit = cost.limit(network, folding, times, golden)[1:].mean()
    assert data["cycles"] == {
        "frames": 50, "interval": cycles.intervals.mean(), "limit": limit, "latency": cycles.latencies.mean(),
    }  # fmt: skip
    clocks = [seed["mhz"] for seed in data["seeds"]]
    assert data["mhz"] == pytest.approx(sorted(clocks)[1], abs=0.01)
    assert data["images_per_second"] == data["mhz"] * 1e6 / data["cycles"]["interval"]
    assert data["latency_us"] == data["cycles"]["latency"] / data["mhz"]
    assert (data["network"]["sha256"], data["folding"]) == (export.digest(network), folding.as_dict())
    assert set(data["tools"]) == {"yosys", "nextpnr-ice40"}
    lines = done.stdout.splitlines()
    assert [line.partition(":")[0] for line in lines[:3]] == ["seed 1", "seed 2", "seed 3"]
    luts = f"LUTs                  {data['area']['luts']} of 7,680 ({data['area']['luts'] / 7680:.0%}); formula "
    assert any(line.startswith(luts) for line in lines)
    assert f"images per second     {data['images_per_second']:,.0f}" in lines
    assert any(line.startswith(f"clock                 {data['mhz']:.1f} MHz (median of 3 seeds: ") for line in lines)
    again = command(artifact, "--device", "hx8k", "--seeds", 3, "--images", 50, *FOLDING, "--out", tmp_path / "again")
    assert (tmp_path / "again" / "report.json").read_text() == (tmp_path / "report.json").read_text()
    assert again.returncode == 0


def test_synthesis_only(tmp_path, artifact):
    said = "xc7: synthesis only; there is no place and route for it here, and so no clock and no bitstream\n"
    for device, options, begins in (("xc7", (), said), ("ecp5-25k", ("--synthesis-only",), "network ")):
        done = command(artifact, "--device", device, *options, *FOLDING, "--images", 5, "--out", tmp_path)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith(begins)
        assert "clock                 not known: synthesis only\n" in done.stdout
        assert sorted(path.name for path in tmp_path.iterdir()) == ["accelerator.v", "report.json", "yosys.log"]
        data = json.loads((tmp_path / "report.json").read_text())
        assert (data["mhz"], data["seeds"], data["images_per_second"], data["latency_us"]) == (None, [], None, None)
        assert data["area"]["luts"] > 50


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--device", "up6k"], "device must be one of up5k, hx8k, ecp5-25k, ecp5-85k, xc7, not 'up6k'"),
        ([], "--device or --board must be given"),
        (["--device", "xc7", "--seeds", "2"], "--seeds is for place and route, which there is not for xc7"),
        (["--device", "xc7", "--mhz", "90"], "--mhz is for place and route, which there is not for xc7"),
        (["--device", "up5k", "--seeds", "2", "--synthesis-only"], "--seeds is for place and route, which --synthesis-only leaves out"),
        (
            ["--device", "up5k", "--seeds", "0"],
            "argument --seeds: must be an integer of at least 1, not '0' (see python -m hw fpga --help)",
        ),
        (["--device", "up5k", "--mhz", "-1"], "argument --mhz: invalid number above 0 value: '-1' (see python -m hw fpga --help)"),
        (["--device", "up5k", "--mhz", "fast"], "argument --mhz: invalid number above 0 value: 'fast' (see python -m hw fpga --help)"),
        (["--device", "up5k", "--images", "1"], "there must be at least two frames to count cycles between results, not 1"),
        (["--device", "up5k", "--images", "9", "--keep"], "--keep must be without --images: what is kept is measured on all test frames"),
        (["--device", "up5k", "--pixels", "4"], "--pixels must be left out, or given with --input pixels"),
        (["--device", "up5k", "--simd", "7,1"], "simd of layer 0 must be an integer from 1 to its 6 inputs, not 7"),
        (["--device", "up5k", "--input", "pixels"], "frames_in 'pixels' needs a network with encoder 'latency' or 'spread', not 'none'"),
    ],
)
def test_mistakes(tmp_path, artifact, options, message):
    done = command(artifact, *options, "--out", tmp_path / "out")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {message}\n")
    assert list(tmp_path.iterdir()) == []


def test_what_does_not_fit_is_not_kept(tmp_path, artifact, monkeypatch):
    """Neither with place and route nor without; without it, a circuit that is not kept may be larger."""
    large = flow.Synthesis(flow.Area(luts=6000), flow.Area(), Made(tmp_path, tmp_path / "log", False))
    monkeypatch.setattr(flow, "synthesise", lambda design, device: large)
    monkeypatch.setattr(fpga, "Kept", lambda: pytest.fail("kept"))
    monkeypatch.setattr(fpga, "write", lambda *given, **options: [])
    arguments = [str(artifact), "--device", "up5k", *FOLDING, "--out", str(tmp_path / "out")]
    for options in (["--keep"], ["--keep", "--synthesis-only"], []):
        with pytest.raises(export.UserError, match=r"^the circuit must fit into up5k, but needs 6,000 of 5,280 LUTs$"):
            fpga.main([*arguments, *options])
    assert fpga.main([*arguments, "--synthesis-only"]) == 0


@pytest.mark.parametrize(("target", "frames_in"), [(("--device", "up5k"), "words"), (("--board", "icebreaker"), "pixels")])
def test_hopelessly_large(tmp_path, target, frames_in):
    """Said before anything is synthesised."""
    network = random_network(np.random.default_rng(2), (64, 600, 10), 8)
    network = replace(network, encoder=export.Encoder("latency"), provenance={"dataset": "digits"})
    export.save(network, tmp_path / "network.safetensors")
    weights, board = ("rom", None) if frames_in == "words" else ("loadable", BOARDS["icebreaker"])
    area = AreaModel(ICE40, weights, board).estimate(network, default_folding(network), frames_in)
    loop_order = ("--loop-order", "event,event")
    done = command(tmp_path / "network.safetensors", *target, *loop_order, "--synthesis-only", "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: the circuit must fit into up5k, but by formula needs {area.luts:,} of 5,280 LUTs and {area.ffs:,} of 5,280 "
        f"flip-flops; --force synthesises it all the same, "
        f"and python -m hw estimate … {' '.join(target)} --max-luts 4488 looks for a folding that fits\n"
    )
    assert not (tmp_path / "out").exists()


def test_too_many_memories(tmp_path, monkeypatch):
    """By one: refused before anything is synthesised, unless that is asked for; what synthesis counts is refused then."""
    network = random_network(np.random.default_rng(2), (64, 600, 10), 8)
    export.save(replace(network, encoder=export.Encoder("latency"), provenance={"dataset": "digits"}), tmp_path / "network.safetensors")
    honest = AreaModel.estimate
    monkeypatch.setattr(AreaModel, "estimate", lambda *given: replace(honest(*given), block_rams=31))
    large = flow.Synthesis(flow.Area(block_rams=32), flow.Area(), Made(tmp_path, tmp_path / "log", False))
    ran = []
    monkeypatch.setattr(flow, "synthesise", lambda design, device: ran.append(design) or large)
    folding = ("--simd", "1,1", "--pe", "8,1", "--form", "delta,delta", "--loop-order", "event,event", "--swap", "1,1", "--contexts", "1")
    arguments = [str(tmp_path / "network.safetensors"), "--device", "up5k", "--images", "5", *folding, "--out", str(tmp_path / "out")]
    with pytest.raises(export.UserError, match=r"^the circuit must fit into up5k, but by formula needs 31 of 30 block RAMs; --force "):
        fpga.main(arguments)
    assert not ran
    with pytest.raises(export.UserError, match=r"^the circuit must fit into up5k, but needs 32 of 30 block RAMs$"):
        fpga.main([*arguments, "--force"])
    assert ran


@pytest.mark.parametrize("mhz", [50.0, 20.5])
def test_a_board_whose_clock_is_missed(tmp_path, artifact, monkeypatch, capsys, mhz):
    """Status 2, no bitstream, not even an old one, no images per second, and nothing is kept; with a seed that reaches it, all of that."""
    network = replace(export.load(artifact), encoder=export.Encoder("latency"), provenance={})
    export.save(network, tmp_path / "network.safetensors")
    x = np.random.default_rng(0).integers(0, 256, (20, 6)).astype(np.uint8)
    np.savez(tmp_path / "set.npz", x_test=x, y_test=np.zeros(20, int))
    for name in ("yosys.log", "nextpnr.log", "stream.bin"):
        (tmp_path / name).write_text("said")
    out = tmp_path / "out"
    out.mkdir()
    (out / "top.bin").write_text("old")
    synthesis = flow.Synthesis(flow.Area(luts=600), flow.Area(), Made(tmp_path, tmp_path / "yosys.log", False))
    monkeypatch.setattr(flow, "synthesise", lambda design, device: synthesis)
    placed = Made(tmp_path, tmp_path / "nextpnr.log", False)
    placements = iter([flow.Placement(1, 19.5, {"ICESTORM_LC": (600, 5280)}, {}, placed), flow.Placement(2, mhz, {}, {}, placed)])
    monkeypatch.setattr(flow, "place_and_route", lambda *given: next(placements))
    monkeypatch.setattr(flow, "bitstream", lambda placement, device: tmp_path / "stream.bin")
    options = ["--dataset", str(tmp_path / "set.npz"), *FOLDING, "--seeds", "2", "--out", str(out)]
    arguments = [str(tmp_path / "network.safetensors"), "--board", "icebreaker", *options]
    if mhz > 21:
        assert fpga.main(arguments) == 0
        assert "\nimages per second " in capsys.readouterr().out
        assert (out / "top.bin").read_text() == "said"
        return
    message = r"^the circuit must reach 21\.0 MHz, but reaches 20\.5, so that there is no bitstream; --mhz asks for a slower clock, "
    monkeypatch.setattr(fpga, "Kept", lambda: pytest.fail("kept"))
    monkeypatch.setattr(fpga, "sum_of_parts", lambda circuit, device: None)
    with pytest.raises(export.UserError, match=message):
        fpga.main([*arguments, "--keep"])
    said = capsys.readouterr().out
    assert "images per second" not in said
    assert "top.bin" not in said
    assert not (out / "top.bin").exists()
    data = json.loads((out / "report.json").read_text())
    assert (data["images_per_second"], data["latency_us"], data["board"]["mhz"], data["mhz"]) == (None, None, 21.0, 20.0)


def test_output_that_is_no_folder(tmp_path, artifact):
    """Said before hours go into placing."""
    (tmp_path / "out").write_text("mine")
    for out in (tmp_path / "out", tmp_path / "out" / "here"):
        done = command(artifact, "--device", "hx8k", *FOLDING, "--out", out)
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr == f"error: out must be a folder, but {tmp_path / 'out'} is a file\n"
    assert (tmp_path / "out").read_text() == "mine"


def test_board_and_device_that_do_not_go_together(tmp_path, artifact):
    done = command(artifact, "--board", "icebreaker", "--device", "hx8k", "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --device must be up5k, which is on icebreaker, or be left out, not hx8k\n"
    done = command(artifact, "--board", "arty", "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: board must be one of icebreaker, ulx3s-25f, ulx3s-85f, not 'arty'\n"
    assert list(tmp_path.iterdir()) == []


def test_board(tmp_path, artifact):
    """All that goes onto a board is counted, and its pins come along."""
    network = replace(export.load(artifact), encoder=export.Encoder("latency"), provenance={})
    export.save(network, tmp_path / "network.safetensors")
    x = np.random.default_rng(0).integers(0, 256, (20, 6)).astype(np.uint8)
    np.savez(tmp_path / "set.npz", x_test=x, y_test=np.zeros(20, int))
    options = ("--dataset", tmp_path / "set.npz", "--synthesis-only", *FOLDING, "--out", tmp_path / "out")
    done = command(tmp_path / "network.safetensors", "--board", "icebreaker", *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report.json", "top.pcf", "top.v", "yosys.log"]
    data = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (data["device"]["name"], data["board"]["name"], data["frames_in"], data["weights"]) == (
        "up5k",
        "icebreaker",
        "pixels",
        "loadable",
    )
    assert (data["formula"]["sprams"], data["formula"]["block_rams"], data["mhz"]) == (0, data["area"]["block_rams"], None)
    assert data["formula"]["luts"] == pytest.approx(data["area"]["luts"], rel=0.3)
    assert data["images_per_second"] == data["board"]["mhz"] * 1e6 / data["cycles"]["interval"]
    assert data["area"]["luts"] > 500


def test_network_that_does_not_say_what_it_was_trained_on(tmp_path):
    path = tmp_path / "network.safetensors"
    export.save(random_network(np.random.default_rng(2), (6, 5, 3), 4), path)
    done = command(path, "--device", "up5k", "--out", tmp_path / "out")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "error: --dataset must be given, because the network does not say what it was trained on\n"


def test_tool_that_fails(tmp_path, artifact, monkeypatch, capsys):
    """Exit status 3, one line that names the log, and no output folder."""
    generate = verilog.generate
    monkeypatch.setattr(verilog, "generate", lambda accelerator: generate(accelerator).replace("endmodule", "end module"))
    arguments = ["hw", "fpga", str(artifact), "--device", "xc7", *FOLDING, "--out", str(tmp_path / "out")]
    monkeypatch.setattr(sys, "argv", arguments)
    assert main() == 3
    said = capsys.readouterr().err
    assert said.startswith("error: yosys failed (")
    assert said.count("\n") == 1
    assert Path(said.partition("(")[2].partition(")")[0]).read_text().count("ERROR")
    assert not (tmp_path / "out").exists()


def test_missing_package(monkeypatch, artifact):
    import hw.__main__ as hw_main

    monkeypatch.setattr(hw_main, "COMMANDS", {"fpga": "yowasp_nothing"})
    monkeypatch.setattr(sys, "argv", ["hw", "fpga", str(artifact)])
    with pytest.raises(export.UserError) as caught:
        hw_main.main()
    assert str(caught.value) == "yowasp_nothing must be installed for 'fpga': it is in the group 'fpga' of pyproject.toml"
