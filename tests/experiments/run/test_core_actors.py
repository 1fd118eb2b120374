"""Cores as actors: what travels in messages between processes comes to the digits of the same windows in one process."""

import os
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from experiments.config.compose import compose_simulation
from experiments.run import core_actors
from experiments.run.cluster import idle_cpus, start_or_join
from experiments.run.core_actors import Subset, shares_of, subsets_of
from netstack.sim import simulate
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
    options = (f"ray.batch={batch}", "ray.cores_per_actor=2")
    assert launch(monkeypatch, tmp_path, *SWEEP, "engine=ray", *options, *LENGTHS) == 0
    assert capsys.readouterr().err == ""
    assert by_value(tmp_path) == inline


def test_actors_on_two_nodes(two_nodes: str, inline: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    on = (f"ray.address={two_nodes}", "ray.send_sources=false", "ray.placement=SPREAD")
    assert launch(monkeypatch, tmp_path, *SWEEP, "engine=ray", "ray.cores_per_actor=2", *on, *LENGTHS) == 0
    assert by_value(tmp_path) == inline


def test_more_actors_than_cpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 12 cores."""
    point = ("org=connp_l", "machine=epyc_16", "machine.cores=12", "conns=48", "tracking=none")
    lengths = ("engine.window_us=2", "engine.warmup_ms=0.2", "engine.measure_ms=0.2")
    assert launch(monkeypatch, tmp_path / "ray", *point, "engine=ray", *lengths) == 0
    assert launch(monkeypatch, tmp_path / "inline", *point, "engine=inline", *lengths) == 0
    assert list(results(tmp_path / "ray").values()) == list(results(tmp_path / "inline").values())


@pytest.mark.parametrize("cores_per_actor", [1, 2, 3, 4])
def test_cores_that_share_an_actor(
    cores_per_actor: int, inline: list[dict], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    share = f"ray.cores_per_actor={cores_per_actor}"
    assert launch(monkeypatch, tmp_path, *SWEEP, "engine=ray", share, *LENGTHS) == 0
    assert by_value(tmp_path) == inline


@pytest.mark.parametrize(("nodes", "load", "idle"), [(1, 0.3, 8), (1, 2.6, 5), (1, 30.0, 1), (2, 30.0, 8)])
def test_busy_cpus_of_this_computer_get_no_actors(nodes: int, load: float, idle: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Eight CPUs. The load of the nodes of a cluster is not known."""
    from ray.util import get_node_ip_address

    addresses = [get_node_ip_address(), "192.0.2.1"][:nodes]
    cluster = SimpleNamespace(
        nodes=lambda: [{"NodeManagerAddress": address, "Alive": True, "Resources": {"CPU": 8 / nodes}} for address in addresses],
    )
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 9.0, 9.0))
    assert idle_cpus(cluster) == idle


def test_actors_are_as_nice_as_the_command() -> None:
    """Ray's workers give way to all other processes by default."""
    ray = start_or_join(1, 1, None, False, 1)
    try:
        niceness = ray.get(ray.remote(lambda: os.getpriority(os.PRIO_PROCESS, 0)).remote())
        assert niceness == os.getpriority(os.PRIO_PROCESS, 0)
    finally:
        ray.shutdown()


def test_shares_are_even() -> None:
    assert shares_of(4, 1) == [1, 1, 1, 1]
    assert shares_of(4, 3) == [2, 2]
    assert shares_of(7, 3) == [3, 2, 2]
    assert shares_of(2, 16) == [2]


def test_two_subsets_take_about_as_long() -> None:
    """Short points on one core and on four, and two long ones on four: each half has one of the long ones."""
    points = [("up", 6), ("msgp", 16384), ("msgp", 6), ("connp_l", 16384)]
    configs = [compose_simulation(f"org={org}", f"conns={conns}") for org, conns in points]
    assert sorted(sorted(half) for half in subsets_of(configs, 2)) == [[0, 3], [1, 2]]
    assert subsets_of(configs[:1], 2) == [[0]]


def test_an_actor_that_waits_for_nobody_runs_point_by_point() -> None:
    assert subsets_of([compose_simulation("conns=6")] * 3, 1) == [[0], [1], [2]]


def test_a_lost_actor_ends_its_batch_within_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two processes ends itself in the third round; the other waits for its message."""
    import ray
    from ray.exceptions import RayActorError

    class Mortal(core_actors.CoreActor):
        rounds = 0

        def round(self, subset: Subset) -> np.ndarray:
            self.rounds += 1
            if self.rounds == 3 and self._index == 1:
                os._exit(1)
            return super().round(subset)

    monkeypatch.setattr(core_actors, "CoreActor", Mortal)
    start_or_join(2, 2, None, False, 2)
    try:
        pool = core_actors.CoreActors(ray, 4, "PACK", 2)
        config = compose_simulation("org=connp_l", "conns=6", "engine=ray", *LENGTHS)
        with pytest.raises(RayActorError):
            pool.simulate([config])
        monkeypatch.setattr(Mortal, "rounds", 3)  # the actors of the next pool do not end
        (result,) = pool.simulate([config])
        assert result.goodput_mbps == simulate(replace(config, engine=replace(config.engine, kind="inline"))).goodput_mbps
    finally:
        ray.shutdown()
