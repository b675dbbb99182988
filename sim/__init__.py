"""Co-simulation: the generated Verilog against the golden model, every spike of every frame.

`cosimulate` is the whole of it as one call. The names are looked up on first use, because the simulator's own Python
imports this package too and needs almost nothing of it.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sim.cosimulation import Report, cosimulate

__all__ = ["Report", "cosimulate"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from sim import cosimulation

        return getattr(cosimulation, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
