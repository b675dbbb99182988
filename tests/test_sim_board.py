# amaranth: UnusedElaboratable=no

"""sim.board: a circuit, and a board's top, on a simulated serial line against the golden model, with faults planted in them."""

import io
import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from export import Dense, Encoder, Layer, Network, Readout, Single, UserError, digest, reference, save
from hw import Folding
from hw.host.boards import board_named
from hw.host.hosted import HostedAccelerator, describe
from hw.host.packets import Error, Reply, Request, checksum
from hw.inputs import Inputs
from hw.loading.loader import load_content
from sim.board import command, host, link
from sim.board.link import LinkError, SerialLink
from sim.simulate import SimulationError
from tests import board_top
from tests.board import FOLDINGS, SHAPE, TIMEOUT_BITS, SimulatedBoard, Terminal, board_network, simulated
from tests.maps import Shape, map_network
from tests.multi_spike import code_network
from tests.networks import random_network

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(link, "PAUSE", 0)


def frames(network, count, seed=0):
    """Random images; some frames are decided at once, some late, one is silent."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (6, network.inputs)).astype(np.uint8)[:count]
    return Inputs(network.check_inputs(network.encode(images)), rng.integers(0, network.outputs, count), images)


@pytest.mark.parametrize(
    ("folding", "weights", "pins"),
    [("event", "rom", False), ("event", "loadable", False), ("step", "rom", False), ("step", "loadable", True)],
)
def test_equal_to_the_golden_model(folding, weights, pins):
    network = board_network()
    report = host.check(SerialLink(simulated(network, folding, weights=weights, pins=pins)), network, frames(network, 2 if pins else 6))
    assert report.passed
    full, early = report.comparisons["full"], report.comparisons["early"]
    assert full.frames == early.frames == (2 if pins else 6)
    assert full.spikes_received == full.spikes_compared > early.spikes_compared > 3
    assert report.table().splitlines()[1].startswith("circuit               ")
    assert f"equal to the golden model: {full.frames} frames, {full.frames * 10} spike times" in report.table()


def coded_network(code):
    """Small, takes pixels, and spikes with coefficients [S9]."""
    return code_network(np.random.default_rng(5), SHAPE, 3, code, bits=3)


@pytest.mark.parametrize(("code", "weights"), [("ternary", "rom"), ("graded", "loadable"), ("graded, bias", "loadable")])
def test_coefficients(code, weights):
    """Networks whose spikes have coefficients; the circuit is another network's where weights are loaded."""
    network = coded_network(code)
    report = host.check(SerialLink(simulated(network, weights=weights)), network, frames(network, 6))
    assert report.passed
    full, early = report.comparisons["full"], report.comparisons["early"]
    assert full.spikes_received == full.spikes_compared > early.spikes_compared > 3


def map_board_network(seed=3, code="single"):
    """Small, takes pixels, with a convolution and a pool behind it."""
    encoder = Encoder("latency") if code == "single" else Encoder("spread", bits=2)
    network = map_network(np.random.default_rng(seed), (6, 6, 1), [Shape(4, (3, 3))], 3, 4, code, encoder=encoder, last_pool=(2, 2))
    last = network.layers[-1]
    return replace(network, layers=(network.layers[0], replace(last, neuron=Readout([1, 2, 3]))))


MAPS = Folding((1, 2), (3, 3), ("delta", "delta"), contexts=2)


@pytest.mark.parametrize(("code", "weights"), [("single", "loadable"), ("rate", "rom")])
def test_maps(code, weights):
    network = map_board_network(code=code)
    hosted = HostedAccelerator(network, MAPS, weights=weights, timeout_bits=TIMEOUT_BITS)
    report = host.check(SerialLink(SimulatedBoard(hosted)), network, frames(network, 4))
    assert report.passed
    full, early = report.comparisons["full"], report.comparisons["early"]
    assert full.spikes_received == full.spikes_compared > early.spikes_compared > 10


