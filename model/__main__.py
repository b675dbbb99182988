"""``python -m model``: ``train``, ``reproduce``, ``convert``, ``codes``, ``evaluate``, ``plots``, ``ablate``, ``bench`` and ``results``."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from export import UserError
from export.cli import Parser, different_integers, integers, run
from export.files import refuse_overwriting
from export.scores import Scores
from model import conversion_cli, datasets, recipe_file
from model.comparison import cli as comparison
from model.machine import command, is_first_process, launched

if TYPE_CHECKING:
    from model.processes import Processes

Prepared = TypeVar("Prepared")
SHARED = ("train", "reproduce", "ablate")  # commands that several processes can share


def train(arguments: argparse.Namespace) -> int:
    names = ("hidden", "steps", "epochs", "seed", "batch_size", "learning_rate", "augment", "max_silent", "validation")

    def prepare() -> tuple[recipe_file.RecipeFile, datasets.Dataset]:
        file = recipe_file.default(arguments.dataset) if arguments.recipe is None else recipe_file.read(arguments.recipe)
        file = file.changed(**{name: getattr(arguments, name) for name in names})
        return file, datasets.load(file.dataset)

    with ready(prepare, arguments.device) as ((file, dataset), processes):
        from model import metrics, training
        from model.reproduce import Runner

        runner = Runner(command(sys.argv[1:]), say=say, processes=processes)
        result = runner.run(file, dataset, arguments.out, resume=arguments.resume)
    say(table({part: metrics.scores_of(result, part) for part in result["scores"]}))
    say(str(arguments.out / training.CHECKPOINT))
    return 0


def reproduce(arguments: argparse.Namespace) -> int:
    def prepare() -> tuple[recipe_file.RecipeFile, tuple[int, ...], datasets.Dataset]:
        file = recipe_file.read(arguments.recipe)
        seeds = file.seeds if arguments.seeds is None else arguments.seeds
        for seed in seeds:
            file.changed(seed=seed)  # in range, before anything is trained
        return file, seeds, datasets.load(file.dataset)

    with ready(prepare, arguments.device) as ((file, seeds, dataset), processes):
        from model import metrics, reproduce

        out = arguments.out or Path("build") / file.name
        runner = reproduce.Runner(command(sys.argv[1:]), say=say, processes=processes)
        runs = runner.reproduce(file, dataset, seeds, out)
        folds = runner.reproduce_folds(file, datasets.load, out) if arguments.seeds is None else []
    named = {f"seed {content['seed']}": content for content in runs}, {content["dataset"]: content for content in folds}
    for part in runs[0]["scores"]:
        say(f"{part} frames")
        for some in filter(None, named):
            rows = {name: metrics.scores_of(content, part) for name, content in some.items()}
            mean, spread = reproduce.mean_and_spread(list(some.values()), part)
            say(table(rows if spread is None else rows | {"mean": mean, "sample standard deviation": spread}))
    say(str(out / reproduce.NETWORK))
    return 0


def plots(arguments: argparse.Namespace) -> int:
    from model import plots

    print(*plots.write(arguments.run, arguments.frame), sep="\n")
    return 0


def ablate(arguments: argparse.Namespace) -> int:
    from model import ablate, kept, results
    from model.reproduce import Runner

    def prepare() -> tuple[ablate.Ablation, datasets.Dataset]:
        ablation = ablate.read(arguments.variants, recipe_file.read(arguments.recipe))
        return ablation, datasets.load(ablation.file.dataset)

    with ready(prepare, arguments.device) as ((ablation, dataset), processes):
        out = arguments.out or Path("build") / ablation.name
        runner = Runner(command(sys.argv[1:]), pictures=False, say=say, processes=processes)
        path = ablate.ablate(ablation, dataset, out, runner)
        variants = processes.from_first(lambda: results.ablation(kept.read_table(path))["variants"])
    say("validation frames, mean")
    say(table({variant["name"]: Scores(**variant["mean"]) for variant in variants}))
    say(str(path))
    return 0


def results(arguments: argparse.Namespace) -> int:
    from model import kept, results

    project = kept.Project()
    for path in arguments.keep:
        print(*kept.keep(path, project), sep="\n")
    for line in kept.problems(project):
        print(f"warning: {line}")
    print(results.write(project))
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    for option, out in (("--out", arguments.out), ("--shift-curve", arguments.shift_curve)):
        if out is not None:
            refuse_overwriting(arguments.network, out, option)
    dataset = datasets.load(arguments.dataset)
    from model import evaluate as evaluation
    from model import metrics
    from model.processes import find_device

    subject, score, report = evaluation.evaluate(arguments.network, dataset, arguments.split, find_device(arguments.device))
    print(table({f"{subject.by}, {arguments.split}": score}))
    if arguments.out:
        metrics.write_json(arguments.out, report)
        print(arguments.out)
    if arguments.shift_curve:
        curve = subject.shift_curve(*subject.frames(dataset, arguments.split))
        plot = evaluation.write_curve(curve, arguments.shift_curve)
        print(arguments.shift_curve, plot, sep="\n")
    return 0


def table(rows: dict[str, Scores]) -> str:
    """Scores side by side, one line per row."""
    width = max(len(name) for name in rows)
    lines = [" " * width + "  strict  first_index  lenient   fired  silent  steps  hidden spikes by the decision"]
    for name, row in rows.items():
        lines.append(
            f"{name:{width}}  {row.strict:5.2f}%  {row.first_index:10.2f}%  {row.lenient:6.2f}%  {row.fired:5.2f}%  "
            f"{row.silent_share:5.2f}%  {row.steps_mean:5.2f}  {row.hidden_spikes_by_decision_mean:.1f}"
        )
    return "\n".join(lines)


def say(line: str) -> None:
    if is_first_process():
        print(line, flush=True)


@contextmanager
def ready(prepare: Callable[[], Prepared], device: str) -> Iterator[tuple[Prepared, "Processes"]]:
    """What ``prepare`` returns, and the processes that train, connected until the block ends."""
    prepared = None if launched() else prepare()
    from model.processes import connect  # PyTorch takes seconds to load: after all that can be refused without it

    with connect(device) as processes:
        yield prepared or processes.together(prepare), processes


def main() -> int:
    parser = Parser(prog="python -m model", description="Train and evaluate binarized spiking networks.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    default = "default: the recipe's"

    part = commands.add_parser("train", help="train a network; writes DIR/checkpoint.safetensors and DIR/metrics.json")
    what = part.add_mutually_exclusive_group(required=True)
    what.add_argument("recipe", nargs="?", type=Path, metavar="RECIPE.toml", help="what to train, and how")
    what.add_argument("--dataset", help=f"{datasets.CHOICES}, by the data set's own recipe")
    part.add_argument("--out", type=Path, required=True, metavar="DIR")
    part.add_argument("--hidden", type=integers, metavar="600[,128…]", help=f"sizes of the hidden layers ({default})")
    part.add_argument("--steps", type=int, metavar="T", help=f"number of time steps ({default})")
    part.add_argument("--epochs", type=int, metavar="E", help=f"passes over the training frames ({default})")
    part.add_argument("--seed", type=int, metavar="S", help="everything random follows from it (default: the recipe's first)")
    part.add_argument("--resume", action="store_true", help="go on after the last finished epoch in DIR")
    part.add_argument("--batch-size", type=int, metavar="B", help=f"frames per update ({default})")
    part.add_argument("--learning-rate", type=float, metavar="R", help=f"of the latent weights ({default})")
    part.add_argument("--augment", type=float, metavar="PIXELS", help=f"shift training images by up to so many pixels, 0: not ({default})")
    part.add_argument("--max-silent", type=float, metavar="PERCENT", help=f"silent validation frames to allow ({default})")
    part.add_argument("--validation", type=float, metavar="SHARE|FRAMES", help=f"training frames to hold out ({default})")
    part.set_defaults(function=train)

    part = commands.add_parser(
        "reproduce",
        help="train a recipe with each of its seeds, and on its folds; writes DIR/seed-S, and the best as DIR/network.safetensors",
    )
    part.add_argument("recipe", type=Path, metavar="RECIPE.toml", help="what to train, and how")
    part.add_argument("--seeds", type=different_integers, metavar="0[,1…]", help=f"one run for each, and no folds ({default})")
    part.add_argument("--out", type=Path, metavar="DIR", help="default: build/RECIPE")
    part.set_defaults(function=reproduce)

    part = commands.add_parser(
        "plots", help="draw a run's learning curves, spikes, steps, thresholds and operating points again, beside its checkpoint"
    )
    part.add_argument("run", type=Path, metavar="DIR", help="where train or reproduce wrote metrics.json")
    part.add_argument("--frame", type=int, default=0, metavar="N", help="the test frame whose spikes are drawn (default: 0)")
    part.set_defaults(function=plots)

    part = commands.add_parser("ablate", help="train variants of a recipe, scored on validation frames; writes DIR/ablation-VARIANTS.json")
    part.add_argument("recipe", type=Path, metavar="RECIPE.toml", help="what to train, and how")
    part.add_argument("variants", type=Path, metavar="VARIANTS.toml", help="what is changed in each variant")
    part.add_argument("--out", type=Path, metavar="DIR", help="default: build/VARIANTS")
    part.set_defaults(function=ablate)

    part = commands.add_parser("results", help="write docs/results.md from what is kept in docs/results")
    part.add_argument(
        "--keep",
        type=Path,
        action="append",
        default=[],
        metavar="DIR|JSON",
        help="first keep the runs and the network in a folder of 'reproduce', or the table of a benchmark or an ablation",
    )
    part.set_defaults(function=results)

    part = commands.add_parser("evaluate", help="score a checkpoint (in PyTorch) or an exported network (golden model)")
    part.add_argument("network", type=Path, metavar="FILE", help="checkpoint.safetensors or network.safetensors")
    part.add_argument("--dataset", required=True, help=datasets.CHOICES)
    part.add_argument("--split", choices=("test", "train"), default="test", help="which part of the data set (default: test)")
    part.add_argument("--out", type=Path, metavar="JSON", help="write the scores there, too")
    part.add_argument(
        "--shift-curve",
        type=Path,
        metavar="CSV",
        help="write the curve of the output thresholds' common shift on these frames, and a plot beside it",
    )
    part.set_defaults(function=evaluate)

    for name in (*SHARED, "evaluate"):
        commands.choices[name].add_argument("--device", default="cpu", help="where PyTorch computes: cpu, cuda or cuda:N (default: cpu)")
    conversion_cli.add(commands)
    comparison.add(commands)

    arguments = parser.parse_args()
    if launched() and arguments.command not in SHARED:
        raise UserError(f"{arguments.command} must run in one process: start it without torchrun")
    # Before PyTorch loads: one thread, unless the user asks for more. The products of these networks are small; a second thread gained
    # little on an idle machine and, by waiting awake, made an update several times slower on a busy one.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return arguments.function(arguments)


if __name__ == "__main__":
    run(main, quiet=not is_first_process())
