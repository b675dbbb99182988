"""Clocks: settings of the phase-locked loops of iCE40 and ECP5, and the domain that they drive."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.hdl import ClockDomain, ClockSignal, Const, Instance, Module, Signal
from amaranth.lib.cdc import ResetSynchronizer

from export import UserError


@dataclass(frozen=True)
class Setting:
    """Dividers of a loop.

    Attributes:
        hz: clock that comes out.
        parameters: of the cell, by name.
        filter_range: (iCE40) of the loop's filter; it depends on the reference.
    """

    hz: float
    parameters: dict[str, int]
    filter_range: int = 0


def ice40_setting(reference_hz: float, hz: float) -> Setting:
    """The slowest clock at or above ``hz`` that ``SB_PLL40_PAD`` makes: reference · (DIVF + 1) / 2^DIVQ.

    Limits are those of the iCE40 sysCLOCK PLL guide: a reference of 10 to 133 MHz, an oscillator of 533 to 1066 MHz, 16 to 275 MHz out.

    Raises:
        UserError: there is none.
    """
    filter_range = 1 + sum(reference_hz >= limit for limit in (17e6, 26e6, 44e6, 66e6, 101e6))
    settings = [
        Setting(reference_hz * (divf + 1) / (1 << divq), {"DIVR": 0, "DIVF": divf, "DIVQ": divq}, filter_range)
        for divq in range(1, 7)
        for divf in range(64)
        if 533e6 <= reference_hz * (divf + 1) <= 1066e6
    ]
    return _slowest("an iCE40's PLL", settings, reference_hz, hz, (10e6, 133e6), (16e6, 275e6))


def ecp5_setting(reference_hz: float, hz: float) -> Setting:
    """The slowest clock at or above ``hz`` that ``EHXPLLL`` makes with its output as feedback: reference · CLKFB_DIV / CLKI_DIV.

    Limits are those of the ECP5 data sheet: a phase detector of 10 to 400 MHz, an oscillator of 400 to 800 MHz, as near 600 as can be,
    10 to 400 MHz out.

    Raises:
        UserError: there is none.
    """
    settings = []
    for divider in range(1, int(reference_hz / 10e6) + 1):
        for feedback in range(1, 81):
            out = reference_hz / divider * feedback
            outputs = [k for k in range(1, 129) if 400e6 <= out * k <= 800e6]
            if outputs:
                output = min(outputs, key=lambda k: abs(out * k - 600e6))
                settings.append(Setting(out, {"CLKI_DIV": divider, "CLKFB_DIV": feedback, "CLKOP_DIV": output}))
    return _slowest("an ECP5's PLL", settings, reference_hz, hz, (10e6, 400e6), (10e6, 400e6))


def _slowest(what: str, settings: list[Setting], reference_hz: float, hz: float, reference: tuple, out: tuple) -> Setting:
    can = [setting for setting in settings if setting.hz >= hz and out[0] <= setting.hz <= out[1]]
    if not reference[0] <= reference_hz <= reference[1] or not can:
        raise UserError(
            f"{what} must be asked for at most {out[1] / 1e6:g} MHz, from {reference[0] / 1e6:g} to {reference[1] / 1e6:g} MHz, "
            f"not {hz / 1e6:g} from {reference_hz / 1e6:g} MHz"
        )
    return min(can, key=lambda setting: (setting.hz, sorted(setting.parameters.items())))


def add_clock(m: Module, setting: Setting, reference, cell: Callable[[Setting, Any, Any, Any], Instance]) -> None:
    """Add the domain ``sync`` at a loop's clock, in reset until the loop has locked.

    Parameters:
        setting: of the loop.
        reference: the pin that the reference comes in at.
        cell: makes the loop's instance from setting, pin, output clock and lock signal.
    """
    m.domains.sync = ClockDomain()
    locked = Signal()
    m.submodules.pll = cell(setting, reference, ClockSignal(), locked)
    m.submodules.reset = ResetSynchronizer(~locked, domain="sync")


def ice40_pll(setting: Setting, reference, clock, locked) -> Instance:
    """The loop of an iCE40, beside the pad of its reference."""
    widths = {"DIVR": 4, "DIVF": 7, "DIVQ": 3}
    return Instance(
        "SB_PLL40_PAD",
        p_FEEDBACK_PATH="SIMPLE",
        p_FILTER_RANGE=Const(setting.filter_range, 3),
        **{f"p_{name}": Const(value, widths[name]) for name, value in setting.parameters.items()},
        i_PACKAGEPIN=reference,
        i_RESETB=Const(1, 1),
        i_BYPASS=Const(0, 1),
        o_PLLOUTGLOBAL=clock,
        o_LOCK=locked,
    )


def ecp5_pll(setting: Setting, reference, clock, locked) -> Instance:
    """A loop of an ECP5."""
    return Instance(
        "EHXPLLL",
        p_FEEDBK_PATH="CLKOP",
        p_CLKOP_ENABLE="ENABLED",
        p_CLKOP_CPHASE=setting.parameters["CLKOP_DIV"] // 2,
        **{f"p_{name}": value for name, value in setting.parameters.items()},
        a_ICP_CURRENT="12",  # these four as Lattice's tools set them
        a_LPF_RESISTOR="8",
        a_MFG_ENABLE_FILTEROPAMP="1",
        a_MFG_GMCREF_SEL="2",
        i_CLKI=reference,
        i_CLKFB=clock,
        i_RST=Const(0, 1),
        i_STDBY=Const(0, 1),
        i_PHASESEL0=Const(0, 1),
        i_PHASESEL1=Const(0, 1),
        i_PHASEDIR=Const(0, 1),
        i_PHASESTEP=Const(0, 1),
        i_PHASELOADREG=Const(0, 1),
        i_PLLWAKESYNC=Const(0, 1),
        i_ENCLKOP=Const(0, 1),
        o_CLKOP=clock,
        o_LOCK=locked,
    )
