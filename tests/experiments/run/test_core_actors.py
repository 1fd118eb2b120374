"""Cores as actors: what travels in messages between processes comes to the digits of the same windows in one process."""

from collections.abc import Generator
from pathlib import Path

import pytest

from experiments.run import core_actors
from tests.helpers.launching import launch, results
from tests.helpers.servers import two_ray_nodes

SWEEP = ("-m", "org=up,msgp,connp_t,connp_l,dragonflybsd", "conns=6,192", "tracking=none")
LENGTHS = ("engine.window_us=2", "engine.warmup_ms=1", "engine.measure_ms=1")


@pytest.fixture(scope="module")
def inline(tmp_path_factory: pytest.TempPathFactory) -> list[dict]:
    folder = tmp_path_factory.mktemp("inline")
    with pytest.MonkeyPatch.context() as patch:
        assert launch(patch, folder, *SWEEP, "engine=inline", *LENGTHS) == 0
    return by_value(folder)


@pytest.fixture(scope="module")
def two_nodes() -> Generator[str, None, None]:
    with two_ray_nodes({"num_cpus": 2, "object_store_memory": 200 * 2**20}) as made:
        yield str(made.address)


def by_value(folder: Path) -> list[dict]:
    """Return results in an order of their own: the names of points tell the engine."""
    values = list(results(folder).values())
    assert len(values) == 10
    assert all(result["goodput_mbps"] > 0 for result in values)
    return sorted(values, key=lambda result: (result["goodput_mbps"], repr(result)))


@pytest.mark.parametrize("batch", [4, 10])
def test_actors_on_one_node(batch: int, inline: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    assert launch(monkeypatch, tmp_path, *SWEEP, "engine=ray", f"ray.batch={batch}", *LENGTHS) == 0
    assert capsys.readouterr().err == ""
    assert by_value(tmp_path) == inline


def test_actors_on_two_nodes(two_nodes: str, inline: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on = (f"ray.address={two_nodes}", "ray.send_sources=false", "ray.placement=SPREAD")
    assert launch(monkeypatch, tmp_path, *SWEEP, "engine=ray", *on, *LENGTHS) == 0
    assert by_value(tmp_path) == inline


def test_more_actors_than_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 12 cores."""
    point = ("org=connp_l", "machine=epyc_16", "machine.cores=12", "conns=48", "tracking=none")
    lengths = ("engine.window_us=2", "engine.warmup_ms=0.2", "engine.measure_ms=0.2")
    assert launch(monkeypatch, tmp_path / "ray", *point, "engine=ray", *lengths) == 0
    assert launch(monkeypatch, tmp_path / "inline", *point, "engine=inline", *lengths) == 0
    assert list(results(tmp_path / "ray").values()) == list(results(tmp_path / "inline").values())


def test_messages_outgrow_their_channels(inline: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a round carries is larger than its buffers, first a little and later more."""
    monkeypatch.setattr(core_actors, "BUFFER_BYTES", 1500)
    assert launch(monkeypatch, tmp_path, *SWEEP, "engine=ray", *LENGTHS) == 0
    assert by_value(tmp_path) == inline
