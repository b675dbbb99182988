"""The host's end of the packets of `hw.host.packets`, over anything that reads and writes bytes."""

import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from export.errors import UserError
from hw.core.folding import Folding
from hw.host.host_link import DIGEST_SIZE, LENGTH_SIZE
from hw.host.packets import CRC_SIZE, VERSION, Error, Frame, Reply, Request, checksum, packet
from hw.loading.fit import Capacity

ATTEMPTS = 3
"""How often something is asked before the line is given up."""
PAUSE = 0.3
"""Seconds without a byte after which a circuit has given up a packet that it got in part."""


class LinkError(RuntimeError):
    """The line, or the circuit behind it, does not do what it should."""


class Port(Protocol):
    """What is used of a ``serial.Serial``: ``read`` returns fewer bytes than asked for when none came for a while."""

    def read(self, size: int) -> bytes: ...
    def write(self, data: bytes) -> Any: ...
    def reset_input_buffer(self) -> None: ...


@dataclass(frozen=True)
class Info(Capacity):
    """What a circuit says of itself.

    Attributes:
        network: SHA-256 of the network that it holds; None where weights are loaded.
        loaded: whether it has weights.
        digest: the checksum of the last load's packet.
    """

    network: str | None = None
    loaded: bool = False
    digest: bytes = b""


class _Damaged(Exception):
    """An answer, or a request, did not arrive as it was sent."""


class SerialLink:
    """Asks a circuit, and takes apart what it answers. What arrives damaged is asked for again.

    Parameters:
        port: the line.

    Attributes:
        damaged: how often something arrived damaged.
    """

    def __init__(self, port: Port):
        self._port = port
        self.damaged = 0

    def info(self) -> Info:
        """What the circuit says of itself.

        Raises:
            UserError: it speaks another version of the protocol.
            LinkError: the line fails.
        """
        kind, body = self._ask(Request.INFO, b"", self._read_info)
        try:
            content = json.loads(body[DIGEST_SIZE + LENGTH_SIZE :])
            version = content["version"]
            info = Info(
                shape=tuple(content["shape"]),
                steps=content["steps"],
                p_min=content["p_min"],
                folding=Folding.from_dict(content["folding"]),
                membrane_bits=tuple(content["membrane_bits"]),
                codes=content.get("codes"),
                parameter_bits=tuple(content["parameter_bits"]) if "codes" in content else None,
                network=content["network"],
                loaded=bool(kind & Reply.LOADED),
                digest=body[:DIGEST_SIZE],
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(f"the circuit must say what it is in a way that this host knows, but has {error}: generate it anew") from None
        if version != VERSION:
            raise UserError(f"the circuit's packets must be of version {VERSION}, not {version}: generate it anew")
        return info

    def load(self, content: bytes) -> None:
        """Fill the memories.

        Raises:
            LinkError: the line fails.
        """
        self._ask(Request.LOAD, content, lambda: b"")

    def frame(self, pixels: bytes, *, early: bool, result_size: int, record_sizes: tuple[int, ...]) -> tuple[bytes, list[bytes]]:
        """Send a frame; get its result, and what each layer emitted.

        Parameters:
            pixels: intensities.
            early: the mode.
            result_size: bytes of a result.
            record_sizes: bytes of a word of each layer.

        Raises:
            LinkError: the line fails, or the circuit gives no result.
        """
        flags = Frame.SPIKES | (Frame.EARLY if early else Frame(0))
        parts: list[bytes] = []

        def read() -> bytes:
            parts.clear()
            parts.append(self._read(result_size))
            counts = []
            for size in record_sizes:
                counts.append(self._read(2))
                parts.append(self._read(size * int.from_bytes(counts[-1], "little")))
            return parts[0] + b"".join(count + part for count, part in zip(counts, parts[1:], strict=True))

        self._ask(Request.FRAME | flags, pixels, read)
        return parts[0], parts[1:]

    def _ask(self, kind: int, body: bytes, read: Callable[[], bytes]) -> tuple[int, bytes]:
        for attempt in range(ATTEMPTS):
            if attempt:
                time.sleep(PAUSE)
            self._port.reset_input_buffer()
            self._port.write(packet(kind, body))
            try:
                return self._answer(kind, read)
            except _Damaged as damage:
                self.damaged += 1
                last = str(damage)
        raise LinkError(f"{last}, {ATTEMPTS} times in a row")

    def _answer(self, asked: int, read: Callable[[], bytes]) -> tuple[int, bytes]:
        kind = self._read(1)[0]
        if not kind & Reply.REPLY or kind & 0x10:
            raise _Damaged("the answer begins with something else than an answer")
        error = bool(kind & Reply.ERROR)
        code = kind & 0xF
        if not error and code != asked:
            raise _Damaged("the answer is one to another request")
        body = b"" if error else read()
        if self._read(CRC_SIZE) != checksum(bytes([kind]) + body):
            raise _Damaged("the answer has a wrong checksum")
        if not error:
            return kind, body
        if code == Error.CHECKSUM:
            raise _Damaged("the circuit found a wrong checksum")
        if code == Error.UNKNOWN:
            raise _Damaged("the circuit did not understand the request")
        if code == Error.NOT_LOADED:
            raise LinkError("the circuit has no weights: it has lost those that were loaded")
        raise LinkError("the circuit took the frame but gives no result")

    def _read_info(self) -> bytes:
        start = self._read(DIGEST_SIZE + LENGTH_SIZE)
        return start + self._read(int.from_bytes(start[DIGEST_SIZE:], "little"))

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            more = self._port.read(size - len(data))
            if not more:
                raise _Damaged("nobody answers" if not data else "the answer is cut short")
            data += more
        return data
