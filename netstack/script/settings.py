"""What a script runs under: addresses, tolerances, and the settings of the stack.

They come from its options, and from whose stack it was written for. Knows the options of packetdrill and no endpoint.
"""

import ipaddress
import re
from dataclasses import dataclass, field, replace

from netstack.script.syntax import Command, IcmpPacket, Option, Script, ScriptError, SystemCall


class UnsupportedError(Exception):
    """Something that a script asks for and that cannot be done; the message says what."""


@dataclass(frozen=True)
class StackSettings:
    """Settings of the stack that scripts change by commands; None leaves the endpoint's own."""

    timestamps: bool | None = None
    window_scaling: bool | None = None
    sack: bool | None = None
    dsack: bool | None = None
    rack: bool | None = None
    loss_probes: str | None = None
    """As the endpoint's configuration has it."""
    ecn: int | None = None
    """0: never; 1: ask for it and grant it; 2: grant it (RFC 3168, as Linux and FreeBSD number it)."""
    congestion_control: str | None = None
    initial_window_segments: int | None = None
    receive_buffer_bytes: int | None = None
    receive_buffer_limit_bytes: int | None = None
    """What the buffer can grow to, from which the window scale follows."""
    send_buffer_bytes: int | None = None
    syn_retries: int | None = None
    synack_retries: int | None = None
    data_retries: int | None = None
    connect_timeout_us: int | None = None
    initial_rto_us: int | None = None
    minimum_rto_us: int | None = None
    delayed_ack: bool | None = None
    delayed_ack_us: int | None = None
    quick_acks: int = 0
    """No RFC asks for them."""
    keepalive_idle_us: int | None = None
    keepalive_interval_us: int | None = None
    keepalive_probes: int | None = None
    fin_wait_2_us: int | None = None
    maximum_segment_lifetime_us: int | None = None
    syn_cookies: bool | None = None
    slow_start_after_idle: bool | None = None
    duplicate_ack_threshold: int | None = None
    forward_recovery: bool | None = None
    """F-RTO, RFC 5682."""
    default_mss_bytes: int | None = None
    rto_slop_us: int | None = None
    recycles_fin_wait_2: bool | None = None
    """FreeBSD's fast_finwait2_recycle: then finwait2_timeout ends FIN-WAIT-2, otherwise silence does."""
    fin_wait_2_recycled_us: int | None = None


LINUX = StackSettings(
    timestamps=True,
    window_scaling=True,
    sack=True,
    ecn=2,
    congestion_control="cubic",
    loss_probes="tail",
    receive_buffer_bytes=131072,
    receive_buffer_limit_bytes=6291456,
    send_buffer_bytes=16384,
)
"""Defaults of Linux (Documentation/networking/ip-sysctl.rst)."""
FREEBSD = replace(
    LINUX,
    loss_probes="never",
    rack=False,
    receive_buffer_bytes=65536,
    receive_buffer_limit_bytes=2097152,
    send_buffer_bytes=32768,
    syn_retries=12,
    synack_retries=3,
    data_retries=12,
    connect_timeout_us=75_000_000,
    minimum_rto_us=30_000,
    rto_slop_us=200_000,
    keepalive_probes=8,
    fin_wait_2_us=675_000_000,
)
"""Defaults of FreeBSD (tcp(4), tcp_timer.h, and kern.ipc.maxsockbuf): its own stack, without RACK.

It drops a connection in FIN-WAIT-2 that has been silent for 8 keep-alive intervals, when it looks for the next time.
"""
_PLATFORMS = {"linux": LINUX, "freebsd": FREEBSD, "any": StackSettings()}
_SIGNS = {
    "linux": ("net.ipv4.", "/proc/sys/net", "defaults.sh", "ip tcp_metrics", "tc qdisc", "ip route", "ethtool", "ss -"),
    "freebsd": ("net.inet.", "kldload", "kern.", "sockstat", "ifconfig"),
}
_CALL_SIGNS = {
    "linux": re.compile(r"\b(epoll_\w+|TCP_(CORK|QUICKACK|DEFER_ACCEPT|SYNCNT|LINGER2|WINDOW_CLAMP|INQ)|SIOC\w+)\b"),
    "freebsd": re.compile(
        r"\b(TCP_(FUNCTION_BLK|NOPUSH|NOOPT|KEEPINIT)|SO_(NOSIGPIPE|ACCEPTFILTER)|FION(WRITE|SPACE)|TCPI_\w+)\b"
    ),
}
"""Calls and options that only one of them has."""
_IGNORED = (
    *("gateway_ip", "netmask_ip", "speed", "code_command", "code_format", "code_sockopt", "dry_run", "send_omit_free", "mss"),
    *("wire_client", "wire_server", "wire_server_ip", "wire_server_at", "wire_server_port", "wire_client_dev", "wire_server_dev"),
    *("debug", "verbose", "define", "D", "tun_dev", "persistent_tun_dev"),
)
"""Options about the machine that packetdrill runs on, `mss` being how its device splits segments: nothing about the stack."""


