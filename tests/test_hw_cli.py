"""``python -m hw`` as a user meets it."""

import json
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import export
from hw import Accelerator, Folding, default_folding, verilog
from hw.__main__ import main
from hw.loading.command import read_capacity
from hw.loading.fit import fit_into
from hw.loading.loader import load_content
from hw.verilog.reserved import RESERVED_IN_VHDL
from tests.command_line import call
from tests.networks import random_network

ROOT = Path(__file__).parent.parent


command = partial(call, main)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    path = tmp_path_factory.mktemp("hw") / "network.safetensors"
    network = random_network(np.random.default_rng(2), (6, 5, 3), 4)
    export.save(network, path)
    return path


def test_default_folding(tmp_path, artifact):
    out = tmp_path / "new" / "accelerator.v"
    done = command(artifact, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    network = export.load(artifact)
    accelerator = Accelerator(network, default_folding(network))
    assert out.read_text() == verilog.generate(accelerator)
    assert "6 inputs in 1 word of SIMD = 6, 5 neurons in 1 group of PE = 5, delta form" in out.read_text()
    assert json.loads(out.with_suffix(".json").read_text()) == verilog.port_map(accelerator)
    first, second = (plan.membrane_bits for plan in accelerator.plans)
    assert done.stdout.splitlines() == [
        f"{out}: {out.stat().st_size} bytes",
        f"{out.with_suffix('.json')}: {out.with_suffix('.json').stat().st_size} bytes",
        f"layer 0: 6 → 5, delta by event, SIMD 6, PE 5: 1 word × 1 group, weight rows of 30 bits, margins of {first} bits",
        f"layer 1: 5 → 3, delta by event, SIMD 1, PE 3: 5 words × 1 group, weight rows of 3 bits, margins of {second} bits",
    ]


def test_name_and_declaration(tmp_path, artifact):
    out = tmp_path / "net.v"
    done = command(artifact, "--out", out, "--name", "mynet", "--vhdl", "--wrapper", "axi")
    assert (done.returncode, done.stderr) == (0, "")
    assert all(name.startswith("mynet") for name in re.findall(r"^module (\w+)", out.read_text(), re.MULTILINE))
    ports = json.loads(out.with_suffix(".json").read_text())
    assert ports["top"] == "mynet"
    declared = re.findall(
        r"^      (\w+) : (in|out) std_logic(?:_vector\((\d+) downto 0\))?;?$", out.with_suffix(".vhd").read_text(), re.MULTILINE
    )
    assert {name: (f"{way}put", int(high or 0) + 1) for name, way, high in declared} == {
        name: (port["direction"], port["width"]) for name, port in ports["ports"].items()
    }
    assert all(re.fullmatch(r"[a-z](_?[a-z0-9])*", name) and name not in RESERVED_IN_VHDL for name, *_ in declared)
    for name, message in (
        ("my__net", "the name must be letters, digits and single underscores, a letter first, as VHDL wants it, not 'my__net'"),
        ("Signal", "the name must be no word of Verilog or VHDL, but is 'Signal'"),
    ):
        done = command(artifact, "--out", out, "--name", name)
        assert (done.returncode, done.stderr) == (2, f"error: {message}\n")
    done = command(artifact, "--out", tmp_path / "net.vhd", "--vhdl")
    assert done.stderr == f"error: the Verilog's name must not end in .vhd, which is the declaration's, but is {tmp_path / 'net.vhd'}\n"


def test_weights_that_are_loaded(tmp_path, artifact):
    out = tmp_path / "accelerator.v"
    done = command(artifact, "--out", out, "--weights", "loadable")
    assert (done.returncode, done.stderr) == (0, "")
    network = export.load(artifact)
    folding = default_folding(network)
    assert out.read_text() == verilog.generate(Accelerator(network, folding, weights="loadable"))
    assert out.with_suffix(".weights").read_bytes() == load_content(folding.plans(network))
    assert f"{out.with_suffix('.weights')}: " in done.stdout


@pytest.fixture(scope="module")
def loadable(tmp_path_factory, artifact):
    """The port map of a circuit whose weights are loaded."""
    out = tmp_path_factory.mktemp("loadable") / "accelerator.v"
    done = command(artifact, "--out", out, "--weights", "loadable")
    assert (done.returncode, done.stderr) == (0, "")
    return out.with_suffix(".json")


def test_weights_of_other_networks(tmp_path, artifact, loadable):
    """Of the same one: what lies beside the Verilog; of a smaller one: the same as of one with neurons added."""
    out = tmp_path / "own.weights"
    done = command("weights", artifact, "--circuit", loadable, "--out", out)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{out}: {out.stat().st_size} bytes, 6-5-3\n")
    assert out.read_bytes() == loadable.with_suffix(".weights").read_bytes()
    small = random_network(np.random.default_rng(3), (5, 4, 2), 4)
    export.save(small, tmp_path / "small.safetensors")
    done = command("weights", tmp_path / "small.safetensors", "--circuit", loadable, "--out", out)
    assert (done.returncode, done.stderr, done.stdout) == (0, "", f"{out}: {out.stat().st_size} bytes, 5-4-2 in a circuit of 6-5-3\n")
    bits = json.loads(loadable.read_text())["membrane_bits"]
    plans = default_folding(export.load(artifact)).plans(fit_into(small, (6, 5, 3)), membrane_bits=bits)
    assert [plan.membrane_bits for plan in plans] == bits
    assert out.read_bytes() == load_content(plans)


def test_weights_that_do_not_fit(tmp_path, artifact, loadable):
    out, other = tmp_path / "out.weights", tmp_path / "other.safetensors"
    export.save(random_network(np.random.default_rng(3), (7, 5, 3), 4), other)
    done = command("weights", other, "--circuit", loadable, "--out", out)
    message = "error: a network of 7-5-3 does not fit into a circuit of 6-5-3: no size may be greater\n"
    assert (done.returncode, done.stderr) == (2, message)
    done = command("weights", artifact, "--circuit", artifact, "--out", out)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {artifact} must be a port map, as python -m hw writes it beside the Verilog, but is not: ")
    done = command("weights", artifact, "--circuit", loadable, "--out", loadable)
    assert (done.returncode, done.stderr) == (2, f"error: --out must be another file than {loadable}, which it would overwrite\n")
    for name, value, said in (
        ("membrane_bits", 5, "shape and membrane_bits must be lists of integers, steps an integer"),
        ("membrane_bits", [5, "6"], "shape and membrane_bits must be lists of integers, steps an integer"),
        ("membrane_bits", [5], "membrane_bits must have one entry per layer"),
        ("folding", {"simd": 6, "pe": [5, 3], "form": ["delta", "delta"]}, "simd must be a tuple, one entry per layer, not 6"),
        ("network", {"shape": "6", "steps": 4}, "shape and membrane_bits must be lists of integers, steps an integer"),
        ("network", {"shape": [6, 5, 3], "steps": "4"}, "shape and membrane_bits must be lists of integers, steps an integer"),
    ):
        kind = "UserError" if name == "folding" else "ValueError"
        wrong = tmp_path / "wrong.json"
        wrong.write_text(json.dumps(json.loads(loadable.read_text()) | {name: value}))
        with pytest.raises(export.UserError) as caught:
            read_capacity(wrong)
        message = f"{wrong} must be a port map, as python -m hw writes it beside the Verilog, but is not: {kind}('{said}')"
        assert str(caught.value) == message
    rom = tmp_path / "rom.json"
    rom.write_text(loadable.read_text().replace('"weights": "loadable"', '"weights": "rom"'))
    done = command("weights", artifact, "--circuit", rom, "--out", out)
    message = f"error: the circuit's weights must be loadable (--weights loadable), but those of {rom} are rom\n"
    assert (done.returncode, done.stderr) == (2, message)
    assert not out.exists()


def test_folding_that_is_asked_for(tmp_path, artifact):
    out = tmp_path / "accelerator.v"
    options = ["--form", "delta,xnor", "--order", "step,step", "--swap", "2,1", "--contexts", "2"]
    done = command(artifact, "--out", out, "--simd", "4,2", "--pe", "2,3", *options)
    assert (done.returncode, done.stderr) == (0, "")
    folding = Folding((4, 2), (2, 3), ("delta", "xnor"), ("step", "step"), (2, 1), 2)
    assert out.read_text() == verilog.generate(Accelerator(export.load(artifact), folding))
    assert done.stdout.splitlines()[2].startswith("layer 0: 6 → 5, delta by step, SIMD 4, PE 2: 2 words × 3 groups")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--simd", "7,1"], "simd of layer 0 must be an integer from 1 to its 6 inputs, not 7"),
        (["--pe", "5,4"], "pe of layer 1 must be an integer from 1 to its 3 outputs, not 4"),
        (["--pe", "5"], "pe must have 2 entries, one per layer, not 1"),
        (["--form", "delta,membrane"], "form of layer 1 must be one of delta, xnor, not 'membrane'"),
        (["--loop-order", "event,word"], "loop_order of layer 1 must be one of event, step, not 'word'"),
        (
            ["--order", "event,event", "--swap", "2,1"],
            "swap of layer 0 must be 1, because its form and loop order are delta and event, not 2",
        ),
        (["--input", "pixels"], "frames_in 'pixels' needs a network with encoder 'latency' or 'spread', not 'none'"),
        (["--pixels", "4"], "--pixels must be left out, or given with --input pixels"),
        (["--simd", "1,x"], "argument --simd: invalid list of int value: '1,x' (see python -m hw --help)"),
        (["--contexts", "3"], "argument --contexts: invalid choice: 3 (choose from 1, 2, 4, 8, 16) (see python -m hw --help)"),
        (["--input", "bytes"], "argument --input: invalid choice: 'bytes' (choose from 'words', 'pixels') (see python -m hw --help)"),
    ],
)
def test_mistakes(tmp_path, artifact, options, message):
    done = command(artifact, "--out", tmp_path / "accelerator.v", *options)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.replace("choose from words, pixels", "choose from 'words', 'pixels'") == f"error: {message}\n"
    assert list(tmp_path.iterdir()) == []


