"""Folders of compiled code: where they are, which of the old ones go, and that none goes which a process uses."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from netstack.jit import cache
from netstack.jit.cache import KEPT, cache_folder, hold, remove_old, user_cache

FIRST_USE = 1_700_000_000


def old_folder(compiled: Path, name: str, used: int) -> Path:
    """Make a folder with a file of compiled code, last used at some time."""
    hold(compiled / name).close()
    (compiled / name / "code.nbc").write_text("")
    os.utime(compiled / name, (FIRST_USE + used, FIRST_USE + used))
    return compiled / name


def test_the_folders_used_last_stay(tmp_path: Path) -> None:
    folders = [old_folder(tmp_path, f"sim-{number}", used) for number, used in enumerate([9, 2, 8, 1, 7, 6, 5])]
    other = old_folder(tmp_path, "tcp-0", 0)
    remove_old(tmp_path, "sim")
    gone = [folders[1], folders[3]]
    assert len(folders) - len(gone) == KEPT
    assert set(tmp_path.iterdir()) == {other, *folders} - {*gone}


def test_a_folder_in_use_stays(tmp_path: Path) -> None:
    folders = [old_folder(tmp_path, f"sim-{number}", number) for number in range(KEPT + 2)]
    with hold(folders[0]):
        os.utime(folders[0], (FIRST_USE, FIRST_USE))
        remove_old(tmp_path, "sim")
        assert set(tmp_path.iterdir()) == {folders[0], *folders[2:]}
    remove_old(tmp_path, "sim")
    assert set(tmp_path.iterdir()) == {*folders[2:]}


def test_a_folder_that_is_removed_while_a_process_takes_it_is_made_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = old_folder(tmp_path, "sim-0", 0)
    flock = cache.fcntl.flock

    def removed_before(file: object, operation: int) -> None:
        monkeypatch.setattr(cache.fcntl, "flock", flock)
        folder.rename(tmp_path / ".removed-sim-0-1")

    monkeypatch.setattr(cache.fcntl, "flock", removed_before)
    with hold(folder) as file:
        assert os.path.samestat(os.fstat(file.fileno()), Path(file.name).stat())
        assert not (folder / "code.nbc").exists()
        for number in range(KEPT):
            old_folder(tmp_path, f"sim-{number + 1}", 1)
        os.utime(folder, (0, 0))
        remove_old(tmp_path, "sim")
        assert folder.exists()
    assert not (tmp_path / ".removed-sim-0-1").exists()


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder for temporary files, for sources that are in no checkout."""
    monkeypatch.setattr(cache, "checkout", lambda: None)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    held: list = []
    monkeypatch.setattr(cache, "_held", held)
    yield tmp_path
    for file in held:
        file.close()


def test_installed_sources_use_the_user_s_cache(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(alone / "cache"))
    assert cache_folder.__wrapped__("sim").parent == alone / "cache" / "netstack" / "compiled"


def test_each_place_of_sources_has_folders_of_its_own(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba would not find what was compiled from sources elsewhere, and the marks of what is compiled must not say so."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(alone))
    here = cache_folder.__wrapped__("sim")
    monkeypatch.setattr(cache, "PACKAGE", Path("/elsewhere/netstack"))
    assert cache_folder.__wrapped__("sim") not in (here, cache_folder.__wrapped__("tcp"))


def test_where_no_cache_can_be_written_temporary_files_do(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (alone / "file").write_text("in the way")
    monkeypatch.setenv("XDG_CACHE_HOME", str(alone / "file"))
    folder = cache_folder.__wrapped__("sim")
    assert folder.parent == alone / f"netstack-{os.getuid()}" / "compiled"
    assert folder.parent.parent.stat().st_mode & 0o077 == 0


def test_a_folder_of_somebody_else_s_is_not_used(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (alone / "file").write_text("in the way")
    (alone / "other").mkdir()
    (alone / f"netstack-{os.getuid()}").symlink_to(alone / "other")
    monkeypatch.setenv("XDG_CACHE_HOME", str(alone / "file"))
    with pytest.raises(OSError, match="no folder for compiled code can be written"):
        cache_folder.__wrapped__("sim")


@pytest.mark.parametrize("given", ["", "relative"])
def test_a_cache_that_is_no_absolute_path_is_ignored(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setattr("sys.platform", "linux")
    assert user_cache() == tmp_path / ".cache"
    monkeypatch.setattr("sys.platform", "darwin")
    assert user_cache() == tmp_path / "Library" / "Caches"
