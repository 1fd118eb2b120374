"""Values change in place: everything else of the text stays, byte for byte."""

import difflib

import pytest
import yaml

from experiments.calibrate.yaml_edit import NotInFileError, with_block, with_values
from tests.helpers.folders import ROOT

TEXT = """\
# A file.
name: made  # up
latency:                  # in cycles
  near: 90                # behind a short value
  far: 1000   # and one that is not aligned
lines: {a: 7, b: 12}      # 0 head
touches: [a 0-6 w, b 3 r]
source: "quoted # no comment"
"""


def changed_lines(before: str, after: str) -> list[str]:
    return [line[2:] for line in difflib.ndiff(before.splitlines(), after.splitlines()) if line.startswith("+ ")]


def test_values_change_and_comments_keep_their_columns() -> None:
    new = with_values(
        TEXT, {("latency", "near"): 110, ("latency", "far"): 95, ("lines", "a"): 10, ("touches", 0): "a 0-9 w", ("name",): "real"}
    )
    assert changed_lines(TEXT, new) == [
        "name: real  # up",
        "  near: 110               # behind a short value",
        "  far: 95     # and one that is not aligned",
        "lines: {a: 10, b: 12}     # 0 head",
        "touches: [a 0-9 w, b 3 r]",
    ]
    assert yaml.safe_load(new) == {
        "name": "real",
        "latency": {"near": 110, "far": 95},
        "lines": {"a": 10, "b": 12},
        "touches": ["a 0-9 w", "b 3 r"],
        "source": "quoted # no comment",
    }


def test_a_comment_without_room_is_not_swallowed() -> None:
    assert with_values("a: 1 # why\n", {("a",): 123456}) == "a: 123456 # why\n"
    assert with_values("a: 1  # why\n", {("a",): 123456}) == "a: 123456 # why\n"


@pytest.mark.parametrize("path", [("nothing",), ("latency", "nothing"), ("latency",), ("touches", 2), ("name", "x"), ("source",)])
def test_what_is_no_plain_value_of_the_text_is_refused(path: tuple[str | int, ...]) -> None:
    with pytest.raises(NotInFileError, match=r"\.".join(map(str, path))):
        with_values(TEXT, {path: 1})


def test_a_block_stands_at_the_end_and_is_replaced() -> None:
    once = with_block(TEXT, "record", ["first", "  more"])
    assert once == TEXT + "\n# record:\n#   first\n#     more\n"
    assert with_block(once, "record", ["second"]) == TEXT + "\n# record:\n#   second\n"
    assert with_block(once + "added: later\n", "record", ["x"]) == TEXT + "\nadded: later\n\n# record:\n#   x\n"


@pytest.mark.parametrize("name", ["costs/freebsd7", "machine/opteron_2x2"])
def test_the_projects_files_can_be_written(name: str) -> None:
    text = (ROOT / "conf" / f"{name}.yaml").read_text()
    values = yaml.safe_load(text)
    assert with_values(text, {}) == text
    group = "operations" if name.startswith("costs") else "latency"
    key = "cycles" if group == "operations" else None
    paths = {(group, item, key) if key else (group, item): value[key] if key else value for item, value in values[group].items()}
    new = with_values(text, {path: value + 7777 for path, value in paths.items()})
    assert len(changed_lines(text, new)) == len(paths)
    assert with_values(new, paths) == text or name.startswith("machine")
    comments = [line.partition("#")[2] for line in text.splitlines()]
    assert [line.partition("#")[2] for line in new.splitlines()] == comments
