"""Keeps what Hydra composes: the next launch with the same choices takes it from the disk, in a hundredth of the time.

Values that are set do not matter, only what is chosen. Knows Hydra's inside and files, not what any key means.
"""

import hashlib
import os
import pickle
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override

from experiments.config.locations import EXPERIMENTS
from netstack.installation import PACKAGE
from netstack.sim import cache_folder, kept_cache_folder

TRIED = ("1.3.8",)
"""The versions of Hydra that this was tried with. Others compose each time."""
MOST_FILES = 1000  # of configuration that are read to know them
MOST_KEPT = 64  # compositions of a state of the files
STATES_KEPT = 5  # states of the files
NAME = "composed-"

_known: dict[str, dict[str, bytes]] = {}
"""What was composed of a state of the files, by its key."""
_grown: set[str] = set()
"""States of which more is known than is on the disk."""


def use_kept_compositions() -> None:
    """Make Hydra take from the disk what it composed before. Nothing is written, see `keep_compositions`."""
    _state.cache_clear()  # files may have changed since
    if version("hydra-core") in TRIED:
        _wrap()


def keep_compositions() -> None:
    """Write what was composed beside the code of the simulator. What cannot be written is composed again."""
    if not _grown:
        return
    folder = cache_folder("sim")
    for state in _grown:
        kept = dict(list({**_read(folder / state), **_known[state]}.items())[-MOST_KEPT:])
        new = folder / f".{state}-{os.getpid()}"
        with suppress(OSError):
            new.write_bytes(pickle.dumps(kept))
            new.replace(folder / state)
    _grown.clear()
    for path in sorted(folder.glob(f"{NAME}*"), key=_age, reverse=True)[STATES_KEPT:]:
        path.unlink(missing_ok=True)


@cache
def _wrap() -> None:
    create, compose = config_loader_impl.create_defaults_list, ConfigLoaderImpl._compose_config_from_defaults_list

    def create_defaults_list(
        repo: Any, config_name: str | None, overrides_list: list[Override], prepend_hydra: bool, skip_missing: bool
    ) -> Any:
        """Return which files are chosen. Overrides that only set values are put in afterwards."""
        given = [each for each in overrides_list if not each.is_sweep_override()]
        values = [each for each in given if isinstance(each.value(), dict) or not repo.group_exists(each.key_or_group)]
        choices = [each for each in given if each not in values]
        found = _kept(
            repo,
            ("defaults", config_name, [each.input_line for each in choices], prepend_hydra, skip_missing),
            lambda: create(repo, config_name, choices, prepend_hydra, skip_missing),
        )
        found.overrides.config_overrides = values
        return replace(found, config_overrides=values)

    def compose_config(self: ConfigLoaderImpl, defaults: Sequence[Any], repo: Any) -> Any:
        """Return the files of a list as one configuration."""
        return _kept(repo, ("config", list(map(repr, defaults))), lambda: compose(self, list(defaults), repo))

    config_loader_impl.create_defaults_list = create_defaults_list
    ConfigLoaderImpl._compose_config_from_defaults_list = compose_config  # pyright: ignore[reportAttributeAccessIssue]


def _kept(repo: Any, key: object, make: Callable[[], Any]) -> Any:
    """Return what is known under a key, or make it."""
    state = _state(tuple((source.scheme(), source.path) for source in repo.get_sources()))
    if state is None:
        return make()
    known, name = _known[state], repr(key)
    if name not in known:
        made = make()
        known[name] = pickle.dumps(made)
        _grown.add(state)
        return made
    return pickle.loads(known[name])


@cache
def _state(sources: tuple[tuple[str, str], ...]) -> str | None:
    """Return the name of the state of all that is composed, after reading what is kept of it. None if there is no telling."""
    digest = hashlib.sha256(repr((sources, sys.version, version("hydra-core"), version("omegaconf"))).encode())
    for number, path in enumerate(_files(Path(place) for scheme, place in sources if scheme == "file")):
        try:
            content = path.read_bytes()
        except OSError:
            return None  # Hydra says so
        if number == MOST_FILES or (path.suffix != ".py" and b"oc.env" in content):
            return None
        digest.update(f"{path}\0".encode() + content + b"\0")
    state = f"{NAME}{digest.hexdigest()[:32]}"
    if state not in _known:
        folder = kept_cache_folder("sim")
        _known[state] = _read(folder / state) if folder is not None else {}
    return state


def _files(folders: Iterator[Path]) -> Iterator[Path]:
    """Yield files of configuration, and the sources of the schema; those of the simulator are in the name of the folder."""
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*")) if path.suffix in (".yaml", ".yml"))
    for folder in (EXPERIMENTS, PACKAGE.parent / "hydra_plugins"):
        yield from sorted(folder.rglob("*.py"))


def _read(path: Path) -> dict[str, bytes]:
    with suppress(Exception):  # a file that is cut off can raise anything
        kept = pickle.loads(path.read_bytes())
        return kept if isinstance(kept, dict) else {}
    return {}


def _age(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except FileNotFoundError:
        return 0.0
