"""``firstspike COMMAND …``: the command lines of ``model``, ``export``, ``hw`` and ``sim`` as one, from any folder.

The project's own packages have short names, which a user's files may have, too: here they are found first, whatever else lies on the path.
"""

import os
import runpy
import sys
from pathlib import Path
from typing import NoReturn

ROOT = Path(__file__).resolve().parent
COMMANDS = {
    "train": ("model", "train a network"),
    "reproduce": ("model", "train a recipe with each of its seeds"),
    "evaluate": ("model", "score a checkpoint or a network"),
    "convert": ("model", "a network of neurons that spike more than once, of a trained one"),
    "ablate": ("model", "train variants of a recipe"),
    "codes": ("model", "one checkpoint in all spike codes"),
    "plots": ("model", "draw a run's curves again"),
    "results": ("model", "keep results, and write docs/results.md"),
    "bench": ("model", "speed beside BS4NN and snntorch"),
    "export": (
        "export",
        "the artifact of a checkpoint; 'export import' makes one of QONNX or NIR, 'export nir' a NIR file, 'export inspect' shows one",
    ),
    "hw": ("hw", "Verilog of a network; 'hw fpga', 'hw estimate', 'hw weights', 'hw bench', 'hw codes'"),
    "sim": ("sim", "co-simulation of every spike; 'sim vectors', 'sim serial', 'sim protocol', 'sim bench'"),
    "proofs": ("sim.proofs", "formal proofs, netlists, mutants"),
}
"""The package behind each command, and what it does. A command of ``model`` is one of the words that ``python -m model`` takes."""


def main() -> NoReturn:
    """Run the command that the first argument names, as ``python -m`` runs its package."""
    sys.path[:] = [str(ROOT), *(entry for entry in sys.path if entry != str(ROOT))]
    os.environ["PYTHONSAFEPATH"] = "1"  # processes that are started from here do not look into the current folder either
    try:
        from export import cli
    except ModuleNotFoundError as error:
        print(f"error: package {error.name!r} must be installed: 'pip install -e {ROOT}' brings it", file=sys.stderr)
        sys.exit(2)
    cli.run(_dispatch)


def _dispatch() -> int:
    from export import UserError, cli

    if not (ROOT / "recipes").is_dir():
        raise UserError(f"firstspike must be installed from its clone with 'pip install -e .', but {ROOT} is not the clone")
    name, *rest = sys.argv[1:] or ["--help"]
    if name in ("-h", "--help"):
        print("usage: firstspike COMMAND …\n")
        print("\n".join(f"  {command:<11}{what}" for command, (_, what) in COMMANDS.items()))
        print("\n'firstspike COMMAND --help' tells more.")
        return 0
    if name not in COMMANDS:
        raise UserError(f"the command must be one of {', '.join(COMMANDS)}, not {name!r}")
    package = COMMANDS[name][0]
    cli.front = True
    sys.argv = [str(ROOT.joinpath(*package.split("."), "__main__.py")), *([name] if package == "model" else []), *rest]
    runpy.run_module(package, run_name="__main__")
    return 0


if __name__ == "__main__":
    main()
