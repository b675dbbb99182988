"""For designs in VHDL: a component's declaration, and names that both languages take."""

import re
from typing import Any

from export import UserError
from hw.verilog.reserved import RESERVED, RESERVED_IN_VHDL

PACKAGE = """\
-- {top} for designs in VHDL: "use work.{top}_component.all;"; the circuit itself is in Verilog.
library ieee;
use ieee.std_logic_1164.all;

package {top}_component is
  component {top} is
    port (
{ports}
    );
  end component;
end package;
"""


def component(port_map: dict[str, Any]) -> str:
    """A VHDL package that declares the component of a port map."""
    ports = []
    for name, port in port_map["ports"].items():
        kind = "std_logic" if port["width"] == 1 else f"std_logic_vector({port['width'] - 1} downto 0)"
        ports.append(f"      {name} : {'in' if port['direction'] == 'input' else 'out'} {kind}")
    return PACKAGE.format(top=port_map["top"], ports=";\n".join(ports))


def check_name(name: str) -> None:
    """Refuse what cannot be a module's name in Verilog and VHDL.

    Raises:
        UserError: it cannot.
    """
    if not re.fullmatch(r"[A-Za-z](_?[A-Za-z0-9])*", name):
        raise UserError(f"the name must be letters, digits and single underscores, a letter first, as VHDL wants it, not {name!r}")
    if name in RESERVED or name.lower() in RESERVED_IN_VHDL:
        raise UserError(f"the name must be no word of Verilog or VHDL, but is {name!r}")
