import pwd
import subprocess
import sys
import tempfile
import threading
from dataclasses import replace

import pytest
from cocotb_tools import config

from export import UserError
from sim import objcache, toolchain
from sim.build import FLAGS, BuildError, cache_folder, compile_model, without_comments

VLT = '`verilator_config\npublic_flat_rw -module "counter" -var "clk"\n'
COUNTER = "module counter(input clk, output reg [7:0] count); always @(posedge clk) count <= count + 1; endmodule\n"


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of its own, but for the objects that every build shares."""
    objects = cache_folder() / "objects"
    objects.mkdir(parents=True, exist_ok=True)
    monkeypatch.setenv("FIRSTSPIKE_CACHE", str(tmp_path / "cache"))
    cache_folder().mkdir(parents=True)
    (cache_folder() / "objects").symlink_to(objects)
    return cache_folder()


def counter(text=COUNTER):
    return compile_model({"public.vlt": VLT, "counter.v": text}, "counter", FLAGS)


def test_built_once(cache):
    first, second, other = counter(), counter(), counter(COUNTER.replace("+ 1", "+ 2"))
    assert (first.cached, second.cached, other.cached) == (False, True, False)
    assert first.seconds > 0 == second.seconds
    assert first.folder == second.folder != other.folder
    assert (first.folder / "counter").exists()
    assert list(first.folder.glob("*.a"))


def test_comments_do_not_count(cache):
    """Where a circuit comes from is no part of it."""
    first, second = counter(), counter("// of a new version\n\n" + COUNTER.replace("output", "/* two\nlines */ output"))
    assert second.cached
    assert first.folder == second.folder
    assert without_comments('a "// b" // c\n\n/* d */ e') == 'a "// b"\n e'


def test_processes_that_want_the_same_share_it(cache):
    builds = []
    threads = [threading.Thread(target=lambda: builds.append(counter())) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(build.cached for build in builds) == [False, True, True]


def test_nothing_half_built_is_left(cache):
    with pytest.raises(BuildError, match=r"the simulator could not be built \(.*\.log\): %Error.*syntax error"):
        counter("module counter(input clk; endmodule\n")
    assert sorted(path.suffix for path in cache.iterdir() if path.name != "objects") == [".lock", ".log"]


SIGNS = """a $x (b) 'c' & d; #e : f " g * h"""


def test_names_with_signs_and_an_environment_that_is_not_ours(cache, tmp_path, monkeypatch):
    """Cache, temporary files, Python, project, cocotb and Verilator lie in folders with such names; variables would break the build."""
    counter()  # whatever objects such a build shares are there
    strange = tmp_path / SIGNS
    strange.mkdir()
    monkeypatch.setenv("FIRSTSPIKE_CACHE", str(strange))
    cache_folder().mkdir()
    (cache_folder() / "objects").symlink_to(cache / "objects")
    monkeypatch.setattr(tempfile, "tempdir", str(strange))
    links = {"python": sys.executable, "objcache.py": objcache.__file__, "libs": config.libs_dir, "share": config.share_dir}
    links["verilator"] = toolchain.find().root
    for name, target in links.items():
        (strange / name).symlink_to(target)
    monkeypatch.setattr(sys, "executable", str(strange / "python"))
    monkeypatch.setattr(objcache, "__file__", str(strange / "objcache.py"))
    monkeypatch.setattr(config, "libs_dir", strange / "libs")
    monkeypatch.setattr(config, "share_dir", strange / "share")
    tools = replace(toolchain.find(), root=strange / "verilator", executable=strange / "verilator" / "bin" / "verilator")
    monkeypatch.setattr(toolchain, "find", lambda: tools)
    for name, value in {
        "CXXFLAGS": "-Wall -Werror -std=c++98",
        "CPPFLAGS": "-DNDEBUG=(",
        "LDFLAGS": "-static",
        "MAKEFLAGS": "-n",
        "VERILATOR_BIN": "nothing",
        "VERILATOR_ROOT": "nowhere",
        "CPATH": "nowhere",
        "GCC_EXEC_PREFIX": "nowhere",
    }.items():
        monkeypatch.setenv(name, value)
    before = {path.name for path in (cache / "objects").iterdir()}
    build = counter()
    assert SIGNS in str(build.folder)
    assert (build.folder / "counter").exists()
    assert counter().cached
    assert {path.name for path in (cache / "objects").iterdir()} == before, "objects must be the same in every folder"


@pytest.mark.parametrize("spoil", [lambda path: path.write_bytes(b""), lambda path: path.write_bytes(path.read_bytes()[:-1])])
def test_a_program_that_is_not_whole_is_built_again(cache, spoil):
    build = counter()
    spoil(build.folder / "counter")
    assert not counter().cached
    assert counter().cached


