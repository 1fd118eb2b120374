"""Every bad input gives one line that says key, value and what is allowed, exit code 2, and leaves nothing behind."""

import subprocess
import sys
from pathlib import Path

import pytest

import run
from experiments.config.command_line import BAD_INPUT
from tests.helpers.folders import ROOT

BAD = {
    "organization": (
        ["org=mspg"],
        "org=mspg",
        ", ".join(sorted(path.stem for path in (ROOT / "conf/org").glob("*.yaml"))),
    ),
    "machine": (["machine=pdp11"], "machine=pdp11", "opteron_2x2"),
    "key": (["conn=6"], "conn=6", "did you mean conns?"),
    "nested key": (["machine.core=6"], "machine.core", "did you mean machine.cores?"),
    "no connections": (["conns=0"], "conns=0", "from 1 to"),
    "negative connections": (["conns=-1"], "conns=-1", "from 1 to"),
    "broken connections": (["conns=1.5"], "conns=1.5", "a whole number"),
    "connections in words": (["conns=abc"], "conns=abc", "a whole number"),
    "too many connections": (["conns=99999999"], "conns=99999999", "from 1 to"),
    "more than memory": (["conns=4000000", "machine.cores=64", "workload.mbufs=100000000"], "conns=4000000", "GiB"),
    "no cores": (["machine.cores=0"], "machine.cores=0", "from 1 to 128"),
    "sets": (["machine.l2.size_bytes=1000000"], "machine.l2.size_bytes=1000000", "power of two of sets"),
    "ways": (["machine.l1.ways=0"], "machine.l1.ways=0", "from 1 to"),
    "replacement": (["machine.l2.replacement=fifo"], "machine.l2.replacement=fifo", "lru, plru"),
    "replacement of an L1": (["machine.l1.replacement=plru"], "machine.l1.replacement=plru", "must be lru"),
    "placement": (["machine.page_placement=near"], "machine.page_placement=near", "consecutive, random"),
    "groups": (["org.groups=0"], "org.groups=0", "from 1 to"),
    "no lock on four cores": (["org.serialize=none"], "org.serialize=none", "needs one core, not 4"),
    "queue without a thread": (["org.handoff=queue"], "org.handoff=queue", "group_thread"),
    "owner without a thread": (["org.transmit=owner"], "org.transmit=owner", "group_thread"),
    "group table with connection locks": (["org.serialize=connection_lock"], "org.lookup=group", "global_lock"),
    "unknown choice": (["org.dispatch=magic"], "org.dispatch=magic", "nic_thread, software_hash"),
    "no link": (["machine.nic.link_mbps=0"], "machine.nic.link_mbps=0", "above 0"),
    "warm-up longer than the run": (["engine.warmup_ms=50", "engine.run_ms=40"], "engine.warmup_ms=50", "shorter than the run"),
    "text for a number": (["machine.nic.link_mbps=fast"], "machine.nic.link_mbps=fast", "a number"),
    "broken override": (["conns"], "conns", "key=value"),
    "server without address": (["tracking=server"], "tracking.uri=:", "must be given"),
    "unknown store": (["tracking.uri=ftp://somewhere"], "tracking.uri=ftp://somewhere", "sqlite:///"),
    "unreachable store": (["tracking.uri=http://127.0.0.1:9"], "tracking.uri=http://127.0.0.1:9", "answers"),
    "store in no folder": (["tracking.uri=sqlite:////nowhere/at/all.db"], "tracking.uri=sqlite:////nowhere", "folder"),
    "a precision that is none": (["precision=fast"], "precision=fast", "1%"),
    "no precision": (["precision=0%"], "precision=0%", "above 0"),
    "a precision of nothing": (["precision=speed:1%"], "precision=speed", "goodput_mbps"),
    "a precision of requests without any": (["precision=p99_us:5%"], "precision=p99_us", "needs a workload with requests"),
    "one seed": (["precision=1%", "seeds.min=1"], "seeds.min=1", "2 or more"),
    "fewer seeds than the least": (["precision=1%", "seeds.max=3"], "seeds.max=3", "from 5"),
    "workers": (["workers=0"], "workers=0", "from 1 to"),
    "cluster": (["ray.address=127.0.0.1:9"], "ray.address=127.0.0.1:9", "running Ray cluster"),
    "cluster without a port": (["ray.address=somewhere"], "ray.address=somewhere", "running Ray cluster"),
    "a cluster from outside": (["ray.address=ray://127.0.0.1:10001"], "ray.address=ray://", "ray job submit"),
    "retries": (["ray.retries=-1"], "ray.retries=-1", "0 or more"),
    "time limit": (["ray.time_limit_s=0"], "ray.time_limit_s=0", "above 0 seconds"),
    "node patience": (["ray.patience_s=-1"], "ray.patience_s=-1", "0 or more"),
    "store patience": (["tracking.patience_s=-1"], "tracking.patience_s=-1", "0 or more"),
    "an old name": (["ray_address=auto"], "ray_address=auto", "did you mean ray.address?"),
    "option": (["--workers", "4"], "--workers", "key=value"),
    "store in memory": (["tracking.uri=sqlite:///:memory:"], "tracking.uri=sqlite:///:memory:", "must name a database file"),
    "store in no file": (["tracking.uri=sqlite:///"], "tracking.uri=sqlite:///", "must name a database file"),
    "store in the home of nobody": (
        ["tracking.uri=sqlite:///~nobody_at_all/a.db"],
        "~nobody_at_all",
        "a home that exists",
    ),
    "server without a host": (["tracking.uri='http://['"], "tracking.uri=http://[", "answers"),
    "no output folder": (["output_dir="], "output_dir=:", "must be a folder"),
    "outputs in the home of nobody": (["output_dir=~nobody_at_all/a"], "~nobody_at_all/a", "a home that exists"),
    "nothing to measure": (["engine.measure_ms=1e-3"], "engine.measure_ms=0.001", "0.01 ms or more"),
    "next to nothing of a run": (["engine.run_ms=1e-9"], "engine.run_ms=1e-09", "0.01 ms or more"),
    "a run that is warm-up": (["engine.run_ms=50", "engine.warmup_ms=49.999"], "engine.run_ms=50", "0.01 ms or more"),
    "a long warm-up": (["engine.measure_ms=1", "engine.warmup_ms=600000"], "engine.measure_ms=1", "a 1000th of the warm-up"),
    "a warm-up of its own": (["engine.measure_ms=0.015"], "engine.measure_ms=0.015", "which takes 20 ms"),
    "targets of no publication": (["targets=x.yaml"], "targets=x.yaml", "needs an experiment with report: published"),
    "a window of no cycle": (["engine.window_us=1e-9"], "engine.window_us=1e-09", "a cycle or more: 0.00045"),
    "endless patience": (["tracking.patience_s=nan"], "tracking.patience_s=nan", "0 or more"),
    "a key that is added": (["+conn=6"], "+conn=6", "did you mean conns?"),
    "a nested key that is added": (["+machine.l2.way=4"], "+machine.l2.way=4", "did you mean machine.l2.ways?"),
    "a key of an operation": (
        ["+costs.operations.tcp_input.cycle=1"],
        "+costs.operations.tcp_input.cycle=1",
        "did you mean costs.operations.tcp_input.cycles?",
    ),
    "a key below a value": (["++machine.cores.x=1"], "++machine.cores.x=1", "did you mean machine.cores?"),
    "a key of nothing": (["+foo.bar.baz=1"], "+foo.bar.baz=1", "top-level keys are conns"),
    "a key of Hydra": (["+hydra.jobs.name=x"], "+hydra.jobs.name=x", "did you mean hydra.job?"),
    "an added key that is there": (["+conns=6"], "+conns=6", "without the +"),
    "an added group": (["+org=up"], "+org=up", "replaced by org=up"),
    "several names": (["org=[up,msgp]"], "org=[up,msgp]", "must be one name, or several with -m and without brackets"),
    "no organization": (["~org"], "~org", "available are affinity_accept"),
    "no machine": (["~machine"], "~machine", "available are e5_2697v2_2x12"),
    "no costs": (["~costs"], "~costs", "available are freebsd7"),
    "null for a name": (["org=null"], "org=null", "available are affinity_accept"),
    "a number for a name": (["org=3"], "org=3", "available are affinity_accept"),
    "truth for a name": (["machine=true"], "machine=true", "available are e5_2697v2_2x12"),
    "nothing for a name": (["org="], "org=", "available are affinity_accept"),
    "a key that is removed": (["~conns"], "~conns", "cannot be removed"),
    "a section that is removed": (["~costs.structures"], "~costs.structures", "cannot be removed"),
    "null for a number": (["conns=null"], "conns=null", "must have a value"),
    "null for a section": (["machine.l2=null"], "machine.l2=null", "must have a value"),
    "a number for a section": (["machine.l2=3"], "machine.l2=3", "mapping"),
    "a number for a list": (["costs.operations.tcp_input.touches=3"], "touches=3", "must be a list"),
    "null in a list": (["costs.operations.tcp_input.touches=[null]"], "touches=[null]", "must be text"),
    "a mapping for a number": (["conns={a: 1}"], "conns={'a': 1}", "a whole number"),
    "an operation that is removed": (["~costs.operations.ip_input"], "costs=freebsd7", "has no operations ip_input;"),
    "a structure that is removed": (["~costs.structures.inpcb"], "costs=freebsd7", "has no structures inpcb;"),
}

