"""Every field of every record says what it is."""

import ast
import io
import tokenize
from pathlib import Path

import pytest

from tests.helpers.folders import ROOT

FILES = sorted((ROOT / "netstack").rglob("*.py"))
BASES = ("Record",)


def undocumented(source: str) -> list[str]:
    """Return ``class.field`` of each field of a record that has no comment on its line."""
    tokens = tokenize.generate_tokens(io.StringIO(source).readline)
    comments = {token.start[0] for token in tokens if token.type == tokenize.COMMENT}
    found = []
    for node in ast.walk(ast.parse(source)):
        if not (isinstance(node, ast.ClassDef) and {ast.unparse(base) for base in node.bases} & set(BASES)):
            continue
        for field in node.body:
            if isinstance(field, ast.AnnAssign) and field.lineno not in comments:
                found.append(f"{node.name}.{ast.unparse(field.target)}")
    return found


def declared_otherwise(source: str) -> list[int]:
    """Return lines that declare a layout of several fields without a record's class."""
    lines = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("np.dtype", "numpy.dtype"):
            fields = node.args[0] if node.args else None
            if isinstance(fields, ast.List) and len(fields.elts) > 1 and not any(isinstance(e, ast.Starred) for e in fields.elts):
                lines.append(node.lineno)
    return lines


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_field_of_a_record_has_a_comment(path: Path) -> None:
    assert undocumented(path.read_text()) == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_record_is_declared_as_a_class(path: Path) -> None:
    assert declared_otherwise(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("class A(Record):\n    x: i8  # meters\n    y: i8\n", ["A.y"]),
        ("class A(Record):\n    # Sizes\n    x: i8\n", ["A.x"]),
        ("class A(Other):\n    y: i8\n", []),
        ("class A(Record):\n    x: Annotated[i8, 3]\n    y: B  # more\n", ["A.x"]),
    ],
)
def test_a_field_without_a_comment_is_found(source: str, found: list[str]) -> None:
    assert undocumented(source) == found


def test_a_layout_without_a_class_is_found() -> None:
    assert declared_otherwise('A = np.dtype([("x", "i8"), ("y", "i4")], align=True)\nB = np.dtype("i8")\n') == [1]
