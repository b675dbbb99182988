# amaranth: UnusedElaboratable=no

"""hw.verilog.text: what is written means what Amaranth means, which Yosys proves, and reads as it should."""

import re
from unittest import mock

import numpy as np
import pytest
from amaranth.back.rtlil import convert
from amaranth.hdl import Array, Cat, Module, Mux, ResetInserter, Signal, signed
from amaranth.lib import data, wiring
from amaranth.lib.memory import Memory
from amaranth.lib.wiring import In, Out

from export import Encoder, Network
from hw import Accelerator, Folding
from hw.buses import wrap
from hw.buses.wishbone import WishboneAccelerator
from hw.verilog.design import identifier
from hw.verilog.names import tidy
from hw.verilog.operators import Expression, constant
from hw.verilog.rtlil import parse
from hw.verilog.text import write
from sim.proofs.tools import ToolError, yosys
from tests.maps import Shape, map_network
from tests.networks import random_network


def paths(design, module, path):
    """Modules, and the instances that lead to them."""
    yield path, module
    for cell, inner in design.instances(module):
        yield from paths(design, inner, [*path, cell.name])


def prove(component, folder):
    """That the Verilog is equivalent to the RTLIL that Amaranth writes: register by register, for all inputs and all contents."""
    rtlil = convert(component, "top", emit_src=False)
    before, design = parse(rtlil), tidy(parse(rtlil))
    text = write(design, {})
    (folder / "gold.il").write_text(rtlil)
    (folder / "gate.v").write_text(text)
    old_names: dict[str, str] = {}  # in the flat circuit, by the new ones
    for path, module in paths(design, design.top, []):
        old_module, wires = design.origins[module.name]
        old_path = old_module.split(".")[1:]
        pairs = {new: old for new, old in wires.items() if old in before[old_module].wires and not re.fullmatch(r"\$\d+", old)}
        old_names |= {".".join([*path, new]): ".".join([*old_path, old]) for new, old in pairs.items() if [*path, new] != [*old_path, old]}
    renaming = [f"rename \\{old} away_{number}" for number, old in enumerate(old_names.values())]
    there = {".".join(filter(None, [name.partition(".")[2], wire])) for name, module in before.items() for wire in module.wires}
    others = (there & old_names.keys()) - set(old_names.values())  # names that now stand for something else
    renaming += [f"rename \\{new} gone_{number}" for number, new in enumerate(sorted(others))]
    renaming += [f"rename away_{number} \\{new}" for number, new in enumerate(old_names)]
    flat = ["hierarchy -check -top top", "proc", "flatten"]
    mapped = ["memory_dff", "memory_collect", "memory_map", "opt_clean"]
    gold = ["read_rtlil gold.il", *flat, "cd top", *renaming, "cd", *mapped, "rename top gold", "design -stash gold"]
    gate = ["read_verilog gate.v", *flat, *mapped, "rename top gate", "design -stash gate"]
    both = [f"design -copy-from {side} -as {side} {side}" for side in ("gold", "gate")]
    proof = ["equiv_make gold gate equiv", "hierarchy -top equiv", "opt_clean", "equiv_simple", "equiv_induct"]
    log = yosys("\n".join([*gold, *gate, *both, *proof, "equiv_status -assert"]), folder)
    assert "Equivalence successfully proven!" in log
    return text, int(re.search(r"Of those cells (\d+) are proven and 0 are unproven", log)[1])


