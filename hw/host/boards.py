"""Top levels for development boards, with a serial line to a host."""

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from amaranth.back.rtlil import convert_fragment
from amaranth.build import TemplatedPlatform
from amaranth.hdl import Elaboratable, Instance, Module
from amaranth.lib import io

from export import Network, UserError
from hw.core.folding import Folding
from hw.host.hosted import HostedAccelerator, SerialAccelerator
from hw.host.pll import Setting, add_clock, ecp5_pll, ecp5_setting, ice40_pll, ice40_setting
from hw.host.uart import divisor
from hw.verilog import text_of_rtlil

TOP = "top"


@dataclass(frozen=True)
class Board:
    """A board.

    Attributes:
        name: on the command line.
        device: the name of its FPGA in this project.
        platform: module and class in amaranth-boards.
        reference: the resource of its oscillator.
        reference_hz: its frequency.
        hz: clock of the circuit unless another is asked for.
        baud: of the serial line unless another is asked for.
        weights: ``"rom"`` or ``"loadable"``, unless the other is asked for.
        setting: finds dividers for a clock.
        pll: makes the cell.
        constraints: ending of the file of pins, and the option that names it to place and route.
        about: one line.
    """

    name: str
    device: str
    platform: tuple[str, str]
    reference: str
    reference_hz: float
    hz: float
    baud: int
    weights: str
    setting: Callable[[float, float], Setting]
    pll: Callable[[Setting, Any, Any, Any], Instance]
    constraints: tuple[str, str]
    about: str

    def design(
        self,
        network: Network,
        folding: Folding,
        *,
        hz: float | None = None,
        baud: int | None = None,
        weights: str | None = None,
    ) -> "BoardDesign":
        """The top level for the board, with its pins and clock.

        Parameters:
            network, folding: of the accelerator.
            hz: the slowest clock that will do.
            baud: of the serial line.
            weights: ``"rom"`` or ``"loadable"``.

        Raises:
            UserError: the network does not fit the folding or takes no pixels, or clock and baud rate cannot be had.
        """
        setting = self.setting(self.reference_hz, self.hz if hz is None else hz)
        baud = self.baud if baud is None else baud
        cycles = divisor(setting.hz, baud)
        try:
            module = importlib.import_module(self.platform[0])
        except ImportError:
            raise UserError("amaranth-boards must be installed for a board's pins ('pip install amaranth-boards')") from None
        platform = type("Prepared", (_WithVerilog, getattr(module, self.platform[1])), {})()
        hosted = HostedAccelerator(network, folding, weights=self.weights if weights is None else weights)
        circuit = SerialAccelerator(hosted, divisor=cycles)
        plan = platform.prepare(_BoardTop(self, circuit, setting), TOP)
        ending, option = self.constraints
        files = {name: text if isinstance(text, str) else text.decode() for name, text in plan.files.items()}
        return BoardDesign(self, hosted, files[f"{TOP}.v"], option, f"{TOP}{ending}", files[TOP + ending], setting.hz, baud)


@dataclass(frozen=True, eq=False)
class BoardDesign:
    """What place and route needs, and what a host needs to know.

    Attributes:
        board: where it goes.
        hosted: the circuit.
        verilog: Verilog text; the top module is `TOP`.
        constraints_option: of place and route, before the name of the file of pins.
        constraints_name: of that file.
        constraints: its text.
        clock_hz: of the circuit.
        baud: of the serial line.
    """

    board: Board
    hosted: HostedAccelerator
    verilog: str
    constraints_option: str
    constraints_name: str
    constraints: str
    clock_hz: float
    baud: int


class _WithVerilog(TemplatedPlatform):
    """Put before a board's platform, makes it write plain Verilog, too: Yosys takes memories' attributes from there only."""

    def toolchain_prepare(self, fragment, name, **kwargs):
        plan = super().toolchain_prepare(fragment, name, **kwargs)
        text, _ = convert_fragment(fragment, name=name, emit_src=False, propagate_domains=False)
        plan.add_file(f"{name}.v", text_of_rtlil(text, fragment.fragment, name))
        return plan


class _BoardTop(Elaboratable):
    def __init__(self, board: Board, circuit: SerialAccelerator, setting: Setting):
        self._board, self._circuit, self._setting = board, circuit, setting

    def elaborate(self, platform):
        m = Module()
        reference = platform.request(self._board.reference, dir="-")
        add_clock(m, self._setting, reference.io, self._board.pll)
        m.submodules.circuit = circuit = self._circuit
        uart = platform.request("uart", dir="-")
        m.submodules.rx = rx = io.Buffer("i", uart.rx)
        m.submodules.tx = tx = io.Buffer("o", uart.tx)
        m.d.comb += [circuit.rx.eq(rx.i), tx.o.eq(circuit.tx)]
        return m


def _ulx3s(size: str) -> Board:
    return Board(
        name=f"ulx3s-{size}f",
        device=f"ecp5-{size}k",
        platform=("amaranth_boards.ulx3s", f"ULX3S_{size}F_Platform"),
        reference="clk25",
        reference_hz=25e6,
        hz=50e6,
        baud=1_000_000,
        weights="rom",
        setting=ecp5_setting,
        pll=ecp5_pll,
        constraints=(".lpf", "--lpf"),
        about=f"Radiona ULX3S, ECP5 LFE5U-{size}F",
    )


_ICEBREAKER = Board(
    name="icebreaker",
    device="up5k",
    platform=("amaranth_boards.icebreaker", "ICEBreakerPlatform"),
    reference="clk12",
    reference_hz=12e6,
    hz=21e6,
    baud=1_000_000,
    weights="loadable",
    setting=ice40_setting,
    pll=ice40_pll,
    constraints=(".pcf", "--pcf"),
    about="1BitSquared iCEBreaker, iCE40UP5K",
)

BOARDS = {board.name: board for board in (_ICEBREAKER, _ulx3s("25"), _ulx3s("85"))}
"""The boards that there are tops for, by name."""


def board_named(name: str) -> Board:
    """The board of this name.

    Raises:
        UserError: there is none.
    """
    if name not in BOARDS:
        raise UserError(f"board must be one of {', '.join(BOARDS)}, not {name!r}")
    return BOARDS[name]
