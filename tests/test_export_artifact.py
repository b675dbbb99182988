import hashlib
import json
import struct
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import export
from export import Dense, Encoder, Layer, Network, Single, UserError
from tests.artifact_files import assert_same, refusal, saved, set_to, write_raw
from tests.networks import random_network, worked_example


@pytest.mark.parametrize("shape", [(1, 1), (7, 8, 9), (8, 7), (9, 1, 2), (17, 16, 15, 3), (784, 60, 10)])
def test_round_trip(tmp_path, shape):
    random = random_network(np.random.default_rng([*shape]), shape, 5)
    network = Network(
        random.layers,
        5,
        Encoder("latency"),
        tuple(f"class {j} θ" for j in range(shape[-1])),
        {"seed": 1, "nested": {"a": [1.5, None]}},
    )
    path = tmp_path / "network.safetensors"
    written = export.save(network, path)
    found = export.load(path)
    assert_same(found, network)
    assert export.digest(found) == export.digest(network) == written
    assert len(written) == 64


def test_same_network_same_bytes(tmp_path):
    network = random_network(np.random.default_rng(1), (20, 10, 5), 8)
    export.save(network, tmp_path / "a")
    export.save(Network(network.layers, 8, provenance={}), tmp_path / "b")
    export.save(export.load(tmp_path / "a"), tmp_path / "c")
    first = (tmp_path / "a").read_bytes()
    assert first == (tmp_path / "b").read_bytes() == (tmp_path / "c").read_bytes()


