"""What is measured is what is said: bytes of known tensors, medians of known times."""

import time

import pytest
import torch

from model.comparison.measuring import Comparison, Row, clock, interleave, peak_bytes

MEGA = 250_000  # float32 numbers of a million bytes


def test_peak_of_what_is_alive_together():
    def function():
        first = torch.empty(MEGA)
        second = torch.empty(2 * MEGA)
        del first
        third = torch.empty(MEGA // 2)
        return second, third

    assert peak_bytes(function) == 3_000_000


def test_temporaries_count():
    before = torch.ones(MEGA)

    def function():
        return ((before + before) * (before - before)).sum()

    assert 3_000_000 <= peak_bytes(function) < 3_001_000


def test_what_was_there_before_does_not_count():
    held = [torch.empty(3 * MEGA)]

    def function():
        torch.empty(MEGA)
        held.clear()
        torch.empty(MEGA)

    assert peak_bytes(function) == 1_000_000


def test_what_autograd_keeps_counts():
    weights, inputs = torch.ones(1, requires_grad=True), torch.ones(MEGA)

    def function(layers):
        values = inputs
        for _ in range(layers):
            values = (values * weights).sigmoid()  # keeps its result
        values.sum().backward()

    assert peak_bytes(lambda: function(8)) - peak_bytes(lambda: function(4)) >= 4_000_000


def test_threads_are_as_before():
    threads = torch.get_num_threads()

    def function():
        assert torch.get_num_threads() == 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        peak_bytes(function)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize(("threads", "name"), [(1, "process_time"), (2, "perf_counter")])
def test_alternate(monkeypatch, threads, name):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    assert clock() == {1: "processor time", 2: "time by the clock"}[threads]
    durations, at, calls = iter([1, 10, 2, 50, 9, 20]), [0], []

    def function(key):
        calls.append(key)
        at[0] += next(durations)

    monkeypatch.setattr(time, name, lambda: at[0])
    seconds = interleave({"a": lambda: function("a"), "b": lambda: function("b")}, 3)
    assert calls == ["a", "b"] * 3
    assert seconds == {"a": 2, "b": 20}
    assert next(durations, None) is None


def test_comparison():
    rows = [Row("speed", "ms", 1, 64, 16), Row("accuracy", "%", 2, 97.5, 98, ratio=False)]
    comparison = Comparison("A beside B", "Once.", "A", rows, [("an epoch", 3.76, "s")])
    assert comparison.figures() == [
        ("speed, A", 64, "ms"),
        ("speed, this project", 16, "ms"),
        ("speed, A / this project", 4, "×"),
        ("accuracy, A", 97.5, "%"),
        ("accuracy, this project", 98, "%"),
        ("an epoch", 3.76, "s"),
    ]
    assert [" ".join(line.split()) for line in str(comparison).splitlines()] == [
        "A beside B",
        "Once.",
        "A this project ratio",
        "speed, ms 64.0 16.0 4.0×",
        "accuracy, % 97.50 98.00",
        "an epoch: 3.8 s",
    ]
