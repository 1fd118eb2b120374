"""What the README shows works: its files, commands and links."""

import re
import shlex
import sys
from pathlib import Path

import pytest

import run

ROOT = Path(run.__file__).resolve().parent
TEXT = (ROOT / "README.md").read_text()
EXAMPLES = re.findall(r"`conf/(\w+/\w+\.yaml)`:\n\n```yaml\n(.*?)```", TEXT, re.DOTALL)
COMMANDS = sorted({" ".join(command.split()) for command in re.findall(r"python (run\.py [^`]*?)(?:`|\n\n)", TEXT)})


def test_the_examples_were_found() -> None:
    assert len(EXAMPLES) == 3
    assert len(COMMANDS) >= 5


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command(command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    for name, content in EXAMPLES:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    arguments = shlex.split(command)
    plain = "--help" in arguments or "--cfg" in arguments
    monkeypatch.setattr(sys, "argv", [*arguments, "--config-dir", str(tmp_path), *([] if plain else ["--dry-run"])])
    if "--help" in arguments:
        with pytest.raises(SystemExit, match="0"):
            run.main()
    else:
        assert run.main() == 0
    captured = capfd.readouterr()
    assert captured.err == ""
    assert captured.out


def test_links_and_the_layout_exist() -> None:
    layout = re.search(r"## Layout\n\n(.*?)\n\n`", TEXT, re.DOTALL)
    assert layout is not None
    folders = [ROOT]
    for line in layout[1].splitlines():
        name = line.split()[0]
        depth = (len(line) - len(line.lstrip()) - 4) // 2
        path = folders[depth] / name
        assert path.exists(), path
        folders[depth + 1 :] = [path]
    for target in re.findall(r"\]\((?!http|#)([^)]+)\)", TEXT):
        assert (ROOT / target).exists(), target


def test_checks_run_the_tests_as_the_readme_says() -> None:
    (command,) = re.findall(r"python (-m pytest.*)", TEXT)
    assert re.search(rf'python" {re.escape(command)}$', (ROOT / ".ci" / "run").read_text(), re.MULTILINE)
