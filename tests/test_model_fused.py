import pytest
import torch

from model import fused
from model.fused import Counts, Moments


@pytest.fixture(params=[1, 20, 1 << 17])
def sums(request, monkeypatch):
    """Whole sums, (5, 3, 4, 7) of channels last, worked on in parts of one row, of two and in one."""
    monkeypatch.setattr(fused, "PART", request.param)
    generator = torch.Generator().manual_seed(1)
    planes = torch.randint(-40, 40, (5, 7, 3, 4), generator=generator).double()
    return planes.permute(0, 2, 3, 1).requires_grad_()


def gradients(outputs, *inputs):
    """Of a sum that weighs each output differently."""
    generator = torch.Generator().manual_seed(2)
    total = sum((output * torch.rand(output.shape, generator=generator, dtype=output.dtype)).sum() for output in outputs)
    return torch.autograd.grad(total, inputs)


@pytest.mark.parametrize("centred", [True, False])
def test_moments(sums, centred):
    found = Moments.apply(sums, 1e-3, centred)
    mean = sums.mean((0, 1, 2)) * centred
    expected = mean, (sums - mean).square().mean((0, 1, 2)).sqrt()
    torch.testing.assert_close(found, expected)
    if not centred:
        assert not found[0].any()
    torch.testing.assert_close(gradients(found, sums), gradients(expected, sums))


def test_a_channel_that_never_changes():
    sums = torch.tensor([[1.0, 2.0], [1.0, 6.0]], requires_grad=True)
    mean, scale = Moments.apply(sums, 1e-3, True)
    assert mean.tolist() == [1, 4]
    assert scale.tolist() == [pytest.approx(1e-3), 2]
    assert torch.autograd.grad(scale.sum(), sums)[0].tolist() == [[0, -0.5], [0, 0.5]]


def test_counts(sums):
    thresholds = torch.tensor([1.0, 2, 3, 5, 8, 13, 7], dtype=torch.double, requires_grad=True)
    bias = torch.tensor([0.0, -9, 4, 30, -50, 2, 1], dtype=torch.double, requires_grad=True)
    counts = Counts.apply(sums, thresholds, bias, (thresholds / 2).floor().detach(), 3)
    whole, unit, offset = (tensor.detach().long() for tensor in (sums, thresholds, bias))
    assert torch.equal(counts.long(), ((whole + offset + unit // 2) // unit).clamp(0, 3))
    assert counts.is_contiguous()
    smooth = ((sums + bias) / thresholds).clamp(-0.5, 3.5)
    inputs = sums, thresholds, bias
    torch.testing.assert_close(gradients([counts], *inputs), gradients([smooth], *inputs))


def test_sums_of_bfloat16():
    """Only counts and gradients of sums are rounded."""
    generator = torch.Generator().manual_seed(3)
    sums = torch.randint(-2000, 2000, (64, 5, 4, 8), generator=generator).bfloat16().requires_grad_()
    thresholds = torch.rand(8, generator=generator) * 300 + 100
    found = []
    for each in (sums, sums.detach().float().requires_grad_()):
        mean, scale = Moments.apply(each, 1e-3, True)
        counts = Counts.apply(each, thresholds, (scale - mean).detach(), thresholds / 2, 7)
        found.append((mean, scale, counts, *gradients([counts.float()], each), *gradients([mean, scale], each)))
    for half, exact in zip(*found, strict=True):
        torch.testing.assert_close(
            half.float(), exact.to(half.dtype).float(), rtol=2**-7 if half.dtype == torch.bfloat16 else 1e-5, atol=1e-5
        )
    assert [each.dtype for each in found[0]] == [torch.float32] * 2 + [torch.bfloat16] * 3
    assert torch.equal(found[0][2].float(), found[1][2])