class Operators(wiring.Component):
    """All operators, signed and not, of widths that fit and that do not."""

    def __init__(self):
        self.made = []
        super().__init__({"a": In(5), "b": In(3), "c": In(signed(4)), "d": In(signed(6)), "e": In(1), "o": Out(400)})

    def elaborate(self, platform):
        m = Module()
        a, b, c, d, e = self.a, self.b, self.c, self.d, self.e
        values = [a + b, a - b, b - a, a * b, c + d, c - a, c * d, -a, -c, ~a, ~c, a & b, a | c, c ^ d, d & b]
        values += [a == b, c != d, a < b, c < d, c <= b, d > a, c >= d, c == -1, e == 1, e == 0, e != 1]
        values += [a.any(), a.all(), c.xor(), e.any(), Mux(e, a, c), Mux(a, b, d), Mux(e, 1, 0)]
        values += [a << b, a >> b, c >> b, d >> 1, a << 2, (a + b)[:3], (a + b)[4], (c * d).as_unsigned()[2:5], a // b, a % b]
        values += [a.bit_select(b, 2), a.word_select(b[:2], 2), Array([a, b, c])[b], Cat(a, e, c), e.replicate(5), abs(c), a.rotate_left(2)]
        values += [~(a & ~(b | ~a)), (a + b) * (a - b), ((a + b) >> 1) + c, (a.any() & ~b.any()) | (e & (c < d))]
        m.d.comb += self.o.eq(Cat(values))
        return m


class Statements(wiring.Component):
    """All statements, in clocked and other processes."""

    a: In(4)
    b: In(3)
    o: Out(6)
    kept: Out(4)
    counted: Out(5, init=3)
    shown: Out(data.StructLayout({"low": 3, "high": signed(3)}))

    def elaborate(self, platform):
        m = Module()
        held = Signal(4, reset_less=True)
        wait, inside = Signal(3), Signal()  # words of Verilog
        m.d.comb += inside.eq(self.a[0] ^ self.b[1])
        with m.If(self.a == 3):
            m.d.comb += self.o.eq(self.b)
        with m.Elif(self.a[3] & inside):
            m.d.comb += self.o[2:4].eq(self.a)
        with m.Else(), m.Switch(self.b):
            with m.Case("1-0", 3):
                m.d.comb += self.o.eq(1)
            with m.Case("-11"):
                m.d.comb += [self.o.eq(2), self.o[4].eq(wait[0])]
            with m.Case(5):
                pass
            with m.Default():
                m.d.comb += self.o.eq(self.a + wait)
        with m.If(self.b[0]):
            m.d.sync += [held.eq(self.a), self.kept.eq(held)]
        with m.Switch(self.a):
            with m.Case("1---"):
                m.d.sync += self.counted.eq(self.counted + self.b)
            with m.Case(0, 1):
                m.d.sync += self.counted[1:3].eq(wait)
        m.d.sync += [wait.eq(wait + 1), self.shown.low.eq(self.shown.high)]
        with m.If(inside):
            m.d.sync += [self.shown.high.eq(self.a), self.shown.low.eq(0)]
        return m


class Memories(wiring.Component):
    """Ports that wait, that see what is written, that write in part; content that is given, and none."""

    address: In(3)
    other: In(3)
    data: In(8)
    enable: In(2)
    read: In(1)
    o: Out(8)
    seen: Out(8)
    at_once: Out(4)
    fixed: Out(3)

    def elaborate(self, platform):
        m = Module()
        m.submodules.memory = memory = Memory(shape=8, depth=6, init=[3, 1, 4])
        write = memory.write_port(granularity=4)
        plain, sees = memory.read_port(), memory.read_port(transparent_for=(write,))
        m.submodules.small = small = Memory(shape=4, depth=2, init=[])
        into, at_once = small.write_port(), small.read_port(domain="comb")
        m.submodules.fixed = fixed = Memory(shape=3, depth=8, init=[1, 2, 3, 4, 5, 6, 7, 0])
        table = fixed.read_port()
        m.d.comb += [
            *(port.addr.eq(self.address) for port in (write, plain, into, table)),
            *(sees.addr.eq(self.other), at_once.addr.eq(self.other)),
            *(write.data.eq(self.data), write.en.eq(self.enable), into.data.eq(self.data), into.en.eq(self.enable[0])),
            *(plain.en.eq(self.read), sees.en.eq(self.read | self.enable[0])),
            *(self.o.eq(plain.data), self.seen.eq(sees.data), self.at_once.eq(at_once.data), self.fixed.eq(table.data)),
        ]
        return m


class Adder(wiring.Component):
    """Sums of pairs, each from a cell of its own; part of a register goes out."""

    a: In(12)
    sums: Out(16)
    part: Out(2)
    unused: Out(3)

    def elaborate(self, platform):
        m = Module()
        register = Signal(8)
        m.d.sync += register.eq(register + self.a)
        m.d.comb += [
            self.sums.eq(Cat((self.a[3 * k : 3 * k + 3] + k)[:4] for k in range(4))),
            self.part.eq(register[3:5]),
            self.unused.eq(self.a[:3] ^ 5),
        ]
        return m


class Hierarchy(wiring.Component):
    """Signals of one name in many places, values that cross borders in parts, a module that is not ours."""

    a: In(12)
    reset: In(1)
    o: Out(20)

    def elaborate(self, platform):
        m = Module()
        m.submodules.first = first = Adder()
        m.submodules.second = second = ResetInserter(self.reset)(Adder())
        inner = Adder()
        m.submodules.inner = inner
        m.d.comb += [first.a.eq(self.a), second.a.eq(first.sums), inner.a.eq(Cat(second.part, first.sums[4:]))]
        m.d.comb += self.o.eq(Cat(inner.sums, first.part, inner.part))
        return m


@pytest.mark.parametrize("component", [Operators, Statements, Memories, Hierarchy])
def test_equivalent_to_what_amaranth_writes(tmp_path, component):
    text, proven = prove(component(), tmp_path)
    assert proven > 0
    assert "\\" not in text
    assert text.isascii()


def accelerator(frames_in, form):
    network = random_network(np.random.default_rng(1), (5, 3, 2), 3)
    folding = Folding((2, 2), (2, 2), (form, "delta"), contexts=1)
    return Accelerator(Network(network.layers, 3, Encoder("latency")), folding, frames_in=frames_in)


def maps(steps):
    network = map_network(np.random.default_rng(1), (3, 4, 1), [Shape(2, (2, 2))], 2, steps, "single", last_pool=(1, 2))
    return Accelerator(network, Folding((1, 2), (1, 2), ("delta", "delta")))


def one_position():
    """By rows: parts of what is added up and wraps are not needed then, and what they are made of neither."""
    network = map_network(np.random.default_rng(1), (2, 2, 2), [Shape(3, (2, 2))], 2, 1, "graded")
    return Accelerator(network, Folding((2, 1), (2, 2), ("delta", "delta")))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("words", lambda: accelerator("words", "delta")),
        ("maps", lambda: maps(3)),
        ("rows", lambda: maps(1)),
        ("one position", one_position),
        ("axi", lambda: wrap(accelerator("words", "xnor"), "axi")),
        pytest.param("wishbone", lambda: WishboneAccelerator(accelerator("pixels", "delta"), room=4), marks=pytest.mark.proofs),
    ],
)
def test_circuits_are_equivalent(tmp_path, name, make):
    _, proven = prove(make(), tmp_path)
    assert proven > 100