BAD_SWEEP = {
    "targets that are not there": (
        ["experiment=fastsocket", "targets=/nowhere/at all.yaml"],
        "targets=/nowhere/at all.yaml",
        "must be a file that can be read (No such file",
    ),
    "figures of another experiment": (["experiment=ablation", "experiment.report=published"], "experiment.name=ablation", "have"),
    "a later value": (["conns=6,abc"], "conns=abc", "a whole number"),
    "a later point": (["org.groups=4,0"], "org.groups=0", "from 1 to"),
    "a later organization": (["org=up,mspg"], "org=mspg", "available are"),
    "a key of the whole sweep": (["workers=1,2"], "workers=2", "the same for all points"),
    "output": (["output_dir=a,b"], "output_dir=b", "the same for all points"),
    "an empty range": (["conns=range(6,6)"], "conns=range(6,6)", "at least one value"),
    "a range that goes nowhere": (["conns=range(6,12,0)"], "conns=range(6,12,0)", "a step other than 0"),
    "a pattern of no file": (["org=glob(nothing*)"], "org=glob(nothing*)", "at least one value"),
    "an interval": (["conns=interval(6,192)"], "conns=interval(6,192)", "must be values"),
    "numbers for names": (["org=range(1,3)"], "org=range(1,3)", "must be names; available are affinity_accept"),
    "a number among names": (["org=up,3"], "org=up,3", "must be a name; available are affinity_accept"),
    "an added key with several values": (["+machine.core=1,2"], "+machine.core=1,2", "did you mean machine.cores?"),
    "an empty range in an experiment": (["experiment=paper", "seed=range(1,1)"], "seed=range(1,1)", "at least one value"),
}


