# amaranth: UnusedElaboratable=no

"""docs/integration.md: its register tables are those of the definition, its examples fit the circuits."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from amaranth.hdl import Fragment

from export import load
from hw import Accelerator, default_folding
from hw.buses import WRAPPERS, wrap
from hw.verilog import port_map, write
from hw.verilog.header import WAIVERS
from sim import toolchain

ROOT = Path(__file__).parent.parent
PAGE = (ROOT / "docs/integration.md").read_text()


@pytest.fixture(scope="module")
def circuits():
    network = load(ROOT / "artifacts/digits.safetensors")
    made = {name: wrap(Accelerator(network, default_folding(network), frames_in="pixels"), name) for name in WRAPPERS}
    for circuit in made.values():
        Fragment.get(circuit, None)  # counts as used, so that Amaranth does not warn of its parts
    made["loadable"] = wrap(Accelerator(network, default_folding(network), frames_in="pixels", weights="loadable"), "axi")
    Fragment.get(made["loadable"], None)
    return made


def table(registers):
    """The registers as a Markdown table."""

    def bits(field):
        high = field.offset + field.width - 1
        return str(high) if field.width == 1 else f"{high}:{field.offset}"

    rows = ["| address | name | access | fields (bits) | |", "|---|---|---|---|---|"]
    for register in registers:
        fields = ", ".join(f"`{name}` ({bits(field)})" for name, field in register.layout)
        reset = f"; {register.value} after reset" if register.access == "rw" else ""
        rows.append(f"| `0x{register.address:04X}` | `{register.name}` | {register.access} | {fields} | {register.about}{reset} |")
    return "\n".join(rows) + "\n"


def registers_of_page(circuits):
    """The three tables as they must be."""
    axi, wishbone = (circuits[name].registers for name in ("axi", "wishbone"))
    assert {register.name for register in axi} - {register.name for register in wishbone} == {"packet"}
    assert [register for register in axi if register.name != "packet"] == [register for register in wishbone if register in axi]
    more = [register for register in circuits["loadable"].registers if register not in axi]
    return [table(axi), table([register for register in wishbone if register not in axi]), table(more)]


def test_tables(circuits):
    found = re.findall(r"^\| address .*?\n(?=\n)", PAGE, re.MULTILINE | re.DOTALL)
    assert found == registers_of_page(circuits)


def test_waivers():
    assert dict(re.findall(r"^\| `([A-Z]+)` \| (.*) \|$", PAGE, re.MULTILINE)) == WAIVERS


def test_ports_are_on_the_page(circuits):
    for name in ("axi", "wishbone"):
        example = re.search(rf"accelerator_{name} network \((.*?)\n    \);", PAGE, re.DOTALL)[1]
        assert sorted(re.findall(r"\.(\w+)\(", example)) == sorted(port_map(circuits[name])["ports"])


@pytest.mark.parametrize("name", WRAPPERS)
def test_examples_in_verilog(tmp_path, circuits, name):
    path, _ = write(circuits[name], tmp_path / "accelerator.v")
    top = "with_streams" if name == "none" else f"with_{name}"
    (example,) = re.findall(rf"^```verilog\n(module {top} .*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "example.v").write_text(example)
    options = ["--lint-only", "-Wall", "-Wno-DECLFILENAME", "-Wno-PINCONNECTEMPTY", "--top-module", top]
    done = subprocess.run(
        ["verilator", *options, "example.v", path],
        cwd=tmp_path,
        env=os.environ | toolchain.find().variables,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_example_in_c(tmp_path):
    (program,) = re.findall(r"^```c\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "example.c").write_text(program)
    compiler = shutil.which("gcc") or shutil.which("cc")
    assert compiler, "a C compiler must be on PATH"
    subprocess.run([compiler, "-std=c99", "-Wall", "-Wextra", "-Werror", "-c", "example.c"], cwd=tmp_path, check=True)
