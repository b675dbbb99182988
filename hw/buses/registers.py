"""The registers of a wrapped accelerator: amaranth-soc CSR registers, from which circuit, memory map and port map are made."""

from dataclasses import dataclass
from typing import Any

from amaranth.hdl import Shape, ShapeLike
from amaranth.lib import data

from export import digest
from hw.buses.soc import action, csr
from hw.core.accelerator import Accelerator

ID = int.from_bytes(b"SPK1", "little")
MAP_VERSION = 1
ADDRESS_BITS = 12
"""All registers lie in 4 KiB of byte addresses."""
BUS = csr.Signature(addr_width=ADDRESS_BITS, data_width=8)
LOADED = "; whether weights are, without which frames wait"
LOAD_ABOUT = "with `write`, the next byte of weights; `first` with the first one"
SIZES = 0x88
"""Address of the first layer size."""
ACTIONS = {"r": action.R, "rw": action.RW, "w": action.W}


@dataclass(frozen=True)
class Register:
    """A register: what amaranth-soc has to know, a sentence for the port map, and a value.

    Attributes:
        name, address: in the memory map; the address in bytes, a multiple of 4.
        access: ``"r"``, ``"rw"``, or ``"w"`` for one whose fields count in the cycle in which they are written.
        fields: shape of each, by name, the first at bit 0, without gaps.
        about: one sentence.
        value: of an ``"r"`` register that never changes; of an ``"rw"`` register after reset.
    """

    name: str
    address: int
    access: str
    fields: dict[str, ShapeLike]
    about: str
    value: int | None = None

    @property
    def layout(self) -> data.StructLayout:
        return data.StructLayout(self.fields)

    @property
    def csr(self) -> csr.Register:
        """A new CSR register of these fields."""
        fields = {}
        for name, field in self.layout:
            init = {"init": (self.value or 0) >> field.offset & (1 << field.width) - 1} if self.access == "rw" else {}
            fields[name] = csr.Field(ACTIONS[self.access], field.shape, **init)
        return csr.Register(fields, access=self.access)


def common_registers(accelerator: Accelerator) -> tuple[Register, ...]:
    """The registers that every wrapper has."""
    network = accelerator.network
    sha256 = bytes.fromhex(digest(network))
    version = MAP_VERSION | (accelerator.frames_in == "pixels") << 8
    status = {"busy": 1} if accelerator.weights == "rom" else {"busy": 1, "loaded": 1}
    load = {"data": 8, "write": 1, "first": 1}
    return (
        Register("id", 0x00, "r", {"id": 32}, 'the bytes "SPK1"', ID),
        Register("version", 0x04, "r", {"map": 8, "pixels": 1}, "of this map; whether frames are pixels (1) or spike words (0)", version),
        Register("control", 0x08, "rw", {"early": 1}, "early (1) or full (0) mode; what counts is the value when a decision falls", 1),
        Register("reset", 0x0C, "w", {"reset": 1}, "1: all frames are dropped, counters are 0"),
        Register("status", 0x10, "r", status, "whether a frame is in the circuit" + LOADED * (accelerator.weights == "loadable")),
        *([Register("load", 0x1C, "w", load, LOAD_ABOUT)] if accelerator.weights == "loadable" else []),
        Register("frames", 0x20, "r", {"frames": 32}, "results given"),
        Register("errors", 0x24, "r", {"errors": 32}, "results with error"),
        Register("silent", 0x28, "r", {"silent": 32}, "results with silent, but without error"),
        Register("cycles", 0x30, "r", {"cycles": 64}, "in which a frame was in the circuit"),
        Register("last_result", 0x40, "r", dict(result_payload(accelerator).members), "the result given last"),
        *(
            Register(f"digest_{k}", 0x60 + 4 * k, "r", {"digest": 32}, f"bytes {4 * k} to {4 * k + 3} of the artifact's SHA-256", value)
            for k, value in enumerate(int.from_bytes(sha256[at : at + 4], "little") for at in range(0, 32, 4))
        ),
        Register("steps", 0x80, "r", {"steps": 32}, "T", network.steps),
        Register("layers", 0x84, "r", {"layers": 32}, "layers, inputs not counted", len(network.layers)),
        *(
            Register(f"size_{k}", SIZES + 4 * k, "r", {"size": 32}, f"outputs of layer {k - 1}" if k else "inputs", size)
            for k, size in enumerate(network.shape)
        ),
    )


def result_payload(accelerator: Accelerator) -> data.StructLayout:
    """The payload of an accelerator's output stream."""
    return accelerator.signature.members["o"].signature.members["payload"].shape


def register_map(registers: tuple[Register, ...]) -> dict[str, Any]:
    """The registers as JSON can hold them, by name."""

    def entry(register: Register) -> dict[str, Any]:
        fields = {
            name: {"offset": field.offset, "width": field.width, "signed": Shape.cast(field.shape).signed}
            for name, field in register.layout
        }
        value = {} if register.value is None else {"value" if register.access == "r" else "reset": register.value}
        return {"address": register.address, "access": register.access, "fields": fields, **value, "about": register.about}

    return {register.name: entry(register) for register in registers}
