"""One network, of one or more seeds, all spike codes: accuracy and events by code, number of steps and balance, beside the baselines."""

from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

from export import UserError
from export.store import Format, write_json
from export.text import dashed
from model import drawing
from model.conversion import Conversion
from model.conversion_checkpoint import Source
from model.conversion_trainer import Images
from model.convert import balancing_activations, folded, outcome, parts_of
from model.data.dataset import Dataset
from model.machine import commit, machine, now
from model.multispike import BASELINES
from model.structure import shown

FORMAT = Format(
    "firstspike-codes",
    2,
    {
        **{"network": str, "dataset": str, "part": str, "seeds": list, "source": float, "source_spread": float, "rows": list},
        **{"command": str, "date": str, "machine": dict},
    },
    {
        "rows": {
            **{"code": str, "baseline": bool, "balance": str, "steps": int},
            **{"strict": float, "strict_spread": float, "hidden_events_mean": float},
        }
    },
)
CALIBRATION = 4  # rounds
EVENTS_SHOWN = 300  # times fewer events than the most, in the picture
CODES: dict[str, dict[str, Any]] = {name: {"code": name} for name in ("rate", "ternary", "graded")}
CODES |= {f"{name}, calibrated": {"code": name, "calibration": CALIBRATION} for name in ("rate", "ternary")}
SPREAD = {f"{name}, bias spread": {"code": name, "spread": True} for name in ("rate", "ternary")}
CODES |= SPREAD | {"rate, start 0": {"code": "rate", "half": False}} | {name: {"code": name} for name in BASELINES}
"""What is measured, by name: the codes of the circuit, then the baselines, which are in PyTorch only."""
COMPARED = ("rate, start 0", *BASELINES)


def measure(
    sources: Sequence[Source],
    dataset: Dataset,
    part: str,
    steps: Sequence[int],
    balances: Sequence[str] | None,
    options: dict[str, Any],
    command: str,
    names: Sequence[str] | None = None,
) -> dict[str, Any]:
    """The table, as a JSON object: accuracy after the last step, in percent, and hidden events per frame.

    Of several sources, means; ``strict_spread`` and ``source_spread`` are sample standard deviations, 0 of a single one.

    Parameters:
        sources: at least one; of one recipe, but for the seed.
        part: ``test`` or ``validation``.
        steps: each ``T``.
        balances: by name; None: all that the network can have.
        options: of `model.conversion.Conversion`.
        names: of `CODES`; None: all that the network can have.

    Raises:
        UserError: the data are others than those of the training, the sources differ in more than the seed, or a value is out of range.
    """
    first = sources[0]
    recipes = [source.recipe.training() | {"seed": None} for source in sources]
    if differ := [index for index, recipe in enumerate(recipes) if recipe != recipes[0]]:
        raise UserError(f"checkpoints must be of one recipe, seeds apart, but number {differ[0] + 1} is of another than the first")
    possible_names = [name for name in CODES if first.recipe.bias or name not in SPREAD]
    names = possible_names if names is None else names
    if unknown := [name for name in names if name not in possible_names]:
        raise UserError(f"code must be one of {', '.join(map(repr, possible_names))}, not {unknown[0]!r}")
    frames = [_part(source, dataset, part) for source in sources]
    found = [_rows(source, *both, steps, balances, options, names) for source, both in zip(sources, frames, strict=True)]
    trained = [source.provenance["scores"][part]["strict"] for source in sources]
    made = {"command": command, "date": now(), "commit": commit(), "machine": machine()}
    what = {"dataset": first.provenance["dataset"], "part": part, "frames": len(frames[0][1].labels)}
    what |= {"network": _structure(first), "seeds": [source.recipe.seed for source in sources], "recipe": recipes[0]}
    scores = {"source": fmean(trained), "source_spread": _spread(trained)}
    return FORMAT.header | made | what | scores | {"options": options, "rows": [_merged(rows) for rows in zip(*found, strict=True)]}


