"""No constant belongs to an organization: its file combines choices of a closed set, and everything else is the same for all.

Each check is shown to fail on an organization, a file or a line of code that breaks the rule.
"""

import ast
import copy
import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from experiments.config.compose import compose_simulation
from netstack.errors import ConfigError
from netstack.sim import SimulationConfig, simulate
from netstack.sim.organization.config import BALANCES, CHOICES, OrganizationConfig
from tests.helpers.folders import CONF, ROOT

Compose = Callable[..., SimulationConfig]
FILES = sorted((CONF / "org").glob("*.yaml"))
NAMES = tuple(path.stem for path in FILES)
PUBLISHED = ("msgp", "connp")
"""Parts of organizations' names that are in no other word."""
COUNTS = ("groups", "batch", "cores", "stack_cores", "budget", "defer_limit", "aggregate_bytes")
"""Its only counts: groups, messages at a time, cores, those of the stack, frames of a poll, polls in vain, most bytes at once."""
TIMES = ("defer_us", "busy_us", "suspend_us", "migrate_us")
"""Its only times, which an administrator sets: until a timer polls, of polls, without interrupts, between moves of entries."""
QUEUES = ("machine=epyc_7662", "machine.cores=4", "machine.nic.queues=4")
"""A machine on which every organization runs."""
BESIDE = ("netstack/wire", "netstack/script", "netstack/host")
"""Parts that no simulation uses; some know operating systems by name, whose commands they read."""
SIMULATOR = [
    path for path in sorted((ROOT / "netstack").rglob("*.py")) if not path.relative_to(ROOT).as_posix().startswith(BESIDE)
]
COMMON = [path for path in sorted(CONF.glob("*/*.yaml")) if path.parent.name in ("costs", "machine", "workload", "engine")]


def not_choices(values: dict) -> dict[str, object]:
    """Return what is neither a choice of the closed set, nor a count, nor the organization's name."""
    found = {}
    for key, value in values.items():
        is_count = key in COUNTS and (value is None or (isinstance(value, int) and not isinstance(value, bool)))
        is_count |= key in TIMES and isinstance(value, int | float) and not isinstance(value, bool)
        is_list = key == "balance" and isinstance(value, list) and set(value) <= set(BALANCES)
        is_text = key == "name" and isinstance(value, str)
        is_parent = key == "defaults" and isinstance(value, list) and set(value) <= set(NAMES)
        if not (is_count or is_list or is_text or is_parent or value in CHOICES.get(key, ())):
            found[key] = value
    return found


def named_in_code(source: str) -> list[str]:
    """Return the texts and identifiers of a module that are or contain an organization's name, and any use of `org.name`.

    Sentences of documentation are left out, and so is the default of the configuration's field `name`.
    """
    tree = ast.parse(source)
    ignored: set[int] = set()
    for node in ast.walk(tree):
        is_documentation = isinstance(node, ast.Expr)
        if is_documentation or (isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "name"):
            ignored.add(id(node.value))
    found = []
    for node in ast.walk(tree):
        if id(node) in ignored:
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and mentions(node.value):
            found.append(node.value)
        elif isinstance(node, ast.Attribute) and node.attr == "name" and ast.unparse(node.value).split(".")[-1] == "org":
            found.append(ast.unparse(node))
        elif isinstance(node, ast.Name | ast.arg | ast.FunctionDef | ast.Attribute):
            identifier = {ast.Name: "id", ast.arg: "arg", ast.FunctionDef: "name", ast.Attribute: "attr"}[type(node)]
            if mentions(getattr(node, identifier)):
                found.append(getattr(node, identifier))
    return found


def mentions(text: str) -> bool:
    """Return whether a text is an organization's name, unless a choice is called so too, or has a published one's name in it."""
    choices = {value for allowed in CHOICES.values() for value in allowed}
    return (text in NAMES and text not in choices) or any(name in text for name in PUBLISHED)


def named_in_values(values: object) -> list[str]:
    """Return the keys and texts of nested values that mention an organization."""
    if isinstance(values, dict):
        return [str(key) for key in values if mentions(str(key))] + named_in_values(list(values.values()))
    if isinstance(values, list):
        return [name for value in values for name in named_in_values(value)]
    return [values] if isinstance(values, str) and mentions(values) else []


