"""Version 2 of the artifact, which holds neurons that spike with coefficients; and version 1, which stays as it is."""

import json
import struct

import numpy as np
import pytest

import export
from export import Dense, Encoder, Graded, Layer, Network, Readout, Single, UserError
from export.packing import pack_weights
from export.store import ROOT
from tests.artifact_files import assert_flipped_bits_are_refused, assert_same, refusal, saved, set_to, write_raw
from tests.multi_spike import BIASED, CODES, code_network, random_images
from tests.networks import graded_example, random_network, worked_example

ALL = (*CODES, *BIASED)


def header_of(path):
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    return json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["firstspike"])


THRESHOLDS = "encoder thresholds must be 1 to 255 ascending integers from 1 to 255"


@pytest.mark.parametrize("code", ALL)
@pytest.mark.parametrize(
    "encoder",
    [Encoder("spread", bits=3), Encoder("spread", thresholds=(64, 192, 192)), Encoder("none", bits=8), Encoder("none"), Encoder("latency")],
    ids=str,
)
def test_round_trip(tmp_path, code, encoder):
    """The network, its digest and its bytes come back."""
    made = code_network(np.random.default_rng([1, ALL.index(code)]), (9, 7, 8, 3), 5, code, levels=127 if code == "graded" else 2)
    network = Network(made.layers, 5, encoder, ("a", "b", "θ"), {"seed": 1})
    path = tmp_path / "network.safetensors"
    written = export.save(network, path)
    found = export.load(path)
    assert_same(found, network)
    assert header_of(path)["version"] == 2
    assert export.digest(found) == export.digest(network) == written == header_of(path)["sha256"]
    export.save(found, tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()
    images = random_images(np.random.default_rng(2), 5, 9)
    if encoder.kind != "none":
        results = [export.reference.run(some, some.encode(images)) for some in (network, found)]
        assert all(one.equals(other) for one, other in zip(results[0].events, results[1].events, strict=True))


@pytest.mark.parametrize(
    ("changed", "what"),
    [
        ({"thresholds": [2, 4]}, "threshold"),
        ({"initial": [1, 0]}, "start"),
        ({"levels": 4}, "levels"),
        ({"signed": True}, "signed"),
        ({"bias": [0, -1]}, "bias"),
        ({"fraction": 1}, "fraction"),
        ({"kind": export.Ternary}, "kind"),
    ],
)
def test_digest_covers(changed, what):
    given = {"kind": Graded, "thresholds": [2, 3], "initial": [1, -1], "levels": 3, "signed": False, "bias": None, "fraction": 0}
    assert set(changed) <= set(given)

    def digest_of(kind, **arguments):
        return export.digest(Network((Layer(Dense([[1, -1, 1], [-1, 1, 1]]), kind(**arguments)), graded_example().layers[1]), 2))

    assert digest_of(**given) != digest_of(**given | changed), what


def test_worked_example_byte_for_byte(tmp_path):
    """The file of ``docs/artifact.md``, read with ``struct`` only."""
    path = saved(graded_example(), tmp_path)
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    table = json.loads(data[8 : 8 + length])
    expected = {
        "layers.0.initial": ("I32", [2], struct.pack("<2i", 1, -1)),
        "layers.0.thresholds": ("I32", [2], struct.pack("<2i", 2, 3)),
        "layers.0.weights": ("U8", [2, 1], bytes([0b101, 0b110])),
        "layers.1.thresholds": ("I32", [2], struct.pack("<2i", 1, -2)),
        "layers.1.weights": ("U8", [2, 1], bytes([0b01, 0b10])),
    }
    assert set(table) == {"__metadata__", *expected}
    for name, (dtype, shape, content) in expected.items():
        begin, end = table[name]["data_offsets"]
        assert (table[name]["dtype"], table[name]["shape"], data[8 + length + begin : 8 + length + end]) == (dtype, shape, content), name
    header = header_of(path)
    assert (header["format"], header["version"], header["steps"]) == ("firstspike-network", 2, 2)
    assert header["encoder"] == {"kind": "spread", "bits": 4}
    assert header["layers"] == [
        {"inputs": 3, "outputs": 2, "connection": "dense", "neuron": "graded", "levels": 3, "signed": False},
        {"inputs": 2, "outputs": 2, "connection": "dense", "neuron": "readout"},
    ]


@pytest.mark.parametrize("path", sorted((ROOT / "artifacts").glob("*.safetensors")), ids=lambda path: path.stem)
def test_committed_files_are_read_and_written_as_they_stand(tmp_path, path):
    export.save(export.load(path), tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_what_version_1_can_hold_is_written_as_version_1(tmp_path):
    """Also where a file of version 2 says the same."""
    assert header_of(saved(worked_example(), tmp_path))["version"] == 1
    single = [{"inputs": 3, "outputs": 2, "connection": "dense", "neuron": "single"}]
    path = write_raw(tmp_path / "n", worked_example(), change_header=set_to(version=2, layers=single))
    assert_same(export.load(path), worked_example())
    assert export.digest(export.load(path)) == export.digest(worked_example())
    counted = Network(worked_example().layers, 4, Encoder("none", bits=1))
    readout = Network((Layer(Dense([[1, -1, 1]]), Readout([1])),), 4)
    for network in (counted, readout):
        export.save(network, tmp_path / "m")
        assert header_of(tmp_path / "m")["version"] == 2
        assert_same(export.load(tmp_path / "m"), network)


def test_bias_and_fraction_are_there_only_where_they_say_something(tmp_path):
    for neuron, tensors, fields in (
        (Graded([2, 3], levels=3, bias=[0, 0], fraction=0), set(), {}),
        (Graded([2, 3], levels=3, bias=[0, -7]), {"layers.0.bias"}, {}),
        (Graded([2, 3], levels=3, fraction=np.int8(5)), set(), {"fraction": 5}),
    ):
        network = Network((Layer(Dense([[1, -1, 1], [-1, 1, 1]]), neuron), graded_example().layers[1]), 2)
        path = saved(network, tmp_path)
        found, header = export.artifact.read_tensors(path)
        assert {name for name in found if name.endswith(("bias", "fraction"))} == tensors
        usual = {"inputs": 3, "outputs": 2, "connection": "dense", "neuron": "graded", "levels": 3, "signed": False}
        assert header["layers"][0] == usual | fields
        assert_same(export.load(path), network)


def test_numbers_of_numpy(tmp_path):
    """Levels and bits are kept as Python's integers, which do not overflow and which JSON can hold."""
    neuron = Graded([1], levels=np.int8(127), signed=True)
    network = Network((Layer(Dense([[1, 1]]), neuron), Layer(Dense([[1]]), Readout([1]))), np.int16(2), Encoder("spread", bits=np.int8(8)))
    assert (neuron.coefficients, neuron.totals(2)) == ((-254, 254), (-127, 127))
    assert_same(export.load(saved(network, tmp_path)), network)
    latency = Network(worked_example().layers, 4, Encoder("latency", np.uint8(9)))
    assert export.digest(latency) == export.digest(Network(worked_example().layers, 4, Encoder("latency", 9)))


def layer(index=0, **fields):
    """Change fields of a layer's entry; None removes one."""

    def change(header):
        entry = header["layers"][index] | fields
        header["layers"][index] = {name: value for name, value in entry.items() if value is not None}

    return change


def assert_said(seen, message):
    """``…`` at the end of a message stands for more of it."""
    assert seen.startswith(message.removesuffix("…")) if message.endswith("…") else seen == message


KINDS = "one of single, readout, rate, ternary, graded"
FIELDS = "connection, fraction, inputs, levels, neuron, outputs, signed"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (set_to(version=3), "version must be 1 or 2, those this release reads, not 3"),
        (set_to(version=0), "version must be 1 or 2, those this release reads, not 0"),
        (set_to(version=2.0), "version must be 1 or 2, those this release reads, not 2.0"),
        (set_to(version=1), "layers.0: header field 'kind' must be str, not None"),
        (layer(neuron="radix"), f"layers.0: neuron must be {KINDS}, which this release knows, not 'radix'"),
        (layer(1, neuron="if"), f"layers.1: neuron must be {KINDS}, which this release knows, not 'if'"),
        (layer(neuron=None), "layers.0: header field 'neuron' must be str, not None"),
        (layer(neuron=["graded"]), "layers.0: header field 'neuron' must be str, not ['graded']"),
        (layer(1, connection="conv3d"), "layers.1: connection must be one of dense, conv2d, which this release knows, not 'conv3d'"),
        (layer(connection=None), "layers.0: header field 'connection' must be str, not None"),
        (layer(levels=None), "layers.0: header field 'levels' must be int, not None"),
        (layer(levels="3"), "layers.0: header field 'levels' must be int, not '3'"),
        (layer(levels=True), "layers.0: header field 'levels' must be int, not True"),
        (layer(levels=0), "layers.0: levels must be an integer from 1 to 127, not 0"),
        (layer(levels=-1), "layers.0: levels must be an integer from 1 to 127, not -1"),
        (layer(levels=128), "layers.0: levels must be an integer from 1 to 127, not 128"),
        (layer(signed=None), "layers.0: header field 'signed' must be bool, not None"),
        (layer(signed=0), "layers.0: header field 'signed' must be bool, not 0"),
        (layer(fraction=0), "layers.0: fraction must be from 1, or be left out, not 0"),
        (layer(fraction=9), "layers.0: fraction must be an integer from 0 to 8, not 9"),
        (layer(fraction=True), "layers.0: header field 'fraction' must be int, not True"),
        (layer(fraction="2"), "layers.0: header field 'fraction' must be int, not '2'"),
        (layer(1, fraction=9), "layers.1: fraction must be an integer from 0 to 8, not 9"),
        (layer(leak=3), f"layers.0: neurons 'graded' must have no more fields than {FIELDS}, but have ['leak']"),
        (
            layer(1, levels=3),
            "layers.1: neurons 'readout' must have no more fields than connection, fraction, inputs, neuron, outputs, but have ['levels']",
        ),
        (layer(outputs=3), "layers.0: weights must have 3 rows, one per output, not 2"),
        (layer(1, inputs=1), "layers.1: padding bits of packed weights must be 0, but bit 1 of neuron 1 is 1"),
        (layer(1, inputs=3), "layer 1 must take the 2 outputs of layer 0, but has 3 inputs"),
        (lambda header: header["layers"].append(3), "layers.2: must be an object, not 3"),
        (lambda header: header["layers"].pop(), "tensors must be ['layers.0.initial', 'layers.0.thresholds', 'layers.0.weights'], not …"),
        (layer(neuron="single", levels=None, signed=None), "tensors must be ['layers.0.thresholds', …"),
        (set_to(encoder={"kind": "spread"}), "encoder bits must be an integer from 1 to 8, not None"),
        (set_to(encoder={"kind": "spread", "bits": 9}), "encoder bits must be an integer from 1 to 8, not 9"),
        (set_to(encoder={"kind": "spread", "bits": 0}), "encoder bits must be an integer from 1 to 8, not 0"),
        (set_to(encoder={"kind": "spread", "bits": True}), "encoder bits must be an integer from 1 to 8, not True"),
        (set_to(encoder={"kind": "spread", "bits": 4.0}), "encoder bits must be an integer from 1 to 8, not 4.0"),
        (set_to(encoder={"kind": "none", "bits": [4]}), "encoder bits must be an integer from 1 to 8, not [4]"),
        (set_to(encoder={"kind": "latency", "bits": 4}), "encoder 'latency' takes no bits, not 4"),
        (set_to(encoder={"kind": "spread", "bits": 4, "p_min": 3}), "encoder 'spread' takes no p_min, not 3"),
        (set_to(encoder={"kind": "none", "thresholds": [4]}), "encoder takes thresholds only if it is 'spread', and instead of bits"),
        (
            set_to(encoder={"kind": "spread", "bits": 4, "thresholds": [4]}),
            "encoder takes thresholds only if it is 'spread', and instead of bits",
        ),
        *(
            (set_to(encoder={"kind": "spread", "thresholds": given}), f"{THRESHOLDS}, not {given!r:.60}")
            for given in ([], 7, [0], [256], [9, 8], [1.0], [True], ["a"], [None], [1] * 256)
        ),
    ],
)
def test_wrong_header_is_refused(tmp_path, change, message):
    assert_said(refusal(write_raw(tmp_path / "n", graded_example(), change_header=change)), message)


