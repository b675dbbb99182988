"""What a co-simulation found: as a table for the terminal, as ``report.json``, and as a page with pictures."""

import importlib.metadata
import json
import platform
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from export import Events, Network, digest
from export.scores import Scores, score
from hw import Folding, cost
from hw.cost.speed import against
from sim.build import Build
from sim.compare import Comparison, Difference
from sim.outcome import Outcome
from sim.timing import Timing

SIMULATED = "RTL (Verilator)"
SCORES = ("strict", "first_index", "lenient", "fired")


@dataclass(frozen=True, eq=False)
class Report:
    """The outcome of a co-simulation.

    Attributes:
        data: everything that goes into ``report.json``; ``docs/sim.md`` lists the keys.
        network: the network.
        inputs: the spikes of the inputs.
        labels: int64 (frames,), or None.
        outcome: what is kept of the frames.
        waveforms: files with the waveform of that place, or of the first frame if that was asked for.
        subject: what was compared with the golden model.
    """

    data: dict[str, Any]
    network: Network
    inputs: Events
    labels: np.ndarray | None
    outcome: Outcome
    waveforms: tuple[Path, ...]
    subject: str = SIMULATED

    @property
    def comparisons(self) -> Mapping[str, Comparison]:
        """By mode."""
        return self.outcome.comparisons

    @property
    def timings(self) -> Mapping[str, Timing]:
        """By mode."""
        return self.outcome.timings

    @property
    def first_difference(self) -> Difference | None:
        """The first place where something differs."""
        return self.outcome.first

    @property
    def passed(self) -> bool:
        """Nothing differs, in either mode, something was compared, and scores that PyTorch gave on the same frames are equal."""
        return self.equal_to_golden and self.data["equal_to_pytorch"] is not False

    @property
    def equal_to_golden(self) -> bool:
        """The circuit does what the golden model does."""
        return all(comparison.passed for comparison in self.comparisons.values())

    @property
    def counts(self) -> bool:
        """Some neurons can spike more than once, with coefficients."""
        return not all(layer.neuron.spikes_once for layer in self.network.layers)

    @property
    def values(self) -> str:
        """What was compared of each neuron: times of its spike, or coefficients of all steps."""
        return "coefficients" if self.counts else "spike times"

    def table(self) -> str:
        """The report in a few lines."""
        data, full, early = self.data, self.comparisons["full"], self.comparisons["early"]
        accuracy, cycles = data["accuracy"], data["cycles"]
        verdict = "equal to the golden model" if self.equal_to_golden else "DIFFERS from the golden model"
        rtl = (
            f"{verdict}: {data['frames']:,} frames, {full.spike_times_compared:,} {self.values} ({full.spikes_compared:,} spikes), "
            f"{full.differences:,} differences; early exit: {early.spikes_compared:,} spikes, {early.differences:,} differences"
        )
        per_image = (
            f"steps taken: {data['steps_mean']:.2f} of {self.network.steps}     "
            f"hidden spikes by the decision: {data['hidden_spikes_by_decision_mean']:.1f}"
        )
        taken = streaming = ""
        if cycles is not None:
            if cycles["streaming"] is not None and cycles["early"]["interval"]["mean"]:
                streaming = against(cycles["streaming"], cycles["early"]["interval"]["mean"])
            over = "–" if cycles["interval_over_limit"] is None else f"{cycles['interval_over_limit']:.3f}"
            taken = (
                f"early: {_cycles(cycles['early'])}, interval {_mean(cycles['early']['interval'])} = {over} × limit     "
                f"full: {_cycles(cycles['full'])}, interval {_mean(cycles['full']['interval'])}"
            )
        rows = [
            ("PyTorch, ±1 weights", _accuracy(accuracy["pytorch"]), _scores(accuracy["pytorch"])),
            ("golden model", _accuracy(accuracy["golden"]), self.against_pytorch()),
            (self.subject, _accuracy(accuracy["rtl"]), rtl),
            ("", "", _scores(accuracy["rtl"] and accuracy["rtl"] | {"silent_share": data["silent_share"]})),
            ("cycles per image", "", taken),
            ("dense streaming", "", streaming),
            ("per image", "", per_image),
            (
                "seconds",
                "",
                "     ".join(f"{name} {value:.1f}" for name, value in data["seconds"].items()),
            ),
        ]
        lines = [f"{name:<22}{value:<11}{text}".rstrip() for name, value, text in rows if value or text]
        if self.first_difference is not None:
            lines.append(f"first difference      {self.first_difference}")
        lines += [f"waveform              {path}" for path in self.waveforms]
        return "\n".join(lines)

    def against_pytorch(self) -> str:
        """What can be said of golden model and PyTorch: here only scores are compared; it was export that compared every spike."""
        equal, frames = self.data["equal_to_pytorch"], f"{self.data['frames']:,} frames"
        if equal is None:
            return "not compared with PyTorch: the artifact has no scores of exactly these frames"
        return f"equal to PyTorch's scores on all {frames}" if equal else f"scores DIFFER from those that PyTorch gave on the same {frames}"

    def json(self) -> str:
        """The text of ``report.json``."""
        return json.dumps(self.data, indent=2, allow_nan=False)


