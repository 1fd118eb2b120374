"""Starts a Ray of fewer processes: without those that nobody asks on a computer that is no cluster.

Knows Ray's inside, and not what Ray runs.
"""

from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from functools import wraps
from importlib import import_module
from importlib.metadata import version
from typing import Any

TRIED = ("2.60.0",)
"""The versions of Ray that were tried without agents. Others start them."""
HELPERS = ("start_monitor", "start_log_monitor", "start_api_server")
"""What starts processes of a head node. They grow clusters, print what workers print, and serve pages."""
STAND_IN = "cat"
"""What Ray's node starts in place of an agent: it ends with the pipe that the node holds, or when it is told to."""
AGENTS = ("dashboard_agent_command", "runtime_env_agent_command")
"""The options of a node with the commands of its agents: they serve metrics, and make environments that a task asks for."""
NO_PORT, ANY_PORT = -1, 1
"""What a node reads in place of an agent's port: an agent that serves nothing says -1, and that of environments must have one."""


@contextmanager
def few_processes() -> Generator[None, None, None]:
    """Leave processes out when Ray starts: each takes half a second of a CPU, and the node waits until its agents are there.

    A Ray that is arranged differently inside starts all of them.
    """
    services: Any = import_module("ray._private.services")
    utils: Any = import_module("ray._private.utils")
    node: Any = import_module("ray._private.node")
    with ExitStack() as changes:
        for name in HELPERS:
            changes.enter_context(_changed(node.Node, name, _nothing))
        if version("ray") in TRIED:
            changes.enter_context(_changed(services, "start_ray_process", _without_agents(services.start_ray_process)))
            changes.enter_context(_changed(utils, "get_dashboard_dependency_error", _nothing))  # it imports what agents need
        yield


def _without_agents(start: Callable[..., Any]) -> Callable[..., Any]:
    """Return Ray's function that starts a process, but for the commands of a node's agents."""

    @wraps(start)
    def start_process(command: Sequence[str], process_type: str, *args: Any, **kwargs: Any) -> Any:
        return start(_stand_in(command) if process_type == "raylet" else command, process_type, *args, **kwargs)

    return start_process


def _stand_in(command: Sequence[str]) -> list[str]:
    """Return the command of a node whose agents only stand in, after telling the node their ports as agents do."""
    core: Any = import_module("ray._raylet")
    options: dict[str, str] = {}
    for argument in command:
        name, _, value = argument.removeprefix("--").partition("=")
        options[name] = value
    unused = (core.METRICS_AGENT_PORT_NAME, core.METRICS_EXPORT_PORT_NAME, core.DASHBOARD_AGENT_LISTEN_PORT_NAME)
    for name, port in (dict.fromkeys(unused, NO_PORT) | {core.RUNTIME_ENV_AGENT_PORT_NAME: ANY_PORT}).items():
        core.persist_port(options["session_dir"], options["node_id"], name, port)
    stand_ins = {f"--{name}": f"--{name}={STAND_IN}" for name in AGENTS}
    return [stand_ins.get(argument.partition("=")[0], argument) for argument in command]


@contextmanager
def _changed(owner: Any, name: str, value: Any) -> Generator[None, None, None]:
    """Give an attribute another value meanwhile, if it is there."""
    before = getattr(owner, name, None)
    if before is None:
        yield
        return
    setattr(owner, name, value)
    try:
        yield
    finally:
        setattr(owner, name, before)


def _nothing(*_: Any, **__: Any) -> None:
    """Do nothing."""
