"""A circuit with five pins around one that has more ports than a package has pins, so that it can be placed and routed by itself."""

import json
from collections.abc import Mapping
from fnmatch import fnmatchcase
from typing import Any

TOP = "harness"
OWN = ("clk", "rst")
UNUSED = "monitor_*"
"""Ports that are left open: monitors are for looking on, and cost nothing where nobody does."""


def harness(port_map: Mapping[str, Any]) -> str:
    """Verilog of the harness of a circuit whose ports are ``port_map["ports"]`` (see `hw.verilog.port_map`).

    Inputs come from a shift register, filled from the pin ``serial_in``. Outputs are taken into another, while ``load`` is high, which is
    emptied through the pin ``serial_out``. So every path begins and ends in a register, as it would with a neighbour on the
    chip. It adds a register per port bit, a LUT per output bit, and one register each for ``rst`` and ``load``.
    """
    ports = {name: port for name, port in port_map["ports"].items() if name not in OWN and not fnmatchcase(name, UNUSED)}
    connections, taken, given = [], 0, 0
    for name, port in ports.items():
        width = port["width"]
        if port["direction"] == "input":
            connections.append(f".{name}(received[{taken + width - 1}:{taken}])")
            taken += width
        else:
            connections.append(f".{name}(results[{given + width - 1}:{given}])")
            given += width
    inside = port_map["top"]
    return f"""// Five pins around {inside}, which has {taken} input and {given} output bits: {json.dumps(list(ports))}
module {TOP} (
    input clk,
    input rst,
    input serial_in,
    input load,
    output serial_out
);
    reg [{taken - 1}:0] received;
    reg [{given - 1}:0] sent;
    reg reset, loads;
    wire [{given - 1}:0] results;
    assign serial_out = sent[{given - 1}];
    always @(posedge clk) begin
        reset <= rst;
        loads <= load;
        received <= {{received[{taken - 2}:0], serial_in}};
        sent <= loads ? results : {{sent[{given - 2}:0], 1'b0}};
    end
    {inside} {inside} (
        .clk(clk),
        .rst(reset),
        {", ".join(connections)}
    );
endmodule
"""
