"""The packets between a host and a circuit on a serial line; ``docs/boards.md`` describes them.

Either way a packet is `MAGIC`, a kind, a body, and the CRC-32 of kind and body, least significant byte first. The host asks, one packet at
a time, and the circuit answers each.
"""

import zlib
from enum import IntEnum, IntFlag

VERSION = 1
MAGIC = 0xA5
CRC_SIZE = 4
CRC_POLYNOMIAL = 0xEDB88320
"""Of CRC-32 as in Ethernet and zlib, least significant bit first."""


class Request(IntEnum):
    """Kinds of packets to the circuit. Their bodies have lengths that both ends know."""

    INFO = 1
    """No body. Asks for the circuit's description."""
    LOAD = 2
    """The content of all row memories (see `hw.loading.loader.load_content`)."""
    FRAME = 8
    """The pixels of a frame, a byte each; with flags of `Frame` added."""


class Frame(IntFlag):
    """Flags of a `Request.FRAME`."""

    EARLY = 1
    """Early mode, else full mode."""
    SPIKES = 2
    """Send every layer's spike words, too."""


class Reply(IntFlag):
    """The upper half of a reply's kind; the lower half is that of the request, or an `Error`."""

    REPLY = 0x80
    ERROR = 0x40
    LOADED = 0x20
    """The memories hold a whole load. Always set where they are ROMs."""


class Error(IntEnum):
    """What may be wrong with a request."""

    CHECKSUM = 1
    UNKNOWN = 2
    NOT_LOADED = 3
    NO_RESULT = 4


def packet(kind: int, body: bytes = b"") -> bytes:
    """A packet as it goes over the line."""
    content = bytes([kind]) + body
    return bytes([MAGIC]) + content + checksum(content)


def checksum(content: bytes) -> bytes:
    """The CRC-32 of a packet's kind and body."""
    return zlib.crc32(content).to_bytes(CRC_SIZE, "little")
