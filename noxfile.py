"""Thin wrappers around the four command lines; ``nox -l`` lists them, ``nox`` alone co-simulates the digits network.

The sessions share one environment, because installing PyTorch once is enough: ``environment`` makes it, and the others require
it. ``verilog`` has its own, which is small: it needs no PyTorch. Both stay for the next time.
"""

import argparse
import tomllib
from pathlib import Path

import nox

nox.needs_version = ">=2025.2.9"
nox.options.reuse_venv = "yes"
nox.options.sessions = ["cosim"]

PROJECT = nox.project.load_toml("pyproject.toml")
BUILD = Path("build")
FORWARDED = {
    "training": (
        *("--hidden", "--steps", "--epochs", "--seed", "--batch-size", "--learning-rate"),
        *("--augment", "--max-silent", "--validation"),
    ),
    "folding": ("--simd", "--pe", "--form", "--order", "--swap", "--contexts", "--pixels", "--input"),
    "simulation": ("--images", "--jobs"),
}  # options of `cosim` that go to the commands behind it
PARALLEL = ("-n", "2", "--dist", "worksteal")  # of pytest-xdist: neighbours stay in one process, which shares what their module makes
shared: dict[str, str] = {}  # the shared environment's "python", once the session `environment` has run


def install(session: nox.Session, group: str) -> None:
    """Install a dependency group of ``pyproject.toml`` at the versions of ``constraints.txt``."""
    session.install("-c", "constraints.txt", *dict.fromkeys(nox.project.dependency_groups(PROJECT, group)))


def run(session: nox.Session, *arguments: str | Path) -> None:
    """Run the shared environment's Python."""
    if not shared:
        session.error("the session 'environment' must run first: leave out --no-dependencies")
    session.run(shared["python"], *map(str, arguments), external=True)


@nox.session(default=False)
def environment(session: nox.Session) -> None:
    """Make the environment that the sessions share, with the command ``firstspike`` in it."""
    install(session, "tests")
    if not (Path(session.bin) / "firstspike").exists():  # once: it needs setuptools from the network each time
        session.install("--no-deps", "-e", ".")
    shared["python"] = str(Path(session.bin) / "python")


@nox.session(python=False, requires=["environment"])
def cosim(session: nox.Session) -> None:
    """Train, export, generate Verilog, co-simulate every spike: [--dataset NAME | --recipe FILE] … | --network FILE | --onnx FILE …."""
    parser = argparse.ArgumentParser(prog="nox -s cosim --", usage="nox -s cosim -- [OPTION …]", allow_abbrev=False)
    parser.add_argument(
        "--dataset",
        help="digits, mnist, fashion-mnist, fashion-mnist-thermometer, cifar-10, caltech, spoken-digits, spoken-digits-without-SPEAKER, "
        "shd, n-mnist, n-mnist-counts or FILE.npz; "
        "with --network also random (default: digits, or what the network was trained on)",
    )
    parser.add_argument("--recipe", type=Path, help="a recipe to train by, such as recipes/mnist-graded.toml")
    parser.add_argument("--network", type=Path, help="an artifact: nothing is trained")
    parser.add_argument("--onnx", type=Path, help="a QONNX file to import, with the data set that it is for: nothing is trained")
    parser.add_argument("--out", type=Path, help="folder of the results (default: build/DATASET, RECIPE, NETWORK or MODEL)")
    for title, names in FORWARDED.items():
        group = parser.add_argument_group(title, "as in the command behind it")
        for name in names:
            group.add_argument(name, dest=name, metavar="…")
    parser.add_argument("--check-images", metavar="N", help="of --onnx: images on which the graph is compared (default: 1000)")
    parser.add_argument("--waves", action="store_true", help="write the waveform of a frame")
    given = parser.parse_args(session.posargs)
    training, fold, simulate = (
        [part for name in names if (value := vars(given)[name]) is not None for part in (name, value)] for names in FORWARDED.values()
    )
    if given.recipe and (given.network or given.dataset):
        parser.error("--recipe takes neither --network nor --dataset")
    if given.onnx and (given.network or given.recipe or training):
        parser.error("--onnx takes neither --network nor --recipe, nor options of training")
    if given.check_images and not given.onnx:
        parser.error("--check-images is an option of --onnx")
    if given.onnx:
        dataset, folder = given.dataset or "random", given.out or BUILD / given.onnx.stem
        network = folder / "network.safetensors"
        check = ("--check-images", given.check_images) if given.check_images else ()
        run(session, "-m", "export", "import", given.onnx, "--out", network, "--dataset", dataset, *check)
    elif given.network is None:
        dataset = None if given.recipe else given.dataset or "digits"
        folder = given.out or BUILD / Path(given.recipe or str(dataset)).stem
        network, checkpoint = folder / "network.safetensors", folder / "checkpoint.safetensors"
        run(session, "-m", "model", "train", *((given.recipe,) if given.recipe else ("--dataset", dataset)), *training, "--out", folder)
        converted = given.recipe and tomllib.loads(given.recipe.read_text(encoding="utf-8")).get("method") == "conversion"
        run(session, *(("-m", "model", "convert") if converted else ("-m", "export")), checkpoint, "--out", network)
    else:
        if training:
            parser.error("--network takes no options of training")
        dataset, network = given.dataset, given.network
        folder = given.out or BUILD / network.stem
    run(session, "-m", "hw", network, "--out", folder / "accelerator.v", *fold)
    waves = ["--waves"] if given.waves else []
    of = ["--dataset", dataset] if dataset else []
    run(session, "-m", "sim", network, *of, *fold, *simulate, *waves, "--out", folder)


