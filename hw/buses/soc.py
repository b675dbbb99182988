"""The one place that amaranth-soc is imported from: luna-soc carries a copy, since the name on PyPI is only a placeholder.

An amaranth-soc that is installed under its own name comes first.
"""

import importlib.util
import sys
from pathlib import Path

from export import UserError

if importlib.util.find_spec("amaranth_soc") is None:
    carrier = importlib.util.find_spec("luna_soc")  # only looked up: importing it would import much else
    if carrier is None or carrier.origin is None:
        raise UserError("hw needs amaranth-soc, but neither it nor luna-soc, which carries it, is installed ('pip install luna-soc')")
    sys.path.append(str(Path(carrier.origin).parent / "gateware" / "vendor"))

from amaranth_soc import csr, wishbone
from amaranth_soc.csr import action
from amaranth_soc.csr.wishbone import WishboneCSRBridge
from amaranth_soc.memory import MemoryMap

__all__ = ["MemoryMap", "WishboneCSRBridge", "action", "csr", "wishbone"]