def _structure(source: Source) -> str:
    """The layers of a network, such as 784-600-10 or 28x28-32C3-P2-10."""
    if source.recipe.structure is None:
        return dashed(source.network.sizes)
    return f"{shown(source.network.inputs)}-{source.recipe.structure}"


def _part(source: Source, dataset: Dataset, part: str) -> tuple[Images, Images]:
    """Training frames, and those of a part."""
    train, parts = parts_of(source, dataset)
    if part not in parts:
        raise UserError(f"{dataset.name} must have labels for its test part, y_test, to be scored, but has none")
    return train, parts[part]


def _rows(
    source: Source,
    train: Images,
    frames: Images,
    steps: Sequence[int],
    balances: Sequence[str] | None,
    options: dict[str, Any],
    names: Sequence[str],
) -> list[dict[str, Any]]:
    """The rows of one source."""
    images, labels = frames.images, frames.labels.numpy()
    rows, balances = [], possible(source) if balances is None else balances
    found = balancing_activations(source, train, balances)
    for balance in balances:
        for name in names:
            rule = CODES[name]
            for count in steps:
                choices = options | rule | {"steps": count, "balance": balance}
                if rule["code"] == "rate":
                    choices["levels"] = None
                how = Conversion(**choices)
                done = outcome(folded(source, train, how, found), images)
                row = {"code": name, "baseline": name in COMPARED, "balance": balance, "steps": count}
                levels, events = how.levels_of(source.network), float(done.events[:, -1].mean())
                rows.append(row | {"levels": levels, "strict": done.strict(labels), "hidden_events_mean": events})
    return rows