def test_default_cache(tmp_path, monkeypatch):
    monkeypatch.delenv("FIRSTSPIKE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "firstspike" / "builds"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache" / "firstspike" / "builds"


def test_no_home_for_the_cache(tmp_path, monkeypatch):
    """As of a container's user without an entry in passwd."""

    def unknown(uid):
        raise KeyError(uid)

    for name in ("FIRSTSPIKE_CACHE", "XDG_CACHE_HOME", "HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(pwd, "getpwuid", unknown)
    with pytest.raises(UserError, match=r"^FIRSTSPIKE_CACHE must name a folder for the cache, because the user has no home folder$"):
        cache_folder()
    monkeypatch.setenv("FIRSTSPIKE_CACHE", str(tmp_path))
    assert cache_folder() == tmp_path / "builds"


class TestObjcache:
    @pytest.fixture
    def compiler(self, tmp_path, monkeypatch):
        """A compiler that counts its calls; returns how to call it through the cache."""
        monkeypatch.chdir(tmp_path)
        calls = tmp_path / "calls"
        script = tmp_path / "compiler"
        says = f'[ "$1" = --version ] && exec cat {tmp_path / "version"}'
        script.write_text(f'#!/bin/sh\n{says}\necho call >> {calls}\n[ "$1" = -fail ] && exit 3\ncat "$2" > "$5"\n')
        launcher = tmp_path / "launcher"
        launcher.write_text('#!/bin/sh\n[ "$1" = --version ] && echo launcher || exec "$@"\n')
        for program in (script, launcher):
            program.chmod(0o755)
        (tmp_path / "version").write_text("one")
        (tmp_path / "lib").mkdir()
        source = tmp_path / "lib" / "source.cpp"
        source.write_text('#include "Vtop.h"')

        def call(*arguments, before=()):
            command = [sys.executable, objcache.__file__, str(tmp_path / "kept"), *map(str, before), str(script), *arguments]
            return subprocess.run(command, check=False).returncode

        call.source, call.launcher, call.calls = source, launcher, lambda: len(calls.read_text().splitlines())
        return call

    def test_compiles_once(self, compiler, tmp_path):
        for _ in range(2):
            assert compiler("-O1", str(compiler.source), "-c", "-o", "object.o") == 0
        assert (tmp_path / "object.o").read_text() == '#include "Vtop.h"'
        assert compiler.calls() == 1

    @pytest.mark.parametrize("what", ["source", "header", "interface", "flags"])
    def test_compiles_again_when_something_changed(self, compiler, tmp_path, what):
        assert compiler("-O1", str(compiler.source), "-c", "-o", "object.o") == 0
        path = {"source": compiler.source, "header": tmp_path / "lib" / "new.h", "interface": tmp_path / "Vtop.h"}.get(what)
        if path is not None:
            path.write_text("two")
        assert compiler("-O2" if what == "flags" else "-O1", str(compiler.source), "-c", "-o", "object.o") == 0
        assert compiler.calls() == 2

    def test_does_not_compile_again_for_a_macro_that_nothing_uses(self, compiler, tmp_path):
        for timing in (0, 1):
            assert compiler("-O1", str(compiler.source), "-c", "-o", "object.o", f"-DVM_TIMING={timing}") == 0
        assert compiler.calls() == 1

    @pytest.mark.parametrize("launched", [False, True])
    def test_compiles_again_with_another_compiler(self, compiler, tmp_path, launched):
        for version, calls in (("one", 1), ("one", 1), ("two", 2)):
            (tmp_path / "version").write_text(version)
            before = [compiler.launcher] if launched else []
            assert compiler("-O1", str(compiler.source), "-c", "-o", "object.o", before=before) == 0
            assert compiler.calls() == calls

    def test_keeps_what_does_not_use_the_interface(self, compiler, tmp_path):
        compiler.source.write_text("one")
        for interface in ("a", "b"):
            (tmp_path / "Vtop.h").write_text(interface)
            assert compiler("-O1", str(compiler.source), "-c", "-o", "object.o") == 0
        assert compiler.calls() == 1

    def test_passes_on_what_is_of_this_model(self, compiler, tmp_path):
        (tmp_path / "model.cpp").write_text("model")
        for _ in range(2):
            assert compiler("-O1", "model.cpp", "-c", "-o", "object.o") == 0
        assert compiler.calls() == 2

    @pytest.mark.parametrize("content", [b"", b"#include"])
    def test_compiles_again_what_is_not_whole(self, compiler, tmp_path, content):
        assert compiler("-O1", str(compiler.source), "-c", "-o", "object.o") == 0
        (kept,) = (tmp_path / "kept").iterdir()
        kept.write_bytes(content)
        for _ in range(2):
            assert compiler("-O1", str(compiler.source), "-c", "-o", "object.o") == 0
            assert (tmp_path / "object.o").read_text() == '#include "Vtop.h"'
        assert compiler.calls() == 2

    def test_the_name_of_the_folder_does_not_count(self, compiler, tmp_path, monkeypatch):
        for name in ("one", "two"):
            (tmp_path / name / "objects").mkdir(parents=True)
            monkeypatch.chdir(tmp_path / name / "objects")
            assert compiler("-O1", str(compiler.source), "-c", "-o", "object.o", f"-I{tmp_path / name}/include") == 0
        assert compiler.calls() == 1

    def test_an_object_that_cannot_be_kept(self, compiler, tmp_path):
        (tmp_path / "kept").write_text("in the way")
        assert compiler("-O1", str(compiler.source), "-c", "-o", "object.o") == 0
        assert (tmp_path / "object.o").exists()

    def test_failure(self, compiler, tmp_path):
        assert compiler("-fail", str(compiler.source), "-c", "-o", "object.o") == 3
        assert not list(tmp_path.glob("kept/*"))
