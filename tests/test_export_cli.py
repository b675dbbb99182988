"""``python -m export`` as a user meets it, and the parts of it that the other command lines share."""

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import export
from export import UserError
from export.__main__ import main
from export.cli import Parser, run
from tests.command_line import call
from tests.networks import graded_example, map_example, random_network, random_spike_times, worked_example, write_checkpoint

ROOT = Path(__file__).parent.parent


command = partial(call, main)


def assert_refused(done, message):
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr == f"error: {message}\n"


@pytest.fixture
def network():
    return random_network(np.random.default_rng(79), (6, 5, 3), 4)


@pytest.fixture
def checkpoint(tmp_path, network):
    times = random_spike_times(np.random.default_rng(2), 9, 6, 4)
    return write_checkpoint(tmp_path / "checkpoint.safetensors", network, times)


def test_export_and_inspect(tmp_path, checkpoint, network):
    out = tmp_path / "new" / "network.safetensors"
    done = command(checkpoint, "--out", out)
    assert (done.returncode, done.stderr) == (0, "")
    found = export.load(out)
    assert done.stdout.splitlines() == [
        "golden model equal to the trained network on all 9 frames of the check set",
        f"{out}: 6-5-3, T = 4, {out.stat().st_size} bytes, sha256 {export.digest(found)}",
    ]
    for made, original in zip(found.layers, network.layers, strict=True):
        assert np.array_equal(made.connection.weights, original.connection.weights)
        assert np.array_equal(made.neuron.thresholds, original.neuron.thresholds)
    done = command("inspect", out)
    assert (done.returncode, done.stderr) == (0, "")
    assert "network     6-5-3\nsteps       4\nencoder     none\nclasses     0, 1, 2\n" in done.stdout
    assert f"sha256      {export.digest(found)}\n" in done.stdout
    assert "layer 1     5 → 3, dense, single, weights +1: " in done.stdout
    assert '"strict": 50.0' in done.stdout


def test_export_twice_gives_the_same_bytes(tmp_path, checkpoint):
    for name in ("a", "b"):
        assert command(checkpoint, "--out", tmp_path / name).returncode == 0
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_inspect_counts_neurons_that_never_fire(tmp_path):
    layer = export.Layer(export.Dense(np.array([[1, 1, -1], [1, 1, 1], [-1, -1, -1]])), export.Single(np.array([3, 3, 1])))
    export.save(export.Network((layer,), 4, export.Encoder("latency", 9)), tmp_path / "n")
    done = command("inspect", tmp_path / "n")
    assert "encoder     latency (p_min 9)" in done.stdout
    assert "layer 0     3 → 3, dense, single, weights +1: 55.6%, thresholds 1 … 3 (median 3), never fires: 2" in done.stdout


def test_inspect_shows_levels_starts_and_bits(tmp_path):
    export.save(graded_example(), tmp_path / "n")
    lines = command("inspect", tmp_path / "n").stdout.splitlines()
    assert lines[2] == "encoder     spread (4 bits)"
    assert lines[5] == (
        "layer 0     3 → 2, dense, graded, levels 0 … 3, weights +1: 66.7%, "
        "thresholds 2 … 3 (median 2.5), starts -1 … 1 (median 0), never fires: 0"
    )
    assert lines[6] == "layer 1     2 → 2, dense, readout, weights +1: 50.0%, thresholds -2 … 1 (median -0.5), never fires: 0"
    ternary = export.Ternary([9, 1], [6, -40], levels=4, signed=True)
    layers = export.Layer(export.Dense([[1, 1], [1, -1]]), ternary), export.Layer(export.Dense([[1, -1]]), export.Readout([5]))
    export.save(export.Network(layers, 4, export.Encoder("none", bits=1)), tmp_path / "n")
    lines = command("inspect", tmp_path / "n").stdout.splitlines()
    assert lines[2] == "encoder     none (1 bit)"
    assert lines[5].endswith(
        "dense, ternary, levels -4 … 4, weights +1: 75.0%, thresholds 1 … 9 (median 5), starts -40 … 6 (median -17), never fires: 1"
    )
    assert lines[6].endswith(", never fires: 0")  # at most 4 + 4


def test_inspect_leaves_the_shift_curve_to_the_file(tmp_path):
    layer = export.Layer(export.Dense([[1, -1]]), export.Single([1]))
    provenance = {"seed": 7, "shift_curve": [{"shift": shift} for shift in range(100)], "steps_mean": 2.5}
    export.save(export.Network((layer,), 4, export.Encoder("none"), provenance=provenance), tmp_path / "n")
    assert command("inspect", tmp_path / "n").stdout.splitlines()[-1] == 'provenance  {"seed": 7, "steps_mean": 2.5}'
    assert export.load(tmp_path / "n").provenance == provenance


