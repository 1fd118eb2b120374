"""A file of a configuration that cannot be used is one line that names it, whatever is wrong with it. Nothing takes for ever."""

import sys
from pathlib import Path

import pytest
import yaml
from omegaconf import OmegaConf

import run
from experiments.config.command_line import BAD_INPUT
from experiments.config.files import read_yaml
from experiments.config.user_errors import InputError
from tests.helpers.folders import CONF

BASED = "defaults: [connp_l]\nname: mine\n"
DOUBLED = "defaults: [connp_l]\na: &a [x, x]\n" + "".join(
    f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]\n" for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)
BAD: dict[str, tuple[bytes, str]] = {
    "a value in itself": (b"defaults: [connp_l]\nname: &a [*a]\n", "mine.yaml, line 2: *a stands in what &a names"),
    "a mapping in itself": (b"&a\nname: *a\n", "mine.yaml, line 2: *a stands in what &a names"),
    "aliases of aliases": (DOUBLED.encode(), "mine.yaml, line 7: must have at most 100000 values"),
    "an alias of nothing": (b"name: *nothing\n", "mine.yaml, line 1: must be YAML"),
    "values in values": (
        b"name: " + b"[" * 500 + b"]" * 500,
        "mine.yaml, line 1: must not have values in values deeper than 100",
    ),
    "many more": (b"name: " + b"[" * 200_000, "mine.yaml, line 1: must "),
    "another encoding": ("name: café\n".encode("latin-1"), "mine.yaml, line 1: must be text in UTF-8, and has the byte 0xe9"),
    "a control character": (b"name: \0\n", "mine.yaml: must be YAML"),
    "a program": (b"name: !!python/object/apply:os.getpid []\n", "mine.yaml, line 1: must be YAML"),
    "a number with too many digits": (b"groups: " + b"9" * 5000 + b"\n", "mine.yaml: must be YAML"),
    "the same key twice": (b"name: a\nname: b\n", "mine.yaml, line 2: must be YAML (found duplicate key name)"),
    "a key that is no name": (b"3: a\n", "mine.yaml: 3: a key must be a name"),
    "a value that is given elsewhere": (BASED.encode() + b"groups: ???\n", "mine.yaml, line 3: ??? is no value"),
    "itself as its default": (b"defaults: [mine]\n", "mine.yaml: its defaults lead back to it: org/mine, org/mine"),
    "one default": (b"defaults: connp_l\n", "mine.yaml: defaults=connp_l: must be a list of files"),
    "a number as a default": (b"defaults: [3]\n", "mine.yaml: defaults=3: must be a list of files"),
    "a mapping as a default": (
        b"defaults: [{org: {up: 1}}]\n",
        "mine.yaml: defaults={'org': {'up': 1}}: must be a list of files",
    ),
    "a default that is not there": (b"defaults: [nothing]\n", "Could not load 'org/nothing'"),
    "a loop of values": (BASED.encode().replace(b"mine", b"${org.name}"), "org.name: Recursive interpolation detected"),
    "half of a reference": (BASED.encode().replace(b"mine", b"${"), "no viable alternative"),
}


def compose(folder: Path, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> int:
    monkeypatch.setattr(
        sys, "argv", ["run.py", "--dry-run", *arguments, "--config-dir", str(folder), f"output_dir={folder}/outputs"]
    )
    return run.main()


def the_line(capsys: pytest.CaptureFixture[str]) -> str:
    (error,) = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ")
    return error


@pytest.mark.parametrize("multirun", [[], ["-m"]], ids=["single", "sweep"])
@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_one_clear_line(
    name: str, multirun: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    text, said = BAD[name]
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "mine.yaml").write_bytes(text)
    assert compose(tmp_path, monkeypatch, *multirun, "org=mine") == BAD_INPUT
    assert said in the_line(capsys)
    assert not (tmp_path / "outputs").exists()


def test_defaults_that_lead_back_over_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (tmp_path / "org").mkdir()
    for name, default in {"one": "/org: two", "two": "three@_here_", "three": "optional one"}.items():
        (tmp_path / "org" / f"{name}.yaml").write_text(f"defaults:\n  - {default}\n  - _self_\n")
    assert compose(tmp_path, monkeypatch, "org=one") == BAD_INPUT
    assert "org/three.yaml: its defaults lead back to it: org/three, org/one, org/two, org/three" in the_line(capsys)


def test_files_that_name_a_file_twice_lead_nowhere_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (tmp_path / "org").mkdir()
    for name, defaults in {"one": "[connp_l]", "two": "[connp_l, one]", "mine": "[one, two]"}.items():
        (tmp_path / "org" / f"{name}.yaml").write_text(f"defaults: {defaults}\nname: {name}\n")
    assert compose(tmp_path, monkeypatch, "org=mine") == 0
    assert capsys.readouterr().out.startswith("mine conns=192 ")


def test_a_folder_with_the_name_of_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (tmp_path / "org" / "mine.yaml").mkdir(parents=True)
    assert compose(tmp_path, monkeypatch, "org=mine") == BAD_INPUT
    assert "org=mine: unknown; available are affinity_accept" in the_line(capsys)
    with pytest.raises(InputError, match=r"org/mine\.yaml: must be a file that can be read \(Is a directory\)"):
        read_yaml(tmp_path / "org" / "mine.yaml")


def test_a_folder_of_configurations_that_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    (tmp_path / "file").write_text("")
    for name in ("file", "nothing"):
        assert compose(tmp_path / name, monkeypatch) == BAD_INPUT
        assert str(tmp_path / name) in the_line(capsys)


@pytest.mark.parametrize("path", sorted(CONF.rglob("*.yaml")), ids=lambda path: path.stem)
def test_files_say_what_they_say_to_the_library(path: Path) -> None:
    """The reference is the loader in Python that Hydra uses."""
    text, values = read_yaml(path)
    assert text == path.read_text()
    assert OmegaConf.create(values) == OmegaConf.load(path)


def test_numbers_are_read_as_the_library_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "numbers.yaml"
    path.write_text("a: 1e3\nb: 1_000\nc: 0x10\nd: .inf\ne: 2020-01-01\nf: 1:30\ng: 'yes'\nh: yes\ni: ~\n")
    assert read_yaml(path)[1] == OmegaConf.to_container(OmegaConf.load(path)) != yaml.safe_load(path.read_text())
    path.write_text("")
    assert read_yaml(path) == ("", {})
