"""Everything on a device other than the CPU. Without a GPU at hand, that is one that refuses what CUDA refuses."""

import dataclasses

import numpy as np
import pytest
import torch

from export import UserError
from export.artifact import read_tensors
from model import checkpoint, evaluate, training
from model.layers import SingleSpikeNetwork
from model.processes import Processes, connect, find_device
from tests.far_device import DEVICE, far_device
from tests.networks import random_spike_times
from tests.small_data import stripes
from tests.test_model_training import RECIPE, stop_after

cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def train(out, recipe, device, **options):
    return training.train(stripes(), recipe, out, say=lambda line: None, processes=Processes(device), **options)


def tensors_of(directory, file="checkpoint.safetensors"):
    return {name: tensor.tolist() for name, tensor in read_tensors(directory / file)[0].items()}


@pytest.mark.parametrize(
    "changes", [{"augment": 0.4, "drop_spikes": 0.2}, {"steps": 20, "hidden": (16, 12)}, {"gradient_at": "spike"}, {"gradient_at": "end"}]
)
def test_trains_on_a_far_device_as_on_the_cpu(tmp_path, monkeypatch, changes):
    recipe = dataclasses.replace(RECIPE, epochs=1, **changes)
    on_cpu = train(tmp_path / "cpu", recipe, torch.device("cpu"))
    with far_device(monkeypatch) as device:
        assert train(tmp_path / "far", recipe, device) == on_cpu
    for file in ("checkpoint.safetensors", "resume.safetensors"):
        assert tensors_of(tmp_path / "far", file) == tensors_of(tmp_path / "cpu", file)
    assert read_tensors(tmp_path / "far" / "checkpoint.safetensors")[1]["provenance"]["device"] == str(DEVICE)


@pytest.mark.filterwarnings("ignore:for .*no-op:UserWarning")  # it would be one, were this device what it calls itself
def test_resumes_on_another_device(tmp_path, monkeypatch):
    recipe = dataclasses.replace(RECIPE, epochs=2)
    train(tmp_path / "cpu", recipe, torch.device("cpu"))
    with far_device(monkeypatch) as device:
        with monkeypatch.context() as patch:
            stop_after(patch, 1)
            with pytest.raises(KeyboardInterrupt):
                train(tmp_path / "far", recipe, device)
        train(tmp_path / "far", recipe, device, resume=True)
    assert tensors_of(tmp_path / "far") == tensors_of(tmp_path / "cpu")


def test_evaluates_on_a_far_device(tmp_path, monkeypatch):
    train(tmp_path, dataclasses.replace(RECIPE, epochs=1), torch.device("cpu"))
    path = tmp_path / "checkpoint.safetensors"
    expected = evaluate.evaluate(path, stripes(), "test")[1]
    with far_device(monkeypatch) as device:
        subject, score, _ = evaluate.evaluate(path, stripes(), "test", device)
        assert subject.trained.layers[0].weights.device == DEVICE
        assert subject.shift_curve(*subject.frames(stripes(), "test"))[0].shift < 0
    assert score == expected


def test_far_device_refuses_what_cuda_refuses(monkeypatch):
    with far_device(monkeypatch) as device:
        far, near = torch.ones(3, device=device), torch.ones(3)
        with pytest.raises(RuntimeError, match="must have all tensors on one device"):
            far + near
        with pytest.raises(TypeError, match="must go to the CPU first"):
            far.numpy()
        assert (far + near.sum()).tolist() == (far + near.to(device) * 3).cpu().tolist() == [4, 4, 4]


@pytest.mark.parametrize("fault", ["table", "thresholds"])
def test_what_stays_behind_is_found(monkeypatch, fault):
    times = torch.zeros(5, 36, dtype=torch.uint8)
    with far_device(monkeypatch) as device:
        network = SingleSpikeNetwork((36, 8, 4), 8).to(device)
        if fault == "thresholds":
            network.layers[1].thresholds = torch.nn.Parameter(torch.zeros(4))
        else:
            network.layers[0].synapses = lambda: torch.ones(36, 8)
        with pytest.raises(RuntimeError, match="must have all tensors on one device"):
            network(times.to(device))


@pytest.mark.parametrize(
    ("name", "count", "there", "message"),
    [
        ("tpu", 1, 1, "device must be cpu, cuda or cuda:N, not 'tpu'"),
        ("cuda:", 1, 1, "device must be cpu, cuda or cuda:N, not 'cuda:'"),
        ("cuda", 1, 0, f"device cuda must be there, but PyTorch {torch.__version__} sees 0 CUDA devices: use --device cpu"),
        ("cuda:2", 1, 2, f"device cuda:2 must be there, but PyTorch {torch.__version__} sees 2 CUDA devices: use --device cpu"),
        ("cuda", 3, 2, f"device cuda:2 must be there, but PyTorch {torch.__version__} sees 2 CUDA devices: use --device cpu"),
        ("cuda:1", 2, 2, "device must be cuda, a GPU for each of the 2 processes of this machine, not cuda:1"),
    ],
)
def test_device_that_is_not_there(monkeypatch, name, count, there, message):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: there)
    with pytest.raises(UserError) as caught:
        find_device(name, local_rank=count - 1, local_count=count)
    assert str(caught.value) == message


def test_each_process_of_a_machine_takes_its_own_device(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 4)
    assert find_device("cpu", 1, 2) == torch.device("cpu")
    assert find_device("cuda") == torch.device("cuda:0")
    assert find_device("cuda:3") == torch.device("cuda:3")
    assert find_device("cuda", 2, 4) == torch.device("cuda:2")


def test_alone_without_torchrun(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with connect("cpu") as processes:
        assert (processes.device, processes.rank, processes.count) == (torch.device("cpu"), 0, 1)
        assert processes.share(7) == slice(0, 7)


@cuda
def test_cuda_decides_as_the_cpu_does():
    network = SingleSpikeNetwork((50, 40, 30, 5), 12, generator=torch.Generator().manual_seed(0))
    times = torch.from_numpy(random_spike_times(np.random.default_rng(0), 200, 50, 12))
    network.initialize_thresholds(times, 0.25, 0.1)
    expected = network(times)
    expected.margins.sum().backward()  # the gradients of the outputs are whole numbers: sums are exact in any order
    gradient = network.layers[-1].weights.grad.clone()
    network.zero_grad()
    found = network.to("cuda")(times.to("cuda"))
    found.margins.sum().backward()
    for name in ("margins", "step", "silent"):
        assert getattr(found, name).tolist() == getattr(expected, name).tolist()
    assert network.layers[-1].weights.grad.tolist() == gradient.tolist()


@cuda
def test_cuda_trains(tmp_path):
    result = train(tmp_path, dataclasses.replace(RECIPE, epochs=8), torch.device("cuda:0"))
    assert result["test"].strict > 70
    network, _, _ = checkpoint.read(tmp_path / "checkpoint.safetensors")
    assert network.layers[0].weights.device == torch.device("cpu")
