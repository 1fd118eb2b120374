"""An edit invalidates what it can change: points and compiled code of the simulator, or of the host, or nothing."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from netstack.jit.versions import CALLABLE, MODEL
from tests.helpers.folders import ROOT
from tests.test_layers import BELOW, MODULES, imported, part_of

SOURCES = ("conf", "experiments", "hydra_plugins", "netstack")
POINT = ("conns=1", "engine.warmup_ms=0.01", "engine.measure_ms=0.01", "tracking=none")
COMPILE = """
import json
from numba import int64
from netstack.host.core_calls import outstanding
from netstack.jit.journal import undo_to
from netstack.sim.machine.recency import next_victim
from netstack.tcp.sequence import seq_sub
found = {}
for part, function in {"host": outstanding, "jit": undo_to, "sim": next_victim, "tcp": seq_sub}.items():
    function.compile((int64, int64))
    found[part] = function.stats.cache_path, not function.stats.cache_misses
print(json.dumps(found))
"""


class Tree:
    """A copy of the sources, with outputs of its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        for name in SOURCES:
            shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "run.py", root)

    def python(self, *arguments: str, jit: bool = True) -> str:
        environment = {**os.environ, "PYTHONPATH": str(self.root), "NUMBA_DISABLE_JIT": "0" if jit else "1"}
        command = [sys.executable, "-W", "ignore::RuntimeWarning", *arguments]
        return subprocess.run(command, cwd=self.root, env=environment, check=True, stdout=subprocess.PIPE, text=True).stdout

    def compile(self) -> dict[str, tuple[str, bool]]:
        """Compile a function of each part; return where its code is kept, and whether it was there."""
        found = {part: (path, kept) for part, (path, kept) in json.loads(self.python("-c", COMPILE)).items()}
        assert all(path.startswith(str(self.root / "outputs" / "compiled" / part)) for part, (path, _) in found.items())
        return found

    def compiled_files(self) -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (self.root / "outputs" / "compiled").rglob("*.nb[ci]")}

    def point_is_done(self) -> bool:
        last = self.python("run.py", *POINT, "-m", "--dry-run").splitlines()[-1]
        assert last in ("1 points, 1 done, 0 to run", "1 points, 0 done, 1 to run")
        return last == "1 points, 1 done, 0 to run"

    def edit(self, module: str) -> None:
        with (self.root / "netstack" / module).open("a") as file:
            file.write("# edited\n")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """Sources with a finished point, which was interpreted, and with compiled code of each part."""
    tree = Tree(tmp_path_factory.mktemp("sources"))
    tree.python("run.py", *POINT, jit=False)
    assert {kept for _, kept in tree.compile().values()} == {False}
    return tree


@pytest.mark.parametrize(
    ("module", "again", "done"),
    [
        ("wire/http/server.py", "", True),
        ("script/lexer.py", "", True),
        ("installation.py", "", True),
        ("host/ip.py", "host", True),
        ("sim/machine/nic.py", "sim", False),
        ("sim/engine/result.py", "sim", False),
        ("errors.py", "", False),
        ("tcp/cubic.py", "host sim tcp", False),
        ("jit/records.py", "host jit sim tcp", False),
    ],
)
def test_an_edit(module: str, again: str, done: bool, tree: Tree) -> None:
    """What is not compiled again stays untouched, and so does the code of the version before."""
    before, files = tree.compile(), tree.compiled_files()
    original = (tree.root / "netstack" / module).read_text()
    tree.edit(module)
    try:
        after = tree.compile()
        assert {part for part, (_, kept) in after.items() if not kept} == set(again.split())
        assert {part for part, (path, _) in after.items() if path != before[part][0]} == set(again.split())
        assert files.items() <= tree.compiled_files().items()
        assert tree.point_is_done() == done
    finally:
        (tree.root / "netstack" / module).write_text(original)


def test_the_version_before_an_edit_has_its_points_and_code_again(tree: Tree) -> None:
    tree.edit("sim/config.py")
    tree.compile()
    path = tree.root / "netstack" / "sim" / "config.py"
    path.write_text(path.read_text().removesuffix("# edited\n"))
    assert {kept for _, kept in tree.compile().values()} == {True}
    assert tree.point_is_done()


def test_compiled_code_calls_what_its_layer_may_import() -> None:
    for part, called in CALLABLE.items():
        below = {name.removeprefix("netstack.") for name in BELOW[f"netstack.{part}"]}
        assert set(called) == {part} | (below & CALLABLE.keys())


def test_every_compiled_function_is_in_a_known_part() -> None:
    using = {name for name, path in MODULES.items() if "netstack.jit.compilation" in dict(imported(path))}
    assert len(using) > 30
    assert {part_of(name) for name in using} <= {f"netstack.{part}" for part in CALLABLE}


def test_the_model_is_what_the_simulator_loads() -> None:
    """Beside it are only modules that say where sources are."""
    code = "import sys, netstack.sim; print(*sorted({'.'.join(name.split('.')[:2]) for name in sys.modules}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name for name in done.stdout.split() if name.startswith("netstack.")}
    assert loaded == {f"netstack.{part.removesuffix('.py')}" for part in MODEL} | {"netstack.installation"}
