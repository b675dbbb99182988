"""A board's top module under Verilator, between its oscillator and a host on its serial line; see `cocotb_board`."""

import re
from pathlib import Path

import numpy as np

from export import Network, save
from hw.host.boards import TOP, BoardDesign
from sim.build import FLAGS, compile_model
from sim.proofs.netlist import models_of
from sim.simulate import run_module

FAMILIES = {"up5k": "ice40", "ecp5-25k": "ecp5", "ecp5-85k": "ecp5"}
CELL = re.compile(r"^  ([A-Z][A-Z0-9_]+) (?:#\(|\w+ \()", re.MULTILINE)

OWN_MODELS = """
module pll #(parameter real FACTOR = 1) (input reference, output reg clock, output reg locked);
  realtime start, half;
  initial begin
    clock = 0;
    locked = 0;
    @(posedge reference) start = $realtime;
    @(posedge reference) half = ($realtime - start) / FACTOR / 2;
    forever #(half) clock = ~clock;
  end
  initial begin
    repeat (20) @(posedge reference);
    locked = 1;
  end
endmodule

module SB_PLL40_PAD #(
  parameter FEEDBACK_PATH = "", parameter FILTER_RANGE = 0, parameter DIVR = 0, parameter DIVF = 0, parameter DIVQ = 0
) (input PACKAGEPIN, RESETB, BYPASS, output PLLOUTGLOBAL, LOCK);
  pll #(1.0 * (DIVF + 1) / (DIVR + 1) / (1 << DIVQ)) pll (PACKAGEPIN, PLLOUTGLOBAL, LOCK);
endmodule

module EHXPLLL #(
  parameter FEEDBK_PATH = "", parameter CLKOP_ENABLE = "", parameter CLKOP_CPHASE = 0,
  parameter CLKI_DIV = 0, parameter CLKFB_DIV = 0, parameter CLKOP_DIV = 0
) (
  input CLKI, CLKFB, RST, STDBY, PHASESEL0, PHASESEL1, PHASEDIR, PHASESTEP, PHASELOADREG, PLLWAKESYNC, ENCLKOP,
  output CLKOP, LOCK
);
  pll #(1.0 * CLKFB_DIV / CLKI_DIV) pll (CLKI, CLKOP, LOCK);
endmodule

module IB (input I, output O);
  assign O = I;
endmodule

module OBZ (input I, T, output O);
  assign O = T ? 1'bz : I;
endmodule
"""
"""Cells of which Yosys has no models that Verilator takes. A phase-locked loop is the reference's frequency times the quotient of its
dividers."""
NO_CLOCK_ENABLE = "CLOCK_ENABLE || CLOCK_ENABLE === 1'bz"
"""In Yosys's model of SB_IO; Verilator has no 'z' inside a circuit. The pins of a serial line have no registers."""

BENCH = """
`timescale 1ns / 1ps
module bench;
  reg reference = 0;
  reg rx = 1;
  wire rx_pin = rx;
  wire tx;
  always #({half}) reference = ~reference;
  top top (.{clock}_0__io(reference), .uart_0__rx__io(rx_pin), .uart_0__tx__io(tx));
endmodule
"""


def run(folder: Path, design: BoardDesign, verilog: str, network: Network, images: np.ndarray) -> None:
    """Build the Verilog text of a design, and let a host check images in it.

    Raises:
        SimulationError: the line fails, or a spike differs from the golden model.
    """
    family = FAMILIES[design.board.device]
    cells = frozenset(CELL.findall(verilog)) - set(re.findall(r"^module (\w+)", OWN_MODELS, re.MULTILINE))
    sources = {
        "public.vlt": '`verilator_config\npublic_flat_rw -module "bench" -var "rx"\npublic_flat_rd -module "bench" -var "tx"\n',
        "bench.v": BENCH.format(half=1e9 / design.board.reference_hz / 2, clock=design.board.reference) + OWN_MODELS,
        f"{TOP}.v": verilog,
        "models.v": models_of(family, cells).replace(NO_CLOCK_ENABLE, "CLOCK_ENABLE"),
    }
    build = compile_model(sources, "bench", [*FLAGS, "--x-initial", "unique"])
    save(network, folder / "network.safetensors")
    np.save(folder / "images.npy", images)
    variables = {"BOARD_FOLDER": str(folder), "BOARD_BAUD": str(design.baud)}
    run_module(build, "tests.cocotb_board", folder, ["+verilator+rand+reset+2", "+verilator+seed+7"], variables, folder / "log")
