"""Imports point down the layers, in circles nowhere, and nothing heavy is imported by the simulator."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

from tests.helpers.folders import ROOT

BELOW: dict[str, tuple[str, ...]] = {
    "netstack.errors": (),
    "netstack.installation": (),
    "netstack.jit": ("netstack.installation",),
    "netstack.tcp": ("netstack.jit",),
    "netstack.host": ("netstack.jit", "netstack.tcp", "netstack.errors"),
    "netstack.script": ("netstack.tcp", "netstack.host", "netstack.errors", "netstack.installation"),
    "netstack.wire": ("netstack.tcp", "netstack.host", "netstack.errors", "netstack.installation"),
    "netstack.sim": ("netstack.jit", "netstack.tcp", "netstack.errors"),
    "experiments": ("netstack.sim", "netstack.errors", "netstack.installation"),
}
"""What each part may import beside itself."""
ORDERED = {
    "netstack.sim": ["machine", "stack", "workload", "kernel", "organization", "config", "build", "engine"],
    "experiments": [
        *(
            "config",
            "points",
            "run",
            "store",
            "paper",
            "present",
            "calibrate",
            "sensitivity",
            "published",
            "why",
            "steps",
            "trace",
        ),
        *("results", "sweep", "search", "launch", "__main__", "start"),
    ],
}
"""Parts of a part from the bottom up: each imports from itself and from those before it."""
MACHINE_KNOWS = ("netstack.sim.machine", "netstack.jit", "netstack.errors")
TOOLS = ["hydra", "jinja2", "omegaconf", "ray", "mlflow", "matplotlib", "rich", "yaml"]
"""What only the layer of experiments knows."""
MAY_PRINT = ("netstack.wire", "netstack.script.__main__")
"""Commands, and the part that shows progress: they may use rich."""
FORWARDERS = ("netstack.tcp.script.__main__",)
"""Commands by their names of an earlier release."""
MOST_NAMES = 12
"""How many names a module may import from another."""


def module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(path): path for part in ("netstack", "experiments") for path in sorted((ROOT / part).rglob("*.py"))}


def imported(path: Path) -> Iterator[tuple[str, int]]:
    """Yield each import of a file, anywhere in it: the module, and how many names are taken from it."""
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            names = [alias.name for alias in node.names]
            submodules = [name for name in names if f"{module}.{name}" in MODULES]
            yield from ((f"{module}.{name}", 0) for name in submodules)
            if len(submodules) < len(names):
                yield module, len(names) - len(submodules)


def is_below(module: str, name: str) -> bool:
    return module == name or module.startswith(name + ".")


def part_of(module: str) -> str | None:
    """Return the part that a module belongs to, None if it is the door of a package that others import through."""
    return next((part for part in BELOW if is_below(module, part)), None)


def violations(module: str, path: Path) -> list[str]:
    """Return the imports of a module that point up, sideways, or at a tool that it must not know."""
    part = part_of(module)
    if part is None:
        return [name for name, _ in imported(path) if name.partition(".")[0] in TOOLS]
    found = []
    for name, _ in imported(path):
        top = name.partition(".")[0]
        if top in ("netstack", "experiments", "hydra_plugins", "run", "tests", "benchmarks"):
            if not any(is_below(name, allowed) for allowed in (part, *BELOW[part])) or _points_up(part, module, name):
                found.append(name)
        elif top in TOOLS and part != "experiments" and not (top == "rich" and module.startswith(MAY_PRINT)):
            found.append(name)
    return found


def _points_up(part: str, module: str, name: str) -> bool:
    """Return whether, of two modules of the same ordered part, the importing one is the lower one."""
    if part not in ORDERED or not is_below(name, part):
        return False
    here, there = (text.removeprefix(part).lstrip(".").partition(".")[0] for text in (module, name))
    if not here:
        return False  # the door
    order = ORDERED[part]
    return not there or order.index(there) > order.index(here)


def test_every_part_has_a_place() -> None:
    assert {name for name in MODULES if part_of(name) is None} == {"netstack"}
    for part, order in ORDERED.items():
        inside = {name.removeprefix(part + ".").partition(".")[0] for name in MODULES if name.startswith(part + ".")}
        assert inside == set(order)


@pytest.mark.parametrize("module", [name for name in MODULES if name not in FORWARDERS])
def test_imports_point_down(module: str) -> None:
    assert violations(module, MODULES[module]) == []


def test_the_machine_knows_no_protocol() -> None:
    for name, path in MODULES.items():
        if is_below(name, "netstack.sim.machine"):
            own = [module for module, _ in imported(path) if is_below(module, "netstack")]
            assert [module for module in own if not any(is_below(module, known) for known in MACHINE_KNOWS)] == [], name


def test_no_import_goes_in_a_circle() -> None:
    """Imports for types only count as well."""
    graph = {name: {module for module, _ in imported(path) if module in MODULES} for name, path in MODULES.items()}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        pytest.fail(" -> ".join(error.args[1]))


@pytest.mark.parametrize("module", MODULES)
def test_no_module_takes_many_names_from_another(module: str) -> None:
    names: dict[str, int] = {}
    for name, count in imported(MODULES[module]):
        names[name] = names.get(name, 0) + count
    assert {name: count for name, count in names.items() if count > MOST_NAMES} == {}


def test_the_simulator_runs_without_the_tools_of_experiments() -> None:
    """What is really loaded, not what the sources say: workers of a cluster need no more."""
    code = "import sys, netstack.sim, experiments.run.task; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "numba" in done.stdout.split()
    assert set(done.stdout.split()) & set(TOOLS) <= {"yaml"}  # which Numba loads for its own configuration


@pytest.mark.parametrize(
    ("module", "source", "found"),
    [
        ("netstack.sim.machine.part", "import netstack.sim.engine.exact, numpy", ["netstack.sim.engine.exact"]),
        ("netstack.sim.machine.part", "from netstack.sim import SimulationConfig", ["netstack.sim"]),
        ("netstack.sim.kernel.part", "from ..organization import config", ["netstack.sim.organization.config"]),
        ("netstack.sim.engine.part", "from netstack.sim.machine import memory\nfrom netstack.tcp.pcb import PCB", []),
        ("netstack.tcp.part", "from netstack import sim", ["netstack.sim"]),
        ("netstack.wire.part", "import rich\nfrom netstack.sim.machine import nic", ["netstack.sim.machine.nic"]),
        ("netstack.sim.engine.part", "def f():\n    import mlflow.entities", ["mlflow.entities"]),
        ("experiments.points.part", "from experiments.run import task\nimport ray", ["experiments.run.task"]),
        ("experiments.launch", "import run\nimport netstack.wire.loop", ["run", "netstack.wire.loop"]),
    ],
)
def test_an_upward_import_is_found(module: str, source: str, found: list[str], tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: source)
    assert violations(module, ROOT / (module.replace(".", "/") + ".py")) == found
