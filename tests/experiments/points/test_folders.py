"""Folders appear whole or not at all, keep their identity, and lose what killed processes left."""

import os
import re
import shutil
import socket
from pathlib import Path

import pytest

from experiments.points import folders
from experiments.points.folders import UNFINISHED, UnwritableError, check_output_dir, keep_folder, output_id, remove_unfinished
from netstack.errors import ConfigError

FILES = {"config.yaml": "a: 1\n", "result.json": "{}\n"}


def test_a_folder_appears_whole(tmp_path: Path) -> None:
    keep_folder(tmp_path / "points" / "abc", FILES)
    assert {path.name: path.read_text() for path in (tmp_path / "points" / "abc").iterdir()} == FILES
    assert [path.name for path in (tmp_path / "points").iterdir()] == ["abc"]


def test_one_that_another_process_wrote_stays(tmp_path: Path) -> None:
    keep_folder(tmp_path / "abc", FILES)
    keep_folder(tmp_path / "abc", {**FILES, "config.yaml": "a: 2\n"})
    assert (tmp_path / "abc" / "config.yaml").read_text() == "a: 1\n"


def test_one_that_another_process_writes_meanwhile_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def slow(path: Path, text: str, write=folders._write_durably) -> None:
        write(path, text)
        if path.name == "result.json":
            shutil.copytree(path.parent, tmp_path / "abc")

    monkeypatch.setattr(folders, "_write_durably", slow)
    keep_folder(tmp_path / "abc", FILES)
    assert [path.name for path in tmp_path.iterdir()] == ["abc"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, text: str) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(folders, "_write_durably", full)
    with pytest.raises(UnwritableError, match=r"abc cannot be written \(No space left on device\); finished points are kept"):
        keep_folder(tmp_path / "abc", FILES)
    assert list(tmp_path.iterdir()) == []


def test_only_what_killed_processes_of_this_host_left_is_removed(tmp_path: Path) -> None:
    dead = 2**22 + 1  # more than Linux gives
    own, alive, other = (
        tmp_path / f"{UNFINISHED}{host}-{process}-x"
        for host, process in ((socket.gethostname(), dead), (socket.gethostname(), os.getpid()), ("elsewhere", dead))
    )
    for path in (own, alive, other, tmp_path / "abc"):
        path.mkdir()
    remove_unfinished(tmp_path)
    assert set(tmp_path.iterdir()) == {alive, other, tmp_path / "abc"}


def test_an_output_folder_keeps_its_identity_when_it_is_moved(tmp_path: Path) -> None:
    one = output_id(tmp_path / "outputs")
    (tmp_path / "outputs").rename(tmp_path / "moved")
    assert output_id(tmp_path / "moved") == one
    assert output_id(tmp_path / "another") != one


@pytest.mark.parametrize("name", ["points", "failures", "sweeps", "damaged", "artifacts"])
def test_a_file_in_place_of_a_folder_of_outputs(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text("in the way")
    said = f"output_dir={tmp_path}: must be a folder that can be used: {tmp_path / name} must be a folder, or not be there"
    with pytest.raises(ConfigError, match=f"^{re.escape(said)}$"):
        check_output_dir(tmp_path)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to(tmp_path / "nothing")
    with pytest.raises(ConfigError, match=f"{name} is a link to nothing"):
        check_output_dir(tmp_path)


def test_an_identity_that_is_none(tmp_path: Path) -> None:
    identity = output_id(tmp_path)
    check_output_dir(tmp_path)
    for damaged in (b"", identity.encode()[:9], b"\xff" * 32, b"'" * 32):
        (tmp_path / "identity").write_bytes(damaged)
        with pytest.raises(ConfigError, match="identity is damaged"):
            check_output_dir(tmp_path)
    (tmp_path / "identity").unlink()
    (tmp_path / "identity").mkdir()
    with pytest.raises(ConfigError, match="identity must be a file"):
        check_output_dir(tmp_path)


def test_an_output_folder_that_cannot_be_made(tmp_path: Path) -> None:
    check_output_dir(tmp_path / "outputs")
    assert list((tmp_path / "outputs").iterdir()) == []
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ConfigError, match="must be a folder that can be written"):
        check_output_dir(tmp_path / "file" / "outputs")
