"""What the sessions of noxfile.py do by themselves; nox need not be installed."""

import importlib.util
import sys
from pathlib import Path
from unittest.mock import MagicMock

import pytest


@pytest.fixture
def noxfile(monkeypatch):
    nox = MagicMock()
    nox.session = lambda function=None, **options: function or (lambda function: function)
    monkeypatch.setitem(sys.modules, "nox", nox)
    spec = importlib.util.spec_from_file_location("noxfile", Path(__file__).parent.parent / "noxfile.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_names_of_proofs_are_looked_at_first(noxfile, monkeypatch):
    ran = []
    monkeypatch.setattr(noxfile, "run", lambda session, *arguments: ran.append(arguments[2]))
    session = MagicMock(posargs=["formal", "nothing"])
    session.error.side_effect = RuntimeError
    with pytest.raises(RuntimeError):
        noxfile.proofs(session)
    message = "what to prove must be out of formal, netlist, mutants, protocol, tests (nox -s proofs -- formal), not 'nothing'"
    session.error.assert_called_once_with(message)
    assert ran == []
    session.posargs = ["netlist", "formal"]
    noxfile.proofs(session)
    assert ran == ["netlist", "formal", "table"]


def test_arguments_go_to_pytest_behind_its_defaults(noxfile, monkeypatch):
    ran = []
    monkeypatch.setattr(noxfile, "run", lambda session, *arguments: ran.append(arguments))
    noxfile.tests(MagicMock(posargs=["-n", "0", "tests/test_docs.py"]))
    noxfile.proofs(MagicMock(posargs=["tests"]))
    pytest_in_two = ("-m", "pytest", "-n", "2", "--dist", "worksteal")
    assert ran[:2] == [(*pytest_in_two, "-n", "0", "tests/test_docs.py"), (*pytest_in_two, "-m", "proofs")]


def test_the_command_is_installed_once(noxfile, tmp_path):
    """Building it needs the network, which later runs must not."""
    session = MagicMock(bin=str(tmp_path))
    install = ("--no-deps", "-e", ".")
    noxfile.environment(session)
    assert session.install.call_args_list[-1].args == install
    (tmp_path / "firstspike").touch()
    session.install.reset_mock()
    noxfile.environment(session)
    assert [call.args[-1] for call in session.install.call_args_list if call.args == install] == []
    assert session.install.called


def test_cosim_imports_a_qonnx_file(noxfile, monkeypatch):
    ran = []
    monkeypatch.setattr(noxfile, "run", lambda session, *arguments: ran.append([str(argument) for argument in arguments]))
    noxfile.cosim(MagicMock(posargs=["--onnx", "models/TFC.onnx", "--dataset", "mnist", "--check-images", "70", "--pe", "64,64,64,10"]))
    network, fold = "build/TFC/network.safetensors", ["--pe", "64,64,64,10"]
    assert ran == [
        ["-m", "export", "import", "models/TFC.onnx", "--out", network, "--dataset", "mnist", "--check-images", "70"],
        ["-m", "hw", network, "--out", "build/TFC/accelerator.v", *fold],
        ["-m", "sim", network, "--dataset", "mnist", *fold, "--out", "build/TFC"],
    ]
    ran.clear()
    noxfile.cosim(MagicMock(posargs=["--onnx", "TFC.onnx", "--out", "here"]))
    assert ran[0] == ["-m", "export", "import", "TFC.onnx", "--out", "here/network.safetensors", "--dataset", "random"]
    assert ran[2] == ["-m", "sim", "here/network.safetensors", "--dataset", "random", "--out", "here"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--onnx", "a.onnx", "--network", "b"], "--onnx takes neither --network nor --recipe, nor options of training"),
        (["--onnx", "a.onnx", "--epochs", "3"], "--onnx takes neither --network nor --recipe, nor options of training"),
        (["--check-images", "3"], "--check-images is an option of --onnx"),
    ],
)
def test_cosim_refuses_what_does_not_go_together(noxfile, monkeypatch, capsys, arguments, message):
    monkeypatch.setattr(noxfile, "run", lambda *given: pytest.fail("nothing may run"))
    with pytest.raises(SystemExit):
        noxfile.cosim(MagicMock(posargs=arguments))
    assert message in capsys.readouterr().err
