"""``python -m sim NETWORK --dataset …``, ``python -m sim vectors NETWORK …``, ``python -m sim bench …``,
``python -m sim protocol`` and ``python -m sim serial NETWORK …``."""

import sys
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import numpy as np

from export import Network, UserError, load
from export.cli import EXIT_BROKEN, EXIT_DIFFERENCE, Parser, positive, run
from hw import Folding, inputs
from hw.arguments import add_circuit_arguments, add_folding_arguments, check_circuit_arguments, folding_from
from hw.inputs import add_frame_arguments
from sim.board.link import LinkError
from sim.build import BuildError
from sim.simulate import SimulationError

COMMANDS = {"vectors": "golden vectors and a plain Verilog test bench", "bench": "speed, beside that of a bare C++ loop"}


def parser(command: str | None) -> Parser:
    """The parser of a command; None stands for co-simulation."""
    what = {
        None: "Run a network's Verilog over a data set in both modes and compare every spike with the golden model. "
        + " ".join(f"'python -m sim {name} NETWORK …': {text}." for name, text in COMMANDS.items())
        + " 'python -m sim protocol': random sequences of good and bad frames, against small circuits."
        + " 'python -m sim serial NETWORK --port PORT': the same comparison with a circuit on a board.",
        "vectors": "Write golden vectors of a network, and a plain Verilog test bench that checks its circuit against them.",
        "bench": "Measure the speed of co-simulation beside that of a bare C++ loop around the same model.",
    }[command]
    result = Parser(prog=" ".join(filter(None, ["python -m sim", command])), description=what)
    result.add_argument("network", type=Path, help="network.safetensors")
    add_frame_arguments(result)
    result.add_argument("--seed", type=int, default=0, help="of random spike times (default: 0)")
    add_folding_arguments(result)
    if command == "vectors":
        add_circuit_arguments(result)
    if command is None:
        result.add_argument("--waves", action="store_true", help="write the waveform of the first frame even if nothing differs")
        result.add_argument("--jobs", type=positive, default=1, metavar="N", help="processes that share the frames (default: 1)")
    if command != "bench":
        result.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for what is written")
    return result


def pixels(frames: inputs.Inputs, arguments: Namespace) -> np.ndarray | None:
    """The images to send, if pixels are to be sent."""
    if arguments.input == "words":
        return None
    if frames.images is None:
        raise UserError("--input pixels needs images, but the data set has spike times")
    return frames.images


def cosimulate(network: Network, chosen: Folding, frames: inputs.Inputs, arguments: Namespace) -> int:
    """Co-simulate and print the report; exit status 1 if anything differs."""
    import sim

    report = sim.cosimulate(
        network,
        frames.events,
        frames.labels,
        images=pixels(frames, arguments),
        folding=chosen,
        out=arguments.out,
        jobs=arguments.jobs,
        waves=arguments.waves,
        about=frames.about,
    )
    print(report.table())
    print(f"report                {arguments.out / 'report.html'}")
    return 0 if report.passed else EXIT_DIFFERENCE


def vectors(network: Network, chosen: Folding, frames: inputs.Inputs, arguments: Namespace) -> int:
    """Write golden vectors."""
    from sim.vectors import write

    options = {"images": pixels(frames, arguments), "wrapper": arguments.wrapper, "weights": arguments.weights}
    for path in write(network, frames.events, chosen, arguments.out, **options):
        print(path)
    return 0


def bench(network: Network, chosen: Folding, frames: inputs.Inputs, arguments: Namespace) -> int:
    """Measure and print speeds."""
    from sim.bench import measure

    print(measure(network, frames.events, chosen, pixels(frames, arguments)))
    return 0


def main() -> int:
    if sys.argv[1:2] == ["protocol"]:
        from sim.protocol import command as protocol

        return _built(lambda: protocol.main(sys.argv[2:]))
    if sys.argv[1:2] == ["serial"]:
        from sim.board import command as board

        return _built(lambda: board.main(sys.argv[2:]))
    command = sys.argv[1] if sys.argv[1:2] and sys.argv[1] in COMMANDS else None
    arguments = parser(command).parse_args(sys.argv[1 if command is None else 2 :])
    if command == "vectors":
        check_circuit_arguments(arguments)
    network = load(arguments.network)
    chosen = folding_from(arguments, network)
    chosen.plans(network)  # refuses what cannot be before anything is loaded or built
    frames = inputs.load(network, arguments.dataset or inputs.trained_on(network), arguments.images, arguments.seed)
    return _built(lambda: {None: cosimulate, "vectors": vectors, "bench": bench}[command](network, chosen, frames, arguments))


def _built(work: Callable[[], int]) -> int:
    """The exit status of what needs a simulator, or a circuit."""
    try:
        return work()
    except (BuildError, SimulationError, LinkError) as error:
        print(f"error: {error}", file=sys.stderr)
        return EXIT_BROKEN


if __name__ == "__main__":
    run(main)
