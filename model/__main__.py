"""``python -m model``: ``train``, ``evaluate`` and ``bench``."""

import argparse
import os
from pathlib import Path

from export.cli import Parser, run
from export.scores import Scores
from model import datasets, recipes
from model.comparison import cli as comparison


def train(arguments: argparse.Namespace) -> int:
    names = ("hidden", "steps", "epochs", "seed", "batch_size", "learning_rate", "augment", "max_silent", "validation")
    recipe = recipes.default(arguments.dataset, **{name: getattr(arguments, name) for name in names})
    dataset = datasets.load(arguments.dataset)
    from model import training  # PyTorch takes seconds to load: after all that can be refused without it

    result = training.train(dataset, recipe, arguments.out, resume=arguments.resume, say=say)
    print(table(result))
    print(arguments.out / training.CHECKPOINT)
    return 0


def evaluate(arguments: argparse.Namespace) -> int:
    dataset = datasets.load(arguments.dataset)
    from model import evaluate as evaluation

    subject, score, report = evaluation.evaluate(arguments.network, dataset, arguments.split)
    print(table({f"{subject.by}, {arguments.split}": score}))
    out = arguments.out or arguments.network.with_name(f"{arguments.network.stem}_scores.json")
    evaluation.write_json(out, report)
    print(out)
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
    print(line, flush=True)


def sizes(text: str) -> tuple[int, ...]:
    """``600,128`` as (600, 128)."""
    try:
        return tuple(int(size) for size in text.split(","))
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be sizes such as 600 or 600,128, not {text!r}") from None


def main() -> int:
    parser = Parser(prog="python -m model", description="Train and evaluate binarized single-spike networks.")
    commands = parser.add_subparsers(dest="command", required=True, parser_class=Parser)
    default = "default: the data set's own"

    part = commands.add_parser("train", help="train a network; writes DIR/checkpoint.safetensors")
    part.add_argument("--dataset", required=True, help="digits, mnist, fashion-mnist or a .npz file")
    part.add_argument("--out", type=Path, required=True, metavar="DIR")
    part.add_argument("--hidden", type=sizes, metavar="600[,128…]", help=f"sizes of the hidden layers ({default})")
    part.add_argument("--steps", type=int, metavar="T", help="number of time steps (default: 8)")
    part.add_argument("--epochs", type=int, metavar="E", help=f"passes over the training frames ({default})")
    part.add_argument("--seed", type=int, metavar="S", help="everything random follows from it (default: 0)")
    part.add_argument("--resume", action="store_true", help="go on after the last finished epoch in DIR")
    part.add_argument("--batch-size", type=int, metavar="B", help=f"frames per update ({default})")
    part.add_argument("--learning-rate", type=float, metavar="R", help=f"of the latent weights ({default})")
    part.add_argument("--augment", type=float, metavar="PIXELS", help=f"shift training images by up to so many pixels, 0: not ({default})")
    part.add_argument("--max-silent", type=float, metavar="PERCENT", help="silent validation frames to allow (default: 5)")
    part.add_argument("--validation", type=float, metavar="SHARE|FRAMES", help=f"training frames to hold out ({default})")
    part.set_defaults(function=train)

    part = commands.add_parser("evaluate", help="score a checkpoint (in PyTorch) or an exported network (golden model)")
    part.add_argument("network", type=Path, metavar="FILE", help="checkpoint.safetensors or network.safetensors")
    part.add_argument("--dataset", required=True, help="digits, mnist, fashion-mnist or a .npz file")
    part.add_argument("--split", choices=("test", "train"), default="test", help="which part of the data set (default: test)")
    part.add_argument("--out", type=Path, metavar="JSON", help="where to write the scores (default: beside FILE)")
    part.add_argument(
        "--shift-curve",
        type=Path,
        metavar="CSV",
        help="write the curve of the output thresholds' common shift on these frames, and a plot beside it",
    )
    part.set_defaults(function=evaluate)

    comparison.add(commands)

    arguments = parser.parse_args()
    # Before PyTorch loads: one thread, unless the user asks for more. The products of these networks are small; a second thread gained
    # little on an idle machine and, by waiting awake, made an update several times slower on a busy one.
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    return arguments.function(arguments)


if __name__ == "__main__":
    run(main)
