"""``python -m model bench inference`` and ``python -m model bench training``."""

import argparse
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import export
from export import UserError
from export.cli import Parser, integers, positive
from export.text import dashed
from model import datasets
from model.machine import command, commit, machine, now

if TYPE_CHECKING:
    from model.comparison.measuring import Comparison

ARTIFACT = Path("artifacts/mnist-600.safetensors")
KEPT = Path("build/comparison")
EPOCHS = 15


def add(commands: Any) -> None:
    """Add ``bench`` to the commands of ``python -m model``."""
    subjects = commands.add_parser("bench", help="measure beside what this project replaces").add_subparsers(
        dest="subject", required=True, parser_class=Parser
    )
    part = subjects.add_parser("inference", help="a network beside one of BS4NN, which is trained first and kept")
    part.add_argument("network", nargs="?", type=Path, default=ARTIFACT, metavar="NETWORK", help=f"an artifact (default: {ARTIFACT})")
    part.add_argument("--dataset", help=f"{datasets.CHOICES} (default: what the network was trained on)")
    part.add_argument("--frames", type=positive, metavar="N", help="test frames, from the first on (default: all)")
    part.add_argument("--rounds", type=positive, default=3, metavar="R", help="rounds, of which the median counts (default: 3)")
    part.add_argument(
        "--epochs", type=positive, default=EPOCHS, metavar="E", help=f"to train BS4NN for, if it is not kept yet (default: {EPOCHS})"
    )
    part.add_argument("--seed", type=int, default=0, metavar="S", help="of BS4NN's training (default: 0)")
    part.add_argument("--keep", type=Path, default=KEPT, metavar="DIR", help=f"where trained BS4NN networks are kept (default: {KEPT})")
    part.set_defaults(function=inference)
    _add_out(part)

    part = subjects.add_parser("training", help="an update of the rule beside backpropagation through time in snntorch")
    part.add_argument("--dataset", default="mnist", help=f"{datasets.CHOICES}; it must have images (default: mnist)")
    part.add_argument("--hidden", type=integers, default=(600,), metavar="600[,128…]", help="sizes of the hidden layers (default: 600)")
    part.add_argument("--steps", type=integers, default=(8, 128), metavar="T[,T…]", help="numbers of time steps (default: 8,128)")
    part.add_argument("--batch", type=positive, default=256, metavar="B", help="frames per update (default: 256)")
    part.add_argument("--rounds", type=positive, default=5, metavar="R", help="rounds, of which the median counts (default: 5)")
    part.add_argument("--seed", type=int, default=0, metavar="S", help="of weights, batches and augmentation (default: 0)")
    part.set_defaults(function=training)
    _add_out(part)


def inference(arguments: argparse.Namespace) -> int:
    network = export.load(arguments.network)
    name = arguments.dataset or network.provenance.get("dataset")
    if not isinstance(name, str):
        raise UserError(f"--dataset must be given: {arguments.network} does not say what it was trained on")
    dataset = datasets.load(name)
    from model.comparison import bench_inference, bs4nn_training  # PyTorch takes seconds to load

    bench_inference.check(network, dataset)
    held_out = min(bs4nn_training.Bs4nnRecipe.validation, bs4nn_training.training_frames(dataset) // 12)
    recipe = bs4nn_training.Bs4nnRecipe(network.shape, epochs=arguments.epochs, validation=held_out, seed=arguments.seed)
    kept = arguments.keep / f"bs4nn-{Path(name).stem}-{dashed(network.shape)}.safetensors"
    trained = bs4nn_training.load_or_train(kept, dataset, recipe, _say)
    result = bench_inference.measure(network, trained, recipe, dataset, frames=arguments.frames, rounds=arguments.rounds)
    return _report(result, arguments, {"network": arguments.network.name, "network_digest": export.digest(network)})


def training(arguments: argparse.Namespace) -> int:
    os.environ.setdefault("KINETO_LOG_LEVEL", "99")  # the profiler that counts memory tells standard error when it starts
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")  # and that it sees something freed that it did not see made
    dataset = datasets.load(arguments.dataset)
    from model.comparison import bench_training

    result = bench_training.measure(
        dataset, hidden=arguments.hidden, steps=arguments.steps, batch=arguments.batch, rounds=arguments.rounds, seed=arguments.seed
    )
    return _report(result, arguments, {})


def _report(result: "Comparison", arguments: argparse.Namespace, about: dict[str, Any]) -> int:
    """Print a result and, with ``--out``, write it as JSON with its provenance."""
    from model.metrics import write_json

    made_by = machine()
    print(result)
    print(f"{made_by['cpu']}, {made_by['threads']} of {made_by['cores']} cores, PyTorch {made_by['torch']}")
    if arguments.out is not None:
        content = {
            "format": "firstspike-figures",
            "version": 1,
            "title": result.title,
            "about": result.about,
            "command": command(sys.argv[1:]),
            "date": now(),
            "commit": commit(),
            "machine": made_by,
            "seed": arguments.seed,
        }
        figures = [dict(zip(("name", "value", "unit"), figure, strict=True)) for figure in result.figures()]
        write_json(arguments.out, content | about | {"figures": figures})
        print(arguments.out)
    return 0


def _add_out(part: argparse.ArgumentParser) -> None:
    part.add_argument("--out", type=Path, metavar="JSON", help="write the figures, with command, date and machine")


def _say(line: str) -> None:
    print(line, flush=True)
