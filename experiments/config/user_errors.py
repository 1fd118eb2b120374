"""What a user sees of an error: one line with key, value, and what is allowed.

Knows the errors of Hydra, OmegaConf and YAML, not which command raised them.
"""

import dataclasses
import difflib
import re
from collections.abc import Sequence

from hydra.errors import ConfigCompositionException, HydraException, MissingConfigException, OverrideParseException
from omegaconf.errors import OmegaConfBaseException
from yaml import MarkedYAMLError

from experiments.config.schema import RunConfig
from experiments.config.values import flattened
from netstack.errors import ConfigError

REFUSED = {
    "is not Optional": "must have a value",
    "is not a ListConfig": "must be a list",
    "is not a subclass of str": "must be text",
    "is not a subclass of": "must be a mapping of all its keys, or be given key by key if it is there",
}
"""What OmegaConf says of values of another kind, and what that means."""


class InputError(ValueError):
    """Input other than the value of a key that cannot be used. The message is one line."""


class UnfinishedError(Exception):
    """A command did not do all of its work. The message is one line."""


def describe(error: BaseException, overrides: Sequence[str]) -> str | None:
    """Return one line for an error that a user caused, who gave `overrides`; None for any other."""
    if isinstance(error, ConfigError | InputError):
        return str(error)
    if isinstance(error, MissingConfigException):
        return _missing_option(error)
    if isinstance(error, OverrideParseException):
        return f"{error.override}: must be key=value or key=value,value ({str(error).splitlines()[0]})"
    if isinstance(error, MarkedYAMLError):
        mark = error.problem_mark
        return f"{mark.name}, line {mark.line + 1}: {error.problem}" if mark is not None else str(error.problem)
    if isinstance(error, ConfigCompositionException | HydraException | OmegaConfBaseException):
        return _composition(error, overrides)
    return None


def unknown_key(given: str, name: str, nearby: Sequence[str] = ()) -> str:
    """Return the line about an override of a key that does not exist, with the nearest one, if it can be one `nearby`."""
    near = difflib.get_close_matches(name, nearby, n=1) or difflib.get_close_matches(name, _known_keys(), n=1)
    hint = f"did you mean {near[0]}?" if near else f"top-level keys are {', '.join(vars(RunConfig()))}"
    return f"{given}: unknown key; {hint}"


def _missing_option(error: MissingConfigException) -> str:
    text = str(error)
    match = re.search(r"Could not find '([^']+)/([^'/]+)'", text)
    options = error.options or []
    if match is None:
        return text.splitlines()[0]
    return f"{match[1]}={match[2]}: unknown; available are {', '.join(options)}"


def _composition(error: BaseException, overrides: Sequence[str]) -> str:
    """Return key, value and reason from the chain of errors of Hydra and OmegaConf."""
    texts = []
    current: BaseException | None = error
    while current is not None:
        texts.append(str(current))
        if isinstance(current, ConfigError | InputError):
            return str(current)
        current = current.__cause__
    text = "\n".join(texts)
    ambiguous = re.search(r"Ambiguous value for argument '([^']+)'", text)
    if ambiguous:
        return f"{ambiguous[1]}: several values are a sweep, which needs the option -m"
    override = re.search(r"Error merging override (.+)|Could not override '([^']+)'", text)
    given = override[1] or override[2] if override else ""
    key, _, value = given.partition("=")
    full_key = re.search(r"full_key: (\S+)", text)
    name = full_key[1] if full_key else key
    conversion = re.search(r"Value '(.*)' of type '\w+' could not be converted to (\w+)", text)
    if conversion:
        kinds = {"Integer": "a whole number", "Float": "a number", "Boolean": "true or false"}
        return f"{name}={conversion[1]}: must be {kinds.get(conversion[2], conversion[2])}"
    if "not in" in text or "Could not override" in text or "No match in the defaults" in text:
        return unknown_key(next((override for override in overrides if override.startswith(f"{name}=")), name), name)
    for words, allowed in REFUSED.items():
        if words in text and given:
            return f"{given}: {allowed}"
    first, *others = [line.strip() for line in text.splitlines() if line.strip()]
    file = re.match(r"In '([^']+)': \w+ raised", first)
    if file and others:
        return f"{file[1]}: {name}: {others[0]}" if "." in name else f"{file[1]}: {others[0]}"
    if not name:
        return first
    return f"{name}={value}: {first}" if value else f"{name}: {first}"


def _known_keys() -> list[str]:
    return [*flattened(dataclasses.asdict(RunConfig())), "org", "machine", "workload", "costs", "engine", "tracking"]