@pytest.mark.proofs
def test_top_of_a_board_with_maps(tmp_path):
    network = map_board_network()
    design = board_named("ulx3s-85f").design(network, MAPS)
    board_top.run(tmp_path, design, design.verilog, network, frames(network, 4).images)


@pytest.mark.proofs
def test_top_of_a_board_with_coefficients(tmp_path):
    network = coded_network("graded")
    design = board_named("ulx3s-25f").design(network, FOLDINGS["event"])
    board_top.run(tmp_path, design, design.verilog, network, frames(network, 6).images)


LARGE = Folding((1, 1), (32, 1), ("delta", "delta"), ("step", "event"), (2, 1))
"""Its weights go into single-port RAMs."""


@pytest.mark.parametrize(
    ("board", "shape", "folding", "cells"),
    [
        ("icebreaker", SHAPE, FOLDINGS["event"], 0),
        pytest.param("icebreaker", (784, 96, 4), LARGE, 2, marks=pytest.mark.proofs),
        ("ulx3s-25f", SHAPE, FOLDINGS["step"], 0),
    ],
)
def test_top_of_a_board(tmp_path, board, shape, folding, cells):
    """The text that goes onto the board, at its pins; with ``cells`` single-port RAMs."""
    network = board_network(7, shape)
    design = board_named(board).design(network, folding)
    assert len(re.findall(r"^  SB_SPRAM256KA ", design.verilog, re.MULTILINE)) == cells
    board_top.run(tmp_path, design, design.verilog, network, frames(network, 2 if cells else 6).images)


def swap_pins(text):
    return re.sub(r"(?<=__io\(uart_0__)[rt]x(?=__io)", lambda match: {"rx": "tx", "tx": "rx"}[match[0]], text)


def slower_bits(text):
    """The receiver takes bits of 24 cycles, not of 21."""
    return text.replace("? 5'h14 : (timer", "? 5'h17 : (timer")


def faster_clock(text):
    return text.replace(".CLKFB_DIV(2)", ".CLKFB_DIV(3)")


@pytest.mark.parametrize(
    ("board", "fault", "message"),
    [
        pytest.param("icebreaker", swap_pins, "nobody answers", marks=pytest.mark.proofs),
        pytest.param("icebreaker", slower_bits, "nobody answers", marks=pytest.mark.proofs),
        pytest.param("ulx3s-25f", faster_clock, "nobody answers", marks=pytest.mark.proofs),
        ("ulx3s-25f", lambda text: text.replace("memory[0] = 12'h53b;", "memory[0] = 12'hac4;"), "first difference .* layer 0, neuron"),
    ],
)
def test_fault_in_the_top_of_a_board(tmp_path, board, fault, message):
    network = board_network()
    design = board_named(board).design(network, FOLDINGS["event"])
    wrong = fault(design.verilog)
    assert wrong != design.verilog
    with pytest.raises(SimulationError, match=message):
        board_top.run(tmp_path, design, wrong, network, frames(network, 6).images)


def test_smaller_network_in_the_same_circuit():
    """One bitstream, several networks; what is loaded already is not loaded again."""
    board = SerialLink(simulated(board_network()))
    small = board_network(5, (13, 4, 3))
    for network in (small, board_network(), small):
        assert host.prepare(board, network).loaded
        assert not host.prepare(board, network).loaded
        report = host.check(board, network, frames(network, 2))
        assert report.passed
        assert report.network.shape == SHAPE


def test_planted_fault_is_named(monkeypatch):
    """A wrong weight in the circuit: the first wrong spike, by mode, frame, layer, neuron and steps."""
    network = board_network()
    given = frames(network, 3)
    golden = reference.run(network, given.events)
    wrong, seen = next(_visible_faults(network, given.events, golden))
    other = SerialLink(simulated(network))
    monkeypatch.setattr(host, "load_content", lambda plans: load_content([replace(plans[0], layer=wrong.layers[0]), *plans[1:]]))
    report = host.check(other, network, given)
    assert not report.passed
    frame = np.argwhere(seen != golden.spike_times[0])[0, 0]
    first = report.first_difference
    assert (first.mode, first.frame, first.layer) == ("full", frame, 0)
    assert first.expected == _step(golden.spike_times[0][frame, first.neuron])
    assert first.seen == _step(seen[frame, first.neuron])
    assert f"first difference      full mode, frame {frame}, layer 0, neuron {first.neuron}: step expected" in report.table()


