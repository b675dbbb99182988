"""The artifact: one network in one ``safetensors`` file, with nothing executable in it.

``docs/artifact.md`` describes the file for readers in other languages.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from export import layer_files
from export.connections import Dense
from export.encoder import Encoder
from export.errors import UserError, prefixed
from export.files import atomic_write, check_regular
from export.layer import CONNECTIONS, Layer
from export.network import Network
from export.neuron import Neuron
from export.neurons import NEURONS, Readout, Single
from export.packing import pack_weights
from export.reset_neurons import Rate, Ternary
from export.text import one_of

METADATA_KEY = "firstspike"
FORMAT = "firstspike-network"
VERSIONS = 1, 2
"""Version 1 holds `Dense` layers of `Single` neurons whose inputs spike once, without pools; all else is written as version 2."""
KIND = "if"  # of a layer in version 1
OPTIONAL = "bias"  # the array that is only there where it is not 0
MAX_DEPTH = 64  # of the header's JSON, so that nothing that walks it comes to the interpreter's limit


def save(network: Network, path: str | Path) -> str:
    """Write the network to ``path``, whole or not at all; return its digest (64 hexadecimal digits).

    Raises:
        UserError: the provenance is not something that JSON can hold, or a layer is of a kind that the file does not know.
        OSError: the file cannot be written.
    """
    for index, layer in enumerate(network.layers):
        for what, kind, known in (("connection", layer.connection.kind, CONNECTIONS), ("neuron", layer.neuron.kind, NEURONS)):
            if kind not in known:
                raise UserError(f"{what} of layer {index} must be {one_of(known)}, which files hold, not {kind!r}")
    tensors, header = _contents(network)
    with atomic_write(path) as temporary:
        temporary.write_bytes(serialized(tensors, header))
    return header["sha256"]


def serialized(tensors: dict[str, np.ndarray], header: dict[str, Any]) -> bytes:
    """The content of a ``safetensors`` file with a JSON object as its ``firstspike`` metadata: the inverse of `read_tensors`."""
    return safetensors.numpy.save(tensors, metadata={METADATA_KEY: json.dumps(header, sort_keys=True)})


def digest(network: Network) -> str:
    """The digest that `save` would write: SHA-256 over header and tensors, 64 hexadecimal digits."""
    return _contents(network)[1]["sha256"]


def load(path: str | Path) -> Network:
    """Read a network from ``path``.

    Raises:
        UserError: the file is damaged or is not such an artifact; the message names the field.
        OSError: the file cannot be read.
    """
    tensors, header = read_tensors(path)
    with prefixed(path):
        return _network(tensors, header)


def read_tensors(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """All tensors of a ``safetensors`` file and the JSON object in its ``firstspike`` metadata.

    Raises:
        UserError: the file is damaged, or carries no such object.
        OSError: the file cannot be read.
    """
    check_regular(path)
    with Path(path).open("rb"):
        pass  # a missing file is an OSError with its name, whatever the library makes of it
    try:
        with safetensors.safe_open(path, framework="numpy") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (safetensors.SafetensorError, TypeError, ValueError, KeyError, AttributeError) as error:
        raise UserError(f"{path}: must be a whole safetensors file: {error}") from None
    if METADATA_KEY not in metadata:
        raise UserError(f"{path}: header must have a '{METADATA_KEY}' entry, but has {sorted(metadata)}")
    try:
        header = json.loads(metadata[METADATA_KEY])
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: header must be JSON: {error}") from None
    if not isinstance(header, dict):
        raise UserError(f"{path}: header must be a JSON object, not {type(header).__name__}")
    if _depth(header) > MAX_DEPTH:
        raise UserError(f"{path}: header must nest at most {MAX_DEPTH} deep")
    return tensors, header


def check_format(header: dict[str, Any], expected: str, *versions: int) -> None:
    """Refuse a header of another format, or of another version than ``versions``.

    Raises:
        UserError: it is one.
    """
    if header.get("format") != expected:
        raise UserError(f"format must be '{expected}', not {header.get('format')!r:.60}")
    found = header.get("version")
    if type(found) is not int or found not in versions:
        these = "the one" if len(versions) == 1 else "those"
        raise UserError(f"version must be {' or '.join(map(str, versions))}, {these} this release reads, not {found!r:.60}")


def get(header: dict[str, Any], name: str, kind: type) -> Any:
    """A field of a header.

    Raises:
        UserError: it is missing or of another type.
    """
    value = header.get(name)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is int):
        raise UserError(f"header field '{name}' must be {kind.__name__}, not {value!r:.60}")
    return value


def encoder_header(encoder: Encoder) -> dict[str, Any]:
    """The encoder as JSON."""
    return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(encoder).items() if value is not None}


def read_encoder(header: dict[str, Any]) -> Encoder:
    """The inverse of `encoder_header`, out of a whole header.

    Raises:
        UserError: it is missing, or not an encoder.
    """
    fields = get(header, "encoder", dict)
    if unknown := sorted(set(fields) - {"kind", "p_min", "bits", "thresholds"}):
        raise UserError(f"header field 'encoder' must have 'kind', 'p_min', 'bits' and 'thresholds' only, but has {unknown}")
    return Encoder(get(fields, "kind", str), fields.get("p_min"), fields.get("bits"), fields.get("thresholds"))


def read_class_names(header: dict[str, Any]) -> tuple[str, ...]:
    """The class names out of a header.

    Raises:
        UserError: they are missing, or not all strings.
    """
    names = get(header, "class_names", list)
    if not names or not all(isinstance(name, str) for name in names):
        raise UserError(f"header field 'class_names' must hold strings, at least one, not {names!r:.60}")
    return tuple(names)


def _contents(network: Network) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    tensors = {}
    for index, layer in enumerate(network.layers):
        tensors[f"layers.{index}.weights"] = pack_weights(layer.connection.weights)
        tensors |= {f"layers.{index}.{name}": getattr(layer.neuron, name) for name in _arrays(layer.neuron)}
    version = _version(network)
    header = {
        "format": FORMAT,
        "version": version,
        "steps": network.steps,
        "encoder": encoder_header(network.encoder),
        "layers": [{"inputs": layer.inputs, "outputs": layer.outputs} | _kinds(layer, version) for layer in network.layers],
        "class_names": list(network.class_names),
        "provenance": network.provenance,
    }
    try:
        # What JSON cannot hold is refused here; what it changes (tuples, integer keys) is changed before it is hashed.
        header = json.loads(json.dumps(header, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise UserError(f"provenance must be something that JSON can hold: {error}") from None
    if _depth(header) > MAX_DEPTH:
        raise UserError(f"provenance must nest at most {MAX_DEPTH - 1} deep")
    return tensors, header | {"sha256": _sha256(tensors, header)}


def _depth(value: Any) -> int:
    """How deep dictionaries and lists are nested in a value."""
    depth, level = 0, [value]
    while level := [part for part in level if isinstance(part, dict | list)]:
        depth += 1
        level = [child for part in level for child in (part.values() if isinstance(part, dict) else part)]
    return depth


def _sha256(tensors: dict[str, np.ndarray], header: dict[str, Any]) -> str:
    """SHA-256 over the header without its digest, then over each tensor's name and bytes, sorted by name."""
    sha = hashlib.sha256()
    unsigned = {key: value for key, value in header.items() if key != "sha256"}
    sha.update(json.dumps(unsigned, sort_keys=True, separators=(",", ":")).encode())
    for name in sorted(tensors):
        little_endian = tensors[name].astype(tensors[name].dtype.newbyteorder("<"), copy=False)
        sha.update(name.encode() + b"\0" + little_endian.tobytes())
    return sha.hexdigest()


