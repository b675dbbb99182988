"""Convolutions and pools in the artifact, which are in version 2 only."""

import json
import struct
import tracemalloc

import numpy as np
import pytest

import export
from export import Conv2d, Dense, Encoder, Layer, Network, Pool2d, Readout, Single
from tests.artifact_files import assert_flipped_bits_are_refused, refusal, saved, write_raw
from tests.maps import CODES, random_inputs, random_map_network
from tests.networks import map_example, worked_example


def header_of(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["firstspike"])


@pytest.mark.parametrize("code", CODES)
def test_round_trip(tmp_path, code):
    """Kernels, geometry, pools, digest and bytes come back, and what the network does."""
    rng = np.random.default_rng([1, CODES.index(code)])
    for _ in range(6):
        network = random_map_network(rng, code, 3)
        path = saved(network, tmp_path)
        found = export.load(path)
        assert header_of(path)["version"] == 2
        assert export.digest(found) == export.digest(network) == header_of(path)["sha256"]
        for one, other in zip(found.layers, network.layers, strict=True):
            assert type(one.connection) is type(other.connection)
            assert one.pool == other.pool
            for name in ("kernels", "weights", "map_shape", "stride", "padding"):
                if hasattr(other.connection, name):
                    assert np.array_equal(getattr(one.connection, name), getattr(other.connection, name)), name
            for name, value in vars(other.neuron).items():
                assert np.array_equal(getattr(one.neuron, name), value), name
        export.save(found, tmp_path / "again")
        assert (tmp_path / "again").read_bytes() == path.read_bytes()
        inputs = export.Events.from_dense(random_inputs(rng, network, 4))
        results = [export.reference.run(some, inputs).events for some in (network, found)]
        assert all(a.equals(b) for a, b in zip(*results, strict=True))


def test_worked_example_byte_for_byte(tmp_path):
    """The file of ``docs/artifact.md``, read with ``struct`` only."""
    path = saved(map_example(), tmp_path)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    table = json.loads(data[8 : 8 + length])
    expected = {
        "layers.0.thresholds": ("I32", [2], struct.pack("<2i", 1, 2)),
        "layers.0.weights": ("U8", [2, 1], bytes([0b010101, 0b101110])),
        "layers.1.thresholds": ("I32", [2], struct.pack("<2i", 1, 1)),
        "layers.1.weights": ("U8", [2, 1], bytes([0b1001, 0b0110])),
    }
    assert set(table) == {"__metadata__", *expected}
    for name, content in expected.items():
        begin, end = table[name]["data_offsets"]
        assert (table[name]["dtype"], table[name]["shape"], data[8 + length + begin : 8 + length + end]) == content, name
    assert header_of(path)["layers"] == [
        {
            "inputs": 30,
            "outputs": 24,
            "connection": "conv2d",
            "map": [3, 5, 2],
            "kernel": [1, 3],
            "stride": [1, 2],
            "padding": [0, 2],
            "neuron": "single",
        },
        {"inputs": 24, "outputs": 2, "connection": "dense", "pool": {"kind": "max", "map": [3, 4, 2], "size": [3, 2]}, "neuron": "single"},
    ]
    begin = table["layers.0.weights"]["data_offsets"][0]
    kernels = map_example().layers[0].connection.kernels
    for o, i, k, m in np.ndindex(kernels.shape):
        bit = (k * 3 + m) * 2 + i
        assert (data[8 + length + begin + o] >> bit & 1) == (kernels[o, i, k, m] > 0)


def test_a_pool_makes_version_2(tmp_path):
    layers = worked_example().layers
    pooled = Layer(layers[0].connection, layers[0].neuron, Pool2d((1, 3), 1, 1))
    assert header_of(saved(Network((pooled,), 4), tmp_path))["version"] == 2
    assert header_of(saved(Network(layers, 4), tmp_path))["version"] == 1


