"""Two users share an output folder if its group may write it, whatever their masks are."""

import stat
from collections.abc import Callable, Generator, Sequence
from pathlib import Path

import pytest

from experiments import sweep
from experiments.config.command_line import BAD_INPUT
from experiments.points.folders import check_output_dir, output_id
from experiments.points.modes import shared_like, unshared
from experiments.points.point import Outcome, Point
from netstack.sim import Result
from tests.helpers.launching import launch, logged, results
from tests.helpers.users import GROUP, ONE, TWO, as_user, shared_folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_only_a_folder_of_a_group_changes_modes(tmp_path: Path) -> None:
    made: list[int] = []
    for bits in (0o755, 0o777, 0o2755, 0o2775):
        tmp_path.chmod(bits)
        with shared_like(tmp_path):
            (tmp_path / f"{bits}").touch()
            with unshared():
                (tmp_path / f"own-{bits}").touch()
        assert mode(tmp_path / f"own-{bits}") == 0o644
        made.append(mode(tmp_path / f"{bits}"))
    assert made == [0o644, 0o644, 0o644, 0o664]


def test_an_identity_can_be_read_by_whoever_may_read_the_folder(tmp_path: Path) -> None:
    output_id(tmp_path)
    assert mode(tmp_path / "identity") == 0o644
    assert [path.name for path in tmp_path.iterdir()] == ["identity"]


@pytest.fixture
def launched(make_result: Callable[..., Result], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., int]:
    """A sweep whose results are made up. All that it imports is imported."""

    def made_up(points: Sequence[Point], *_: object) -> Generator[Outcome, None, None]:
        yield from (Outcome(point, make_result()) for point in points)

    monkeypatch.setattr(sweep, "simulate_on_ray", made_up)
    monkeypatch.setenv("MPLCONFIGDIR", str(tmp_path))
    assert launch(monkeypatch, tmp_path, "-m", "conns=6") == 0
    logged(tmp_path)
    return lambda folder, *arguments: launch(monkeypatch, folder, "-m", *arguments)


@pytest.mark.parametrize("mask", [0o002, 0o022])
def test_two_users_run_and_log_into_one_folder(mask: int, launched: Callable[..., int], capfd) -> None:
    with shared_folder() as folder:
        for user, loads in ((ONE, "conns=6,12"), (TWO, "conns=6,12,24"), (ONE, "conns=12,24"), (TWO, "conns=6,12")):
            assert as_user(user, mask, lambda loads=loads: launched(folder, loads)) == 0, capfd.readouterr()
        assert len(results(folder)) == 3
        _, parents, children = logged(folder)
        assert [entry.info.status for entry in (*parents, *children)] == ["FINISHED"] * (3 + 7)
        assert len({parent.data.tags["output.id"] for parent in parents}) == 1
        for path in (folder / "identity", folder / "mlflow.db", folder / "mlflow.db.lock", *(folder / "sweeps").glob("*/.lock")):
            assert (mode(path), path.stat().st_gid) == (0o664, GROUP), path
        for path in (folder / "points", *(folder / "points").iterdir()):
            assert (mode(path), path.stat().st_gid) == (0o2775, GROUP), path


def test_a_folder_that_another_user_has_for_himself_is_refused(launched: Callable[..., int], capfd) -> None:
    with shared_folder(0o755) as folder:
        assert as_user(ONE, 0o077, lambda: launched(folder, "conns=6")) == 0, capfd.readouterr()
        capfd.readouterr()
        assert as_user(TWO, 0o022, lambda: launched(folder, "conns=6")) == BAD_INPUT
        (line,) = capfd.readouterr().err.splitlines()
        assert line.startswith(f"error: output_dir={folder}: must be a folder that can be written")
        folder.chmod(0o2775)
        assert as_user(TWO, 0o022, lambda: launched(folder, "conns=6")) == BAD_INPUT
        (line,) = capfd.readouterr().err.splitlines()
        assert f"its owner can `chmod -R g+rwX {folder}`" in line


def test_a_folder_of_ones_own_is_taken(tmp_path: Path) -> None:
    for name in ("points", "sweeps", "failures", "artifacts"):
        (tmp_path / name).mkdir()
    output_id(tmp_path)
    check_output_dir(tmp_path)