def _step(time):
    return None if time == 4 else time


def _visible_faults(network, times, golden):
    """Networks with one weight of the first layer flipped, whose spike times differ there."""
    first, last = network.layers
    for neuron in range(first.outputs):
        for at in range(first.inputs):
            weights = first.connection.weights.copy()
            weights[neuron, at] *= -1
            layer = Layer(Dense(weights), Single(first.neuron.thresholds))
            if layer.margin_range((0, 1), network.steps) != first.margin_range((0, 1), network.steps):
                continue
            wrong = Network((layer, last), network.steps, network.encoder)
            seen = reference.run(wrong, times).spike_times[0]
            if (seen != golden.spike_times[0]).any():
                yield wrong, seen


class Played:
    """A port that answers what it is told to."""

    def __init__(self, *answers):
        self._answers = list(answers)
        self._line = io.BytesIO()
        self.asked = []

    def write(self, data):
        self.asked.append(data)
        self._line = io.BytesIO(self._answers.pop(0) if self._answers else b"")

    def read(self, size):
        return self._line.read(size)

    def reset_input_buffer(self):
        pass


def answer(kind, body=b"", flags=Reply.REPLY | Reply.LOADED):
    content = bytes([flags | kind]) + body
    return content + checksum(content)


def info_answer(network, **changes):
    text = json.dumps(json.loads(describe(network, FOLDINGS["event"], "loadable")) | changes).encode()
    return answer(Request.INFO, bytes(4) + len(text).to_bytes(2, "little") + text)


FRAME = {"early": False, "result_size": 1, "record_sizes": ()}


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ([], "nobody answers"),
        ([b"\x8a"], "nobody answers"),
        ([answer(10, b"x")[:-1]], "the answer is cut short"),
        ([b"hello"], "the answer begins with something else than an answer"),
        ([answer(Request.INFO)], "the answer is one to another request"),
        ([answer(10, b"x")[:-1] + b"x"], "the answer has a wrong checksum"),
        ([answer(Error.CHECKSUM, flags=Reply.REPLY | Reply.ERROR)], "the circuit found a wrong checksum"),
        ([answer(Error.UNKNOWN, flags=Reply.REPLY | Reply.ERROR)], "the circuit did not understand the request"),
    ],
)
def test_damage_is_met_with_asking_again(answers, message):
    port = Played(*answers, answer(10, b"r"))
    good = SerialLink(port)
    assert good.frame(b"abc", **FRAME) == (b"r", [])
    assert good.damaged == len(answers) == len(port.asked) - 1 if answers else True
    with pytest.raises(LinkError, match=f"^{message}, 3 times in a row$"):
        SerialLink(Played(*answers * 3)).frame(b"abc", **FRAME)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (Error.NOT_LOADED, "the circuit has no weights: it has lost those that were loaded"),
        (Error.NO_RESULT, "the circuit took the frame but gives no result"),
    ],
)
def test_what_asking_again_does_not_help(error, message):
    port = Played(answer(error, flags=Reply.REPLY | Reply.ERROR))
    with pytest.raises(LinkError, match=f"^{message}$"):
        SerialLink(port).frame(b"abc", **FRAME)
    assert len(port.asked) == 1


