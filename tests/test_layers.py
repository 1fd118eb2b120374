"""Imports point down the layers, and nothing heavy is imported by the simulator."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ["tcp", "machine", "workload", "organization", "engine"]
"""From the bottom up. A part imports from its own layer and those below it."""


def imports_of(path: Path) -> list[str]:
    modules = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules.append(node.module)
    return modules


def violations(layer: str, modules: list[str]) -> list[str]:
    above = LAYERS[LAYERS.index(layer) + 1 :] + (["machine"] if layer == "tcp" else [])
    forbidden = [f"netstack.{name}" for name in above] + ["experiments", "hydra", "omegaconf", "ray", "mlflow"]
    return [module for module in modules if any(module == name or module.startswith(name + ".") for name in forbidden)]


@pytest.mark.parametrize("layer", LAYERS)
def test_imports_point_down(layer: str) -> None:
    files = sorted((ROOT / "netstack" / layer).glob("*.py"))
    assert files
    assert {str(path): found for path in files if (found := violations(layer, imports_of(path)))} == {}


def test_machine_knows_no_tcp() -> None:
    for path in (ROOT / "netstack" / "machine").glob("*.py"):
        assert not [module for module in imports_of(path) if module.startswith("netstack.tcp")], path


def test_an_upward_import_is_found() -> None:
    assert violations("machine", ["netstack.engine.build", "netstack.tcp.pcb"]) == ["netstack.engine.build"]


def test_no_organization_is_named_in_code() -> None:
    for path in (ROOT / "netstack").rglob("*.py"):
        tree = ast.parse(path.read_text())
        compared = [node for test in ast.walk(tree) if isinstance(test, ast.Compare) for node in ast.walk(test)]
        names = [node.value for node in compared if isinstance(node, ast.Constant)]
        assert not {"up", "msgp", "connp_t", "connp_l"} & {name for name in names if isinstance(name, str)}, path