def layer(index=0, **fields):
    """Change fields of a layer's entry; None removes one."""

    def change(header):
        entry = header["layers"][index] | fields
        header["layers"][index] = {name: value for name, value in entry.items() if value is not None}

    return change


def pool(**fields):
    return lambda header: layer(1, pool=header["layers"][1]["pool"] | fields)(header)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (layer(map=None), "layers.0: map must be height, width and channels, not None"),
        (layer(map=[3, 5]), "layers.0: map must be height, width and channels, not [3, 5]"),
        (layer(map=[3, 5, 2.0]), "layers.0: channels of a map must be an integer from 1 to 4194304, or two of them, not 2.0"),
        (layer(map=[0, 5, 2]), "layers.0: height and width of a map must be an integer from 1 to 4194304, or two of them, not [0, 5]"),
        (layer(map=[5, 5, 2]), "layers.0: map must have the 30 inputs, not 5 x 5 x 2"),
        (layer(map=[5, 5, 2], inputs=50), "layers.0: outputs must be 40, those of the map 5 x 4 x 2, not 24"),
        (layer(inputs=29), "layers.0: map must have the 29 inputs, not 3 x 5 x 2"),
        (layer(outputs=25), "layers.0: outputs must be 24, those of the map 3 x 4 x 2, not 25"),
        (layer(kernel=3), "layers.0: kernel must be two integers, not 3"),
        (layer(kernel=[1, 0]), "layers.0: kernel must be an integer from 1 to 4194304, or two of them, not [1, 0]"),
        (layer(kernel=[1, True]), "layers.0: kernel must be an integer from 1 to 4194304, or two of them, not [1, True]"),
        (layer(kernel=[3, 3]), "layers.0: packed weights must be uint8 of shape (outputs, 3) for 18 inputs, not uint8 (2, 1)"),
        (layer(kernel=[1, 2], padding=[0, 1]), "layers.0: padding bits of packed weights must be 0, but bit 4 of neuron 0 is 1"),
        (layer(kernel=[1 << 20, 1 << 20]), "layers.0: packed weights must be uint8 of shape (outputs, 274877906944) for …"),
        (layer(stride=None), "layers.0: stride must be two integers, not None"),
        (layer(stride=[0, 2]), "layers.0: stride must be an integer from 1 to 4194304, or two of them, not [0, 2]"),
        (layer(stride=[1, 2, 3]), "layers.0: stride must be an integer from 1 to 4194304, or two of them, not [1, 2, 3]"),
        (
            layer(padding=[0, 3]),
            "layers.0: padding must be an integer from 0 to (0, 2), less than the kernel's 1 x 3, or two of them, not …",
        ),
        (layer(padding=[0, -1]), "layers.0: padding must be an integer from 0 to 4194304, or two of them, not [0, -1]"),
        (
            layer(map=[4194304, 1, 1], kernel=[1, 6], padding=[0, 5], inputs=4194304),
            "layers.0: the map must have at most 4194304 neurons, …",
        ),
        (
            layer(dilation=2),
            "layers.0: neurons 'single' must have no more fields than connection, inputs, kernel, map, neuron, outputs, padding, stride, …",
        ),
        (layer(1, stride=[1, 1]), "layers.1: neurons 'single' must have no more fields than connection, inputs, neuron, outputs, pool, …"),
        (layer(1, pool=2), "layers.1: pool must be an object of kind, map, size, not 2"),
        (layer(1, pool={"kind": "max"}), "layers.1: pool must be an object of kind, map, size, not {'kind': 'max'}"),
        (pool(step=2), "layers.1: pool must be an object of kind, map, size, not …"),
        (pool(kind="mean"), "layers.1: pool kind must be one of max, sum, not 'mean'"),
        (pool(kind=3), "layers.1: pool kind must be one of max, sum, not 3"),
        (pool(size=[4, 2]), "layers.1: pool size must be an integer from 1 to (3, 4), the map's 3 x 4, or two of them, not (4, 2)"),
        (pool(size=2), "layers.1: pool size must be two integers, not 2"),
        (pool(map=[3, 4, 3]), "layers.1: inputs must be 36, those of the pooled map 3 x 4 x 3, not 24"),
        (pool(map=[4, 3, 2]), "layers.1: padding bits of packed weights must be 0, but bit 3 of neuron 0 is 1"),
        (layer(1, outputs=3), "layers.1: weights must have 3 rows, one per output, not 2"),
        (layer(1, pool=None), "layers.1: packed weights must be uint8 of shape (outputs, 3) for 24 inputs, not uint8 (2, 1)"),
    ],
)
def test_wrong_headers_are_refused(tmp_path, change, message):
    seen = refusal(write_raw(tmp_path / "n", map_example(), change_header=change))
    assert seen.startswith(message.removesuffix("…")) if message.endswith("…") else seen == message


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("0.thresholds", np.array([1, 0], np.int32), "layers.0: thresholds must be from 1 to 7 for 6 inputs, but thresholds[1] is 0"),
        ("0.thresholds", np.ones(24, np.int32), "layers.0: thresholds must have shape (2,), one per channel, not (24,)"),
        ("0.weights", np.zeros((3, 1), np.uint8), "layers.0: outputs must be 36, those of the map 3 x 4 x 3, not 24"),
        (
            "0.weights",
            np.zeros((0, 1), np.uint8),
            "layers.0: kernels must have shape (channels, input channels, height, width), all at least 1, not (0, 2, 1, 3)",
        ),
        ("0.weights", np.array([[1], [64]], np.uint8), "layers.0: padding bits of packed weights must be 0, but bit 6 of neuron 1 is 1"),
    ],
)
def test_wrong_tensors_are_refused(tmp_path, name, array, message):
    path = write_raw(tmp_path / "n", map_example(), change_tensors=lambda tensors: tensors.update({f"layers.{name}": array}))
    assert refusal(path) == message


