"""Imports point down the layers, and nothing heavy is imported by the simulator."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ["tcp", "machine", "workload", "organization", "engine"]
"""From the bottom up. A part imports from its own layer and those below it."""
TCP_ONLY = ["wire"]
"""Parts beside the simulation, which use the stack core and nothing else."""
WITH_A_COMMAND = ["wire"]
"""Those of them that a user runs, and that show progress."""
OUTSIDE = ["experiments", "hydra_plugins", "run", "benchmarks", "tests"]
TOOLS = ["hydra", "jinja2", "omegaconf", "ray", "mlflow", "matplotlib", "rich", "yaml"]
"""What only the layer of experiments knows."""
OF_COMMANDS = ["rich"]
"""What a module that is a command, ``__main__.py``, may use of them: it prints."""


def imports_of(path: Path) -> list[str]:
    """Return the modules a file imports, anywhere in it; ``from a import b`` counts as `a` and as `a.b`."""
    modules = []
    package = path.relative_to(ROOT).with_suffix("").parts[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = ".".join([*base, *filter(None, [node.module])])
            modules += [module, *(f"{module}.{alias.name}" for alias in node.names)]
    return modules


def is_below(module: str, names: list[str]) -> bool:
    return any(module == name or module.startswith(name + ".") for name in names)


def violations(layer: str, modules: list[str]) -> list[str]:
    if layer in TCP_ONLY:
        forbidden = [name for name in LAYERS + TCP_ONLY if name not in ("tcp", layer)]
    else:
        forbidden = LAYERS[LAYERS.index(layer) + 1 :] + (["machine"] if layer == "tcp" else []) + TCP_ONLY
    names = [f"netstack.{name}" for name in forbidden] + OUTSIDE + TOOLS
    if layer in WITH_A_COMMAND:
        names.remove("rich")
    return sorted({module for module in modules if is_below(module, names)})


def may_print(path: Path, module: str) -> bool:
    return path.name == "__main__.py" and is_below(module, OF_COMMANDS)


@pytest.mark.parametrize("layer", LAYERS + TCP_ONLY)
def test_imports_point_down(layer: str) -> None:
    files = sorted((ROOT / "netstack" / layer).rglob("*.py"))
    assert files or layer in TCP_ONLY
    found = {path: [module for module in violations(layer, imports_of(path)) if not may_print(path, module)] for path in files}
    assert {str(path): modules for path, modules in found.items() if modules} == {}


def test_machine_knows_no_tcp() -> None:
    for path in (ROOT / "netstack" / "machine").glob("*.py"):
        assert not [module for module in imports_of(path) if module.startswith("netstack.tcp")], path


def test_every_part_of_the_simulator_has_a_layer() -> None:
    parts = {path.parent.name for path in (ROOT / "netstack").glob("*/__init__.py")}
    assert parts <= set(LAYERS + TCP_ONLY)


@pytest.mark.parametrize("path", sorted((ROOT / "netstack").glob("*.py")), ids=lambda path: path.name)
def test_what_all_layers_share_knows_none_of_them(path: Path) -> None:
    names = [f"netstack.{name}" for name in LAYERS + TCP_ONLY] + OUTSIDE + TOOLS
    assert not [module for module in imports_of(path) if is_below(module, names)]


def test_experiments_use_the_simulator_and_no_entry() -> None:
    found = {path.name: imports_of(path) for path in (ROOT / "experiments").rglob("*.py")}
    assert any(is_below(module, ["netstack"]) for modules in found.values() for module in modules)
    above = ["hydra_plugins", "run", "tests", "benchmarks", "netstack.wire"]
    assert {name: up for name, modules in found.items() if (up := [m for m in modules if is_below(m, above)])} == {}


def test_the_simulator_runs_without_the_tools_of_experiments() -> None:
    """What is really loaded, not what the sources say: workers of a cluster need no more."""
    code = "import sys, netstack.engine, experiments.task; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert "numba" in done.stdout.split()
    assert set(done.stdout.split()) & set(TOOLS) <= {"yaml"}  # which Numba loads for its own configuration


@pytest.mark.parametrize(
    ("layer", "source", "found"),
    [
        ("machine", "import netstack.engine.build, netstack.tcp.pcb", ["netstack.engine.build"]),
        ("tcp", "from netstack import machine", ["netstack.machine"]),
        ("organization", "from ..engine import simulate", ["netstack.engine", "netstack.engine.simulate"]),
        ("engine", "def f():\n    import mlflow.entities", ["mlflow.entities"]),
        (
            "wire",
            "from netstack.tcp.pcb import PCB\nfrom netstack.machine import nic",
            ["netstack.machine", "netstack.machine.nic"],
        ),
        ("engine", "import netstack.tcp.pcb, numpy, rayon", []),
    ],
)
def test_an_upward_import_is_found(layer: str, source: str, found: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda _: source)
    assert violations(layer, imports_of(ROOT / "netstack" / layer / "part.py")) == found