def test_order_of_provenance_does_not_matter(tmp_path):
    layers = worked_example().layers
    export.save(Network(layers, 4, provenance={"a": 1, "b": (2, 3)}), tmp_path / "a")
    export.save(Network(layers, 4, provenance={"b": [2, 3], "a": 1}), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_worked_example_byte_for_byte(tmp_path):
    """The tensors of ``docs/artifact.md``, read with ``struct`` only."""
    data = saved(worked_example(), tmp_path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    body = data[8 + length :]
    assert header["layers.0.weights"]["dtype"] == "U8"
    assert header["layers.0.weights"]["shape"] == [2, 1]
    begin, end = header["layers.0.weights"]["data_offsets"]
    assert body[begin:end] == bytes([0b101, 0b110])
    assert header["layers.0.thresholds"]["dtype"] == "I32"
    begin, end = header["layers.0.thresholds"]["data_offsets"]
    assert body[begin:end] == bytes([1, 0, 0, 0, 2, 0, 0, 0])
    fields = json.loads(header["__metadata__"]["firstspike"])
    assert fields["layers"] == [{"inputs": 3, "outputs": 2, "kind": "if"}]
    assert fields["encoder"] == {"kind": "latency", "p_min": 64}


def test_digest_from_its_documented_definition(tmp_path):
    """SHA-256 recomputed from the file as ``docs/artifact.md`` says, without this project's code."""
    path = saved(random_network(np.random.default_rng(2), (9, 4, 3), 8), tmp_path)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    table = json.loads(data[8 : 8 + length])
    header = json.loads(table.pop("__metadata__")["firstspike"])
    written = header.pop("sha256")
    sha = hashlib.sha256(json.dumps(header, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(table):
        begin, end = table[name]["data_offsets"]
        sha.update(name.encode() + b"\0" + data[8 + length + begin : 8 + length + end])
    assert sha.hexdigest() == written


def test_every_flipped_bit_is_refused_or_harmless(tmp_path):
    """No single-bit error anywhere in the file goes unnoticed: it is refused in one line, or the very same network comes out."""
    network = worked_example()
    path = saved(network, tmp_path)
    original = path.read_bytes()
    messages, harmless = [], 0
    for bit in range(8 * len(original)):
        damaged = bytearray(original)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        try:
            found = export.load(path)
        except UserError as error:
            messages.append(str(error))
        else:
            assert_same(found, network)
            assert export.digest(found) == export.digest(network)
            harmless += 1
    assert all(len(message.splitlines()) == 1 for message in messages)
    assert harmless < 0.02 * 8 * len(original)


def test_every_truncation_is_refused(tmp_path):
    path = saved(worked_example(), tmp_path)
    original = path.read_bytes()
    for length in range(len(original)):
        path.write_bytes(original[:length])
        assert refusal(path).startswith("must be a whole safetensors file: ")
    path.write_bytes(original + b"\0")
    assert refusal(path).startswith("must be a whole safetensors file: ")


@pytest.mark.parametrize("content", [b"", b"no network", b"\x80\x04\x95pickle", b"\xff" * 100, b"PK\x03\x04" + b"\0" * 100])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "network.safetensors"
    path.write_bytes(content)
    assert refusal(path).startswith("must be a whole safetensors file: ")


def test_missing_file_and_folder_are_os_errors(tmp_path):
    with pytest.raises(FileNotFoundError) as caught:
        export.load(tmp_path / "missing")
    assert caught.value.filename == str(tmp_path / "missing")
    with pytest.raises(IsADirectoryError):
        export.load(tmp_path)


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        (None, "header must have a 'firstspike' entry, but has []"),
        ({"other": "x"}, "header must have a 'firstspike' entry, but has ['other']"),
        ({"firstspike": "{"}, "header must be JSON: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"),
        ({"firstspike": "[1]"}, "header must be a JSON object, not list"),
        ({"firstspike": "{}"}, "format must be 'firstspike-network', not None"),
    ],
)
def test_other_metadata_are_refused(tmp_path, metadata, message):
    path = tmp_path / "network.safetensors"
    safetensors.numpy.save_file({"x": np.zeros(1)}, path, metadata=metadata)
    assert refusal(path) == message


def test_deeply_nested_header_is_refused(tmp_path):
    path = tmp_path / "network.safetensors"
    safetensors.numpy.save_file({"x": np.zeros(1)}, path, metadata={"firstspike": "[" * 100_000})
    assert refusal(path).startswith("header must be JSON: ")


def nested(depth):
    return {"a": nested(depth - 1)} if depth > 1 else {}


def test_nesting_is_limited(tmp_path):
    layers = worked_example().layers
    export.save(Network(layers, 4, provenance=nested(63)), tmp_path / "n")
    assert export.load(tmp_path / "n").provenance == nested(63)
    with pytest.raises(UserError) as caught:
        export.save(Network(layers, 4, provenance=nested(64)), tmp_path / "m")
    assert str(caught.value) == "provenance must nest at most 63 deep"
    assert not (tmp_path / "m").exists()
    path = write_raw(tmp_path / "m", worked_example(), change_header=lambda h: h.update(provenance=nested(64)))
    assert refusal(path) == "header must nest at most 64 deep"


def test_checkpoint_is_no_artifact(tmp_path):
    path = write_raw(tmp_path / "n", worked_example(), change_header=lambda h: h.update(format="firstspike-checkpoint"))
    assert refusal(path) == "format must be 'firstspike-network', not 'firstspike-checkpoint'"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_to(version=3), "version must be 1 or 2, those this release reads, not 3"),
        (set_to(version="1"), "version must be 1 or 2, those this release reads, not '1'"),
        (set_to(version=None), "version must be 1 or 2, those this release reads, not None"),
        (set_to(version=True), "version must be 1 or 2, those this release reads, not True"),
        (set_to(version=[1]), "version must be 1 or 2, those this release reads, not [1]"),
        (set_to(steps=0), "steps (T) must be an integer from 1 to 32768, not 0"),
        (set_to(steps=-3), "steps (T) must be an integer from 1 to 32768, not -3"),
        (set_to(steps=4.0), "header field 'steps' must be int, not 4.0"),
        (set_to(steps=True), "header field 'steps' must be int, not True"),
        (set_to(steps=10**9), "steps (T) must be an integer from 1 to 32768, not 1000000000"),
        (set_to(encoder="latency"), "header field 'encoder' must be dict, not 'latency'"),
        (set_to(encoder={}), "header field 'kind' must be str, not None"),
        (set_to(encoder={"kind": "rate"}), "encoder kind must be one of latency, spread, none, not 'rate'"),
        (set_to(encoder={"kind": "latency", "p_min": "3"}), "encoder p_min must be an integer from 0 to 256, not '3'"),
        (
            set_to(encoder={"kind": "none", "leak": 1}),
            "header field 'encoder' must have 'kind', 'p_min', 'bits' and 'thresholds' only, but has ['leak']",
        ),
        (set_to(class_names=["a"]), "class_names must be 2, one per output, not 1"),
        (set_to(class_names="ab"), "header field 'class_names' must be list, not 'ab'"),
        (set_to(class_names=["a", 1]), "header field 'class_names' must hold strings, at least one, not ['a', 1]"),
        (set_to(class_names=[]), "header field 'class_names' must hold strings, at least one, not []"),
        (set_to(provenance=None), "header field 'provenance' must be dict, not None"),
        (set_to(layers=None), "header field 'layers' must be list, not None"),
        (set_to(layers=[3]), "layers.0: must be an object, not 3"),
        (set_to(layers=[{"outputs": 2, "kind": "if"}]), "layers.0: header field 'inputs' must be int, not None"),
        (set_to(layers=[{"inputs": 3, "outputs": 2, "kind": "lif"}]), "layers.0: kind must be 'if', which this release knows, not 'lif'"),
        (set_to(layers=[{"inputs": 3, "outputs": 3, "kind": "if"}]), "layers.0: weights must have 3 rows, one per output, not 2"),
        (
            set_to(layers=[{"inputs": 2, "outputs": 2, "kind": "if"}]),
            "layers.0: padding bits of packed weights must be 0, but bit 2 of neuron 0 is 1",
        ),
        (
            set_to(layers=[{"inputs": 9, "outputs": 2, "kind": "if"}]),
            "layers.0: packed weights must be uint8 of shape (outputs, 2) for 9 inputs, not uint8 (2, 1)",
        ),
        (
            set_to(layers=[{"inputs": -9, "outputs": 2, "kind": "if"}]),
            "layers.0: packed weights must be uint8 of shape (outputs, -1) for -9 inputs, not uint8 (2, 1)",
        ),
        (
            set_to(layers=[{"inputs": 10**30, "outputs": 2, "kind": "if"}]),
            f"layers.0: packed weights must be uint8 of shape (outputs, {10**30 // 8}) for {10**30} inputs, not uint8 (2, 1)",
        ),
        (
            set_to(layers=[{"inputs": 3, "outputs": 2, "kind": "if"}] * 2),
            (
                "tensors must be ['layers.0.thresholds', 'layers.0.weights', 'layers.1.thresholds', 'layers.1.weights'], "
                "not ['layers.0.thresholds', 'layers.0.weights']"
            ),
        ),
        (set_to(layers=[]), "tensors must be [], not ['layers.0.thresholds', 'layers.0.weights']"),
    ],
)
def test_wrong_header_is_refused(tmp_path, change, message):
    assert refusal(write_raw(tmp_path / "n", worked_example(), change_header=change)) == message


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        (
            "layers.0.thresholds",
            np.array([1, 5], np.int32),
            "layers.0: thresholds must be from -3 to 4 for 3 inputs, but thresholds[1] is 5",
        ),
        (
            "layers.0.thresholds",
            np.array([-4, 1], np.int32),
            "layers.0: thresholds must be from -3 to 4 for 3 inputs, but thresholds[0] is -4",
        ),
        ("layers.0.thresholds", np.array([1, 2], np.int64), "layers.0: thresholds must be int32, not int64"),
        ("layers.0.thresholds", np.array([1, 2], np.float32), "layers.0: thresholds must be int32, not float32"),
        ("layers.0.thresholds", np.array([1], np.int32), "layers.0: thresholds must have shape (2,), one per output, not (1,)"),
        (
            "layers.0.thresholds",
            np.array([[1, 2]], np.int32),
            "layers.0: thresholds must have shape (outputs,), one per output, not (1, 2)",
        ),
        (
            "layers.0.weights",
            np.array([[5], [0b1110]], np.uint8),
            "layers.0: padding bits of packed weights must be 0, but bit 3 of neuron 1 is 1",
        ),
        (
            "layers.0.weights",
            np.array([[5, 0], [6, 0]], np.uint8),
            "layers.0: packed weights must be uint8 of shape (outputs, 1) for 3 inputs, not uint8 (2, 2)",
        ),
        (
            "layers.0.weights",
            np.ones((2, 3), np.float32),
            "layers.0: packed weights must be uint8 of shape (outputs, 1) for 3 inputs, not float32 (2, 3)",
        ),
        ("layers.0.weights", np.array([[5]], np.uint8), "layers.0: weights must have 2 rows, one per output, not 1"),
        (
            "extra",
            np.zeros(1, np.uint8),
            ("tensors must be ['layers.0.thresholds', 'layers.0.weights'], not ['extra', 'layers.0.thresholds', 'layers.0.weights']"),
        ),
    ],
)
def test_wrong_tensors_are_refused(tmp_path, name, array, message):
    def change(tensors):
        tensors[name] = array

    assert refusal(write_raw(tmp_path / "n", worked_example(), change_tensors=change)) == message


