"""hw.host.pll: dividers within the limits of the data sheets."""

import pytest

from export import UserError
from hw.host.pll import ecp5_setting, ice40_setting


@pytest.mark.parametrize(
    ("reference", "hz", "out", "parameters", "filter_range"),
    [
        (12e6, 20e6, 20.25e6, {"DIVR": 0, "DIVF": 53, "DIVQ": 5}, 1),
        (12e6, 21e6, 21e6, {"DIVR": 0, "DIVF": 55, "DIVQ": 5}, 1),
        (12e6, 24e6, 24e6, {"DIVR": 0, "DIVF": 63, "DIVQ": 5}, 1),
        (12e6, 48e6, 48e6, {"DIVR": 0, "DIVF": 63, "DIVQ": 4}, 1),
        (25e6, 26e6, 26.5625e6, {"DIVR": 0, "DIVF": 33, "DIVQ": 5}, 2),
        (100e6, 100e6, 100e6, {"DIVR": 0, "DIVF": 7, "DIVQ": 3}, 5),
    ],
)
def test_ice40(reference, hz, out, parameters, filter_range):
    setting = ice40_setting(reference, hz)
    assert (setting.hz, setting.parameters, setting.filter_range) == (out, parameters, filter_range)


@pytest.mark.parametrize(
    ("reference", "hz", "out", "parameters"),
    [
        (25e6, 50e6, 50e6, {"CLKI_DIV": 1, "CLKFB_DIV": 2, "CLKOP_DIV": 12}),
        (25e6, 100e6, 100e6, {"CLKI_DIV": 1, "CLKFB_DIV": 4, "CLKOP_DIV": 6}),
        (25e6, 80e6, 87.5e6, {"CLKI_DIV": 2, "CLKFB_DIV": 7, "CLKOP_DIV": 7}),
        (12e6, 60e6, 60e6, {"CLKI_DIV": 1, "CLKFB_DIV": 5, "CLKOP_DIV": 10}),
    ],
)
def test_ecp5(reference, hz, out, parameters):
    setting = ecp5_setting(reference, hz)
    assert (setting.hz, setting.parameters) == (out, parameters)


@pytest.mark.parametrize("reference", [12e6, 25e6, 100e6])
@pytest.mark.parametrize("hz", range(27, 250, 13))
def test_limits(reference, hz):
    """Every setting is within the limits, not slower than asked for, and not much faster."""
    ice40 = ice40_setting(reference, hz * 1e6)
    oscillator = reference * (ice40.parameters["DIVF"] + 1)
    assert 533e6 <= oscillator <= 1066e6
    assert ice40.hz == oscillator / (1 << ice40.parameters["DIVQ"])
    ecp5 = ecp5_setting(reference, hz * 1e6)
    detector = reference / ecp5.parameters["CLKI_DIV"]
    assert detector >= 10e6
    assert ecp5.hz == detector * ecp5.parameters["CLKFB_DIV"]
    assert 400e6 <= ecp5.hz * ecp5.parameters["CLKOP_DIV"] <= 800e6
    for setting in (ice40, ecp5):
        assert hz * 1e6 <= setting.hz <= 1.5 * hz * 1e6


@pytest.mark.parametrize(
    ("setting", "reference", "hz", "message"),
    [
        (ice40_setting, 12e6, 276e6, "an iCE40's PLL must be asked for at most 275 MHz, from 10 to 133 MHz, not 276 from 12 MHz"),
        (ice40_setting, 8e6, 24e6, "an iCE40's PLL must be asked for at most 275 MHz, from 10 to 133 MHz, not 24 from 8 MHz"),
        (ecp5_setting, 25e6, 401e6, "an ECP5's PLL must be asked for at most 400 MHz, from 10 to 400 MHz, not 401 from 25 MHz"),
    ],
)
def test_clock_that_cannot_be(setting, reference, hz, message):
    with pytest.raises(UserError, match=f"^{message}$"):
        setting(reference, hz)