def test_a_fraction_of_the_outputs(tmp_path):
    *hidden, last = graded_example().layers
    network = Network((*hidden, Layer(last.connection, Readout(last.neuron.thresholds, fraction=3))), 2, Encoder("spread", bits=4))
    export.save(network, tmp_path / "n")
    assert header_of(tmp_path / "n")["layers"][-1]["fraction"] == 3
    assert_same(export.load(tmp_path / "n"), network)
    with pytest.raises(UserError, match=r"^fraction must be an integer from 0 to 8, not 9$"):
        Readout([1], fraction=9)


def test_version_1_has_no_coefficients(tmp_path):
    path = write_raw(tmp_path / "n", worked_example(), change_header=set_to(encoder={"kind": "spread", "bits": 4}))
    assert refusal(path) == "encoder of a file of version 1 must be of inputs that spike once, not 'spread' with counts"


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("0.thresholds", np.array([2, 0], np.int32), "layers.0: thresholds must be from 1 to 4194304, but thresholds[1] is 0"),
        ("0.thresholds", np.array([-2, 1], np.int32), "layers.0: thresholds must be from 1 to 4194304, but thresholds[0] is -2"),
        ("0.thresholds", np.array([2, 1 << 23], np.int32), "layers.0: thresholds must be from 1 to 4194304, but thresholds[1] is 8388608"),
        ("0.thresholds", np.array([2], np.int32), "layers.0: initial must have shape (1,), as the thresholds have, not (2,)"),
        ("0.thresholds", np.array([[2, 3]], np.int32), "layers.0: thresholds must have shape (outputs,), one per output, not (1, 2)"),
        ("0.thresholds", np.array([2, 3], np.int64), "layers.0: thresholds must be int32, not int64"),
        ("0.initial", np.array([1], np.int32), "layers.0: initial must have shape (2,), as the thresholds have, not (1,)"),
        ("0.initial", np.array([[1], [1]], np.int32), "layers.0: initial must have shape (outputs,), one per output, not (2, 1)"),
        ("0.initial", np.array([1, 1], np.int8), "layers.0: initial must be int32, not int8"),
        ("0.initial", np.array([1, 1], np.float32), "layers.0: initial must be int32, not float32"),
        ("0.initial", np.array([1, 1 << 23], np.int32), "layers.0: initial must be from -4194304 to 4194304, but initial[1] is 8388608"),
        (
            "1.thresholds",
            np.array([1 << 23, 1], np.int32),
            "layers.1: thresholds must be from -4194304 to 4194304, but thresholds[0] is 8388608",
        ),
        ("0.bias", np.array([0, 0], np.int32), "layers.0: bias must be other than 0 for a neuron, or be left out"),
        ("0.bias", np.array([0, 1], np.int64), "layers.0: bias must be int32, not int64"),
        ("0.bias", np.array([1], np.int32), "layers.0: bias must have shape (2,), as the thresholds have, not (1,)"),
        ("0.bias", np.array([1, 1 << 23], np.int32), "layers.0: bias must be from -4194304 to 4194304, but bias[1] is 8388608"),
        ("1.bias", np.array([1, 1], np.int32), "tensors must be ['layers.0.initial', 'layers.0.thresholds', 'layers.0.weights', …"),
        ("1.thresholds", np.array([1], np.int32), "layers.1: thresholds must have shape (2,), one per output, not (1,)"),
        ("1.initial", np.array([1, 1], np.int32), "tensors must be ['layers.0.initial', 'layers.0.thresholds', 'layers.0.weights', …"),
        ("0.weights", pack_weights(np.ones((3, 3))), "layers.0: weights must have 2 rows, one per output, not 3"),
        (
            "0.weights",
            np.array([[0b1101], [0]], np.uint8),
            "layers.0: padding bits of packed weights must be 0, but bit 3 of neuron 0 is 1",
        ),
    ],
)
def test_wrong_tensors_are_refused(tmp_path, name, array, message):
    path = write_raw(tmp_path / "n", graded_example(), change_tensors=lambda tensors: tensors.update({f"layers.{name}": array}))
    assert_said(refusal(path), message)


