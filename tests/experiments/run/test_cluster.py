"""The documented ways to a cluster: `ray start` is done here, the files for `ray up` and Kubernetes are checked."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

import run
from experiments.config.command_line import FAILED_POINTS
from netstack.sim import SimulationConfig, simulate
from tests.helpers.folders import ROOT
from tests.helpers.launching import launch, results
from tests.helpers.servers import free_port

FILES = ROOT / "deploy"
RAY = Path(sys.executable).parent / "ray"
START_SECONDS = 240
TINY = ("-m", "conns=6", "seed=1,2", "engine.warmup_ms=0.2", "engine.measure_ms=0.2")

RAY_JOB = {
    "entrypoint": str,
    "submissionMode": str,
    "backoffLimit": int,
    "shutdownAfterJobFinishes": bool,
    "ttlSecondsAfterFinished": int,
    "rayClusterSpec": dict,
}
"""Of the fields of ray.io/v1 RayJobSpec (KubeRay, rayjob_types.go), those that the file uses; an unknown one would be refused."""
RAY_CLUSTER = {"rayVersion": str, "headGroupSpec": dict, "workerGroupSpecs": list}
HEAD = {"rayStartParams": dict, "template": dict}
WORKERS = {**HEAD, "groupName": str, "replicas": int, "minReplicas": int, "maxReplicas": int}


def read(name: str) -> dict[str, Any]:
    return yaml.safe_load((FILES / name).read_text())


def check_fields(values: dict[str, Any], fields: dict[str, type]) -> None:
    assert values.keys() == fields.keys()
    assert {name: type(values[name]) for name in fields} == fields


def locked(name: str) -> str:
    (version,) = re.findall(rf"^{name}==(\S+)$", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    return version


def test_ray_takes_the_cluster_file() -> None:
    config = read("ray-cluster.yml")
    prepared = prepare_config(config)
    validate_config(prepared)
    assert prepared["max_workers"] == len(config["provider"]["worker_ips"]) == 2
    with pytest.raises(Exception, match="Additional properties"):
        validate_config({**prepared, "setup_command": []})


def test_kuberay_has_the_fields_of_the_job() -> None:
    job = read("rayjob.yml")
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    check_fields(spec, RAY_JOB)
    assert spec["submissionMode"] in ("K8sJobMode", "HTTPMode", "InteractiveMode", "SidecarMode")
    cluster = spec["rayClusterSpec"]
    check_fields(cluster, RAY_CLUSTER)
    check_fields(cluster["headGroupSpec"], HEAD)
    for group in cluster["workerGroupSpecs"]:
        check_fields(group, WORKERS)
        assert group["minReplicas"] <= group["replicas"] <= group["maxReplicas"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        assert all(isinstance(value, str) for value in group["rayStartParams"].values())
        pod = group["template"]["spec"]
        volumes = {volume["name"] for volume in pod.get("volumes", [])}
        for container in pod["containers"]:
            assert container["image"]
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes
    assert cluster["rayVersion"] == locked("ray")
    assert f"FROM rayproject/ray:{locked('ray')}-py311\n" in (FILES / "Dockerfile").read_text()


def test_the_job_s_command_is_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys) -> None:
    python, script, *arguments = shlex.split(read("rayjob.yml")["spec"]["entrypoint"])
    assert (python, script) == ("python", "/opt/netstack/run.py")
    monkeypatch.setattr(sys, "argv", ["run.py", *arguments, f"output_dir={tmp_path}", "--dry-run"])
    assert run.main() == 0
    assert "to run" in capsys.readouterr().out


def test_hydra_does_not_take_the_files_for_choices(monkeypatch: pytest.MonkeyPatch, capfd) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "--help"])
    with pytest.raises(SystemExit, match="0"):
        run.main()
    assert "ray-cluster" not in capfd.readouterr().out


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Generator[str, None, None]:
    """Two nodes by `ray start`, which have an old version of the simulator installed, and no compiler."""
    folder = tmp_path_factory.mktemp("nodes")
    (folder / "old" / "netstack").mkdir(parents=True)
    for name in ("netstack", "experiments"):
        subprocess.run(["cp", "-r", str(ROOT / name), str(folder / "old")], check=True)
    with (folder / "old" / "netstack" / "errors.py").open("a") as file:
        file.write("# older\n")
    address = f"127.0.0.1:{free_port()}"
    common = ["--num-cpus=1", f"--object-store-memory={80 * 2**20}", "--block"]
    settings = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_AUTH_MODE": "disabled", "NUMBA_DISABLE_JIT": "1"}
    environment = {**os.environ, **settings, "PYTHONPATH": str(folder / "old")}
    port = address.partition(":")[2]
    head = ["--head", f"--port={port}", "--include-dashboard=false"]
    nodes: list[subprocess.Popen] = []
    try:
        for number, options in enumerate((head, [f"--address={address}"])):
            log = folder / f"node{number}.log"
            with log.open("w") as output:
                command = [str(RAY), "start", *options, *common]
                nodes.append(subprocess.Popen(command, cwd=folder, env=environment, stdout=output, stderr=output))
            until = time.monotonic() + START_SECONDS
            while "Ray runtime started" not in log.read_text():
                assert nodes[-1].poll() is None, log.read_text()
                assert time.monotonic() < until, log.read_text()
                time.sleep(0.1)
        yield address
    finally:
        for node in reversed(nodes):
            node.terminate()
            node.wait()


def from_elsewhere(folder: Path, output_dir: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Launch a sweep from a tree that only the driver sees, as if it were on another computer."""
    folder.mkdir(exist_ok=True)
    tree = " ".join(shlex.quote(str(ROOT / name)) for name in ("run.py", "conf", "experiments", "hydra_plugins", "netstack"))
    place = shlex.quote(str(folder))
    command = shlex.join([sys.executable, "run.py", *TINY, f"output_dir={output_dir}", *arguments])
    script = f"mount -t tmpfs none {place} && cp -r {tree} {place} && cd {place} && {command}"
    environment = {**os.environ, "PYTHONPATH": str(folder), "RAY_AUTH_MODE": "disabled"}
    return subprocess.run(["unshare", "--mount", "sh", "-c", script], env=environment, capture_output=True, text=True)


