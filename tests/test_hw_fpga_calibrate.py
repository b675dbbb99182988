"""The fit behind the area forecast."""

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

import hw.fpga.forecast
from hw import Folding
from hw.fpga import calibrate
from hw.fpga.devices import DEVICES, FAMILIES
from hw.fpga.flow import Area
from hw.fpga.forecast import COEFFICIENTS, forecast
from hw.fpga.terms import Part
from tests.networks import random_network


def test_the_fit_finds_what_parts_are_made_of():
    """Areas that are exact sums of terms, some of which cost nothing."""
    rng = np.random.default_rng(5)
    costs = {"constant": 21.0, "neurons": 3.5, "potential bits": 1.25, "idle bits": 0.0}
    rows = []
    for _ in range(12):
        amounts = {"constant": 1.0} | {name: float(rng.integers(1, 300)) for name in costs if name != "constant"}
        luts = sum(costs[name] * amount for name, amount in amounts.items())
        rows.append((Part("layer", "layer_0", amounts), Area(luts=luts)))
    fitted = calibrate._fit_part("ecp5", rows, "luts")
    assert fitted == {name: pytest.approx(cost, rel=1e-3) for name, cost in costs.items() if cost}


def test_committed_coefficients_hold_on_circuits_that_the_fit_has_not_seen():
    content = json.loads(COEFFICIENTS.read_text())
    assert (content["format"], content["version"]) == ("firstspike-area-coefficients", 1)
    assert set(content["families"]) == set(FAMILIES)
    for name, family in content["families"].items():
        errors = family["errors"]["luts"]
        assert len(errors) >= 24, name
        assert max(map(abs, errors)) <= 0.15, name
    for name in ("ice40", "ecp5"):  # those of the boards
        errors = content["families"][name]["hosted_errors"]["luts"]
        assert len(errors) >= 8, name
        assert max(map(abs, errors)) <= 0.15, name


@pytest.mark.parametrize("name", ["hx8k", "ecp5-25k", "xc7"])
def test_forecast_of_a_circuit_that_the_fit_has_not_seen(name, monkeypatch):
    network = random_network(np.random.default_rng(77), (60, 30, 6), 8)
    folding = Folding((4, 6), (15, 6), ("delta", "delta"), ("step", "event"), contexts=2)
    monkeypatch.setattr(calibrate, "random_circuit", lambda rng: (network, folding, "words", "rom"))
    sample = calibrate.Sample(0, DEVICES[name])
    assert sum(area.luts for area in sample.areas.values()) == sample.whole.luts
    expected = forecast(network, folding, "words", DEVICES[name].family.name)
    assert expected.luts == pytest.approx(sample.whole.luts, rel=0.15)
    if sample.placed is not None:
        assert expected.placed == pytest.approx(sample.placed, rel=0.15)
    assert expected.block_rams == sample.whole.block_rams


def test_random_circuits_are_valid_and_always_the_same():
    for seed in range(60):
        network, folding, *_ = calibrate.random_circuit(np.random.default_rng(seed))
        folding.plans(network)
        assert calibrate.random_circuit(np.random.default_rng(seed))[1] == folding


def test_command(tmp_path, monkeypatch, capsys):
    """With circuits that are not synthesised: their areas are what the committed coefficients say."""
    hw.fpga.forecast.coefficients.cache_clear()

    class Foretold:
        def __init__(self, index, device, *, hosted=False):
            self.network, self.folding, self.frames_in, weights = calibrate.random_circuit(np.random.default_rng(index))
            if hosted:
                self.folding, self.frames_in = replace(self.folding, pixels=1), "pixels"
            self.parts = calibrate.parts(self.network, self.folding, self.frames_in, weights, hosted=hosted)
            fitted = hw.fpga.forecast.coefficients()["ecp5"]
            areas = {part.name: hw.fpga.forecast.of_part(fitted, "ecp5", part) for part in self.parts}
            self.areas = {name: Area(luts=area["luts"], ffs=area["ffs"]) for name, area in areas.items()}
            self.whole = SimpleNamespace(**{q: sum(area[q] for area in areas.values()) for q in calibrate.QUANTITIES})
            self.placed = self.whole.luts

    monkeypatch.setattr(calibrate, "Sample", Foretold)
    out = tmp_path / "coefficients.json"
    assert calibrate.main(["--designs", "30", "--held-out", "5", "--family", "ecp5", "--out", str(out)]) == 0
    assert capsys.readouterr().out.endswith(f"{out}\n")
    content = json.loads(out.read_text())
    assert set(content["families"]) == {"ecp5"}
    for errors in ("errors", "hosted_errors"):
        assert max(map(abs, content["families"]["ecp5"][errors]["luts"])) < 0.02
    assert content["families"]["ecp5"]["placed"]["luts"] == pytest.approx(1.0, abs=1e-3)
