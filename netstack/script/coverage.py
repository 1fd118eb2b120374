"""Which sections of which RFC scripts test, by what they say of themselves. Runs nothing."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from netstack.script.syntax import Script

_REFERENCE = re.compile(r"RFC (\d+)(?:, (?:sections? )?(\d[\d.]*(?:(?:, | and | to )\d[\d.]*)*))?")
_NUMBER = re.compile(r"\d+(?:\.\d+)*")

Section = tuple[int, tuple[int, ...]]
"""An RFC and the numbers of a section; none for all of it."""


def sections_of(script: Script) -> set[Section]:
    """Return the sections that a script names: its case, or the comment that it begins with."""
    text = script.case or " ".join(_first_comment(script))
    found: set[Section] = set()
    for match in _REFERENCE.finditer(text):
        numbers = _NUMBER.findall(match[2] or "")
        found |= {(int(match[1]), tuple(int(part) for part in number.split("."))) for number in numbers} or {(int(match[1]), ())}
    return found


def _first_comment(script: Script) -> list[str]:
    lines = []
    for line in script.lines:
        if not line.startswith("//"):
            break
        lines.append(line.removeprefix("//").strip())
    return lines


def coverage_table(scripts: Iterable[Script]) -> str:
    """Return a table in Markdown with a row per section: how many cases test it, and the files that they are in."""
    cases: dict[Section, list[str]] = defaultdict(list)
    total = 0
    for script in scripts:
        total += 1
        path = Path(script.path)
        name = path.stem if path.parent.name == "scripts" else f"{path.parent.name}/{path.stem}"
        for section in sections_of(script):
            cases[section].append(name)
    rows = ["| RFC | section | cases | scripts |", "| --- | --- | ---: | --- |"]
    for (rfc, numbers), names in sorted(cases.items()):
        section = ".".join(str(number) for number in numbers)
        rows.append(f"| {rfc} | {section} | {len(names)} | {', '.join(sorted(set(names)))} |")
    return "\n".join([f"{total} cases.", "", *rows, ""])
