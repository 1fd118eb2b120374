"""Folders of compiled code: where they are, which are safe, which of the old ones go, and that none goes which a process uses."""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from netstack.jit import cache
from netstack.jit.cache import GIVEN, KEPT, cache_folder, hold, remove_old, user_cache
from tests.helpers.folders import ROOT

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
    monkeypatch.delenv(GIVEN, raising=False)
    monkeypatch.setattr(os, "environ", os.environ.copy())
    held: list = []
    monkeypatch.setattr(cache, "_held", held)
    for function in (cache._fresh, cache._say_once):
        function.cache_clear()
    yield tmp_path
    for file in held:
        file.close()


def test_installed_sources_use_the_user_s_cache(alone: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", str(alone / "cache"))
    assert cache_folder.__wrapped__("sim").parent == alone / "cache" / "netstack" / "compiled"
    assert capsys.readouterr().err == ""


def test_each_place_of_sources_has_folders_of_its_own(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Numba would not find what was compiled from sources elsewhere, and the marks of what is compiled must not say so."""
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", str(alone))
    here = cache_folder.__wrapped__("sim")
    monkeypatch.setattr(cache, "PACKAGE", Path("/elsewhere/netstack"))
    assert cache_folder.__wrapped__("sim") not in (here, cache_folder.__wrapped__("tcp"))


def test_a_checkout_keeps_code_beside_its_outputs(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its folder of outputs is not made for this: whoever makes it decides who may read results."""
    monkeypatch.setattr(cache, "checkout", lambda: alone / "checkout")
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", str(alone))
    assert cache_folder.__wrapped__("sim").parent == alone / "netstack" / "compiled"
    (alone / "checkout" / "outputs").mkdir(parents=True, mode=0o755)
    assert cache_folder.__wrapped__("sim").parent == alone / "checkout" / "outputs" / "compiled"


def test_the_environment_names_another_place(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cache, "checkout", lambda: alone)
    (alone / "outputs").mkdir()
    monkeypatch.setitem(os.environ, GIVEN, str(alone / "given"))
    assert cache_folder.__wrapped__("sim").parent == alone / "given" / "compiled"


def test_a_folder_is_private_whatever_the_mask_of_modes_is(alone: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", str(alone / "cache"))
    before = os.umask(0)
    try:
        folder = cache_folder.__wrapped__("sim")
    finally:
        os.umask(before)
    made = [folder, *folder.parents][: len(folder.relative_to(alone).parts)]
    assert len(made) == 4
    assert {path.stat().st_mode & 0o777 for path in made} == {0o700}


def test_where_no_cache_can_be_written_temporary_files_do(alone: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """Each time it is the same folder, which all workers share; a line says so once, not once for each part."""
    (alone / "file").write_text("in the way")
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", str(alone / "file"))
    folder = cache_folder.__wrapped__("sim")
    assert folder.parent == alone / f"netstack-{os.getuid()}" / "compiled"
    assert folder.parent.parent.stat().st_mode & 0o077 == 0
    assert cache_folder.__wrapped__("sim") == folder
    assert cache_folder.__wrapped__("tcp").parent == folder.parent
    (said,) = capsys.readouterr().err.splitlines()
    reason = f"{alone / 'file' / 'netstack'} cannot be used (Not a directory)"
    assert said == f"compiled code is kept in {folder.parent.parent}: {reason}"


def planted_link(place: Path) -> str:
    (place.parent / "other").mkdir(mode=0o700)
    place.symlink_to(place.parent / "other")
    return "is a link"


def planted_open(place: Path) -> str:
    place.mkdir()
    place.chmod(0o777)
    return "is open to other users"


def planted_foreign(place: Path) -> str:
    if os.getuid() != 0:
        pytest.skip("only root makes folders of others")
    place.mkdir(mode=0o700)
    os.chown(place, 65534, 65534)
    return "belongs to another user"


PLANTED = [planted_link, planted_open, planted_foreign]


@pytest.mark.parametrize("plant", PLANTED)
def test_a_temporary_folder_that_somebody_else_may_have_filled_is_not_used(
    plant: Callable[[Path], str], alone: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    """The place for temporary files is everybody's, and the name of the folder there is no secret."""
    monkeypatch.setitem(os.environ, "HOME", "/nowhere")
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", "/proc/nowhere")  # where nobody can make a folder
    planted = alone / f"netstack-{os.getuid()}"
    plant(planted)
    folder = cache_folder.__wrapped__("sim")
    fresh = folder.parent.parent
    assert fresh != planted
    assert not fresh.is_symlink()
    assert fresh.stat().st_mode & 0o777 == 0o700
    assert list(planted.iterdir()) == []
    assert os.environ[GIVEN] == str(fresh)  # workers that this process starts have the same folder
    assert cache_folder.__wrapped__("tcp").parent == folder.parent
    assert [line.split(": ")[0] for line in capsys.readouterr().err.splitlines()] == [f"compiled code is kept in {fresh}"]


@pytest.mark.parametrize("plant", [planted_open, planted_foreign])
@pytest.mark.parametrize("place", ["netstack", "netstack/compiled", "sim"])
def test_a_cache_that_somebody_else_can_write_is_not_used(
    place: str, plant: Callable[[Path], str], alone: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", str(alone / "cache"))
    if place == "sim":
        with monkeypatch.context() as patch:
            patch.setattr(cache, "_held", [])
            planted = cache_folder.__wrapped__("sim")
        for file in planted.iterdir():
            file.unlink()
        planted.rmdir()
    else:
        planted = alone / "cache" / place
        planted.parent.mkdir(parents=True)
    plant(planted)
    assert cache_folder.__wrapped__("sim").is_relative_to(alone / f"netstack-{os.getuid()}")
    (said,) = capsys.readouterr().err.splitlines()
    assert f"{alone / 'cache' / 'netstack'} cannot be used (" in said
    assert str(planted) in said
    assert "other user" in said or "another user" in said


def test_what_others_can_replace_is_not_used(alone: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """A private folder does not help where others may rename what is above it. In a sticky folder they may not."""
    cache_home = alone / "everybody" / "cache"
    cache_home.mkdir(parents=True)
    monkeypatch.setitem(os.environ, "XDG_CACHE_HOME", str(cache_home))
    cache_home.parent.chmod(0o777)
    assert cache_folder.__wrapped__("sim").is_relative_to(alone / f"netstack-{os.getuid()}")
    assert f"other users can write in {cache_home.parent}" in capsys.readouterr().err
    cache_home.parent.chmod(0o1777)
    assert cache_folder.__wrapped__("sim").is_relative_to(cache_home)


def test_an_import_writes_nothing(tmp_path: Path) -> None:
    """Only what compiles or asks for a folder does: listing points, for example, needs neither."""
    environment = {**os.environ, GIVEN: str(tmp_path / "cache")}
    command = [sys.executable, "-c", "import netstack.sim, netstack.host, experiments.launch"]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given", ["", "relative"])
def test_a_cache_that_is_no_absolute_path_is_ignored(given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", given)
    monkeypatch.setattr("sys.platform", "linux")
    assert user_cache() == tmp_path / ".cache"
    monkeypatch.setattr("sys.platform", "darwin")
    assert user_cache() == tmp_path / "Library" / "Caches"


def test_a_folder_is_found_where_it_was_taken_and_never_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(GIVEN, str(tmp_path))
    assert cache.kept_cache_folder("sim") is None
    assert list(tmp_path.iterdir()) == []
    cache_folder.cache_clear()
    made = cache_folder("sim")
    cache_folder.cache_clear()
    assert cache.kept_cache_folder("sim") == made
    made.chmod(0o777)
    assert cache.kept_cache_folder("sim") is None
