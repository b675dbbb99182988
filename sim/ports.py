"""Where everything is in the ports of a generated circuit, read from the JSON port map that lies beside its Verilog."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.errors import UserError
from hw.core.words import unpack_bits

UNIT = 32
"""Width in bits of the unit in which payloads travel through files; a payload takes as many as it needs."""


@dataclass(frozen=True)
class Field:
    """A field of a packed payload: its lowest bit, its width in bits, whether it is two's complement, and of how many lanes it consists."""

    offset: int
    width: int
    signed: bool = False
    lanes: int | None = None


@dataclass(frozen=True)
class Payload:
    """A packed payload.

    Attributes:
        width: in bits.
        fields: by name.
        units: 32-bit units that hold it, the least significant first.
    """

    width: int
    fields: Mapping[str, Field]

    @property
    def units(self) -> int:
        return max(1, -(-self.width // UNIT))

    def __getitem__(self, name: str) -> Field:
        return self.fields[name]

    def get(self, records: np.ndarray, name: str) -> np.ndarray:
        """One field, int64 (records,), of records uint32 (records, units). The field must be at most 32 bits wide."""
        field = self.fields[name]
        if field.width == 0:
            return np.zeros(len(records), np.int64)
        unit, shift = divmod(field.offset, UNIT)
        value = records[:, unit].astype(np.uint64) >> np.uint64(shift)
        if shift + field.width > UNIT:
            value |= records[:, unit + 1].astype(np.uint64) << np.uint64(UNIT - shift)
        value = (value & np.uint64((1 << field.width) - 1)).astype(np.int64)
        if field.signed:
            value -= (value >> (field.width - 1)) << field.width
        return value

    def get_bits(self, records: np.ndarray, name: str) -> np.ndarray:
        """One field of any width as bool (records, width), index 0 the least significant bit."""
        field = self.fields[name]
        return unpack_bits(records)[:, field.offset : field.offset + field.width]

    def lanes(self, name: str) -> int:
        """Lanes of a field; a bit each unless it says otherwise."""
        field = self.fields[name]
        return field.width if field.lanes is None else field.lanes

    def get_lanes(self, records: np.ndarray, name: str) -> np.ndarray:
        """One field as a number per lane: int16 (records, lanes)."""
        field, lanes = self.fields[name], self.lanes(name)
        bits = self.get_bits(records, name).reshape(len(records), lanes, field.width // max(1, lanes))
        worth = 1 << np.arange(bits.shape[2])
        if field.signed:
            worth[-1] = -worth[-1]
        return bits @ worth.astype(np.int16)


@dataclass(frozen=True)
class Ports:
    """The ports of a circuit that a simulation drives and watches.

    Attributes:
        top: name of the module.
        contexts: frames that are worked on in turn.
        streams: names of the input streams; frame ``k`` goes to stream ``k`` modulo their number.
        word: an input's spike words, or pixels.
        cancels: whether the circuit tells when it wants no more of a frame.
        result: the results.
        monitors: the spike words that each layer emits.
    """

    top: str
    contexts: int
    streams: tuple[str, ...]
    word: Payload
    cancels: bool
    result: Payload
    monitors: tuple[Payload, ...]

    @classmethod
    def from_map(cls, port_map: Mapping[str, Any]) -> "Ports":
        """Read a port map.

        Raises:
            UserError: a port or a field that a simulation needs is not in it.
        """
        try:
            ports = port_map["ports"]
            monitors: list[Payload] = []
            while f"monitor_{len(monitors)}_payload" in ports:
                monitors.append(_payload(ports[f"monitor_{len(monitors)}_payload"]))
            for monitor in monitors:
                _require(monitor, ("time", "index", "bits", "last_of_step", "last_of_frame", "frame"))
            streams: list[str] = []
            while f"i_{len(streams)}_payload" in ports:
                streams.append(f"i_{len(streams)}")
            streams = streams or ["i"]
            result = _payload(ports["o_payload"])
            _require(result, ("class_index", "step", "margin", "silent", "error"))
            word, cancels = _payload(ports[f"{streams[0]}_payload"]), f"{streams[0]}_cancel" in ports
            return cls(port_map["top"], port_map["folding"]["contexts"], tuple(streams), word, cancels, result, tuple(monitors))
        except KeyError as error:
            raise UserError(f"port map must have {error}, but has not: was it written for another version?") from None


def _payload(port: Mapping[str, Any]) -> Payload:
    fields = {name: Field(f["offset"], f["width"], f.get("signed", False), f.get("lanes")) for name, f in port["fields"].items()}
    return Payload(port["width"], fields)


def _require(payload: Payload, names: tuple[str, ...]) -> None:
    for name in names:
        payload.fields[name]