def test_missing_and_damaged_artifact(tmp_path, artifact):
    missing = tmp_path / "nothing.safetensors"
    done = command(missing, "--out", tmp_path / "accelerator.v")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {missing}: No such file or directory\n")
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(artifact.read_bytes()[:-5])
    done = command(damaged, "--out", tmp_path / "accelerator.v")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "accelerator.v").exists()


def test_out_must_be_named(artifact):
    done = subprocess.run([sys.executable, "-m", "hw", artifact], cwd=ROOT, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "error: the following arguments are required: --out (see python -m hw --help)\n")


def test_network_is_not_overwritten(artifact):
    before = artifact.read_bytes()
    done = command(artifact, "--out", artifact)
    assert (done.returncode, done.stderr) == (2, f"error: --out must be another file than {artifact}, which it would overwrite\n")
    assert artifact.read_bytes() == before


@pytest.mark.parametrize("ending", ["json", "weights"])
def test_nor_by_what_lies_beside_the_verilog(tmp_path, artifact, ending):
    network = tmp_path / f"accelerator.{ending}"
    network.write_bytes(artifact.read_bytes())
    done = command(network, "--out", tmp_path / "accelerator.v", "--weights", "loadable")
    assert (done.returncode, done.stderr) == (2, f"error: --out must be another file than {network}, which it would overwrite\n")
    assert [path.name for path in tmp_path.iterdir()] == [network.name]
    assert network.read_bytes() == artifact.read_bytes()


