"""The commit of a result is one of this project, or unknown: never that of a repository that happens to be near."""

import os
import shutil
import subprocess
from collections.abc import Generator
from pathlib import Path

import pytest

from experiments.points import provenance as module
from experiments.points.provenance import UNKNOWN, commit_label, provenance, why_unknown


def git(folder: Path, *arguments: str) -> str:
    environment = {
        **os.environ,
        **{f"GIT_{role}_{what}": "x@y" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
    }
    command = ["git", "-c", "safe.directory=*", "-C", str(folder), *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def repository(folder: Path, name: str) -> str:
    """Make a repository with a file; return its commit."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(f"{folder}")
    git(folder, "init", "-q")
    git(folder, "add", name)
    git(folder, "commit", "-q", "-m", "first")
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path, None, None]:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    folder = (tmp_path / "around" / "project").resolve()
    monkeypatch.setattr(module, "checkout", lambda: folder)
    forget()
    yield folder
    forget()


def forget() -> None:
    module._commit.cache_clear()
    provenance.cache_clear()


def test_a_repository_of_the_project(project: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = repository(project, "run.py")
    assert (provenance()["git.commit"], provenance()["git.dirty"], why_unknown()) == (commit, "false", None)
    other = repository(tmp_path / "other", "run.py")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    monkeypatch.setenv("GIT_WORK_TREE", str(tmp_path / "other"))
    forget()
    assert provenance()["git.commit"] == commit != other
    monkeypatch.delenv("GIT_DIR")
    monkeypatch.delenv("GIT_WORK_TREE")
    (project / "run.py").write_text("changed")
    forget()
    assert commit_label(provenance()) == f"{commit[:12]} with changes"


def test_sources_inside_of_another_repository(project: Path) -> None:
    repository(project.parent, "run.py")
    project.mkdir()
    (project / "run.py").touch()
    assert provenance()["git.commit"] == UNKNOWN
    assert "git.dirty" not in provenance()
    assert commit_label(provenance()) is None
    assert why_unknown() == f"these sources are not of the git repository around them, {project.parent}"


def test_a_repository_of_something_else_in_the_same_folder(project: Path) -> None:
    repository(project, "notes.txt")
    (project / "run.py").touch()
    assert provenance()["git.commit"] == UNKNOWN
    assert "run.py" in str(why_unknown())


def test_sources_of_another_owner(project: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("root gives files away")
    commit = repository(project, "run.py")
    for path in (project, *project.rglob("*")):
        os.chown(path, 23001, 23001)
    assert provenance()["git.commit"] == commit


def test_no_repository_no_git_and_an_installed_project(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    project.mkdir(parents=True)
    assert provenance()["git.commit"] == UNKNOWN
    assert "not a git repository" in str(why_unknown())
    monkeypatch.setenv("PATH", str(project))
    assert why_unknown() == "git is not installed"
    monkeypatch.setattr(module, "checkout", lambda: None)
    forget()
    assert (provenance()["git.commit"], why_unknown()) == (UNKNOWN, None)
