"""What the README and the pages of docs show works: their files, commands and links."""

import argparse
import re
import runpy
import shlex
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest

import run
from tests.helpers.folders import ROOT

README = ROOT / "README.md"
TEXT = README.read_text()
PAGES = [README, ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
MANUALS = [README, ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
"""Pages whose commands are to be typed: decisions tell of their time, and pages of organizations have a test of their own."""
OWN = ("netstack", "experiments", "benchmarks", "tests")
"""Packages of this project: commands of others are not tried."""
MOST_LINES = 150
"""Of the README."""


def code_of(text: str) -> list[str]:
    """Return the lines of a page's code blocks, fenced or indented, and its code spans, which may go over several lines."""
    fenced = re.findall(r"^```(?:bash)?\n(.*?)^```", text, re.DOTALL | re.MULTILINE)
    plain = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    indented = re.findall(r"^ {4,}(\S.*)$", plain, re.MULTILINE)
    spans = re.findall(r"`([^`]+)`", re.sub(r"^ {4,}.*$", "", plain, flags=re.MULTILINE))
    return [" ".join(code.split()) for code in [*"\n".join(fenced).splitlines(), *indented, *spans]]


def commands(pages: list[Path], pattern: str) -> list[str]:
    """Return what a pattern finds in the code of pages, each once, without what the shell would put there."""
    lines = [line for page in pages for line in code_of(page.read_text())]
    found = {match[1].removesuffix("&&").strip() for line in lines for match in re.finditer(pattern, line)}
    return sorted(re.sub(r"\$\([^)]*\)", "FILE", command) for command in found)


EXAMPLES = [
    example
    for page in MANUALS
    for example in re.findall(r"`conf/(\w+/\w+\.yaml)`:\n\n```yaml\n(.*?)```", page.read_text(), re.DOTALL)
]
COMMANDS = commands(MANUALS, r"python (run\.py [^'`]*)")
MODULES = commands(MANUALS, r"python3? -m ([\w.]+.*)")


def slug(heading: str) -> str:
    """Return the anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def test_the_readme_is_one_page() -> None:
    assert len(TEXT.splitlines()) <= MOST_LINES


def test_the_examples_were_found() -> None:
    assert len(EXAMPLES) == 3
    assert len(commands([README], r"python (run\.py [^'`]*)")) >= 4
    assert len(COMMANDS) >= 15
    assert len(MODULES) >= 15


@pytest.mark.parametrize(("name", "content"), EXAMPLES, ids=[name for name, _ in EXAMPLES])
def test_a_file_that_is_shown_is_among_the_examples(name: str, content: str) -> None:
    assert (ROOT / "examples" / "conf" / name).read_text() == content


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    for name, content in EXAMPLES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    arguments = shlex.split(command)
    plain = "--help" in arguments or "--cfg" in arguments
    own = [] if "--config-dir" in arguments else ["--config-dir", str(tmp_path)]
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(sys, "argv", [*arguments, *own, *([] if plain else ["--dry-run"])])
    if "--help" in arguments:
        with pytest.raises(SystemExit, match="0"):
            run.main()
    else:
        assert run.main() == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    assert captured.out


class ParsedError(Exception):
    """A command's arguments were read: what comes after that is not wanted here."""


@pytest.mark.parametrize("command", MODULES)
def test_a_command_of_a_module(command: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """The module exists, and it takes the arguments that are shown."""
    module, *arguments = shlex.split(command)
    if module.partition(".")[0] not in OWN:
        assert find_spec(module) is not None
        return
    spec = find_spec(module)
    assert spec is not None
    assert spec.submodule_search_locations is None or find_spec(f"{module}.__main__") is not None
    if not arguments:
        return
    parse = argparse.ArgumentParser.parse_args

    def parse_and_leave(self: argparse.ArgumentParser, *given: object) -> None:
        parse(self, *given)  # pyright: ignore[reportArgumentType, reportCallIssue]
        raise ParsedError

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_leave)
    monkeypatch.setattr(sys, "argv", [module, *arguments])
    with pytest.raises(SystemExit if "--help" in arguments else ParsedError):
        runpy.run_module(module, run_name="__main__")
    assert capfd.readouterr().err == ""


def test_installed_commands_are_those_of_the_wheel() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert set(commands(MANUALS, r"^(netstack(?:-\w+)?)(?: |$)")) == set(scripts)


def test_the_tree_exists() -> None:
    tree = re.search(r"## The tree\n\n```text\n(.*?)```", TEXT, re.DOTALL)
    assert tree is not None
    folders = [ROOT]
    for line in tree[1].splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip())) // 2
        path = folders[depth] / name
        assert path.exists(), path
        folders[depth + 1 :] = [path]
    parts = {path.name for path in (ROOT / "netstack").iterdir() if (path / "__init__.py").exists()}
    assert set(re.findall(r"^  (\w+)/", tree[1], re.MULTILINE)) == parts


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_of_a_page_exist(page: Path) -> None:
    for target in re.findall(r"\]\((?!http)([^)]+)\)", page.read_text()):
        name, _, anchor = target.partition("#")
        path = page.parent / name if name else page
        assert path.exists(), target
        if anchor:
            assert anchor in {slug(heading) for heading in re.findall(r"^#+ (.*)$", path.read_text(), re.MULTILINE)}, target


def test_the_index_names_all_pages() -> None:
    index = ROOT / "docs" / "README.md"
    targets = {(index.parent / target).resolve() for target in re.findall(r"\]\(([^)#]+\.md)", index.read_text())}
    pages = {page for page in PAGES if page.is_relative_to(index.parent) and page.parent.name != "organizations"}
    assert targets == pages - {index} | {README, ROOT / "docs" / "organizations" / "README.md"}


def test_checks_run_the_tests_as_the_readme_says() -> None:
    (command,) = re.findall(r"python (-m pytest.*)", TEXT)
    assert re.search(rf'python" {re.escape(command)}$', (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