def _network(tensors: dict[str, np.ndarray], header: dict[str, Any]) -> Network:
    check_format(header, FORMAT, *VERSIONS)
    version = header["version"]
    descriptions = get(header, "layers", list)
    kinds = []
    for index, description in enumerate(descriptions):
        with prefixed(f"layers.{index}"):
            kinds.append(_kind(description, version))
    names = {f"layers.{index}.{part}" for index, kind in enumerate(kinds) for part in ("weights", *_arrays(kind))}
    optional = {f"layers.{index}.{OPTIONAL}" for index, kind in enumerate(kinds) if issubclass(kind, Rate)}
    if set(tensors) - optional != names:
        raise UserError(f"tensors must be {sorted(names)}, not {sorted(tensors)}")
    if (found := _sha256(tensors, header)) != header.get("sha256"):
        raise UserError(f"sha256 must be that of header and tensors, {found}, not {header.get('sha256')!r:.80}: the file is damaged")
    layers = []
    for index, description in enumerate(descriptions):
        with prefixed(f"layers.{index}"):
            layers.append(_layer(tensors, index, description, kinds[index], version))
    encoder = read_encoder(header)
    if version == VERSIONS[0] and not encoder.spikes_once:
        raise UserError(f"encoder of a file of version {version} must be of inputs that spike once, not '{encoder.kind}' with counts")
    return Network(tuple(layers), get(header, "steps", int), encoder, read_class_names(header), get(header, "provenance", dict))