def test_a_missing_tensor_is_refused(tmp_path):
    path = write_raw(tmp_path / "n", graded_example(), change_tensors=lambda tensors: tensors.pop("layers.0.initial"))
    assert refusal(path).endswith("not ['layers.0.thresholds', 'layers.0.weights', 'layers.1.thresholds', 'layers.1.weights']")


@pytest.mark.parametrize("neuron", ["rate", "graded"])
def test_a_last_layer_that_is_reset_is_refused(tmp_path, neuron):
    options = {} if neuron == "rate" else {"levels": 1, "signed": False}
    path = write_raw(
        tmp_path / "n",
        graded_example(),
        change_header=layer(1, neuron=neuron, **options),
        change_tensors=lambda tensors: tensors.update(
            {"layers.1.thresholds": np.array([1, 1], np.int32), "layers.1.initial": np.array([0, 0], np.int32)}
        ),
    )
    assert refusal(path) == f"the last layer must be of neurons that are never reset, such as readout, not {neuron}"


def test_potentials_beyond_what_is_exact_are_refused(tmp_path):
    big = write_raw(
        tmp_path / "m",
        graded_example(),
        change_header=layer(neuron="ternary", levels=127, signed=False),
        change_tensors=lambda tensors: tensors.update({"layers.0.thresholds": np.array([2, 65536], np.int32)}),
    )
    assert refusal(big) == f"potentials of layer 0 must stay below 8388608, but can reach {65536 * 128 + 1 + 15}"


def test_the_header_says_the_kind(tmp_path):
    path = write_raw(tmp_path / "n", graded_example(), change_header=layer(neuron="rate", levels=None, signed=None))
    assert type(export.load(path).layers[0].neuron) is export.Rate


def test_every_flipped_bit_of_the_tensors_is_refused(tmp_path):
    assert_flipped_bits_are_refused(saved(graded_example(), tmp_path), 28)


def test_kinds_of_others_are_not_written(tmp_path):
    class Other(Single):
        kind = "other"

    network = Network((Layer(Dense([[1, 1]]), Other([1])),), 4)
    with pytest.raises(UserError) as caught:
        export.save(network, tmp_path / "n")
    assert str(caught.value) == f"neuron of layer 0 must be {KINDS}, which files hold, not 'other'"
    assert list(tmp_path.iterdir()) == []


def test_refusals_leave_the_old_file(tmp_path):
    path = saved(graded_example(), tmp_path)
    before = path.read_bytes()
    with pytest.raises(UserError, match="provenance must be something that JSON can hold"):
        export.save(Network(random_network(np.random.default_rng(1), (3, 2), 4).layers, 4, provenance={"a": {1}}), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
