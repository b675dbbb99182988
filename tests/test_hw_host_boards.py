# amaranth: UnusedElaboratable=no

"""hw.host.boards: whole tops as Verilog, with their pins, clock and memories."""

import re
import sys
from dataclasses import replace

import pytest

from export import UserError
from hw.host.boards import BOARDS, TOP, board_named
from hw.host.hosted import HostedAccelerator
from tests.board import FOLDINGS, board_network

EXPECTED = {
    "icebreaker": (
        {"clk12_0__io": "35", "uart_0__rx__io": "6", "uart_0__tx__io": "9"},
        ("SB_PLL40_PAD", {"DIVF": "7'h37", "DIVQ": "3'b101", "FILTER_RANGE": "3'b001"}),
    ),
    "ulx3s-25f": (
        {"clk25_0__io": "G2", "uart_0__rx__io": "M1", "uart_0__tx__io": "L4"},
        ("EHXPLLL", {"CLKFB_DIV": "2", "CLKI_DIV": "1", "CLKOP_DIV": "12"}),
    ),
}
EXPECTED["ulx3s-85f"] = EXPECTED["ulx3s-25f"]


@pytest.mark.parametrize("name", BOARDS)
def test_top(name):
    board = BOARDS[name]
    design = board.design(board_network(), FOLDINGS["step"])
    pins, (cell, parameters) = EXPECTED[name]
    found = re.findall(r'^(?:set_io|LOCATE COMP) "?(\w+)"?(?: SITE)? "?(\w+)"?', design.constraints, re.MULTILINE)
    assert pins.items() <= dict(found).items()
    assert re.search(rf"^module {TOP} \(", design.verilog, re.MULTILINE)
    loop = re.search(rf"{cell} #\((.*?)\)\s+pll \(", design.verilog, re.DOTALL)[1]
    assert parameters.items() <= dict(re.findall(r"\.(\w+)\(([^()]*)\)", loop)).items()
    assert design.hosted.accelerator.weights == board.weights
    assert design.clock_hz >= board.hz
    assert design.clock_hz / design.baud == round(design.clock_hz / design.baud)
    assert design.constraints_name == TOP + board.constraints[0]
    assert "src =" not in design.verilog
    assert "no_rw_check" in design.verilog


def test_choices():
    board = BOARDS["icebreaker"]
    design = board.design(board_network(), FOLDINGS["step"], hz=24e6, baud=115_200, weights="rom")
    assert (design.clock_hz, design.baud) == (24e6, 115_200)
    assert design.hosted.accelerator.weights == "rom"
    with pytest.raises(UserError, match=r"^a baud rate must be at most 1/10 of the clock"):
        board.design(board_network(), FOLDINGS["step"], baud=3_000_000)


def test_same_text_twice():
    first, second = (BOARDS["icebreaker"].design(board_network(), FOLDINGS["event"]).verilog for _ in range(2))
    assert first == second


def test_no_such_board():
    with pytest.raises(UserError, match=rf"^board must be one of {', '.join(BOARDS)}, not 'arty'$"):
        board_named("arty")
    assert board_named("icebreaker") is BOARDS["icebreaker"]


def test_without_amaranth_boards(monkeypatch):
    monkeypatch.setitem(sys.modules, "amaranth_boards.icebreaker", None)
    with pytest.raises(UserError, match=r"^amaranth-boards must be installed for a board's pins \('pip install amaranth-boards'\)$"):
        BOARDS["icebreaker"].design(board_network(), FOLDINGS["event"])


def test_one_pixel_at_a_time():
    with pytest.raises(UserError, match=r"^pixels must be 1 where they come from a host, byte by byte, not 2$"):
        HostedAccelerator(board_network(), replace(FOLDINGS["event"], pixels=2))