def test_a_damaged_line_changes_nothing():
    """Every 331st byte from the circuit is wrong or lost: all is asked for again, and equal in the end."""
    network = board_network()
    damage = {0: lambda byte: byte ^ 4, 1: lambda byte: None}
    board = simulated(network, damage=lambda byte, number: damage[number // 331 % 2](byte) if number % 331 == 141 else byte)
    damaged = SerialLink(board)
    assert host.check(damaged, network, frames(network, 4)).passed
    assert damaged.damaged >= 2


def test_wrong_network_in_a_rom():
    network, other = board_network(), board_network(4)
    message = f"^the bitstream's network must be {digest(other)[:16]}…, the one given, not {digest(network)[:16]}…$"
    with pytest.raises(UserError, match=message):
        host.prepare(SerialLink(simulated(network, weights="rom")), other)


def small_range(network):
    return Network((Layer(Dense(np.ones((6, 16))), Single(np.full(6, 8))), *network.layers[1:]), 4, network.encoder)


@pytest.mark.parametrize(
    ("network", "changes", "message"),
    [
        (board_network(7, (17, 6, 4)), {}, "a network of 17-6-4 does not fit into a circuit of 16-6-4: no size may be greater"),
        (board_network(7, (16, 4)), {}, "a network of 16-4 does not fit into a circuit of 16-6-4: no size may be greater"),
        (board_network(), {"steps": 8}, "the network's T must be the circuit's, 8, not 4"),
        (board_network(), {"p_min": 7}, "the network's p_min must be the circuit's, 7, not 64"),
        (random_network(np.random.default_rng(0), SHAPE, 4), {}, "the network's encoder must be the circuit's, latency, not none"),
        (board_network(), {"membrane_bits": [4, 6]}, "margins of layer 0 must fit into the circuit's 4 bits, but need 5"),
        (board_network(), {"version": 0}, "the circuit's packets must be of version 1, not 0: generate it anew"),
        (board_network(), {"folding": {"x": 1}}, "the circuit must say what it is in a way that this host knows, but has "),
    ],
)
def test_what_does_not_fit(network, changes, message):
    with pytest.raises(UserError, match=f"^{message}"):
        host.prepare(SerialLink(Played(info_answer(board_network(), **changes))), network)


def test_no_images():
    network = board_network()
    with pytest.raises(UserError, match=r"^the data set must have images, since a circuit on a board takes pixels, but has spike times$"):
        host.check(SerialLink(Played()), network, Inputs(frames(network, 1).events))


def images_file(folder, network, count):
    given = frames(network, count)
    np.savez(folder / "images.npz", x_train=given.images, y_train=given.labels, x_test=given.images, y_test=given.labels)
    return folder / "images.npz"


def test_command_over_a_pseudo_terminal(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(command, "TIMEOUT", 20)
    network = board_network()
    save(network, tmp_path / "network.safetensors")
    data = images_file(tmp_path, network, 2)
    with Terminal(simulated(network)) as terminal:
        status = command.main([str(tmp_path / "network.safetensors"), "--port", terminal.name, "--dataset", str(data)])
    said = capsys.readouterr().out
    assert status == 0, said
    assert "equal to the golden model: 2 frames" in said


def test_help_names_the_command_behind_it():
    assert "'python -m hw fpga … --board …'" in command.parser().description


def test_command_when_nobody_answers(tmp_path):
    """Through the whole command line: one line, exit status 3."""
    network = board_network()
    save(network, tmp_path / "network.safetensors")
    data = images_file(tmp_path, network, 2)
    program = "import sys, sim.board.command as c, sim.board.link as l; c.TIMEOUT = l.PAUSE = 0.01; import runpy; sys.argv[0] = 'sim'; "
    program += "runpy.run_module('sim', run_name='__main__')"
    arguments = ["serial", str(tmp_path / "network.safetensors"), "--port", "loop://", "--dataset", str(data)]
    done = subprocess.run([sys.executable, "-c", program, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr == "error: the answer is one to another request, 3 times in a row\n"


@pytest.mark.parametrize("name", ["/dev/no_such_port", "nothing://"])
def test_port_that_cannot_be_opened(name):
    with pytest.raises(UserError, match=f"^the port must be one that can be opened, but {name} cannot: "):
        command.open_port(name, 115_200)
