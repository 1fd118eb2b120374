"""Which settings and options of scripts the endpoint has, and what it reports of a connection.

No other module knows: what the endpoint does not offer is missing in the tables here.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from netstack.script.settings import Settings, StackSettings, UnsupportedError


@dataclass(frozen=True)
class Backend:
    """Makes an endpoint for a script, and addresses for it."""

    make: Callable[[Settings], Any]
    address: Callable[[str, int], Any]


STATES = {
    "CLOSED": (7, 0),
    "LISTEN": (10, 1),
    "SYN_SENT": (2, 2),
    "SYN_RECEIVED": (3, 3),
    "ESTABLISHED": (1, 4),
    "CLOSE_WAIT": (8, 5),
    "FIN_WAIT_1": (4, 6),
    "CLOSING": (11, 7),
    "LAST_ACK": (9, 8),
    "FIN_WAIT_2": (5, 9),
    "TIME_WAIT": (6, 10),
}
"""The number of a state in TCP_INFO: of Linux, of FreeBSD."""


def state_name(socket: Any) -> str:
    """Return the state of a socket as RFC 9293 names it, with underscores."""
    state = socket.state
    return str(getattr(state, "name", state)).upper().replace("-", "_")


CONFIG_FIELDS = frozenset(
    (
        *("timestamps", "window_scaling", "sack", "dsack", "rack", "loss_probes", "ecn"),
        *("congestion_control", "initial_window_segments", "slow_start_after_idle", "duplicate_ack_threshold"),
        *("receive_buffer_bytes", "receive_buffer_limit_bytes", "send_buffer_bytes", "default_mss_bytes"),
        *("syn_retries", "synack_retries", "data_retries", "connect_timeout_us", "initial_rto_us", "minimum_rto_us"),
        *("delayed_ack", "delayed_ack_us", "quick_acks", "keepalive_idle_us", "keepalive_interval_us", "keepalive_probes"),
        *("fin_wait_2_us", "maximum_segment_lifetime_us", "syn_cookies", "rto_slop_us"),
    )
)
"""Fields of `StackSettings` that the endpoint's configuration has too, by the same names."""

OFFERED_OPTIONS = frozenset(
    (
        *("no_delay", "cork", "congestion_control", "maximum_segment_bytes", "send_buffer_bytes", "receive_buffer_bytes"),
        *("keepalive", "keepalive_idle_us", "keepalive_interval_us", "keepalive_probes"),
        *("user_timeout_us", "connect_timeout_us", "syn_retries", "fin_wait_2_us", "linger_s"),
        *("tos", "ttl", "no_options", "quick_ack"),
    )
)
"""Targets of `descriptors` that the endpoint's sockets have as options, by the same names."""


FREEBSD_FIN_WAIT_2_US = 60_000_000
_FIXED = {"forward_recovery": True}
"""What the endpoint does and cannot change."""


def config_of(stack: StackSettings) -> dict[str, Any]:
    """Return the settings that a script makes and the endpoint's configuration has.

    Raises:
        UnsupportedError: The script makes one that the endpoint has not, other than it is anyway.
    """
    for name, fixed in _FIXED.items():
        value = getattr(stack, name)
        if name not in CONFIG_FIELDS and value is not None and value != fixed:
            raise UnsupportedError(f"{name.replace('_', ' ')} of {value}")
    config = {name: value for name, value in vars(stack).items() if name in CONFIG_FIELDS and value is not None}
    if stack.recycles_fin_wait_2:
        config["fin_wait_2_us"] = stack.fin_wait_2_recycled_us or FREEBSD_FIN_WAIT_2_US
    return config


def configure(endpoint: Any, settings: Settings) -> None:
    """Give a running endpoint new settings, for connections that are opened from now on."""
    endpoint.config = replace(endpoint.config, **config_of(settings.stack))


def tcp_info(socket: Any, platform: str, now_us: int = 0) -> dict[str, object]:
    """Return the variables of code sections, ``tcpi_*``, as far as the endpoint offers them.

    A socket of Linux is closed when its connection is in TIME-WAIT, which is then no longer its own.
    """
    state = state_name(socket)
    linux, freebsd = STATES.get("CLOSED" if state == "TIME_WAIT" and platform == "linux" else state, (7, 0))
    names: dict[str, object] = {"tcpi_state": freebsd if platform == "freebsd" else linux}
    info = dict(socket.info()) if hasattr(socket, "info") else {}
    pcb = getattr(socket, "pcb", None)
    if pcb is not None:
        times = {
            "last_data_sent": pcb["last_sent_us"],
            "last_data_recv": socket.cold["last_data_us"],
            "last_ack_recv": pcb["last_received_us"],
        }
        info |= {name: (now_us - int(at)) // 1000 for name, at in times.items()}
    return names | {f"tcpi_{name}": value for name, value in info.items()}