def test_the_organizations_were_found() -> None:
    assert {"up", "msgp", "connp_t", "connp_l"} <= set(NAMES)
    assert {path.parent.name for path in COMMON} == {"costs", "machine", "workload", "engine"}


def test_the_configuration_of_an_organization_has_no_place_for_a_constant() -> None:
    fields = {item.name for item in dataclasses.fields(OrganizationConfig)}
    assert fields == {"name", "balance", *CHOICES, *COUNTS, *TIMES}


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_file_only_chooses(path: Path) -> None:
    assert not_choices(yaml.safe_load(path.read_text())) == {}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("cycles", 200),
        ("wait_probability", 0.9),
        ("latency", {"upgrade_cycles": 90}),
        ("serialize", "slow_lock"),
        ("handoff", 3800),
        ("groups", 1.5),
        ("batch", True),
        ("balance", ["steal_cycles"]),
        ("cores", "4"),
        ("name", 7),
        ("defaults", ["/machine: epyc_16"]),
    ],
)
def test_a_constant_in_a_file_is_found_and_refused(key: str, value: object, tmp_path: Path) -> None:
    values = {**yaml.safe_load((CONF / "org" / "msgp.yaml").read_text()), key: value}
    assert not_choices(values) == {key: value}
    if key in ("name", "batch", "cores", "defaults"):
        return  # what the loader converts
    (tmp_path / "org").mkdir()
    (tmp_path / "org" / "made_up.yaml").write_text(yaml.safe_dump(values))
    with pytest.raises((HydraException, OmegaConfBaseException, ConfigError), match=str(key)):
        compose_simulation("org=made_up", f"hydra.searchpath=[file://{tmp_path}]")


@pytest.mark.parametrize("path", SIMULATOR, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_code_of_the_simulator_knows_an_organization(path: Path) -> None:
    assert named_in_code(path.read_text()) == []


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("if kind == 'msgp':\n    cycles = 9", ["msgp"]),
        ("COSTS = {'connp_l': 3}", ["connp_l"]),
        ("match kind:\n    case 'up':\n        pass", ["up"]),
        ("slow = kind.startswith('connp')", ["connp"]),
        ("def charge_msgp(m): pass", ["charge_msgp"]),
        ("seed = hash(config.org.name)", ["config.org.name"]),
        ("def f():\n    'As msgp does.'\n    name: str = 'connp_l'", []),
        ("woken_up = sum_up(group)", []),
    ],
)
def test_code_that_knows_an_organization_is_found(source: str, found: list[str]) -> None:
    assert named_in_code(source) == found


@pytest.mark.parametrize("path", COMMON, ids=lambda path: f"{path.parent.name}-{path.stem}")
def test_no_constant_is_named_after_an_organization(path: Path) -> None:
    assert named_in_values(yaml.safe_load(path.read_text())) == []


def test_a_constant_named_after_an_organization_is_found() -> None:
    assert named_in_values({"latency": {"upgrade_cycles_msgp": 3}, "list": ["connp_t", "x"]}) == [
        "upgrade_cycles_msgp",
        "connp_t",
    ]


def test_everything_but_the_organization_is_the_same_for_all(composed: Compose) -> None:
    configs = [dataclasses.asdict(composed(f"org={name}", *QUEUES)) for name in NAMES]
    organizations = [config.pop("org") for config in configs]
    assert all(config == configs[0] for config in configs)
    assert len({json.dumps(organization) for organization in organizations}) == len(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_name_has_no_effect(name: str, composed: Compose) -> None:
    """An organization that is called like another one, or like none, simulates as before."""
    config = composed(f"org={name}", *QUEUES, "conns=24", "engine.warmup_ms=2", "engine.measure_ms=5")
    results = []
    for other in (name, "anything", *[known for known in NAMES if known != name][:1]):
        renamed = copy.deepcopy(config)
        renamed.org.name = other
        values = json.loads(simulate(renamed).to_json())
        results.append({key: value for key, value in values.items() if not key.startswith("wall_")})
    assert results[0] == results[1] == results[2]
