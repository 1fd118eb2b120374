"""File descriptors of a script, and the options of their sockets. Knows which options there are, and no call."""

from dataclasses import dataclass, field
from typing import Any

REMEMBERED = "remembered"
"""An option that changes nothing here: it is given back as it was set."""


@dataclass(frozen=True)
class OptionSpec:
    """A socket option: `target` is what `netstack.script.host` knows it by; REMEMBERED, or None if it is unsupported."""

    target: str | None
    default: int | str | None = None
    unit_us: int = 0
    """What a unit of the option is, for times."""


SOCKET_OPTIONS: dict[str, OptionSpec] = {
    "SO_REUSEADDR": OptionSpec(REMEMBERED, 0),
    "SO_REUSEPORT": OptionSpec(REMEMBERED, 0),
    "SO_DEBUG": OptionSpec(REMEMBERED, 0),
    "SO_PRIORITY": OptionSpec(REMEMBERED, 0),
    "SO_LINGER": OptionSpec("linger_s", -1),
    "SO_KEEPALIVE": OptionSpec("keepalive", 0),
    "SO_RCVBUF": OptionSpec("receive_buffer_bytes"),
    "SO_SNDBUF": OptionSpec("send_buffer_bytes"),
    "SO_RCVLOWAT": OptionSpec(None),
    "SO_OOBINLINE": OptionSpec(None),
    "SO_ZEROCOPY": OptionSpec(REMEMBERED, 0),
    "SO_TIMESTAMPING": OptionSpec(None),
    "TCP_NODELAY": OptionSpec("no_delay", 0),
    "TCP_CORK": OptionSpec("cork", 0),
    "TCP_NOPUSH": OptionSpec("cork", 0),
    "TCP_MAXSEG": OptionSpec("maximum_segment_bytes"),
    "TCP_QUICKACK": OptionSpec("quick_ack", 1),
    "TCP_KEEPIDLE": OptionSpec("keepalive_idle_us", 7200, 1_000_000),
    "TCP_KEEPINTVL": OptionSpec("keepalive_interval_us", 75, 1_000_000),
    "TCP_KEEPCNT": OptionSpec("keepalive_probes", 9),
    "TCP_KEEPINIT": OptionSpec("connect_timeout_us", 75, 1_000_000),
    "TCP_USER_TIMEOUT": OptionSpec("user_timeout_us", 0, 1000),
    "TCP_CONGESTION": OptionSpec("congestion_control"),
    "TCP_LINGER2": OptionSpec("fin_wait_2_us", 60, 1_000_000),
    "TCP_SYNCNT": OptionSpec("syn_retries", 6),
    "TCP_WINDOW_CLAMP": OptionSpec("window_clamp_bytes"),
    "TCP_DEFER_ACCEPT": OptionSpec(None),
    "TCP_NOTSENT_LOWAT": OptionSpec("unsent_low_water_bytes"),
    "TCP_MD5SIG": OptionSpec(None),
    "TCP_NOOPT": OptionSpec("no_options", 0),
    "TCP_FASTOPEN": OptionSpec(None),
    "TCP_FASTOPEN_CONNECT": OptionSpec(None),
    "TCP_FUNCTION_BLK": OptionSpec(None),
    "TCP_INQ": OptionSpec(None),
    "IP_TOS": OptionSpec("tos", 0),
    "IP_TTL": OptionSpec("ttl", 64),
    "IPV6_TCLASS": OptionSpec("tos", 0),
    "IPV6_UNICAST_HOPS": OptionSpec("ttl", 64),
    "IPV6_V6ONLY": OptionSpec(REMEMBERED, 0),
    "IP_MTU_DISCOVER": OptionSpec(REMEMBERED, 1),
    "IPV6_MTU_DISCOVER": OptionSpec(REMEMBERED, 1),
    "IP_RECVERR": OptionSpec(None),
}
"""The one table to complete when the endpoint offers more; a name of `target` is looked up in `host.OFFERED_OPTIONS`."""


@dataclass
class Descriptor:
    """A descriptor by the number that the script gives it."""

    number: int
    nonblocking: bool = False
    local: Any = None
    """Address that `bind` chose."""
    listener: Any = None
    socket: Any = None
    connecting: bool = False
    read_shut: bool = False
    options: dict[str, int | str] = field(default_factory=dict)
