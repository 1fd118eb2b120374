"""A wheel has what its commands need, and they work in an empty folder without a checkout."""

import email
import importlib.util
import os
import re
import site
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

import netstack
from experiments.config.command_line import BAD_INPUT
from tests.helpers.folders import CONF, ROOT
from tests.helpers.launching import SHORT, launch, results

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
PACKAGES = {"netstack": "netstack", "experiments": "experiments", "hydra_plugins": "hydra_plugins", "conf": "experiments/conf"}
"""Folders of the checkout, and where they are in the wheel."""
POINTS = ("-m", "org=up,connp_l", "conns=6", "tracking=none")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout. Where the build backend is not installed, pip fetches it."""
    folder = tmp_path_factory.mktemp("dist")
    isolation = ["--no-build-isolation"] if importlib.util.find_spec("hatchling") else []
    pip("wheel", "--no-deps", *isolation, "--wheel-dir", str(folder), str(ROOT))
    (path,) = folder.iterdir()
    return path


def pip(*arguments: str) -> None:
    command = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", *arguments]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def packaged() -> Iterator[str]:
    """Yield the names that files of the checkout have in a wheel."""
    for folder, name in PACKAGES.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix != ".pyc":
                yield f"{name}/{path.relative_to(ROOT / folder).as_posix()}"


def test_the_wheel_has_packages_plugin_configuration_and_templates_and_nothing_else(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    inside = {name for name in names if ".dist-info/" not in name}
    assert inside == set(packaged())
    assert {
        "netstack/py.typed",
        "experiments/py.typed",
        "hydra_plugins/ray_launcher.py",
        "experiments/conf/config.yaml",
        "experiments/conf/org/connp_l.yaml",
        "experiments/conf/calibration.yaml",
        "experiments/present/html/templates/page.html",
        "experiments/present/html/templates/style.css",
    } <= inside


def test_the_wheel_says_what_it_is(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        folder = f"netstack-{netstack.__version__}.dist-info"
        metadata = email.message_from_bytes(archive.read(f"{folder}/METADATA"))
        commands = archive.read(f"{folder}/entry_points.txt").decode()
    assert metadata["Version"] == netstack.__version__
    assert metadata["Author"] == "The netstack authors"
    assert set(re.findall(r"^(netstack\S*) = ", commands, re.MULTILINE)) == PROJECT["scripts"].keys()


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The commands of an environment that has the wheel, and the dependencies of this one but not this checkout."""
    environment = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(environment)], check=True)
    python = environment / "bin" / "python"
    pip("--python", str(python), "install", "--no-deps", str(wheel))
    packages = environment / "lib" / f"python{sys.version_info.major}.{sys.version_info.minor}" / "site-packages"
    (packages / "dependencies.pth").write_text("\n".join(site.getsitepackages()))  # of which nothing but this one is read
    return python.parent


@pytest.fixture
def empty(tmp_path: Path) -> Path:
    folder = tmp_path / "empty"
    folder.mkdir()
    return folder


def start(folder: Path, *command: str) -> subprocess.CompletedProcess[str]:
    """Run a command in a folder, with the user's cache beside it."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment["XDG_CACHE_HOME"] = str(folder.parent / "cache")
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def site_packages(installed: Path) -> set[Path]:
    return {path for path in (installed.parent / "lib").rglob("*") if "__pycache__" not in path.parts}


def test_a_sweep_of_the_installed_command_is_that_of_the_checkout(
    installed: Path, empty: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = site_packages(installed)
    done = start(empty, str(installed / "netstack"), *POINTS, *SHORT)
    assert (done.returncode, done.stderr) == (0, "")
    assert {path.name for path in empty.iterdir()} == {"outputs"}
    (sweep,) = (empty / "outputs" / "sweeps").iterdir()
    assert (sweep / "goodput.png").exists()
    compiled = {path.name.partition("-")[0] for path in (tmp_path / "cache" / "netstack" / "compiled").iterdir()}
    assert "sim" in compiled
    assert site_packages(installed) == before
    assert launch(monkeypatch, tmp_path / "checkout", *POINTS) == 0
    found = results(empty / "outputs")
    assert len(found) == 2
    assert found == results(tmp_path / "checkout")


def test_the_help_of_the_installed_command_says_how_it_is_started(installed: Path, empty: Path) -> None:
    done = start(empty, str(installed / "netstack"), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert "\n  netstack -m KEY=VALUE,VALUE ... " in done.stdout
    assert "python" not in done.stdout
    assert f"org: {', '.join(sorted(path.stem for path in (CONF / 'org').glob('*.yaml')))}\n" in done.stdout


def test_the_installed_command_takes_experiments_and_files_of_one_s_own(installed: Path, empty: Path) -> None:
    done = start(empty, str(installed / "netstack"), "-m", "experiment=paper", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("455 points, 0 done, 455 to run\n")
    (empty / "mine" / "org").mkdir(parents=True)
    text = (CONF / "org" / "msgp.yaml").read_text()
    (empty / "mine" / "org" / "other.yaml").write_text(text.replace("name: msgp", "name: other"))
    done = start(empty, str(installed / "netstack"), "-m", "--config-dir", "mine", "org=other,msgp", "conns=6", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("2 points, 0 done, 2 to run\n")
    assert {path.name for path in empty.iterdir()} == {"mine"}


def test_bad_input_of_the_installed_command_is_one_clear_line(installed: Path, empty: Path) -> None:
    done = start(empty, str(installed / "netstack"), "--workers", "4")
    assert done.returncode == BAD_INPUT
    assert done.stderr == ("error: --workers: unknown option; keys are given as key=value, options are in netstack --help\n")


@pytest.mark.parametrize("name", sorted(PROJECT["scripts"].keys() - {"netstack"}))
def test_the_other_commands_start(name: str, installed: Path, empty: Path) -> None:
    done = start(empty, str(installed / name), "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith(f"usage: {name} ")


def test_the_studies_read_the_configuration_files_of_the_wheel(installed: Path, empty: Path) -> None:
    done = start(empty, str(installed / "netstack-sensitivity"), "--quick", "--dry-run")
    assert re.fullmatch(r"\d+ points, 0 done, \d+ to run\n", done.stdout), done.stderr


def test_a_calibration_does_not_change_files_of_the_wheel(installed: Path, empty: Path) -> None:
    done = start(empty, str(installed / "netstack-calibrate"))
    assert done.returncode == BAD_INPUT
    (error,) = done.stderr.splitlines()
    assert error.startswith(f"error: conf={installed.parent}/lib/")
    assert error.endswith("is installed, and only files of a checkout are changed: give --dry-run, or start there")
