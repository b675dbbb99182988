"""AXI and Wishbone wrappers around the accelerator, and their registers."""

from export import UserError
from hw.buses.axi import AXIAccelerator
from hw.buses.managed import Wrapper
from hw.buses.wishbone import WishboneTop
from hw.core.accelerator import Accelerator

MAKERS = {"axi": AXIAccelerator, "wishbone": WishboneTop}
WRAPPERS = ("none", *MAKERS)


def wrap(accelerator: Accelerator, name: str) -> Accelerator | Wrapper:
    """The accelerator with these interfaces; ``"none"``: as it is.

    Raises:
        UserError: there is no wrapper of this name, or the accelerator does not fit.
    """
    if name not in WRAPPERS:
        raise UserError(f"wrapper must be one of {', '.join(WRAPPERS)}, not {name!r}")
    return MAKERS[name](accelerator) if name in MAKERS else accelerator