@dataclass(frozen=True)
class Settings:
    """All that a script runs under; times in microseconds."""

    platform: str = "any"
    """Whose defaults: `linux`, `freebsd`, or `any` for the endpoint's own."""
    ip_version: int = 4
    mapped: bool = False
    """Sockets of IPv6 with mapped addresses, over IPv4."""
    local_address: str = "192.168.0.1"
    remote_address: str = "192.0.2.1"
    bind_port: int = 8080
    connect_port: int = 8080
    mtu_bytes: int = 1500
    tolerance_us: int = 4000
    tolerance_percent: float = 12.5
    timestamp_tick_us: int = 0
    echo_scaled: bool = False
    strict_segments: bool = False
    non_fatal: tuple[str, ...] = ()
    stack: StackSettings = field(default_factory=StackSettings)


def settings_of(script: Script, ip_version: str | None = None, platform: str | None = None) -> Settings:
    """Return what a script runs under; an `ip_version` (ipv4, ipv6, ipv4-mapped-ipv6) holds where the script names none.

    The `platform` is linux or freebsd; None leaves it to the script's commands.

    Raises:
        ScriptError: An option has a value that it cannot have.
        UnsupportedError: An option is not known.
    """
    platform = platform or platform_of(script)
    named = next((option.value for option in script.options if option.name == "ip_version"), None)
    version = named or ip_version or ("ipv6" if _is_about_ipv6(script) else "ipv4")
    settings = Settings(platform=platform, stack=_PLATFORMS[platform])
    if version == "ipv6":
        # The MTU with which Linux runs scripts of IPv6, so that the MSS of 1460 is the same as with IPv4.
        mtu = 1520 if platform == "linux" else 1500
        settings = replace(settings, ip_version=6, local_address="fd3d:fa7b:d17d::1", remote_address="2001:db8::1", mtu_bytes=mtu)
    elif version == "ipv4-mapped-ipv6":
        settings = replace(settings, mapped=True)
    elif version != "ipv4":
        line = next((option.line for option in script.options if option.name == "ip_version"), 0)
        raise ScriptError(script.path, line, f"--ip_version={version}: must be ipv4, ipv6 or ipv4-mapped-ipv6")
    for option in script.options:
        settings = _with_option(script.path, settings, option)
    return settings


def platform_of(script: Script) -> str:
    """Return whose stack a script was written for, by the commands and calls in it."""
    commands = " ".join(event.action.text for event in script.events if isinstance(event.action, Command))
    by_command = next((name for name, signs in _SIGNS.items() if any(sign in commands for sign in signs)), None)
    if by_command is not None:
        return by_command
    calls = "\n".join(script.lines[event.line - 1] for event in script.events if isinstance(event.action, SystemCall))
    return next((name for name, sign in _CALL_SIGNS.items() if sign.search(calls)), "any")


def _is_about_ipv6(script: Script) -> bool:
    return any(isinstance(event.action, IcmpPacket) and event.action.type == "packet_too_big" for event in script.events)


def _with_option(path: str, settings: Settings, option: Option) -> Settings:
    value = option.value or ""
    match option.name:
        case "tolerance_usecs":
            return replace(settings, tolerance_us=_whole(path, option))
        case "tolerance_percent":
            return replace(settings, tolerance_percent=float(_whole(path, option)))
        case "mtu":
            return replace(settings, mtu_bytes=_whole(path, option))
        case "bind_port":
            return replace(settings, bind_port=_whole(path, option))
        case "connect_port":
            return replace(settings, connect_port=_whole(path, option))
        case "local_ip":
            return replace(settings, local_address=_address(path, option, settings.ip_version))
        case "remote_ip":
            return replace(settings, remote_address=_address(path, option, settings.ip_version))
        case "tcp_ts_tick_usecs":
            return replace(settings, timestamp_tick_us=_whole(path, option))
        case "tcp_ts_ecr_scaled":
            return replace(settings, echo_scaled=True)
        case "strict_segments":
            return replace(settings, strict_segments=True)
        case "non_fatal":
            return replace(settings, non_fatal=tuple(value.replace(" ", "").split(",")))
        case "ip_version":
            return settings
        case name if name in _IGNORED:
            return settings
    raise UnsupportedError(f"option --{option.name}")


def _whole(path: str, option: Option) -> int:
    try:
        return int(option.value or "", 0)
    except ValueError:
        raise ScriptError(path, option.line, f"--{option.name}={option.value}: must be a whole number") from None


def _address(path: str, option: Option, version: int) -> str:
    try:
        address = ipaddress.ip_address((option.value or "").partition("/")[0])
    except ValueError:
        raise ScriptError(path, option.line, f"--{option.name}={option.value}: must be an IP address") from None
    if address.version != version:
        raise ScriptError(path, option.line, f"--{option.name}={option.value}: must be an IPv{version} address")
    return str(address)
