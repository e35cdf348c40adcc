"""Strict reading of records, and files that are never seen half-written."""

from dataclasses import dataclass
from typing import Any

import pytest

from kslottery_core.errors import KSLotteryError, RunError
from kslottery_core.records import (
    append_json_line,
    drop_torn_line,
    load_json,
    load_json_lines,
    read_record,
    replace_file,
    save_json,
)


@dataclass(frozen=True)
class Inner:
    name: str


@dataclass(frozen=True)
class Outer:
    number: float
    inner: Inner
    ids: tuple[int, ...] = ()
    maybe: int | None = None
    sizes: dict[str, int] | None = None
    anything: Any = None


def test_nested_records_are_read_with_their_types():
    got = read_record(
        Outer, {"number": 1, "inner": {"name": "x"}, "ids": [1, 2], "sizes": {"a": 3}, "anything": [{}]}, "file"
    )
    assert got == Outer(1.0, Inner("x"), (1, 2), None, {"a": 3}, [{}])
    assert isinstance(got.number, float)


@pytest.mark.parametrize(
    ("mapping", "message"),
    [
        ([], "file: expected a JSON object"),
        ({"number": 1}, "file: the field 'inner' is missing"),
        ({"number": "1", "inner": {"name": "x"}}, "field 'number': expected float, found '1'"),
        ({"number": True, "inner": {"name": "x"}}, "expected float, found True"),
        ({"number": 1, "inner": {"name": 2}}, "field 'inner': field 'name': expected str, found 2"),
        ({"number": 1, "inner": {"name": "x"}, "ids": [1, "2"]}, "field 'ids': expected int, found '2'"),
        ({"number": 1, "inner": {"name": "x"}, "maybe": "3"}, "expected int, found '3'"),
        ({"number": 1, "inner": {"name": "x"}, "new": 1}, "unknown field 'new'"),
    ],
)
def test_a_wrong_record_is_refused_with_its_field(mapping, message):
    with pytest.raises(RunError, match=message):
        read_record(Outer, mapping, "file", RunError)


def test_json_survives_its_file_and_leaves_no_scratch(tmp_path):
    save_json(tmp_path / "new" / "a.json", {"é": [1, None]})
    assert load_json(tmp_path / "new" / "a.json") == {"é": [1, None]}
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["a.json"]
    assert "é" in (tmp_path / "new" / "a.json").read_text(encoding="utf-8")


def test_unreadable_json_is_told_with_its_place(tmp_path):
    (tmp_path / "broken.json").write_text('{"a": 1,\n}')
    with pytest.raises(KSLotteryError, match=r"broken.json: expected JSON.*line 2, column 1"):
        load_json(tmp_path / "broken.json")
    with pytest.raises(KSLotteryError, match="found no file there"):
        load_json(tmp_path / "missing.json")
    with pytest.raises(KSLotteryError, match="cannot be read"):
        load_json(tmp_path)


def test_lines_are_added_and_read_and_a_torn_one_is_cut_off(tmp_path):
    path = tmp_path / "lines.jsonl"
    assert load_json_lines(path) == []
    drop_torn_line(path)
    for value in ({"é": 1}, [2]):
        append_json_line(path, value)
    path.write_bytes(path.read_bytes() + b'broken\n{"torn": ')
    assert load_json_lines(path) == [{"é": 1}, [2], None]
    drop_torn_line(path)
    append_json_line(path, 3)
    assert load_json_lines(path) == [{"é": 1}, [2], None, 3]


def test_replacing_a_file_makes_no_folder_and_leaves_what_was_there(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError):
        replace_file(tmp_path / "gone" / "a", "text")
    assert list(tmp_path.iterdir()) == []
    replace_file(tmp_path / "a", "before")

    def refuse(self, target):
        raise OSError("full")

    monkeypatch.setattr(type(tmp_path), "replace", refuse)
    with pytest.raises(OSError, match="full"):
        replace_file(tmp_path / "a", b"after")
    monkeypatch.undo()
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("a", "before")]
