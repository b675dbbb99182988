"""The devices, and what counts as what on each family."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from export import UserError
from hw.fpga.tools import ECPPACK, ICEPACK, NEXTPNR_ECP5, NEXTPNR_ICE40, Tool

KINDS = {
    "luts": "LUTs", "ffs": "flip-flops", "block_rams": "block RAMs", "sprams": "SPRAMs", "dsps": "DSPs",
}  # fmt: skip
"""What devices have, with its name in messages and tables."""


@dataclass(frozen=True)
class Family:
    """What devices of one make have in common.

    Attributes:
        name: of the family.
        synthesis: the Yosys command.
        counts: by name of a cell in the netlist, or of its beginning with ``*``: of what it is one, or several; of nothing, if it is
            part of something else.
        nextpnr: places and routes; None: the family ends with synthesis.
        textfile: the option by which ``nextpnr`` writes what ``packer`` reads.
        packer: makes a bitstream of it.
        bitstream: its ending.
        lut: the name that place and route gives to what counts as a LUT.
    """

    name: str
    synthesis: str
    counts: Mapping[str, Mapping[str, int | float]]
    nextpnr: Tool | None = None
    textfile: str = ""
    packer: Tool | None = None
    bitstream: str = ""
    lut: str = ""


@dataclass(frozen=True)
class Device:
    """One device, in one package and speed grade.

    Attributes:
        name: as on the command line.
        part: in words.
        family: what it is one of.
        capacity: how many there are of what `Family.counts` counts.
        arguments: of place and route.
        mhz: the clock that place and route aims at unless told otherwise.
        pins: an option that lets it choose the pins.
    """

    name: str
    part: str
    family: Family
    capacity: Mapping[str, int]
    arguments: tuple[str, ...] = ()
    mhz: float = 0.0
    pins: tuple[str, ...] = field(default=())

    def over(self, needs: Mapping[str, float], allowed: Mapping[str, float] | None = None) -> list[str]:
        """What of the needs, by kind, the device does not hold, in words; a kind that is ``allowed`` may be so many times its capacity."""
        there = {kind: self.capacity.get(kind, 0) for kind in KINDS}
        over = [kind for kind in KINDS if needs.get(kind, 0) > there[kind] * (allowed or {}).get(kind, 1)]
        return [f"{needs[kind]:,g} of {there[kind]:,} {KINDS[kind]}" for kind in over]


ICE40 = Family(
    name="ice40",
    synthesis="synth_ice40",
    counts={
        "SB_LUT4": {"luts": 1},
        "SB_CARRY": {"carries": 1},
        "SB_DFF*": {"ffs": 1},
        "SB_RAM40_4K*": {"block_rams": 1},
        "SB_SPRAM256KA": {"sprams": 1},
        "SB_MAC16": {"dsps": 1},
        "SB_IO": {},
        "SB_GB": {},
        "SB_PLL40*": {},
    },
    nextpnr=NEXTPNR_ICE40,
    textfile="--asc",
    packer=ICEPACK,
    bitstream=".bin",
    lut="ICESTORM_LC",
)
ECP5 = Family(
    name="ecp5",
    synthesis="synth_ecp5 -nowidelut",  # smaller by up to a quarter, and no slower, than with LUTs joined by multiplexers
    counts={
        "LUT4": {"luts": 1},
        "CCU2C": {"luts": 2, "carries": 2},
        "TRELLIS_DPR16X4": {"luts": 4},
        "TRELLIS_FF": {"ffs": 1},
        "DP16KD": {"block_rams": 1},
        "PDPW16KD": {"block_rams": 1},
        "MULT18X18D": {"dsps": 1},
        "TRELLIS_IO": {},
        "EHXPLLL": {},
    },
    nextpnr=NEXTPNR_ECP5,
    textfile="--textcfg",
    packer=ECPPACK,
    bitstream=".bit",
    lut="TRELLIS_COMB",
)
XC7 = Family(
    name="xc7",
    synthesis="synth_xilinx -family xc7 -flatten -noiopad -noclkbuf",
    counts={
        **{f"LUT{inputs}": {"luts": 1} for inputs in range(1, 7)},
        "CARRY4": {"carries": 4},
        "FD*": {"ffs": 1},
        "RAM32M": {"luts": 4},
        "RAM64M": {"luts": 4},
        "RAM32X1S": {"luts": 1},
        "RAM64X1S": {"luts": 1},
        "RAM128X1S": {"luts": 2},
        "RAM256X1S": {"luts": 4},
        "RAM32X1D": {"luts": 2},
        "RAM64X1D": {"luts": 2},
        "RAM128X1D": {"luts": 4},
        "SRL16E": {"luts": 1},
        "SRLC32E": {"luts": 1},
        "RAMB36E1": {"block_rams": 1},
        "RAMB18E1": {"block_rams": 0.5},
        "DSP48E1": {"dsps": 1},
        "MUXF7": {},
        "MUXF8": {},
        "INV": {},
    },
)
_ECP5_PLACER = ("--placer-heap-timingweight", "30", "--placer-heap-critexp", "3")
"""Less wire for the slow paths, more for the others: clocks are some 8 % faster than with the placer's own weights, 10 and 2."""
_ECP5_PINS = ("--lpf-allow-unconstrained",)
_ICE40_PINS = ("--pcf-allow-unconstrained",)
DEVICES = {
    device.name: device
    for device in (
        Device(
            "up5k",
            "iCE40UP5K, SG48",
            ICE40,
            {"luts": 5280, "ffs": 5280, "block_rams": 30, "sprams": 4, "dsps": 8},
            ("--up5k", "--package", "sg48"),
            24.0,
            _ICE40_PINS,
        ),
        Device(
            "hx8k",
            "iCE40HX8K, CT256",
            ICE40,
            {"luts": 7680, "ffs": 7680, "block_rams": 32},
            ("--hx8k", "--package", "ct256"),
            80.0,
            _ICE40_PINS,
        ),
        Device(
            "ecp5-25k",
            "LFE5U-25F, CABGA381, speed grade 6",
            ECP5,
            {"luts": 24288, "ffs": 24288, "block_rams": 56, "dsps": 28},
            ("--25k", "--package", "CABGA381", "--speed", "6", *_ECP5_PLACER),
            120.0,
            _ECP5_PINS,
        ),
        Device(
            "ecp5-85k",
            "LFE5U-85F, CABGA381, speed grade 6",
            ECP5,
            {"luts": 83640, "ffs": 83640, "block_rams": 208, "dsps": 156},
            ("--85k", "--package", "CABGA381", "--speed", "6", *_ECP5_PLACER),
            120.0,
            _ECP5_PINS,
        ),
        Device("xc7", "7 series, its size that of an XC7A35T", XC7, {"luts": 20800, "ffs": 41600, "block_rams": 50, "dsps": 90}),
    )
}


FAMILIES = {family.name: family for family in (ICE40, ECP5, XC7)}


def device_named(name: str) -> Device:
    """The device of that name.

    Raises:
        UserError: there is none.
    """
    if name not in DEVICES:
        raise UserError(f"device must be one of {', '.join(DEVICES)}, not {name!r}")
    return DEVICES[name]
