"""Reads the YAML files of configurations, for Hydra too, and says what is wrong with one before anything is made of it.

Knows YAML and where Hydra asks for files, not what any key means.
"""

import os
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

import yaml
from hydra._internal.core_plugins import file_config_source
from hydra._internal.sources_registry import SourcesRegistry
from hydra.plugins.config_source import ConfigResult
from omegaconf import OmegaConf
from omegaconf._utils import get_yaml_loader
from yaml.constructor import SafeConstructor
from yaml.resolver import Resolver

from experiments.config.user_errors import InputError

DEFAULTS = "defaults"
DEEPEST = 100  # values in values
MOST_VALUES = 100_000  # of a file, with what its aliases repeat
MISSING = "???"
"""What Hydra takes for a value that is given elsewhere. A value of the schema stays in its place, so that it does nothing."""
PARSER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class FileConfigSource(file_config_source.FileConfigSource):
    """Hydra's source of files, of the same name since Hydra keeps the first of a name. Files are read by `read_yaml`."""

    def __init__(self, provider: str, path: str) -> None:
        super().__init__(provider, path)
        self._below: dict[str, list[str]] = {}  # the files that each file names among its defaults

    def load_config(self, config_path: str) -> ConfigResult:
        """Return a file as a configuration.

        Raises:
            InputError: It cannot be used.
        """
        path = Path(os.path.realpath(Path(self.path, self._normalize_file_name(config_path))))
        text, values = read_yaml(path)
        _check_keys(path, values)
        if isinstance(values, dict) and DEFAULTS in values:
            name = str(PurePosixPath(config_path.removesuffix(".yaml")))
            self._below[name] = list(_named(path, name, values[DEFAULTS]))
            if circle := _circle(name, self._below):
                raise InputError(f"{path}: its defaults lead back to it: {', '.join(circle)}")
        place = f"{self.scheme()}://{self.path}"
        return ConfigResult(self.provider, place, OmegaConf.create(values), self._get_header_dict(text[:512]))


def use_checked_files() -> None:
    """Make Hydra read files by `read_yaml`."""
    SourcesRegistry.instance().types[FileConfigSource.scheme()] = FileConfigSource


def read_yaml(path: Path) -> tuple[str, Any]:
    """Return a file's text and what it says; an empty file says an empty mapping.

    Raises:
        InputError: It cannot be read, is no YAML, repeats itself without end, or has more in it than a configuration has.
    """
    try:
        text = path.read_bytes().decode("utf-8")
        _check_events(path, yaml.parse(text, PARSER))
        values = yaml.load(text, _loader())
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path}: must be a file that can be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise InputError(
            f"{path}, line {line}: must be text in UTF-8, and has the byte 0x{error.object[error.start]:02x}"
        ) from error
    except yaml.MarkedYAMLError as error:
        where = f", line {error.problem_mark.line + 1}" if error.problem_mark is not None else ""
        raise InputError(f"{path}{where}: must be YAML ({error.problem})") from error
    except (yaml.YAMLError, ValueError, TypeError) as error:
        raise InputError(f"{path}: must be YAML ({' '.join(str(error).split())})") from error
    return text, {} if values is None else values


def _check_events(path: Path, events: Iterable[Any]) -> None:
    """Raise InputError for a value that has itself in it, too many values, too deep ones, or one that says nothing."""
    open_values: list[list[Any]] = []  # of each: its anchor, and how many values it has
    known: dict[str, int] = {}  # values under each anchor

    def refuse(event: Any, reason: str) -> None:
        raise InputError(f"{path}, line {event.start_mark.line + 1}: {reason}")

    def add(event: Any, anchor: str | None, count: int) -> None:
        if anchor is not None:
            known[anchor] = count
        if open_values:
            open_values[-1][1] += count
        if count > MOST_VALUES:
            refuse(event, f"must have at most {MOST_VALUES} values, with what aliases repeat")

    for event in events:
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_values):
                refuse(event, f"*{event.anchor} stands in what &{event.anchor} names, which has no end")
            add(event, None, known.get(event.anchor, 1))
        elif isinstance(event, yaml.ScalarEvent):
            if event.value == MISSING and not event.style:
                refuse(event, f"{MISSING} is no value: it must be given, or its line be left out")
            add(event, event.anchor, 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_values.append([event.anchor, 1])
            if len(open_values) > DEEPEST:
                refuse(event, f"must not have values in values deeper than {DEEPEST}")
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, count = open_values.pop()
            add(event, anchor, count)


def _check_keys(path: Path, values: Any) -> None:
    """Raise InputError for a key that is no name."""
    if isinstance(values, list):
        for each in values:
            _check_keys(path, each)
    elif isinstance(values, dict):
        for key, value in values.items():
            if not isinstance(key, str):
                raise InputError(f"{path}: {key}: a key must be a name")
            _check_keys(path, value)


@cache
def _loader() -> Any:
    """Return OmegaConf's loader of YAML on the parser in C, if there is one: its own takes fifty times as long."""
    loader: Any = get_yaml_loader()
    if PARSER is yaml.SafeLoader:
        return loader

    def prepare(self: Any, stream: str) -> None:
        yaml.CSafeLoader.__init__(self, stream)
        SafeConstructor.__init__(self)
        Resolver.__init__(self)

    return type("Loader", (yaml.CSafeLoader, loader), {"__init__": prepare})


def _named(path: Path, name: str, defaults: Any) -> Iterator[str]:
    """Yield the files that a list of defaults names, as Hydra finds them. Raises InputError where it is no such list."""

    def refuse(value: Any) -> InputError:
        allowed = "must be a list of files, as NAME or GROUP: NAME"
        return InputError(f"{path}: {DEFAULTS}={value}: {allowed}")

    if not isinstance(defaults, list):
        raise refuse(defaults)
    group = PurePosixPath(name).parent
    for item in defaults:
        if isinstance(item, str):
            pairs = [("", [item])]
        elif isinstance(item, dict) and all(isinstance(key, str) for key in item):
            pairs = [(key, value if isinstance(value, list) else [value]) for key, value in item.items()]
        else:
            raise refuse(item)
        for key, values in pairs:
            words = key.split("@")[0].split()
            if not all(value is None or isinstance(value, str | bool) for value in values):
                raise refuse(item)
            if words[:1] != ["override"]:
                where = PurePosixPath(group, words[-1] if words else "")
                texts = [
                    value.split("@")[0].removeprefix("optional ").removesuffix(".yaml")
                    for value in values
                    if isinstance(value, str)
                ]
                yield from (str(PurePosixPath(where, text)).lstrip("/") for text in texts if text != "_self_")


def _circle(start: str, below: dict[str, list[str]]) -> list[str]:
    """Return the way from a file over its defaults back to it, nothing if there is none."""
    ways = [[start]]
    seen = set()
    while ways:
        way = ways.pop()
        for name in below.get(way[-1], ()):
            if name == start:
                return [*way, start]
            if name not in seen:
                seen.add(name)
                ways.append([*way, name])
    return []
