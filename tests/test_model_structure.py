import numpy as np
import pytest

from export import Conv2d, Dense, Layer, Network, Pool2d, Readout, Single, UserError
from model import structure
from model.structure import Stage, parse


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        ("10", [Stage(10)]),
        ("600-600-10", [Stage(600), Stage(600), Stage(10)]),
        ("32C3-P2-64C3-P2-256-10", [Stage(32, 3), Stage(64, 3, pool=2), Stage(256, pool=2), Stage(10)]),
        ("32C3s2-64C5p2-8C3s2p1-10", [Stage(32, 3, 2), Stage(64, 5, 1, 2), Stage(8, 3, 2, 1), Stage(10)]),
        ("P4-10", [Stage(10, pool=4)]),
        ("1C1p0-2", [Stage(1, 1), Stage(2)]),
    ],
)
def test_stages(text, stages):
    assert parse(text) == tuple(stages)


SUCH = "structure must be of layers such as 32C3, 32C3s2p1, P2 and 256, joined by -, as 32C3-P2-64C3-P2-10 is, not "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", SUCH + "''"),
        ("32C3--10", SUCH + "''"),
        ("32c3-10", SUCH + "'32c3'"),
        ("C3-10", SUCH + "'C3'"),
        ("0C3-10", SUCH + "'0C3'"),
        ("32C0-10", SUCH + "'32C0'"),
        ("32C3s0-10", SUCH + "'32C3s0'"),
        ("32C3p1s2-10", SUCH + "'32C3p1s2'"),
        ("32C3-P1-10", SUCH + "'P1'"),
        ("32C3-P-10", SUCH + "'P'"),
        ("32C3-P2-10 ", SUCH + "'10 '"),
        ("32C3-9999999999", SUCH + "'9999999999'"),
        ("3\u0662C3-10", SUCH + "'3\u0662C3'"),
        ("32C3", "structure must end with the number of classes, not with 32C3"),
        ("32C3-P2", "structure must end with the number of classes, not with P2"),
        ("P2", "structure must end with the number of classes, not with P2"),
        ("10-P2", "structure must pool maps, not the dense layer 10 in front of P2"),
        ("32C3-P2-P3-10", "structure must have one pool between two layers, not P3 behind P2"),
        ("256-32C3-10", "structure must have its convolutions in front of dense layers, not 32C3 behind 256"),
        ("32C3p3-10", "padding must be less than the kernel, but 32C3p3 has 3 for kernels of 3"),
    ],
)
def test_mistakes(text, message):
    with pytest.raises(UserError) as caught:
        parse(text)
    assert str(caught.value) == message


@pytest.mark.parametrize("stage", [Stage(10), Stage(32, 3), Stage(32, 3, 2), Stage(32, 3, 1, 2), Stage(32, 3, 2, 1, pool=3)])
def test_a_stage_is_written_as_it_is_read(stage):
    assert parse(f"{stage}-10")[0] == stage._replace(pool=1)


def ones(*shape):
    return np.ones(shape, np.int8)


def test_of_any_network():
    first = Layer(Conv2d(ones(4, 2, 3, 3), (9, 8), stride=2, padding=1), Single([1] * 4), Pool2d((18, 16), 2, 2))
    second = Layer(Conv2d(ones(3, 4, 2, 3), (5, 4), stride=(1, 2)), Single([1] * 3))
    last = Layer(Dense(ones(10, 6)), Readout([0] * 10), Pool2d((4, 1), 3, (2, 1), "max"))
    assert structure.notation(Network((first, second, last), 1)) == "2x18x16-P2-4C3s2p1-3C2x3s1x2-P2x1-10"
    assert structure.notation(Network((Layer(Dense(ones(10, 6)), Readout([0] * 10)),), 1)) == "6-10"


@pytest.mark.parametrize(("inputs", "text"), [((784,), "784"), ((28, 28, 1), "28x28"), ((40, 16, 2), "2x40x16")])
def test_inputs(inputs, text):
    assert structure.shown(inputs) == text