def test_inspect_shows_biases_and_fractions(tmp_path):
    hidden = export.Layer(export.Dense([[1, 1], [1, -1]]), export.Graded([8, 9], levels=3, bias=[0, -3], fraction=2))
    output = export.Layer(export.Dense([[1, 1]]), export.Readout([1]))
    export.save(export.Network((hidden, output), 2, export.Encoder("spread", bits=4)), tmp_path / "n")
    lines = command("inspect", tmp_path / "n").stdout.splitlines()
    assert any("bias per step -3 … 0 (median -1.5), fraction 2 bits, never fires: 0" in line for line in lines)


def test_inspect_without_unicode(tmp_path):
    """A terminal that cannot show the arrows gets the text all the same."""
    export.save(worked_example(), tmp_path / "n")
    done = subprocess.run(
        [sys.executable, "-m", "export", "inspect", str(tmp_path / "n")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={"PYTHONIOENCODING": "ascii", "PATH": ""},
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "3 \\u2192 2" in done.stdout


def test_difference_writes_nothing(tmp_path, network):
    times = random_spike_times(np.random.default_rng(2), 9, 6, 4)
    checkpoint = write_checkpoint(tmp_path / "c", network, times, tensors={"check.step": np.zeros(9, np.int32) + 7})
    assert_refused(
        command(checkpoint, "--out", tmp_path / "new" / "network.safetensors"),
        f"{checkpoint}: the golden model must equal the trained network, but check.step differs in 9 places, "
        f"first at frame 0: trained 7, golden {export.reference.run(network, times).decisions.step[0]}",
    )
    assert list(tmp_path.iterdir()) == [checkpoint]


def test_difference_leaves_the_old_file(tmp_path, checkpoint, network):
    out = tmp_path / "network.safetensors"
    export.save(worked_example(), out)
    before = out.read_bytes()
    checkpoint.write_bytes(checkpoint.read_bytes()[:-1])
    done = command(checkpoint, "--out", out)
    assert done.returncode == 2
    assert done.stderr.startswith(f"error: {checkpoint}: must be a whole safetensors file: ")
    assert len(done.stderr.splitlines()) == 1
    assert out.read_bytes() == before
    assert sorted(tmp_path.iterdir()) == [checkpoint, out]


def test_artifact_is_no_checkpoint(tmp_path):
    export.save(worked_example(), tmp_path / "n")
    assert_refused(
        command(tmp_path / "n", "--out", tmp_path / "m"),
        f"{tmp_path / 'n'}: format must be 'firstspike-checkpoint', not 'firstspike-network'",
    )


def test_missing_file(tmp_path):
    missing = tmp_path / "missing.safetensors"
    assert_refused(command(missing, "--out", tmp_path / "n"), f"{missing}: No such file or directory")
    assert_refused(command("inspect", missing), f"{missing}: No such file or directory")


def test_folders_in_the_way(tmp_path, checkpoint):
    assert_refused(command("inspect", tmp_path), f"{tmp_path}: Is a directory")
    assert_refused(command(checkpoint, "--out", tmp_path), f"{tmp_path}: Is a directory")


def test_checkpoint_is_not_overwritten(checkpoint):
    before = checkpoint.read_bytes()
    done = command(checkpoint, "--out", checkpoint)
    assert_refused(done, f"--out must be another file than {checkpoint}, which it would overwrite")
    assert checkpoint.read_bytes() == before


def test_wrong_arguments(checkpoint):
    assert_refused(command(checkpoint), "the following arguments are required: --out (see python -m export --help)")
    assert_refused(command("inspect"), "the following arguments are required: network (see python -m export inspect --help)")
    assert_refused(command("inspect", "a", "b"), "unrecognized arguments: b (see python -m export inspect --help)")


@pytest.mark.parametrize("arguments", [["--help"], ["inspect", "--help"]])
def test_help(arguments):
    done = command(*arguments)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("usage: python -m export")


@pytest.mark.parametrize(
    ("outcome", "status", "stderr"),
    [
        (0, 0, ""),
        (1, 1, ""),
        (export.UserError("first\nsecond"), 2, "error: first second\n"),
        (FileNotFoundError(2, "No such file or directory", "x"), 2, "error: x: No such file or directory\n"),
        (OSError("no name"), 2, "error: no name\n"),
        (OSError(28, "No space left on device", "from", None, "to"), 2, "error: to: No space left on device\n"),
        (MemoryError("8 TiB"), 2, "error: there must be enough memory, but there is not: 8 TiB\n"),
        (
            ModuleNotFoundError("No module named 'x.y'", name="x.y"),
            2,
            "error: x.y must be installed ('pip install -c constraints.txt -e .' brings all that is needed)\n",
        ),
        (KeyboardInterrupt(), 130, "interrupted\n"),
        (BrokenPipeError(), 141, ""),
    ],
)
def test_run(outcome, status, stderr, capsys):
    def main():
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    with pytest.raises(SystemExit) as caught:
        run(main)
    assert caught.value.code == status
    assert capsys.readouterr().err == stderr


@pytest.mark.parametrize("bug", [lambda: 1 // 0, lambda: __import__("hw.nothing")], ids=["arithmetic", "import"])
def test_bugs_keep_their_traceback(bug, capsys):
    """Only what a user can cause is turned into a line, and no bug may look like a difference."""
    with pytest.raises(SystemExit) as caught:
        run(bug)
    assert caught.value.code == 4
    assert capsys.readouterr().err.startswith("Traceback (most recent call last):\n")


@pytest.fixture
def long_network(tmp_path):
    """A file of which more is to be said than a buffer holds."""
    network = export.Network(worked_example().layers, 4, provenance={"long": ["x" * 100] * 5000})
    export.save(network, tmp_path / "long")
    return tmp_path / "long"


def shell(line):
    return subprocess.run(["bash", "-c", f"{line}; exit ${{PIPESTATUS[0]}}"], cwd=ROOT, capture_output=True, text=True)


def test_closed_pipe_is_quiet(long_network):
    done = shell(f"'{sys.executable}' -m export inspect '{long_network}' | head -n 1")
    assert (done.returncode, done.stdout, done.stderr) == (141, "network     3-2\n", "")


def test_closed_pipe_of_little(checkpoint, tmp_path):
    """What is printed only when the program ends."""
    done = shell(f"'{sys.executable}' -m export '{checkpoint}' --out '{tmp_path / 'n'}' | true")
    assert (done.returncode, done.stderr) == (141, "")
    assert export.load(tmp_path / "n").shape == (6, 5, 3)


def test_closed_output(long_network):
    done = shell(f"'{sys.executable}' -m export inspect '{long_network}' >&-")
    assert (done.returncode, done.stderr) == (0, "")


def test_full_output(long_network, checkpoint, tmp_path):
    """Found while something is printed, or at the end."""
    for arguments in (f"inspect '{long_network}'", f"'{checkpoint}' --out '{tmp_path / 'n'}'"):
        done = shell(f"'{sys.executable}' -m export {arguments} > /dev/full")
        assert (done.returncode, done.stderr) == (2, "error: standard output: No space left on device\n")


def test_parser_error_is_one_line(capsys):
    parser = Parser(prog="python -m test")
    parser.add_argument("--steps", type=int)
    with pytest.raises(SystemExit) as caught:
        run(lambda: parser.parse_args(["--steps", "x"]).steps)
    assert caught.value.code == 2
    assert capsys.readouterr().err == "error: argument --steps: invalid int value: 'x' (see python -m test --help)\n"


@pytest.mark.parametrize("error", [UserError("wrong"), OSError("full"), KeyboardInterrupt()])
def test_quiet_says_nothing_but_the_status(capsys, error):
    def fail():
        raise error

    with pytest.raises(SystemExit) as caught:
        run(fail, quiet=True)
    assert caught.value.code == (130 if isinstance(error, KeyboardInterrupt) else 2)
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("provenance", "lines"),
    [
        ({}, 1),
        ({"b": 1, "a": [2, {"c": None}]}, 1),
        ({"curve": [{"shift": shift, "strict": 97.123456789} for shift in range(50)], "seed": 1, "note": "θ" * 200}, 56),
    ],
)
def test_provenance_is_shown_as_json(tmp_path, provenance, lines):
    export.save(export.Network(worked_example().layers, 4, provenance=provenance), tmp_path / "n")
    shown = command("inspect", tmp_path / "n").stdout.partition("provenance  ")[2]
    assert json.loads(shown) == provenance
    assert len(shown.splitlines()) == lines


def test_inspect_shows_maps_kernels_and_pools(tmp_path):
    export.save(map_example(), tmp_path / "n")
    lines = command("inspect", tmp_path / "n").stdout.splitlines()
    assert lines[0] == "network     30-24-2"
    assert lines[5] == (
        "layer 0     3 x 5 x 2 → 3 x 4 x 2, conv2d 1 x 3 (stride 1 x 2, padding 0 x 2), single, weights +1: 58.3%, "
        "thresholds 1 … 2 (median 1.5), never fires: 6"
    )
    said = "3 x 4 x 2 → 2, max pool 3 x 2, dense, single, weights +1: 50.0%, thresholds 1 … 1 (median 1), never fires: 0"
    assert lines[6] == f"layer 1     {said}"