@pytest.mark.parametrize(
    "change",
    [(" + ", " - "), ("b[1:0] == 2'b11", "b[1:0] == 2'b01"), ("4'b1???", "4'b?1??"), ("<= held", "<= a")],
    ids=["sum", "choice", "pattern", "register"],
)
def test_a_fault_is_found(tmp_path, change):
    honest = write
    changed = mock.patch(f"{__name__}.write", lambda *arguments: honest(*arguments).replace(*change, 1))
    with changed, pytest.raises(ToolError, match="unproven"):
        prove(Statements(), tmp_path)


@pytest.mark.parametrize(
    ("bits", "text"),
    [("0", "1'b0"), ("1010", "4'b1010"), ("10100", "5'h14"), ("1" * 9, "9'h1ff"), ("1x01z", "5'b1x01z"), ("0" * 13, "13'h0000")],
)
def test_constants(bits, text):
    assert constant(tuple(reversed(bits))) == text


def test_parentheses():
    both = Expression("a & b", "&")
    assert both.within("&") == "a & b"
    assert both.within("|") == both.within("unary") == "(a & b)"
    assert Expression("!a", "unary").within("&") == "!a"
    assert Expression("!a", "unary").within("unary") == "(!a)"
    assert Expression("a - b", "-").within("-") == "(a - b)"
    assert Expression("a").within("unary") == "a"


class Unknown(wiring.Component):
    a: In(signed(5))
    o: Out(5)

    def elaborate(self, platform):
        m = Module()
        m.d.comb += self.o.eq(self.a // 3)
        return m


def test_operators_that_are_not_known():
    with pytest.raises(ValueError, match=r"cannot write operator \$divfloor as Verilog"):
        write(tidy(parse(convert(Unknown()))), {})


def test_what_is_no_rtlil():
    with pytest.raises(ValueError, match="RTLIL: wire of clay"):
        parse("module \\top\n  wire of clay\nend\n")
    with pytest.raises(ValueError, match="RTLIL ends inside a module"):
        parse("module \\top\n")


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("word", "word_1"),
        ("word$12", "word_1"),
        ("words", "words"),
        ("i.payload", "i_payload"),
        ("$signal$3", "signal"),
        ("wait", "wait_"),
        ("Ünit", "_nit"),
    ],
)
def test_identifiers(name, result):
    assert identifier(name, {"word"}) == result