@pytest.mark.parametrize(("name", "multirun"), [(name, index % 2 == 1) for index, name in enumerate(BAD)])
def test_bad_input_is_one_clear_line(
    name: str, multirun: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides, value, allowed = BAD[name]
    output_dir = tmp_path / "outputs"
    arguments = ["run.py", *(["-m"] if multirun else []), f"output_dir={output_dir}", *overrides]
    monkeypatch.setattr(sys, "argv", arguments)
    assert run.main() == BAD_INPUT
    error = capsys.readouterr().err.strip()
    assert error.startswith("error: ")
    assert len(error.splitlines()) == 1
    assert value in error
    assert allowed in error
    assert [path for path in output_dir.rglob("*") if path.is_file()] == []


@pytest.mark.parametrize("name", BAD_SWEEP)
def test_a_bad_point_stops_a_sweep_before_it_starts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    overrides, value, allowed = BAD_SWEEP[name]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["run.py", "-m", *overrides])
    assert run.main() == BAD_INPUT
    (error,) = capsys.readouterr().err.splitlines()
    assert value in error
    assert allowed in error
    assert list(tmp_path.iterdir()) == []


def test_a_sweep_without_its_option(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", "conns=6,12"])
    assert run.main() == BAD_INPUT
    assert capsys.readouterr().err == "error: conns=6,12: several values are a sweep, which needs the option -m\n"


def test_an_output_folder_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (tmp_path / "file").write_text("in the way")
    for arguments in (["run.py"], ["run.py", "-m"]):
        monkeypatch.setattr(sys, "argv", [*arguments, f"output_dir={tmp_path}/file/outputs"])
        assert run.main() == BAD_INPUT
        error = capsys.readouterr().err.strip()
        assert len(error.splitlines()) == 1
        assert error.startswith("error: output_dir=")
        assert "must be a folder that can be written" in error


def test_the_process_says_so_too(tmp_path: Path) -> None:
    command = [sys.executable, "run.py", f"output_dir={tmp_path}", "conns=0"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.strip() == "error: conns=0: must be a whole number from 1 to 4000000"
    assert "Traceback" not in done.stdout + done.stderr


def test_a_precision_of_a_single_point_is_refused(monkeypatch: pytest.MonkeyPatch, capsys, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["run.py", f"output_dir={tmp_path}", "precision=1%"])
    assert run.main() == BAD_INPUT
    assert "precision=1%: several seeds are a sweep, which needs the option -m" in capsys.readouterr().err