def test_every_flipped_bit_of_the_tensors_is_refused(tmp_path):
    assert_flipped_bits_are_refused(saved(map_example(), tmp_path), 20)


def test_digest_covers_the_geometry():
    def digest_of(stride=1, padding=0, kind="max", size=2):
        pooled = Layer(Conv2d(np.ones((1, 1, 3, 3)), (4, 4), stride, padding), Single([1]), Pool2d((8, 8), 1, size, kind))
        return export.digest(Network((pooled,), 4, Encoder("none"), [str(k) for k in range(pooled.outputs)]))

    digests = {digest_of(), digest_of(stride=(2, 1)), digest_of(stride=(1, 2)), digest_of(padding=1), digest_of(kind="sum")}
    assert len(digests) == 5


def test_rows_behind_a_pool_have_a_bit_per_window(tmp_path):
    network = Network((Layer(Dense([[1, -1, 1, 1]]), Readout([1]), Pool2d((4, 5), 1, 2, "sum")),), 2)
    path = saved(network, tmp_path)
    assert path.read_bytes().endswith(struct.pack("<i", 1) + bytes([0b1101]))
    assert export.load(path).layers[0].pool == network.layers[0].pool


def test_a_long_map_in_a_small_file_takes_little_memory(tmp_path):
    """What a reader derives is bounded by the number of neurons, whatever the kernel."""
    convolution = Conv2d(np.ones((1, 1, 4001, 1)), (200_000, 1), padding=(4000, 0))
    network = Network(
        (Layer(convolution, Single([1])), Layer(Dense(np.ones((1, 1))), Readout([1]), Pool2d((204_000, 1), 1, (204_000, 1)))), 2
    )
    path = saved(network, tmp_path)
    assert path.stat().st_size < 3000
    tracemalloc.start()
    export.load(path)
    assert tracemalloc.get_traced_memory()[1] < 40_000_000
    tracemalloc.stop()
