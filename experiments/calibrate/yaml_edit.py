"""Changes values of a YAML file in place: comments, order and layout stay. Also keeps one marked block of comments at its end.

Knows YAML's marks, not what the values mean.
"""

from collections.abc import Mapping, Sequence

import yaml

Path = tuple[str | int, ...]
INDENT = "#   "


class NotInFileError(LookupError):
    """A value does not stand in the text, for example because the file inherits it from another one."""


def with_values(text: str, values: Mapping[Path, int | float | str]) -> str:
    """Return a YAML text with other plain values at some paths; a comment behind a value stays in its column if it can.

    Raises:
        NotInFileError: A path does not lead to a plain value of the text.
    """
    root = yaml.compose(text, Loader=yaml.SafeLoader)
    edits = []
    for path, value in values.items():
        node = _find(root, path)
        if node is None or node.style is not None:
            raise NotInFileError(".".join(map(str, path)))
        edits.append((node.start_mark.index, node.end_mark.index, str(value)))
    for start, end, new in sorted(edits, reverse=True):
        text = text[:start] + new + _padded(text[end:], len(new) - (end - start))
    return text


def with_block(text: str, title: str, lines: Sequence[str]) -> str:
    """Return a YAML text that ends with a block of comments under a title; an earlier block of that title is gone."""
    kept: list[str] = []
    in_block = False
    for line in text.splitlines():
        in_block = line == f"# {title}:" or (in_block and line.startswith(INDENT))
        if not in_block:
            kept.append(line)
    body = "\n".join(kept).rstrip("\n")
    return "\n".join([body, "", f"# {title}:", *(f"{INDENT}{line}" for line in lines), ""])


def _find(node: yaml.Node | None, path: Path) -> yaml.ScalarNode | None:
    for part in path:
        if isinstance(node, yaml.MappingNode):
            node = next((value for key, value in node.value if key.value == part), None)
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
        else:
            return None
    return node if isinstance(node, yaml.ScalarNode) else None


def _padded(rest: str, growth: int) -> str:
    """Give or take as many spaces before a comment that follows on the same line as the value grew or shrank."""
    line = rest.split("\n", 1)[0]
    gap = line.find("  ")
    comment = line.find("#")
    if comment < 2 or gap < 0 or line[gap:comment].strip():
        return rest
    spaces = max(1, comment - gap - growth)
    return rest[:gap] + " " * spaces + rest[comment:]