def test_weights_other_than_one_cannot_be_packed():
    with pytest.raises(UserError, match="weights must be -1 or \\+1"):
        Layer(Dense(np.array([[1, 0]])), Single(np.array([1])))


def test_layers_that_do_not_join_are_refused(tmp_path):
    network = random_network(np.random.default_rng(0), (4, 3, 2), 4)
    other = random_network(np.random.default_rng(0), (5, 2), 4)

    def change_tensors(tensors):
        from export.packing import pack_weights

        tensors["layers.1.weights"] = pack_weights(other.layers[0].connection.weights)

    def change_header(header):
        header["layers"][1]["inputs"] = 5

    path = write_raw(tmp_path / "n", network, change_header=change_header, change_tensors=change_tensors)
    assert "layer 1 must take the 3 outputs of layer 0, but has 5 inputs" in refusal(path)


def test_wrong_digest_is_refused(tmp_path):
    path = write_raw(tmp_path / "n", worked_example(), change_header=set_to(sha256="0" * 64), resign=False)
    network = worked_example()
    assert refusal(path) == (f"sha256 must be that of header and tensors, {export.digest(network)}, not '{'0' * 64}': the file is damaged")
    path = write_raw(tmp_path / "n", network, change_header=lambda h: h.pop("sha256"), resign=False)
    assert refusal(path).endswith("not None: the file is damaged")


@pytest.mark.parametrize("value", [{"a": {1, 2}}, {"a": float("nan")}, {"a": float("inf")}, {"a": np.float32(1)}, {"a": b"x"}])
def test_provenance_that_json_cannot_hold_writes_nothing(tmp_path, value):
    network = Network(worked_example().layers, 4, provenance=value)
    with pytest.raises(UserError, match="provenance must be something that JSON can hold: ") as caught:
        export.save(network, tmp_path / "network.safetensors")
    assert len(str(caught.value).splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_failure_while_writing_leaves_the_old_file(tmp_path, monkeypatch):
    path = saved(worked_example(), tmp_path)
    before = path.read_bytes()

    def fail(name, content):
        name.write_text("half")
        raise OSError(28, "No space left on device", str(name))

    monkeypatch.setattr(Path, "write_bytes", fail)
    with pytest.raises(OSError, match="No space left"):
        export.save(random_network(np.random.default_rng(0), (4, 3), 2), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
