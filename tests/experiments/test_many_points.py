"""Sweeps of many points: what they are is known in seconds, whatever the order of arguments."""

import time
from pathlib import Path

import pytest

from tests.helpers.launching import launch

SEEDS, LOADS = (",".join(map(str, range(1, most + 1))) for most in (100, 50))


@pytest.mark.parametrize(
    "arguments",
    [
        ("org=msgp,connp_l", f"conns={LOADS}", f"seed={SEEDS}"),
        (f"seed={SEEDS}", f"conns={LOADS}", "org=msgp,connp_l"),
        (f"seed={SEEDS}", "machine.l2.size_bytes=1048576,2097152", "org=connp_l", f"conns={LOADS}"),
    ],
    ids=["organizations first", "organizations last", "a section that varies"],
)
def test_a_dry_run_of_ten_thousand_points(arguments: tuple[str, ...], tmp_path: Path, monkeypatch, capsys) -> None:
    """Seconds of this process, so that others on the machine do not count. It takes 4; read one by one, points took 300."""
    started_s = time.process_time()
    assert launch(monkeypatch, tmp_path, "--dry-run", "-m", *arguments) == 0
    assert time.process_time() - started_s < 20
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "10000 points, 0 done, 10000 to run"
    assert len({line.split()[-3] for line in lines[:-1]}) == 10000


def test_a_value_that_follows_from_a_swept_one_follows_it_at_each_point(tmp_path: Path, monkeypatch, capsys) -> None:
    (tmp_path / "conf" / "org").mkdir(parents=True)
    (tmp_path / "conf" / "org" / "one_each.yaml").write_text("defaults: [connp_l]\nname: one_each\ngroups: ${conns}\n")
    options = ("--config-dir", str(tmp_path / "conf"), "--dry-run", "-m")

    def fingerprints(*arguments: str) -> list[str]:
        assert launch(monkeypatch, tmp_path, *options, "org=one_each", *arguments) == 0
        return [line.split()[-3] for line in capsys.readouterr().out.splitlines()[:-1]]

    assert fingerprints("conns=6,12") == fingerprints("conns=6", "org.groups=6") + fingerprints("conns=12", "org.groups=12")
