"""Networks as NIR graphs, and back."""

import errno
import json
import os
from dataclasses import replace
from fractions import Fraction
from itertools import product
from pathlib import Path

import nir
import numpy as np
import pytest
import snntorch
import torch

import export
from export import Conv2d, Dense, Encoder, Events, Layer, Network, Pool2d, Rate, Readout, Single, UserError
from export.__main__ import main
from export.nir.command import read_network, write
from export.nir.conventions import KEY, Frames, frames_of
from export.nir.evaluator import Run, prove, random_events, run
from export.nir.fold import rate_of, readout_of, single_of
from export.nir.graph import Chain
from export.nir.reader import Reader
from export.nir.writer import graph_of
from tests.command_line import in_process
from tests.maps import Shape, map_network, signs
from tests.multi_spike import code_network, dense
from tests.networks import random_network

ROOT = Path(__file__).parent.parent


@pytest.fixture
def rng():
    return np.random.default_rng(0)


@pytest.fixture
def command(capfd, monkeypatch):
    return in_process(main, capfd, monkeypatch)


def single_map_network(rng):
    """Two convolutions, pools by sum, a dense layer; all neurons spike once."""
    first = Conv2d(signs(rng, 3, 2, 3, 3), (6, 8), padding=1)
    pool = Pool2d((6, 8), 3, (2, 3), "sum")
    second = Conv2d(signs(rng, 4, 3, 2, 2), (3, 2))
    layers = (
        Layer(first, Single(np.array([1, 3, 4]))),
        Layer(second, Single(np.array([2, 1, 5, 3])), pool),
        Layer(Dense(signs(rng, 3, 8)), Readout(np.array([0, 1, -1]), fraction=1)),
    )
    return Network(layers, 5, Encoder("latency"), ("a", "b", "c"))


def biased(network):
    """The same with biases and two fractional bits in the first layer."""
    first, *others = network.layers
    neuron = first.neuron
    channels = len(neuron.thresholds)
    changed = Rate(4 * neuron.thresholds + 1, 4 * neuron.initial - 1, bias=np.arange(channels) - 1, fraction=2)
    return replace(network, layers=(replace(first, neuron=changed), *others))