def _version(network: Network) -> int:
    """The oldest version of files that hold a network."""
    once = network.encoder.spikes_once and all(layer.is_dense and type(layer.neuron) is Single for layer in network.layers)
    return VERSIONS[0] if once else VERSIONS[1]


def describe_codes(network: Network) -> dict[str, Any] | None:
    """Encoder and kinds of layers, as the header of version 2 has them, and which layers have a bias per step; None for a network that a
    file of version 1 holds."""
    if (version := _version(network)) == VERSIONS[0]:
        return None
    layers = [_kinds(layer, version) | ({OPTIONAL: True} if OPTIONAL in _arrays(layer.neuron) else {}) for layer in network.layers]
    return {"encoder": encoder_header(network.encoder), "layers": layers}


def _kinds(layer: Layer, version: int) -> dict[str, Any]:
    """What a header says of a layer beside its size."""
    if version == VERSIONS[0]:
        return {"kind": KIND}
    return layer_files.describe(layer) | {"neuron": layer.neuron.kind} | _options(layer.neuron)


def _kind(description: object, version: int) -> type[Neuron]:
    """The class of a layer's neurons, by its entry in the header.

    Raises:
        UserError: this release has no such kind, or an entry of version 2 has a field that its kind lacks.
    """
    if not isinstance(description, dict):
        raise UserError(f"must be an object, not {description!r:.60}")
    if version == VERSIONS[0]:
        _check_known(description, "kind", (KIND,))
        return Single
    _check_known(description, "connection", CONNECTIONS)
    _check_known(description, "neuron", NEURONS)
    kind = NEURONS[description["neuron"]]
    fields = {"inputs", "outputs", "connection", "neuron"}
    fields |= {"levels", "signed"} if issubclass(kind, Ternary) else set()
    fields |= {"fraction"} if issubclass(kind, Rate | Readout) else set()
    fields |= {"pool"} if "pool" in description else set()
    fields.update(layer_files.FIELDS[description["connection"]])
    if unknown := sorted(set(description) - fields):
        raise UserError(f"neurons '{kind.kind}' must have no more fields than {', '.join(sorted(fields))}, but have {unknown!r:.60}")
    return kind


def _check_known(description: dict[str, Any], field: str, known: Iterable[str]) -> None:
    if (found := get(description, field, str)) not in known:
        raise UserError(f"{field} must be {one_of(known)}, which this release knows, not {found!r:.60}")


def _arrays(neuron: Neuron | type[Neuron]) -> tuple[str, ...]:
    """Names of the arrays of neurons, or of those that all of a kind have, int32 (outputs,) each."""
    if isinstance(neuron, Rate) and neuron.has_bias:
        return ("thresholds", "initial", OPTIONAL)
    kind = neuron if isinstance(neuron, type) else type(neuron)
    return ("thresholds", "initial") if issubclass(kind, Rate) else ("thresholds",)


def _options(neuron: Neuron) -> dict[str, Any]:
    """What is not in arrays, as JSON."""
    options = {"levels": neuron.levels, "signed": neuron.signed} if isinstance(neuron, Ternary) else {}
    return options | ({"fraction": neuron.fraction} if neuron.fraction else {})


def _layer(tensors: dict[str, np.ndarray], index: int, description: dict[str, Any], kind: type[Neuron], version: int) -> Layer:
    prefix = f"layers.{index}."
    arrays = {name: tensors[prefix + name] for name in (*_arrays(kind), OPTIONAL) if prefix + name in tensors}
    for name, numbers in arrays.items():
        if numbers.dtype != np.int32:
            raise UserError(f"{name} must be int32, not {numbers.dtype}")
    if OPTIONAL in arrays and not arrays[OPTIONAL].any():
        raise UserError(f"{OPTIONAL} must be other than 0 for a neuron, or be left out")
    inputs, outputs = get(description, "inputs", int), get(description, "outputs", int)
    synapses = {"connection": Dense.kind} if version == VERSIONS[0] else description
    connection, pool = layer_files.read(synapses, tensors[f"layers.{index}.weights"], inputs, outputs)
    options = {"levels": get(description, "levels", int), "signed": get(description, "signed", bool)} if issubclass(kind, Ternary) else {}
    if "fraction" in description:
        options["fraction"] = get(description, "fraction", int)
        if not options["fraction"]:
            raise UserError("fraction must be from 1, or be left out, not 0")
    return Layer(connection, kind(**arrays, **options), pool)
