"""Artifacts with whatever is wrong in them, and what reading them says."""

import json
import struct

import numpy as np
import pytest
import safetensors.numpy

import export
from export import UserError


def saved(network, folder):
    path = folder / "network.safetensors"
    export.save(network, path)
    return path


def write_raw(path, network, *, change_header=None, change_tensors=None, resign=True):
    """An artifact with whatever is wrong in it, but with a digest that fits: only the named check is left to refuse it."""
    from export.artifact import _contents, _sha256

    tensors, header = _contents(network)
    (change_header or (lambda _: None))(header)
    (change_tensors or (lambda _: None))(tensors)
    if resign:
        header["sha256"] = _sha256(tensors, header)
    safetensors.numpy.save_file(tensors, path, metadata={"firstspike": json.dumps(header, sort_keys=True)})
    return path


def refusal(path):
    with pytest.raises(UserError) as caught:
        export.load(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ")
    return message.removeprefix(f"{path}: ")


def assert_flipped_bits_are_refused(path, size):
    """Each bit of the last ``size`` bytes of a file, which are all of its tensors, flipped by itself."""
    original = path.read_bytes()
    (length,) = struct.unpack("<Q", original[:8])
    assert len(original) == 8 + length + size
    for bit in range(8 * (8 + length), 8 * len(original)):
        damaged = bytearray(original)
        damaged[bit // 8] ^= 1 << bit % 8
        path.write_bytes(damaged)
        assert refusal(path).endswith("the file is damaged")


def assert_same(a, b):
    assert (a.steps, a.encoder, a.class_names, a.provenance) == (b.steps, b.encoder, b.class_names, b.provenance)
    for one, other in zip(a.layers, b.layers, strict=True):
        assert np.array_equal(one.connection.weights, other.connection.weights)
        assert type(one.neuron) is type(other.neuron)
        for name, value in vars(one.neuron).items():
            assert np.array_equal(value, getattr(other.neuron, name)), name


def set_to(**fields):
    return lambda header: header.update(fields)
