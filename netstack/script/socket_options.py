"""The socket options of scripts: what the endpoint calls them, and which values Linux and FreeBSD take. Knows no call."""

from dataclasses import dataclass

REMEMBERED = "remembered"
"""An option that changes nothing here: it is given back as it was set."""
_DAY_S = 32767  # longest keep-alive times of Linux (MAX_TCP_KEEPIDLE)


@dataclass(frozen=True)
class OptionSpec:
    """A socket option: `target` is what `netstack.script.host` knows it by; REMEMBERED, or None if it is unsupported."""

    target: str | None
    default: int | str | None = None
    unit_us: int = 0
    """What a unit of the option is, for times."""
    linux_values: tuple[int, int] | None = None
    """Least and most that Linux takes; others are EINVAL."""
    boolean: bool = False
    """Any value but 0 is given back as 1."""


def _switch(target: str | None = REMEMBERED, default: int = 0) -> OptionSpec:
    return OptionSpec(target, default, boolean=True)


SOCKET_OPTIONS: dict[str, OptionSpec] = {
    "SO_REUSEADDR": _switch(),
    "SO_REUSEPORT": _switch(),
    "SO_REUSEPORT_LB": _switch(),
    "SO_DEBUG": _switch(),
    "SO_BROADCAST": _switch(),
    "SO_DONTROUTE": _switch(),
    "SO_OOBINLINE": _switch(),
    "SO_NOSIGPIPE": _switch(),
    "SO_TIMESTAMP": _switch(),
    "SO_TIMESTAMPNS": _switch(),
    "SO_BINTIME": _switch(),
    "SO_NO_OFFLOAD": _switch(),
    "SO_NO_DDP": _switch(),
    "SO_PRIORITY": OptionSpec(REMEMBERED, 0),
    "SO_MARK": OptionSpec(REMEMBERED, 0),
    "SO_BUSY_POLL": OptionSpec(REMEMBERED, 0),
    "SO_INCOMING_CPU": OptionSpec(REMEMBERED, 0),
    "SO_USER_COOKIE": OptionSpec(REMEMBERED, 0),
    "SO_SNDLOWAT": OptionSpec(REMEMBERED, 1),
    "SO_LINGER": OptionSpec("linger_s", -1),
    "SO_KEEPALIVE": _switch("keepalive"),
    "SO_RCVBUF": OptionSpec("receive_buffer_bytes"),
    "SO_SNDBUF": OptionSpec("send_buffer_bytes"),
    "SO_RCVBUFFORCE": OptionSpec("receive_buffer_bytes"),
    "SO_SNDBUFFORCE": OptionSpec("send_buffer_bytes"),
    "SO_RCVLOWAT": OptionSpec("receive_low_water_bytes", 1),
    "SO_ZEROCOPY": _switch(),
    "SO_TIMESTAMPING": OptionSpec("timestamping", 0),
    "SO_MAX_PACING_RATE": OptionSpec(None),
    "SO_ACCEPTFILTER": OptionSpec(None),
    "TCP_NODELAY": _switch("no_delay"),
    "TCP_CORK": _switch("cork"),
    "TCP_NOPUSH": _switch("cork"),
    "TCP_MAXSEG": OptionSpec("maximum_segment_bytes", linux_values=(88, 32767)),
    "TCP_QUICKACK": _switch("quick_ack", 1),
    "TCP_KEEPIDLE": OptionSpec("keepalive_idle_us", 7200, 1_000_000, (1, _DAY_S)),
    "TCP_KEEPINTVL": OptionSpec("keepalive_interval_us", 75, 1_000_000, (1, _DAY_S)),
    "TCP_KEEPCNT": OptionSpec("keepalive_probes", 9, linux_values=(1, 127)),
    "TCP_KEEPINIT": OptionSpec("connect_timeout_us", 75, 1_000_000),
    "TCP_USER_TIMEOUT": OptionSpec("user_timeout_us", 0, 1000, (0, (1 << 31) - 1)),
    "TCP_CONGESTION": OptionSpec("congestion_control"),
    "TCP_LINGER2": OptionSpec("fin_wait_2_us", 60, 1_000_000),
    "TCP_SYNCNT": OptionSpec("syn_retries", 6, linux_values=(1, 127)),
    "TCP_WINDOW_CLAMP": OptionSpec(None),
    "TCP_DEFER_ACCEPT": OptionSpec(None),
    "TCP_NOTSENT_LOWAT": OptionSpec("unsent_low_water_bytes", 0),
    "TCP_MD5SIG": OptionSpec(None),
    "TCP_NOOPT": _switch("no_options"),
    "TCP_FASTOPEN": OptionSpec(None),
    "TCP_FASTOPEN_CONNECT": OptionSpec(None),
    "TCP_INQ": _switch(),
    "TCP_SAVE_SYN": OptionSpec(REMEMBERED, 0),
    "TCP_THIN_LINEAR_TIMEOUTS": OptionSpec(None),
    "TCP_REPAIR": OptionSpec(None),
    "TCP_TX_DELAY": OptionSpec(None),
    "TCP_LOG": OptionSpec(REMEMBERED, 0),
    "TCP_LOGID": OptionSpec(REMEMBERED),
    "IP_TOS": OptionSpec("tos", 0, linux_values=(0, 255)),
    "IP_TTL": OptionSpec("ttl", 64, linux_values=(1, 255)),
    "IP_MINTTL": OptionSpec(None),
    "IP_DONTFRAG": _switch(),
    "IP_FREEBIND": _switch(),
    "IP_BIND_ADDRESS_NO_PORT": _switch(),
    "IP_TRANSPARENT": _switch(),
    "IPV6_TCLASS": OptionSpec("tos", 0, linux_values=(0, 255)),
    "IPV6_UNICAST_HOPS": OptionSpec("ttl", 64, linux_values=(1, 255)),
    "IPV6_V6ONLY": _switch(),
    "IPV6_FLOWINFO_SEND": _switch(),
    "IPV6_AUTOFLOWLABEL": _switch(),
    "IP_MTU_DISCOVER": OptionSpec(REMEMBERED, 1),
    "IPV6_MTU_DISCOVER": OptionSpec(REMEMBERED, 1),
    "IP_RECVERR": _switch(),
    "IPV6_RECVERR": _switch(),
}
"""The one table to complete when the endpoint offers more; a name of `target` is looked up in `host.OFFERED_OPTIONS`.

What `netstack.script` does itself, as a low-water mark of `poll`, is in SCRIPT_OPTIONS.
"""
SCRIPT_OPTIONS = frozenset(("receive_low_water_bytes", "unsent_low_water_bytes", "timestamping"))
