"""Interfaces around an accelerator: what they have in common, and the choice by name."""

from amaranth.lib import wiring

from export import UserError
from hw.buses.registers import Register
from hw.core.accelerator import Accelerator

WRAPPERS = ("none", "axi", "wishbone")


class Wrapper(wiring.Component):
    """An accelerator with other interfaces. Its ports keep their names in Verilog.

    Attributes:
        accelerator: what is inside.
        registers: that it has.
        name: of its Verilog module.
    """

    accelerator: Accelerator
    registers: tuple[Register, ...]
    name: str


def wrap(accelerator: Accelerator, name: str) -> Accelerator | Wrapper:
    """The accelerator with these interfaces; ``"none"``: as it is.

    Raises:
        UserError: there is no wrapper of this name; the accelerator does not fit; or amaranth-soc is missing, which only wrappers need.
    """
    if name not in WRAPPERS:
        raise UserError(f"wrapper must be one of {', '.join(WRAPPERS)}, not {name!r}")
    if name == "axi":
        from hw.buses.axi import AXIAccelerator

        return AXIAccelerator(accelerator)
    if name == "wishbone":
        from hw.buses.wishbone import WishboneTop

        return WishboneTop(accelerator)
    return accelerator