def assemble(
    network: Network,
    inputs: Events,
    labels: np.ndarray | None,
    outcome: Outcome,
    *,
    folding: Folding,
    build: Build | None,
    seconds: Mapping[str, float],
    waveforms: list[Path],
    about: Mapping[str, Any],
    subject: str = SIMULATED,
) -> Report:
    """Work out everything that a report holds from what was found; ``build`` is that of a simulation."""
    full, early = outcome.comparisons["full"], outcome.comparisons["early"]
    first = outcome.first
    unlabelled = score(full.summary, np.zeros(full.frames, np.int64))  # for what does not depend on labels
    accuracy = {
        "pytorch": None if labels is None else _pytorch(network, about, full.frames),
        "golden": None if labels is None else _percentages(score(outcome.golden, labels)),
        "rtl": None if labels is None else _percentages(score(full.summary, labels)),
    }
    data: dict[str, Any] = {
        "dataset": None,
        **about,
        "passed": None,  # in its place, until the report is whole
        "frames": full.frames,
        **_counts(full),
        "early": {"frames": early.frames, **_counts(early)},
        "first_difference": None if first is None else vars(first) | {"text": str(first)},
        "waveforms": [path.name for path in waveforms],
        "accuracy": accuracy,
        "equal_to_pytorch": _equal_to_pytorch(accuracy["pytorch"], accuracy["golden"], full.frames),
        "silent_share": unlabelled.silent_share,
        "cycles": None if outcome.limit is None else _cycle_counts(outcome.timings, outcome.limit, network, folding),
        "steps_mean": unlabelled.steps_mean,
        "hidden_spikes_by_decision_mean": unlabelled.hidden_spikes_by_decision_mean,
        "seconds": {name: round(value, 3) for name, value in seconds.items()},
        "simulation": {mode: {"cycles": timing.cycles, "seconds": round(timing.seconds, 3)} for mode, timing in outcome.timings.items()},
        "network": {"shape": list(network.shape), "steps": network.steps, "sha256": digest(network)},
        "folding": folding.as_dict(),
        "build_cached": None if build is None else build.cached,
        "versions": _versions(build),
    }
    report = Report(data, network, inputs, labels, outcome, tuple(waveforms), subject)
    data["passed"] = report.passed
    return report


def _cycle_counts(timings: Mapping[str, Timing], limit: np.ndarray, network: Network, folding: Folding) -> dict[str, Any]:
    return {
        **{mode: _statistics(timing.latency) | {"interval": _statistics(timing.intervals)} for mode, timing in timings.items()},
        "interval_over_limit": timings["early"].interval_over(limit),
        "limit_mean": float(limit.mean()),
        "streaming": cost.streaming(network, folding) if any(network.maps) else None,
    }


def _counts(comparison: Comparison) -> dict[str, int]:
    return {
        "frames_equal": int(comparison.equal.sum()),
        "spikes_compared": comparison.spikes_compared,
        "spikes_received": comparison.spikes_received,
        "spike_times_compared": comparison.spike_times_compared,
        "differences": comparison.differences,
    }


def _percentages(scores: Scores) -> dict[str, float]:
    return {name: getattr(scores, name) for name in SCORES}


def _pytorch(network: Network, about: Mapping[str, Any], frames: int) -> dict[str, float] | None:
    """PyTorch's scores on these frames, from the artifact's provenance, which may hold anything; None without."""
    if about.get("test_frames") != frames or not _same_data_set(network.provenance, about):
        return None
    test: Any = network.provenance
    for key in ("scores", "test"):
        test = test.get(key) if isinstance(test, dict) else None
    if not isinstance(test, dict):
        return None
    found = {name: test[name] for name in (*SCORES, "silent_share") if type(test.get(name)) in (int, float) and 0 <= test[name] <= 100}
    return found if set(SCORES) <= set(found) else None


def _same_data_set(provenance: Mapping[str, Any], about: Mapping[str, Any]) -> bool:
    """By digest; where one side has none, by name, a file's without its folder."""
    if provenance.get("dataset_digest") is not None and about.get("dataset_digest") is not None:
        return provenance["dataset_digest"] == about["dataset_digest"]
    theirs, ours = provenance.get("dataset"), about.get("dataset")
    return isinstance(theirs, str) and isinstance(ours, str) and Path(theirs).name == Path(ours).name


def _equal_to_pytorch(pytorch: Mapping[str, float] | None, golden: Mapping[str, float] | None, frames: int) -> bool | None:
    """Whether the scores count the same frames as right; None where there is nothing to compare."""
    if pytorch is None or golden is None:
        return None
    return all(round(pytorch[name] * frames / 100) == round(golden[name] * frames / 100) for name in SCORES)


def _statistics(values: np.ndarray) -> dict[str, float | int | None]:
    if len(values) == 0:
        return {"min": None, "mean": None, "max": None}
    return {"min": int(values.min()), "mean": float(values.mean()), "max": int(values.max())}


def _versions(build: Build | None) -> dict[str, str]:
    packages = ("amaranth", "cocotb", "numpy", "safetensors")
    return {
        "python": platform.python_version(),
        **({} if build is None else {"verilator": build.verilator, "compiler": build.compiler}),
        **{package: importlib.metadata.version(package) for package in packages},
    }


def _accuracy(scores: Mapping[str, float] | None) -> str:
    return "" if scores is None else f"{scores['strict']:.2f} %"


def _scores(scores: Mapping[str, float] | None) -> str:
    if scores is None:
        return ""
    silent = f"; silent {scores['silent_share']:.2f} %" if "silent_share" in scores else ""
    return "(" + " · ".join(f"{name} {scores[name]:.2f}" for name in SCORES) + silent + ")"


def _cycles(cycles: Mapping[str, Any]) -> str:
    return "none" if cycles["min"] is None else f"{cycles['min']} / {cycles['mean']:.1f} / {cycles['max']}"


def _mean(cycles: Mapping[str, Any]) -> str:
    return "none" if cycles["mean"] is None else f"{cycles['mean']:.1f}"
