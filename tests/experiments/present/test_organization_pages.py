"""What the pages of the organizations show is what there is: their configuration, commands, figures and links."""

import re
import shlex
import sys
from pathlib import Path

import pytest
import yaml

import run

ROOT = Path(run.__file__).resolve().parent
FOLDER = ROOT / "docs" / "organizations"
PAGES = sorted(path for path in FOLDER.glob("*.md") if path.name != "README.md")


def test_the_index_names_all_pages() -> None:
    index = (FOLDER / "README.md").read_text()
    assert len(PAGES) >= 4
    assert set(re.findall(r"\]\((\w+\.md)\)", index)) == {page.name for page in PAGES}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_page_shows_its_organization(page: Path) -> None:
    (shown,) = re.findall(r"```yaml\n(.*?)```", page.read_text(), re.DOTALL)
    assert yaml.safe_load(shown) == yaml.safe_load((ROOT / "conf" / "org" / f"{page.stem}.yaml").read_text())


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_links_of_a_page_exist(page: Path) -> None:
    targets = re.findall(r"\]\((?!http)([^)]+)\)", page.read_text())
    assert targets
    assert all((FOLDER / target).exists() for target in targets)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_command_of_a_page_can_be_run(
    page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (command,) = re.findall(r"python (run\.py .*)", page.read_text())
    monkeypatch.setattr(sys, "argv", [*shlex.split(command), f"output_dir={tmp_path}", "--dry-run"])
    assert run.main() == 0
    assert page.stem in capfd.readouterr().out