NETWORKS = {
    "single": lambda rng: random_network(rng, (20, 15, 9, 3), 6),
    "single, maps": single_map_network,
    "rate": lambda rng: code_network(rng, (20, 15, 9, 3), 6, "rate"),
    "rate, bias, fraction": lambda rng: code_network(rng, (20, 15, 9, 3), 6, "rate, bias", bits=3),
    "rate, inputs once": lambda rng: code_network(rng, (20, 15, 3), 6, "rate", bits=None),
    "rate, maps": lambda rng: map_network(
        rng, (7, 9, 2), [Shape(3, (3, 3), (2, 1), (1, 2)), Shape(4, (2, 2), pool=(2, 2))], 3, 5, "rate", last_pool=(1, 2)
    ),
    "rate, maps, bias": lambda rng: biased(NETWORKS["rate, maps"](rng)),
    "thresholds of the encoder": lambda rng: replace(
        code_network(rng, (20, 9, 3), 4, "rate"), encoder=Encoder("spread", thresholds=(3, 90, 90))
    ),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_there_and_back(tmp_path, rng, name):
    """The graph's equations give the golden model's spikes, and the same network comes back."""
    network = NETWORKS[name](rng)
    spikes = write(network, tmp_path / "network.nir", 70)
    assert spikes > 70
    back = read_network(tmp_path / "network.nir")[2]
    assert (back.steps, back.encoder, back.class_names, back.shape) == (network.steps, network.encoder, network.class_names, network.shape)
    for one, other in zip(network.layers, back.layers, strict=True):
        assert np.array_equal(one.connection.weights, other.connection.weights)
        assert one.output_map == other.output_map
        assert one.pool == other.pool
        assert one.neuron.kind == other.neuron.kind
        for field in ("thresholds", "initial", "bias", "fraction"):
            assert np.array_equal(getattr(one.neuron, field, None), getattr(other.neuron, field, None)), field


def test_the_file_is_always_the_same(tmp_path, rng):
    network = NETWORKS["rate, maps"](rng)
    write(network, tmp_path / "a", 1)
    write(network, tmp_path / "b", 1)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def run_in_snntorch(graph, inputs):
    """Spikes of each IF node, (frames, steps, neurons), and the integrator's potentials, (frames, steps, classes).

    The reset is snntorch's own, of the step after the spike: with ``reset_delay=False`` it is wrong where a potential stays above the
    threshold after a spike. Starts are inputs of the first step, since snntorch would take one above the threshold for a spike.
    """
    modules, starts = [], []
    for _, node in Chain(graph).nodes:
        start = torch.tensor(node.metadata.get("initial", 0.0))
        if isinstance(node, nir.IF):
            assert node.metadata["reset"] == "subtract"
            modules.append(snntorch.Leaky(beta=1.0, threshold=torch.tensor(node.v_threshold), reset_mechanism="subtract"))
        elif isinstance(node, nir.I):
            modules.append(snntorch.Leaky(beta=1.0, reset_mechanism="none"))
        elif isinstance(node, nir.Conv2d):
            weights, bias = torch.tensor(node.weight), torch.tensor(node.bias)
            options = {"stride": tuple(node.stride), "padding": tuple(node.padding)}
            modules.append(lambda x, w=weights, b=bias, o=options: torch.nn.functional.conv2d(x, w, b, **o))
        elif isinstance(node, nir.SumPool2d):
            modules.append(torch.nn.LPPool2d(1, tuple(node.kernel_size), tuple(node.stride)))
        elif isinstance(node, nir.Flatten):
            modules.append(torch.nn.Flatten())
        else:
            weights, bias = torch.tensor(node.weight), torch.tensor(getattr(node, "bias", np.zeros(1, np.float32)))
            modules.append(lambda x, w=weights, b=bias: x @ w.T + b)
        starts.append(start)
    spikes = {at: [] for at, module in enumerate(modules) if isinstance(module, snntorch.Leaky)}
    membranes = dict.fromkeys(spikes)
    with torch.no_grad():
        for step in range(inputs.shape[1]):
            x = torch.tensor(inputs[:, step], dtype=torch.float32)
            for at, module in enumerate(modules):
                if at not in spikes:
                    x = module(x)
                    continue
                current = x + starts[at] if step == 0 else x
                x, membranes[at] = module(current, torch.zeros_like(current) if step == 0 else membranes[at])
                spikes[at].append((membranes[at] if at == len(modules) - 1 else x).flatten(1))
    *hidden, outputs = (torch.stack(found, 1).numpy() for found in spikes.values())
    return hidden, outputs


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("name", ["rate", "rate, bias, fraction", "rate, inputs once", "rate, maps, bias"])
def test_rate_networks_in_snntorch(tmp_path, rng, name):
    """An exported network gives in snntorch the golden model's spikes, step by step, hence its counts."""
    network = NETWORKS[name](rng)
    write(network, tmp_path / "network.nir", 1)
    graph = nir.read(tmp_path / "network.nir")
    events = random_events(network, 60, seed=1)
    golden = export.reference.run(network, events)

    def planes(events, sizes):
        sent = dense(events)
        return sent if sizes is None else sent.reshape(*sent.shape[:2], -1, sizes[2]).swapaxes(2, 3).reshape(sent.shape)

    inputs = planes(events, network.maps[0]).reshape(60, network.steps, *Chain(graph).shape)
    hidden, outputs = run_in_snntorch(graph, inputs)
    for found, own, sizes in zip(hidden, golden.events[:-1], network.maps[1:-1], strict=True):
        expected = planes(own, sizes)
        assert expected.sum() > 60
        assert (found.sum(axis=1) == expected.sum(axis=1)).all()  # counts per neuron
        assert (found == expected).all()
    classes, steps = Run(outputs=outputs).decide(frames_of(graph, None))
    assert (classes == golden.decisions.class_index).all()
    assert (steps == golden.decisions.step).all()


def test_a_pipe(command, tmp_path):
    os.mkfifo(tmp_path / "pipe.nir")
    done = command("import", tmp_path / "pipe.nir", "--out", tmp_path / "out")
    assert done == (2, "", f"error: {tmp_path}/pipe.nir: must be a file, but is a pipe, a device or a socket\n")


def test_a_full_disk(tmp_path, monkeypatch, rng):
    def full(path, content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match=rf"No space left on device: '{tmp_path}/network.nir'$"):
        write(random_network(rng, (4, 3, 2), 2), tmp_path / "network.nir", 5)
    assert not list(tmp_path.iterdir())


def test_more_random_frames_than_are_made_at_once(tmp_path, rng):
    with pytest.raises(UserError, match=r"^check-frames must be at most 33554432 random frames of 8 inputs, not 33554433$"):
        write(random_network(rng, (4, 3, 2), 2), tmp_path / "network.nir", 33554433)


def test_differences_are_found(rng):
    network = NETWORKS["rate"](rng)
    chain, frames = Chain(graph_of(network)), frames_of(graph_of(network), None)
    thresholds = network.layers[1].neuron.thresholds + (np.arange(9) == 4)
    layers = list(network.layers)
    layers[1] = Layer(layers[1].connection, Rate(thresholds, layers[1].neuron.initial))
    with pytest.raises(
        UserError, match=r"^node neurons_1 \(IF\) must spike as the golden model, but differs first at frame \d+, .* neuron 4$"
    ):
        prove(chain, Network(tuple(layers), 6, network.encoder), frames, 20)
    readout = Layer(layers[2].connection, Readout(network.layers[2].neuron.thresholds + 999))
    with pytest.raises(UserError, match=r"^(class|step) of frame \d+ must be that of the golden model, \d, not \d$"):
        prove(chain, Network((*network.layers[:2], readout), 6, network.encoder), frames, 20)


def test_the_first_difference_is_named_by_its_frame(rng):
    """Of frames behind the first part, too."""
    network = random_network(rng, (30, 3, 2), 4)
    graph = graph_of(network)
    graph.nodes["neurons_0"].v_threshold[:] = 1e9
    number = next(at for at in range(1, 99) if len(export.reference.run(network, random_events(network, at, 0)).events[0]))
    with pytest.raises(UserError, match=f"first at frame {number - 1}, "):
        prove(Chain(graph), network, frames_of(graph, None), 99)


REFUSED_NETWORKS = {
    "ternary": "layer 0: neurons must be rate or single, because those of NIR send plain spikes only, not ternary",
    "graded, signed": "layer 0: neurons must be rate or single, because those of NIR send plain spikes only, not graded",
}


@pytest.mark.parametrize("code", REFUSED_NETWORKS)
def test_what_nir_cannot_carry(rng, code):
    with pytest.raises(UserError) as caught:
        graph_of(code_network(rng, (8, 5, 3), 4, code))
    assert str(caught.value) == REFUSED_NETWORKS[code]


def test_pools_and_kernels_that_nir_cannot_carry(rng):
    network = single_map_network(rng)
    layers = list(network.layers)
    pooled = replace(layers[1], pool=replace(layers[1].pool, kind="max"))
    with pytest.raises(UserError, match=r"^layer 1: pool must be sum, because NIR has no other, not max$"):
        graph_of(Network((layers[0], pooled, layers[2]), 5))
    flat = Layer(Conv2d(signs(rng, 2, 1, 2, 3), (4, 4)), Single(np.array([1, 1])))
    with pytest.raises(UserError, match=r"^layer 0: kernels must be square, because the package nir takes them to be, not \(2, 3\)$"):
        graph_of(Network((flat, Layer(Dense(signs(rng, 2, 12)), Readout(np.zeros(2, int)))), 3))


def foreign(*nodes, inputs=6):
    return Chain(nir.NIRGraph.from_list(nir.Input(np.array(inputs, ndmin=1)), *nodes))


def if_node(neurons, threshold=1.0, *, reset=0.0, r=1.0, metadata=None):
    return nir.IF(np.full(neurons, r), np.broadcast_to(threshold, neurons) * 1.0, np.full(neurons, reset), metadata=metadata or {})


def linear(rng, outputs, inputs, scale=1.0):
    return nir.Linear((signs(rng, outputs, inputs) * scale).astype(np.float32))


def integrator(classes, r=1.0):
    return nir.I(np.full(classes, r))


class TestForeign:
    """Graphs of other tools: no metadata."""

    @pytest.mark.parametrize(("scale", "steps"), [(0.5, 9), (0.1, 9), (0.037, 16), (1.0, 1)])
    def test_reset_by_subtraction(self, rng, scale, steps):
        """Any scale: the integers fire as the real numbers do, in each of the steps."""
        scales = scale * rng.integers(1, 4, 8).astype(np.float32)[:, None]
        chain = foreign(linear(rng, 8, 12, scales), if_node(8, r=2.0), linear(rng, 3, 8, scale), integrator(3), inputs=12)
        frames = frames_of(chain.graph, steps)
        network = Reader(chain, frames, subtract=True).read({})
        assert prove(chain, network, frames, 200, subtract=True) > 500
        decisions = export.reference.run(network, random_events(network, 50, 0)).decisions
        assert decisions.silent.all()  # decided at the end, as nothing says otherwise
        assert (decisions.step == steps - 1).all()

    def test_equality_does_not_fire(self, rng):
        """NIR's neurons fire above their threshold, not at it."""
        chain = foreign(nir.Linear(np.full((1, 6), 0.5)), if_node(1), linear(rng, 2, 1), integrator(2))
        frames = frames_of(chain.graph, 3)
        network = Reader(chain, frames, subtract=True).read({})
        inputs = np.zeros((1, 3, 6), int)
        inputs[0, 0, :2] = inputs[0, 1, 5] = 1  # 2 · 0.5 = 1, then 3 · 0.5
        assert dense(export.reference.run(network, Events.from_dense(inputs)).events[0])[0, :, 0].tolist() == [0, 1, 0]
        assert run(chain, inputs, subtract=True).spikes["if"][0, :, 0].tolist() == [False, True, False]

    def test_biases(self, rng):
        weights, bias = (signs(rng, 7, 12) * 0.25).astype(np.float32), rng.integers(-3, 4, 7).astype(np.float32) / 16
        last = nir.Affine(signs(rng, 4, 7).astype(np.float32), np.array([0.3, -0.1, 0.3, 0], np.float32))
        chain = foreign(nir.Affine(weights, bias), if_node(7), last, integrator(4, 0.5), inputs=12)
        frames = frames_of(chain.graph, 8)
        network = Reader(chain, frames, subtract=True).read({})
        assert network.layers[0].neuron.fraction == 2
        assert network.layers[0].neuron.bias.tolist() == (bias * 16).astype(int).tolist()
        assert network.layers[1].neuron.fraction == 2  # three fractions: of 2.4, -0.8 and 0
        assert prove(chain, network, frames, 200, subtract=True) > 500

    def test_one_spike_by_v_reset(self, rng):
        chain = foreign(linear(rng, 5, 6, 0.3), if_node(5, 0.5, reset=-3.0), linear(rng, 2, 5), integrator(2))
        frames = Frames(4, Encoder("none"))
        network = Reader(chain, frames).read({})
        assert network.layers[0].neuron.kind == "single"
        assert network.layers[0].neuron.thresholds.tolist() == [2] * 5
        assert prove(chain, network, frames, 100) > 20

    def test_one_step_needs_no_reset(self, rng):
        chain = foreign(linear(rng, 5, 6, 0.3), if_node(5, 0.5), linear(rng, 2, 5), integrator(2))
        frames = frames_of(chain.graph, 1)
        assert prove(chain, Reader(chain, frames).read({}), frames, 100) > 20

    REFUSED = (
        (lambda rng: foreign(linear(rng, 5, 6), if_node(5), linear(rng, 2, 5), integrator(2)),
         "node if (IF): must be reset by subtraction, or to a v_reset from which it cannot fire again, not to 0 (--reset subtract, if"),
        (lambda rng: foreign(nir.Linear(np.array([[0.5, -0.5], [0.5, 0.25]])), integrator(2), inputs=2),
         "node linear (Linear): weights must be -s or +s, one scale s per output, but those of output 1 are 0.25, 0.5"),
        (lambda rng: foreign(linear(rng, 2, 6, np.array([[1], [2]])), integrator(2)),
         "node i (I): potentials must be of one scale for all classes"),
        (lambda rng: foreign(linear(rng, 5, 6), if_node(5, reset=-99.0)),
         "node if (IF): the last node must be an integrator (I), whose potentials decide"),
        (lambda rng: foreign(linear(rng, 5, 6), integrator(5), linear(rng, 2, 5), integrator(2)),
         "node i (I): must be the last node: ours spike"),
        (lambda rng: foreign(linear(rng, 5, 6), linear(rng, 2, 5), integrator(2)),
         "node linear_1 (Linear): must not come between weights and neurons"),
        (lambda rng: foreign(integrator(6)), "node i (I): must follow weights"),
        (lambda rng: foreign(linear(rng, 2, 6), integrator(2, -1.0)), "node i (I): r must be above 0"),
        (lambda rng: foreign(linear(rng, 2, 6), nir.I(np.ones(2), metadata={"initial": np.zeros(3)})),
         "node i (I): 'initial' must be finite numbers of shape (2,), not (3,)"),
        (lambda rng: foreign(linear(rng, 2, 6), nir.LIF(*np.ones((4, 2))), linear(rng, 2, 2), integrator(2)),
         "node lif (LIF) must be one of Input, Flatten, SumPool2d, Conv2d, Linear, Affine, IF, I, Output"),
        (lambda rng: foreign(nir.Conv2d((4, 4), signs(rng, 2, 1, 2, 2), 1, 0, 2, 1, np.zeros(2)), integrator((2, 2, 2)), inputs=(1, 4, 4)),
         "node conv2d (Conv2d): groups and dilation must be 1, and padding must be numbers or 'valid'"),
        (lambda rng: foreign(nir.SumPool2d(np.array([2, 2]), np.array([1, 1]), np.array([0, 0])), inputs=(1, 4, 4)),
         "node sumpool2d (SumPool2d): windows must neither overlap nor leave gaps or have padding"),
        (lambda rng: foreign(nir.Flatten(np.array([2, 3, 4]), 1, -1), inputs=(2, 3, 4)), "node flatten (Flatten): must make a vector"),
        (lambda rng: foreign(nir.Linear(np.array([[np.nan, 1.0]])), integrator(1), inputs=2), "node linear (Linear): weights must be -s"),
    )  # fmt: skip

    @pytest.mark.parametrize(("chain", "message"), REFUSED, ids=[message[:60] for _, message in REFUSED])
    def test_refused(self, rng, chain, message):
        with pytest.raises(UserError) as caught:
            Reader(made := chain(rng), frames_of(made.graph, 5)).read({})
        assert str(caught.value).startswith(message)

    def test_subtraction_needs_a_threshold(self, rng):
        chain = foreign(linear(rng, 5, 6), if_node(5, 0.0), linear(rng, 2, 5), integrator(2))
        with pytest.raises(UserError, match=r"^node if \(IF\): v_threshold must be above 0, not 0$"):
            Reader(chain, frames_of(chain.graph, 5), subtract=True).read({})

    @pytest.mark.parametrize("edges", [[("a", "b"), ("a", "c"), ("b", "d"), ("c", "d")], [("a", "b"), ("b", "c"), ("c", "b"), ("b", "d")]])
    def test_branches_and_loops(self, rng, edges):
        shape = np.array([3])
        nodes = {"a": nir.Input(shape), "b": linear(rng, 3, 3), "c": linear(rng, 3, 3), "d": nir.Output(shape)}
        with pytest.raises(
            UserError, match=r"^node [ab] \((Input|Linear)\) must have one node behind it, not itself, another branch or a loop$"
        ):
            Chain(nir.NIRGraph(nodes, edges))


def fires(v, threshold):
    """Steps in which a real neuron fires, of potentials without resets."""
    count, found = 0, []
    for potential in v:
        found.append(potential - count * threshold > threshold)
        count += found[-1]
    return found


def test_rate_of_fires_as_real_numbers_do(rng):
    """All sequences of sums from -2 to 3 in four steps."""
    cases = [
        (Fraction(7, 10), Fraction(0), Fraction(0)),
        (Fraction(3, 2), Fraction(1, 3), Fraction(-1, 4)),
        (Fraction(2), Fraction(5, 2), Fraction(1)),
    ]
    bounds = np.full(3, -2), np.full(3, 3)
    found = rate_of(*zip(*cases, strict=True), *bounds, 4)
    assert found.fraction == 2
    own = [
        (Fraction(int(numbers), 1 << found.fraction) for numbers in row)
        for row in zip(found.thresholds, found.initial, found.bias, strict=True)
    ]
    tiny = Fraction(1, 1 << 30)  # ours fire at the threshold
    for (threshold, start, bias), (own_threshold, own_start, own_bias) in zip(cases, own, strict=True):
        for sums in product(range(-2, 4), repeat=4):
            real = fires([start + s + bias * (t + 1) for t, s in enumerate(sums)], threshold)
            integers = fires([own_start + tiny + s + own_bias * (t + 1) for t, s in enumerate(sums)], own_threshold)
            assert real == integers


def test_rate_of_refuses_what_is_too_fine():
    numbers = [Fraction(1), Fraction(1000, 4097)], [Fraction(0)] * 2, [Fraction(0)] * 2, np.zeros(2, int), np.full(2, 1000)
    with pytest.raises(UserError, match=r"in 1000 steps, but that of neuron 1 is 0\.244081035 times its weights' scale$"):
        rate_of(*numbers, 1000)


def test_single_of():
    assert single_of([Fraction(-9), Fraction(-1, 2), Fraction(2), Fraction(9, 4), Fraction(99)], -4, 5).tolist() == [-4, 0, 3, 3, 5]


@pytest.mark.parametrize("early", [True, False])
def test_readout_of(early):
    """Margins are in the order of the sums with their offsets, for all pairs of sums."""
    offsets = [Fraction(1, 3), Fraction(-2), Fraction(-5, 3), Fraction(3, 7), Fraction(5)]
    readout = readout_of(offsets, early=early, greatest=8)
    assert readout.fraction == 2
    places = list(product(range(-8, 9), range(5)))
    real = [s + offsets[j] for s, j in places]
    margins = [(s << 2) - int(readout.thresholds[j]) for s, j in places]
    assert all(
        (a < b) == (m < n) and (a == b) == (m == n) for a, m in zip(real, margins, strict=True) for b, n in zip(real, margins, strict=True)
    )
    assert [m >= 0 for m in margins] == [early and a >= 0 for a in real]


def test_readout_of_refuses_too_many_fractions():
    with pytest.raises(UserError, match=r"^offsets of classes must have at most 256 different fractions, not 300$"):
        readout_of([Fraction(k, 301) for k in range(300)], early=True, greatest=8)


class TestCommand:
    def test_there_and_back(self, command, tmp_path):
        source, graph, back = ROOT / "artifacts" / "digits.safetensors", tmp_path / "new" / "digits.nir", tmp_path / "digits.safetensors"
        done = command("nir", source, "--out", graph, "--check-frames", 30)
        assert (done.returncode, done.stderr) == (0, "")
        first, second = done.stdout.splitlines()
        assert first.startswith("graph equal to the golden model on 30 random frames: ")
        assert second == f"{graph}: 64-256-10, T = 8, {graph.stat().st_size} bytes"
        done = command("import", "--out", back, graph, "--check-frames", 30)
        assert (done.returncode, done.stderr) == (0, "")
        one, other = export.load(source), export.load(back)
        assert done.stdout.splitlines()[1] == f"{back}: 64-256-10, T = 8, {back.stat().st_size} bytes, sha256 {export.digest(other)}"
        assert set(other.provenance) == {"source", "source_sha256"}
        assert export.digest(replace(other, provenance=one.provenance)) == export.digest(one)

    def test_foreign(self, command, tmp_path, rng):
        nir.write(tmp_path / "a.nir", foreign(linear(rng, 5, 6, 0.5), if_node(5), linear(rng, 2, 5), integrator(2)).graph)
        arguments = "import", tmp_path / "a.nir", "--out", tmp_path / "n"
        prefix = f"error: {tmp_path / 'a.nir'}: "
        assert command(*arguments) == (2, "", f"{prefix}must say how many time steps a frame has, in metadata as ours or by --steps\n")
        done = command(*arguments, "--steps", 4)
        assert done.stderr.startswith(f"{prefix}node if (IF): must be reset by subtraction")
        assert not (tmp_path / "n").exists()
        assert (
            command(*arguments, "--steps", 256).stderr == f"{prefix}steps must be from 1 to 255 where inputs may spike in each, not 256\n"
        )
        assert command(*arguments, "--steps", 4, "--reset", "subtract").returncode == 0
        network = export.load(tmp_path / "n")
        assert (network.shape, network.steps, network.encoder) == ((6, 5, 2), 4, Encoder("none", bits=3))

    def test_other_files(self, command, tmp_path):
        for name, content in (("a.nir", b""), ("b.nir", b"no HDF5")):
            (tmp_path / name).write_bytes(content)
            done = command("import", tmp_path / name, "--out", tmp_path / "n")
            assert (done.returncode, done.stdout) == (2, "")
            assert done.stderr.startswith(f"error: {tmp_path / name}: must be a NIR file: ")
        done = command("import", tmp_path / "missing.nir", "--out", tmp_path / "n")
        assert done == (2, "", f"error: {tmp_path / 'missing.nir'}: No such file or directory\n")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({"version": 2}, "must be of version 1, not 2"),
            ({"steps": "8"}, "must have steps from 1 to 32768, not '8'"),
            ({"steps": None}, "must have steps from 1 to 32768, not None"),
            ({"encoder": {"speed": 3}}, "must be as 'python -m export nir' writes them"),
            ({"class_names": 3}, "must be as 'python -m export nir' writes them"),
        ],
    )
    def test_damaged_metadata(self, rng, change, message):
        graph = graph_of(random_network(rng, (4, 3), 2))
        graph.metadata[KEY] = json.dumps(json.loads(graph.metadata[KEY]) | change)
        with pytest.raises(UserError) as caught:
            frames_of(graph, None)
        assert str(caught.value) == f"metadata '{KEY}' {message}"

    def test_steps_of_metadata(self, rng):
        graph = graph_of(random_network(rng, (4, 3), 2))
        assert frames_of(graph, 2).steps == 2
        with pytest.raises(UserError, match=r"^--steps must be left out, or 2, as the metadata say, not 3$"):
            frames_of(graph, 3)

    def test_the_source_is_not_overwritten(self, command, tmp_path, rng):
        path = tmp_path / "n.nir"
        export.save(random_network(rng, (4, 3), 2), path)
        assert command("nir", path, "--out", path) == (2, "", f"error: --out must be another file than {path}, which it would overwrite\n")