@nox.session(python=False, requires=["environment"])
def train(session: nox.Session) -> None:
    """Train a recipe with each of its seeds, and export the best: RECIPE.toml [--seeds 0,1,2] [--out DIR]."""
    run(session, "-m", "model", "reproduce", *session.posargs)


@nox.session(python=False, requires=["environment"])
def tests(session: nox.Session) -> None:
    """Run the tests, in two processes; arguments go to pytest (-n 0: in one)."""
    run(session, "-m", "pytest", *PARALLEL, *session.posargs)


@nox.session(python=False, requires=["environment"])
def proofs(session: nox.Session) -> None:
    """Prove what tests can only try: all, or [formal|netlist|mutants|protocol|tests …]; a table and build/proofs/*.json."""
    parts = {
        "formal": ("-m", "sim.proofs", "formal"),
        "netlist": ("-m", "sim.proofs", "netlist"),
        "mutants": ("-m", "sim.proofs", "mutants"),
        "protocol": ("-m", "sim", "protocol", "--sequences", "10000"),
        "tests": ("-m", "pytest", *PARALLEL, "-m", "proofs"),
    }
    for part in session.posargs:
        if part not in parts:
            session.error(f"what to prove must be out of {', '.join(parts)} (nox -s proofs -- formal), not '{part}'")
    for part in session.posargs or parts:
        run(session, *parts[part])
    run(session, "-m", "sim.proofs", "table", "--out", "build/proofs")


@nox.session(requires=["environment"])
def lint(session: nox.Session) -> None:
    """Check style and types."""
    install(session, "lint")
    session.run("ruff", "check", *session.posargs)
    session.run("ruff", "format", "--check")
    session.run("mypy", "--python-executable", shared["python"])


@nox.session
def verilog(session: nox.Session) -> None:
    """Generate Verilog and its port map from an artifact, without PyTorch: NETWORK [--out FILE.v] [--simd … --pe … --form …]."""
    install(session, "hw")
    session.run("python", "-m", "hw", *session.posargs)


@nox.session
def fpga(session: nox.Session) -> None:
    """Synthesise, place and route, without PyTorch: NETWORK --device up5k|hx8k|ecp5-25k|ecp5-85k|xc7 [--seeds N] [--simd … --pe …]."""
    install(session, "fpga")
    session.run("python", "-m", "hw", "fpga", *session.posargs)


@nox.session(python=False, requires=["environment"])
def bench(session: nox.Session) -> None:
    """Measure: cosim [NETWORK …], hardware, codes [NETWORK], inference [NETWORK] beside BS4NN, training beside snntorch."""
    subject, *arguments = session.posargs or [""]
    if subject == "cosim":
        run(session, "-m", "sim", "bench", *(arguments or ("artifacts/mnist-600.safetensors",)))
    elif subject == "hardware":
        run(session, "-m", "hw", "bench", *arguments)
    elif subject == "codes":
        run(session, "-m", "hw", "codes", *arguments)
    elif subject in ("inference", "training"):
        run(session, "-m", "model", "bench", subject, *arguments)
    else:
        session.error(f"what to measure must be cosim, hardware, codes, inference or training (nox -s bench -- cosim), not '{subject}'")