def test_sources_that_are_sent_go_before_those_that_are_installed(started: str, composed, tmp_path: Path) -> None:
    """Workers interpret what is compiled here, and their results are the same."""
    if os.geteuid() != 0 or subprocess.run(["unshare", "--mount", "true"], capture_output=True).returncode != 0:
        pytest.skip("a folder that only one process sees needs root and unshare")
    outputs = tmp_path / "outputs"
    on = (f"ray.address={started}", "tracking=none")
    refused = from_elsewhere(tmp_path / "tree", outputs, *on, "ray.send_sources=false")
    assert refused.returncode == FAILED_POINTS, refused.stdout + refused.stderr
    assert "a node has another version of netstack installed (ray.send_sources=true sends this one)" in refused.stdout
    assert results(outputs) == {}
    sent = from_elsewhere(tmp_path / "tree", outputs, *on)
    assert sent.returncode == 0, sent.stdout + sent.stderr
    expected = [simulate(point(composed, seed)).goodput_mbps for seed in (1, 2)]
    assert sorted(values["goodput_mbps"] for values in results(outputs).values()) == sorted(expected)


def point(composed, seed: int) -> SimulationConfig:
    return composed(*TINY[1:2], f"seed={seed}", *TINY[3:])


def test_a_point_that_no_node_can_take(started: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    """More memory than any of the nodes says it has, and less than this machine has."""
    monkeypatch.setattr("experiments.run.on_ray.memory_needed_bytes", lambda _: 2**50)
    on = (f"ray.address={started}", "ray.patience_s=0")
    assert launch(monkeypatch, tmp_path, "-m", "conns=6", "tracking=none", *on) == FAILED_POINTS
    assert "NoNodeError: no node has one CPU and 1048576.0 GiB of memory" in capsys.readouterr().out