@pytest.mark.parametrize(("ending", "whose"), [("json", "port map"), ("weights", "load")])
def test_verilog_does_not_take_the_name_of_what_lies_beside_it(tmp_path, artifact, ending, whose):
    out = tmp_path / f"accelerator.{ending}"
    done = command(artifact, "--out", out, "--weights", "loadable")
    message = f"error: the Verilog's name must not end in .{ending}, which is the {whose}'s, but is {out}\n"
    assert (done.returncode, done.stderr) == (2, message)
    assert not out.exists()


def test_nothing_half_written(tmp_path, artifact):
    (tmp_path / "accelerator.weights").mkdir()
    done = command(artifact, "--out", tmp_path / "accelerator.v", "--weights", "loadable")
    assert (done.returncode, done.stdout, done.stderr) == (2, "", f"error: {tmp_path / 'accelerator.weights'}: Is a directory\n")
    assert [path.name for path in tmp_path.iterdir()] == ["accelerator.weights"]


def test_command_that_there_is_not(tmp_path, artifact):
    done = command("generate", artifact, "--out", tmp_path / "accelerator.v")
    message = "error: 'generate' must be a network's file or one of weights, fpga, estimate, bench, codes, but is neither\n"
    assert (done.returncode, done.stderr) == (2, message)
