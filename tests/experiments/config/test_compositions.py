"""What was composed before is what Hydra composes, and is used as long as nothing has changed that it is made of."""

import pickle
import shutil
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from omegaconf import OmegaConf

import run
from experiments.config import compositions
from experiments.config.command_line import BAD_INPUT
from tests.helpers.folders import CONF

GIVEN = ("-m", "org=up,connp_l", "conns=6,24", "org.groups=4")


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder for what is kept, in place of that for compiled code."""
    folder = tmp_path / "kept"
    folder.mkdir()
    monkeypatch.setattr(compositions, "cache_folder", lambda part: folder)
    monkeypatch.setattr(compositions, "kept_cache_folder", lambda part: folder)
    monkeypatch.setattr(compositions, "_known", {})
    monkeypatch.setattr(compositions, "_grown", set())
    return folder


@pytest.fixture
def conf(tmp_path: Path) -> Path:
    return Path(shutil.copytree(CONF, tmp_path / "conf"))


@pytest.fixture
def listed(conf: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> Callable[..., list[str]]:
    """Return what lists the points of a command, with their fingerprints, in a process that knows nothing of earlier ones."""

    def list_points(*given: str) -> list[str]:
        monkeypatch.setattr(compositions, "_known", {})
        monkeypatch.setattr(
            sys, "argv", ["run.py", "--config-path", str(conf), "dry_run=true", f"output_dir={tmp_path / 'o'}", *given]
        )
        code = run.main()
        compositions.keep_compositions()  # a dry run does not
        said = capsys.readouterr()
        return said.out.splitlines() if code == 0 else [str(code), said.err]

    return list_points


@pytest.fixture
def composed_by_hydra(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Count in a list what Hydra composes itself."""
    counts = [0]
    merge = ConfigLoaderImpl._load_single_config

    def count(self: ConfigLoaderImpl, *args: object, **kwargs: object) -> object:
        counts[0] += 1
        return merge(self, *args, **kwargs)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(ConfigLoaderImpl, "_load_single_config", count)
    return counts


def test_the_second_launch_composes_nothing_and_has_the_same_points(
    kept: Path, listed: Callable[..., list[str]], composed_by_hydra: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    first = listed(*GIVEN)
    once = composed_by_hydra[0]
    assert once > 0
    assert listed(*GIVEN) == first
    assert composed_by_hydra[0] == once
    monkeypatch.setattr(compositions, "_state", cache(lambda sources: None))  # as without what is kept
    assert listed(*GIVEN) == first
    assert composed_by_hydra[0] > once


def test_values_that_are_set_are_those_of_the_command(
    kept: Path, listed: Callable[..., list[str]], composed_by_hydra: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Set values are no part of what is kept: other ones compose nothing either."""
    listed(*GIVEN)
    once = composed_by_hydra[0]
    commands = [
        (*GIVEN[:-1], "org.groups=8"),
        ("-m", "org=up,connp_l", "conns=12,48", "seed=3"),
        ("-m", "org=up,connp_l", "workload.write_bytes=2048"),
    ]
    found = [listed(*command) for command in commands]
    assert composed_by_hydra[0] == once
    monkeypatch.setattr(compositions, "_state", cache(lambda sources: None))
    assert [listed(*command) for command in commands] == found


@pytest.mark.parametrize("changed", ["org/up.yaml", "config.yaml", "org/new.yaml"])
def test_files_that_changed_are_read_again(changed: str, kept: Path, conf: Path, listed: Callable[..., list[str]]) -> None:
    before = listed("-m", "org=up", "conns=6,24")
    path = conf / changed
    if changed == "config.yaml":
        path.write_text(path.read_text().replace("seed: 1 ", "seed: 2 "))
    elif changed == "org/up.yaml":
        path.write_text(path.read_text() + "\ngroups: 3\n")
    else:
        path.write_text("defaults: [up]\nname: new\n")
        assert [line.split()[0] for line in listed("-m", "org=new", "conns=6,24")[:2]] == ["new", "new"]
        return
    assert listed("-m", "org=up", "conns=6,24") != before


def test_what_is_refused_is_refused_again(kept: Path, listed: Callable[..., list[str]]) -> None:
    for _ in range(2):
        for given in (["org=nothing"], ["org.nothing=1"], ["machine=opteron_2x2", "nothing=2"]):
            code, said = listed("-m", *given)
            assert int(code) == BAD_INPUT
            assert len(said.splitlines()) == 1, said


@pytest.mark.parametrize(
    "damage", [lambda path: path.write_bytes(b""), lambda path: path.write_bytes(path.read_bytes()[:5000]), Path.unlink]
)
def test_what_is_damaged_is_composed_again(
    damage: Callable[[Path], object], kept: Path, listed: Callable[..., list[str]]
) -> None:
    before = listed(*GIVEN)
    (path,) = kept.iterdir()
    damage(path)
    assert listed(*GIVEN) == before
    assert pickle.loads(path.read_bytes())


def test_nothing_is_kept_of_the_environment(
    kept: Path, conf: Path, listed: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A default that an environment variable gives is another one in the next launch."""
    path = conf / "config.yaml"
    path.write_text(path.read_text().replace("  - org: connp_l", "  - org: ${oc.env:ORGANIZATION}"))
    for name in ("up", "msgp"):
        monkeypatch.setenv("ORGANIZATION", name)
        assert listed("-m", "conns=6,24")[0].split()[0] == name
    assert list(kept.iterdir()) == []


def test_a_few_states_stay(kept: Path, conf: Path, listed: Callable[..., list[str]]) -> None:
    for seed in range(2, 4 + compositions.STATES_KEPT):
        path = conf / "engine" / "more.yaml"
        path.write_text(f"window_us: {seed}\n")
        listed("-m", "org=up", "conns=6")
    assert len(list(kept.iterdir())) == compositions.STATES_KEPT


def test_what_is_taken_is_a_configuration_of_its_own(kept: Path) -> None:
    """Hydra writes into what it composed."""

    class Repository:
        def get_sources(self) -> list[object]:
            return []

    def make() -> object:
        return OmegaConf.create({"a": {"b": 1}})

    compositions._state.cache_clear()
    first = compositions._kept(Repository(), "key", make)
    first.a.b = 2
    second = compositions._kept(Repository(), "key", make)
    assert second == {"a": {"b": 1}}
    second.a.b = 3
    assert compositions._kept(Repository(), "key", make) == {"a": {"b": 1}}