def _merged(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One row of those of several seeds."""
    means = {name: fmean(row[name] for row in rows) for name in ("strict", "hidden_events_mean")}
    return rows[0] | means | {"strict_spread": _spread([row["strict"] for row in rows])}


def _spread(values: Sequence[float]) -> float:
    return stdev(values) if len(values) > 1 else 0.0


def possible(source: Source) -> list[str]:
    """The balances that a network can have; a clip by a rate norm layer is a trained one, too, and named once."""
    clip = source.recipe.clip
    own = [] if clip == "none" else ["rate-norm" if clip == "rate-norm" else "trained"]
    return [*own, "max", "percentile"]


def text(content: dict[str, Any]) -> str:
    """The table for a terminal: a line per balance and code."""
    steps = sorted({row["steps"] for row in content["rows"]})
    several = len(content["seeds"]) > 1
    seeds = f"seed{'s' * several} {', '.join(map(str, content['seeds']))}"
    about = f"{content['network']}, {content['frames']} {content['part']} frames, {seeds}"
    lines = [f"{about}: the network it comes from has {accuracy(content, 'source', several)}"]
    width = 24 if several else 17
    lines.append(f"{'balance':10}  {'code':21}" + "".join(f"  {f'T = {count}':>{width}}" for count in steps))
    found = {(row["balance"], row["code"], row["steps"]): row for row in content["rows"]}
    for balance, code in dict.fromkeys((row["balance"], row["code"]) for row in content["rows"]):
        cells = [found[balance, code, count] for count in steps]
        marked = code + (" *" if cells[0]["baseline"] else "")
        values = (f"  {accuracy(cell, 'strict', several):>{width - 8}} {cell['hidden_events_mean']:7.1f}" for cell in cells)
        lines.append(f"{balance:10}  {marked:21}" + "".join(values))
    return "\n".join([*lines, "accuracy after the last step, hidden events per frame; * a baseline, in PyTorch only", *claims(content)])


def accuracy(values: dict[str, Any], name: str, several: bool) -> str:
    """A mean in percent, with the spread over several seeds."""
    return f"{values[name]:.2f}" + (f" ± {values[f'{name}_spread']:.2f}" if several else "") + " %"


def claims(content: dict[str, Any]) -> list[str]:
    """What the table says of the claims that are made for double thresholds and augmented spikes; a line for each balance and claim, none
    where a code is missing."""
    lines: list[str] = []
    if not {"rate", "ternary", "graded"} <= {row["code"] for row in content["rows"]}:
        return lines
    for balance in dict.fromkeys(row["balance"] for row in content["rows"]):
        found = {(row["code"], row["steps"]): row for row in content["rows"] if row["balance"] == balance}
        steps = sorted({count for _, count in found})
        for better, worse in (("ternary", "rate"), ("graded", "ternary")):
            holds = [count for count in steps if found[better, count]["strict"] >= found[worse, count]["strict"]]
            where = f"at T = {', '.join(map(str, holds))}" if holds else "at no T"
            lines.append(f"{balance}: at equal T, {better} is at least as accurate as {worse} {where}, of {', '.join(map(str, steps))}")
        best = max((found["rate", count] for count in steps), key=lambda row: (row["strict"], -row["hidden_events_mean"]))
        enough = [row for (code, _), row in found.items() if code == "graded" and row["strict"] >= best["strict"]]
        reached = f"{best['strict']:.2f} % take rate {best['hidden_events_mean']:.1f} hidden events at T = {best['steps']}"
        least = min(enough, key=lambda row: row["hidden_events_mean"], default=None)
        there = f"graded {least['hidden_events_mean']:.1f} at T = {least['steps']}" if least else "graded does not reach them"
        lines.append(f"{balance}: {reached}, {there}")
    return lines


def write(content: dict[str, Any], path: Path) -> list[Path]:
    """Write the table as JSON, and the picture beside it; the files.

    Raises:
        OSError: a file cannot be written.
    """
    return [write_json(path, content), drawing.save(lambda: picture(content), path.with_suffix(".svg"))]


def picture(content: dict[str, Any]) -> Figure:
    """Errors against steps and against events, in logarithmic scales, a row of panels per balance."""
    balances = list(dict.fromkeys(row["balance"] for row in content["rows"]))
    figure = Figure(figsize=(9, 0.8 + 2.8 * len(balances)), layout="constrained")
    grid = figure.subplots(len(balances), 2, squeeze=False, sharey=True)
    most = max(row["hidden_events_mean"] for row in content["rows"])
    for balance, (by_steps, by_events) in zip(balances, grid, strict=True):
        for number, code in enumerate(dict.fromkeys(row["code"] for row in content["rows"])):
            rows = [row for row in content["rows"] if (row["balance"], row["code"]) == (balance, code)]
            for panel, name in ((by_steps, "steps"), (by_events, "hidden_events_mean")):
                _line(panel, rows, name, code, f"C{number}")
        for panel in (by_steps, by_events):
            panel.axhline(100 - content["source"], color=drawing.MUTED, lw=0.8, label="the network it comes from")
            panel.set_yscale("log")
            panel.yaxis.set_major_formatter("{x:g}")
        by_steps.set(title=f"balance {balance}", xlabel="T", ylabel="errors, % of the frames", xscale="log")
        by_steps.xaxis.set_major_locator(FixedLocator(sorted({row["steps"] for row in content["rows"]})))
        by_steps.xaxis.set_major_formatter("{x:g}")
        by_steps.xaxis.set_minor_locator(NullLocator())
        by_events.set(xlabel="hidden events per frame", xscale="log", xlim=(most / EVENTS_SHOWN, None))
    figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False)
    return figure


def _line(panel: Axes, rows: list[dict[str, Any]], name: str, code: str, color: str) -> None:
    style = "--" if rows[0]["baseline"] else "-"
    label = f"{code} (PyTorch only)" if rows[0]["baseline"] else code
    panel.plot(
        [row[name] for row in rows], [100 - row["strict"] for row in rows], f"o{style}", color=color, markersize=3, lw=1, label=label
    )
