"""The documentation says what is so: its examples run, its links lead somewhere, its statements are those that the code cites."""

import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import export
from tests.maps import random_map_network
from tests.multi_spike import BIASED, CODES, code_network
from tests.networks import graded_example, map_example, random_network, worked_example

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]


def blocks(page, language="python"):
    """The fenced code blocks of a page."""
    return re.findall(rf"^```{language}\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)


def anchors(page):
    """The anchors of a page's headings."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page):
    text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for target in re.findall(r"\]\(([^)]+)\)", text) + re.findall(r'src="([^"]+)"', text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = page if not path else page.parent / path
        assert file.exists(), target
        assert not anchor or anchor in anchors(file), target


def test_code_cites_statements_that_exist():
    defined = set(re.findall(r"^## \[(S\d+)\]", (ROOT / "docs/semantics.md").read_text(), re.MULTILINE))
    assert defined == {f"S{number}" for number in range(1, 17) if number != 14}
    for folder in ("export", "hw", "model", "sim", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            cited = set(re.findall(r"\[(S\d+)[\]–,]", path.read_text()))
            assert cited <= defined, path


def test_code_cites_pages_that_exist():
    for folder in ("export", "hw", "model", "sim", "tests"):
        for path in (ROOT / folder).rglob("*.py"):
            for page in re.findall(r"``(docs/[^`]+)``", path.read_text()):
                assert (ROOT / page).exists(), f"{path}: {page}"


def test_artifact_page_on_bias_and_fraction(tmp_path):
    """What it says of the example with both: digest, and the bytes that the tensors begin with."""
    digest, first = (
        re.search(pattern, (ROOT / "docs/artifact.md").read_text())[1] for pattern in (r"the digest is `(\w+)`", r"bias`, `([0-9a-f ]+)`")
    )
    example = graded_example()
    hidden = replace(example.layers[0], neuron=replace(example.layers[0].neuron, bias=np.array([0, -3]), fraction=2))
    path = tmp_path / "network.safetensors"
    assert export.save(replace(example, layers=(hidden, example.layers[1])), path) == digest
    data = path.read_bytes()
    assert data[8 + int.from_bytes(data[:8], "little") :].startswith(bytes.fromhex(first))


def test_artifact_page(tmp_path, monkeypatch, capsys):
    """All Python blocks, digests, the header, and the closing bytes of the files."""
    monkeypatch.chdir(tmp_path)
    check_digest, *examples = blocks("docs/artifact.md")
    header, layers = map(json.loads, blocks("docs/artifact.md", "json"))
    page = (ROOT / "docs/artifact.md").read_text()
    tensors = re.findall(r"^    ((?:(?:[0-9a-f]{2} ? ?){4,})+)$", page, re.MULTILINE)
    names = re.findall(r'export.save\(network, "(.+)"\)', page)
    for number, (name, write, content, made) in enumerate(
        zip(names, examples, tensors, (worked_example(), graded_example(), map_example()), strict=True)
    ):
        exec(write, {})
        assert f"prints `{capsys.readouterr().out.strip()}`" in page
        exec(check_digest.replace("network.safetensors", name), {})
        data = (tmp_path / name).read_bytes()
        tensor_bytes = bytes.fromhex(content)
        assert data.endswith(tensor_bytes)
        begin = 8 + int.from_bytes(data[:8], "little")
        assert len(data) == begin + len(tensor_bytes)
        found = json.loads(json.loads(data[8:begin])["__metadata__"]["firstspike"])
        assert found["version"] == min(2, number + 1)
        assert number != 1 or found == header
        assert number != 2 or found["layers"] == layers
        assert export.digest(export.load(name)) == export.digest(made)


def test_spread_table():
    """[S13]: the table of the page is what the encoder does."""
    page = (ROOT / "docs/semantics.md").read_text()
    counts, coefficients = (
        [cell.strip() for cell in re.search(rf"^\| {start} \|(.*)\|$", page, re.MULTILINE)[1].split("|")]
        for start in ("count `p`", r"`c\(0\) … c\(3\)`")
    )
    images = np.array([[int(p) << 5] for p in counts], np.uint8)
    events = export.Encoder("spread", bits=3).encode(images, 4)
    sent = np.zeros(events.shape, int)
    sent[events.frame, events.step, events.neuron] = events.coefficient
    assert [" ".join(map(str, row)) for row in sent[:, :, 0]] == coefficients


@pytest.fixture(scope="module")
def unpack(tmp_path_factory):
    """``docs/examples/unpack.c``, compiled."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "a C compiler must be on PATH"
    program = tmp_path_factory.mktemp("unpack") / "unpack"
    flags = ["-std=c99", "-Wall", "-Wextra", "-Werror", "-O1"]
    subprocess.run([compiler, *flags, "-o", program, ROOT / "docs/examples/unpack.c"], check=True)
    return program


def rows_in_c(unpack, path, index, layer):
    """What the program reads of a layer: per row its weights, threshold, and start and bias, if there are any."""
    inputs = layer.connection.weights.shape[1]
    done = subprocess.run([unpack, path, str(index), str(inputs)], capture_output=True, text=True, check=True)
    rows = [line.split(" ") for line in done.stdout.splitlines()]
    return [[[1 if sign == "+" else -1 for sign in signs], *map(int, numbers)] for signs, *numbers in rows]


def rows_of(layer):
    neuron = layer.neuron
    columns = [layer.connection.weights, neuron.thresholds]
    if isinstance(neuron, export.Rate):
        columns += [neuron.initial, neuron.bias] if neuron.has_bias else [neuron.initial]
    return [list(row) for row in zip(*(column.tolist() for column in columns), strict=True)]


@pytest.mark.parametrize(
    ("code", "shapes"),
    [(None, [(1, 1), (7, 3), (8, 9, 2), (9, 8), (784, 60, 10)]), *((code, [(8, 9, 2), (20, 9, 17, 3)]) for code in (*CODES, *BIASED))],
)
def test_unpack_in_c(unpack, tmp_path, code, shapes):
    for shape in shapes:
        rng = np.random.default_rng([*shape])
        network = random_network(rng, shape, 4) if code is None else code_network(rng, shape, 4, code)
        names = tuple(f'"layers.{j}.weights":' for j in range(shape[-1]))  # a name that looks like the table must not mislead it
        path = tmp_path / "network.safetensors"
        export.save(export.Network(network.layers, 4, network.encoder, names), path)
        for index, layer in enumerate(export.load(path).layers):
            assert rows_in_c(unpack, path, index, layer) == rows_of(layer)


def test_unpack_in_c_of_maps(unpack, tmp_path):
    """Rows of kernels, and of what is behind a pool."""
    for seed in range(6):
        network = random_map_network(np.random.default_rng(seed), "single", 4)
        export.save(network, tmp_path / "n")
        for index, layer in enumerate(network.layers):
            assert rows_in_c(unpack, tmp_path / "n", index, layer) == rows_of(layer)


@pytest.mark.parametrize("arguments", [[], ["missing", "0", "3"], ["network", "1", "3"], ["network", "0", "9"], ["short", "0", "3"]])
def test_unpack_in_c_refuses(unpack, tmp_path, arguments):
    export.save(worked_example(), tmp_path / "network")
    (tmp_path / "short").write_bytes((tmp_path / "network").read_bytes()[:-1])
    assert subprocess.run([unpack, *arguments], cwd=tmp_path).returncode == 2


def test_from_arrays(tmp_path, monkeypatch, capsys):
    """The whole page runs, and leaves what it says."""
    monkeypatch.chdir(tmp_path)
    exec("\n".join(blocks("docs/from-arrays.md")), {})
    assert len(re.findall(r"equal to the golden model: \d+ frames, .* 0 differences", capsys.readouterr().out)) == 2
    assert {path.name for path in tmp_path.iterdir()} == {
        "convolutional.safetensors",
        "cosim",
        "digits.json",
        "digits.safetensors",
        "digits.v",
    }
    report = json.loads((tmp_path / "cosim" / "report.json").read_text())
    assert (report["frames"], report["frames_equal"], report["differences"]) == (200, 200, 0)
    assert report["spikes_compared"] > 0


def test_frameworks(tmp_path, monkeypatch, capsys):
    """The whole page runs, with weights in the place of BS4NN's that have as many pixels as the digits."""
    rng = np.random.default_rng(3)
    for layer, shape in enumerate([(20, 64, 1), (10, 20, 1)]):
        np.save(tmp_path / f"W{layer}_binary.npy", rng.normal(1.5, 1, shape))
    monkeypatch.chdir(tmp_path)
    exec("\n".join(blocks("docs/frameworks.md")), {})
    said = capsys.readouterr().out
    found = re.findall(r"^(\w+)$|equal to the golden model: (\d+) frames, .* 0 differences", said, re.MULTILINE)
    assert ["".join(part) for part in found] == ["brevitas", "200", "larq", "200", "snntorch", "200", "bs4nn", "50"]
    assert {path.stem for path in tmp_path.glob("*.v")} == {"brevitas", "larq", "snntorch", "bs4nn"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::UserWarning")
def test_nir(tmp_path, monkeypatch):
    """The example of a network in snntorch."""
    monkeypatch.chdir(tmp_path)
    (program,) = blocks("docs/nir.md")
    exec(program, {})
    assert (tmp_path / "rate.nir").is_file()


def test_commands_in_readme_and_ci_agree():
    readme, ci = (ROOT / "README.md").read_text(), (ROOT / ".ci/run").read_text()
    first, second = re.findall(r"^```sh\n(.*)\n```$", readme, re.MULTILINE)
    assert first.endswith("nox -s cosim")
    assert second.endswith("nox -s tests")
    assert first.split(" && ")[:2] == ["python3 -m venv .venv", ".venv/bin/pip install -c constraints.txt nox"]
    assert first.rpartition(" && ")[0] in ci
    assert first.split(" && ")[2] in ci
    assert second in ci
