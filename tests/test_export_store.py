"""The store of results, and the pages made of them."""

import json

import pytest

from export import UserError, pages
from export.provenance import made
from export.store import ROOT, Format, Store, read_json, write_json

KIND = Format("firstspike-own", 2, {"name": str, "rows": list}, {"rows": {"a": int, "b": (int, float)}})
CONTENT = KIND.header | {"name": "x", "rows": [{"a": 1, "b": 2.5}, {"a": 2, "b": 3}]}


def test_what_is_kept_is_read_in_the_order_of_names(tmp_path):
    store = Store(tmp_path)
    for pe in (120, 16, 64):
        assert store.keep(f"own-pe{pe}", CONTENT | {"pe": pe}) == tmp_path / "docs" / "results" / f"own-pe{pe}.json"
    store.keep("other", {"format": "another"})
    assert [content["pe"] for content in store.read_all("own-*", KIND)] == [16, 64, 120]


def test_text(tmp_path):
    """A line per field, and per row of a table."""
    path = write_json(tmp_path / "own.json", CONTENT)
    lines = ["{", '  "format": "firstspike-own",', '  "version": 2,', '  "name": "x",', '  "rows": [']
    assert path.read_text().splitlines() == [*lines, '    {"a": 1, "b": 2.5},', '    {"a": 2, "b": 3}', "  ]", "}"]
    assert read_json(path) == CONTENT


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "must be JSON: "),
        ("[]", "must be a JSON object, not list"),
        ({"format": "else"}, "format must be 'firstspike-own', not 'else'"),
        ({"version": 1}, "version must be 2, the one this release reads, not 1"),
        ({"name": 3}, "header field 'name' must be str, not 3"),
        ({"rows": [{"a": 1}]}, "rows[0] must have a, b, not {'a': 1}"),
        ({"rows": [3]}, "rows[0] must have a, b, not 3"),
    ],
)
def test_mistakes(tmp_path, content, message):
    path = tmp_path / "own.json"
    path.write_text(content if isinstance(content, str) else json.dumps(CONTENT | content))
    with pytest.raises(UserError) as caught:
        KIND.read(path)
    assert str(caught.value).startswith(f"{path}: {message}")


def test_every_committed_result_is_of_a_known_kind_and_says_when_it_was_made():
    paths = sorted(Store().folder.glob("*.json"))
    assert len(paths) > 30
    for path in paths:
        content = read_json(path)
        assert content["format"] in {
            f"firstspike-{kind}" for kind in ("metrics", "figures", "ablation", "codes", "code-table", "cycles", "fpga", "proofs")
        }
        assert {"command", "date", "machine", "commit"} <= set(content), path


def test_provenance():
    content = made()
    assert list(content) == ["command", "date", "commit", "machine"]
    assert content["command"].startswith("python -m ")
    assert set(content["machine"]) == {"cpu", "cores", "python"}


def test_part_of_a_page_is_replaced(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("before\n<begin>\nold\n<end>\nafter\n")
    assert pages.replace(page, "<begin>\n", "<end>\n", "new\n") == page
    assert page.read_text() == "before\n<begin>\nnew\n<end>\nafter\n"
    with pytest.raises(UserError) as caught:
        pages.replace(page, "<begin>\n", "<stop>\n", "new\n")
    assert str(caught.value) == f"{page} must have the lines <begin> and <stop>, between which the table goes"


def test_missing_values_are_mistakes(tmp_path):
    (tmp_path / "page.j2").write_text("{{ value | number }} {{ more }}\n")
    assert pages.fill(tmp_path / "page.j2", {}, value=1234.5, more="x") == "1,234.50 x\n"
    with pytest.raises(Exception, match="'more' is undefined"):
        pages.fill(tmp_path / "page.j2", {}, value=1)


def test_root_is_that_of_the_project():
    assert (ROOT / "pyproject.toml").is_file()
