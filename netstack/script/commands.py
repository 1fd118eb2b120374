"""The shell commands of scripts, without a shell: what they say to the stack, as settings, and which of them need not be run.

Knows the names that Linux and FreeBSD give to settings of TCP.
"""

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from netstack.script.questions import Question, question_of
from netstack.script.settings import StackSettings, UnsupportedError

Change = dict[str, object]
"""New values of fields of `StackSettings`."""


def _flag(name: str) -> Callable[[str], Change]:
    return lambda value: {name: int(value, 0) != 0}


def _count(name: str) -> Callable[[str], Change]:
    return lambda value: {name: int(value, 0)}


def _scaled(name: str, unit_us: int) -> Callable[[str], Change]:
    return lambda value: {name: int(value, 0) * unit_us}


def _receive_buffers(value: str) -> Change:
    _, default, limit = (int(part, 0) for part in value.split())
    return {"receive_buffer_bytes": default, "receive_buffer_limit_bytes": limit}


def _send_buffers(value: str) -> Change:
    return {"send_buffer_bytes": int(value.split()[1], 0)}


def _ecn(value: str) -> Change:
    if value not in ("0", "1", "2"):
        raise ValueError(value)  # 3 and more are AccECN, RFC 9768
    return {"ecn": int(value)}


def _rfc1323(value: str) -> Change:
    return {"window_scaling": value in ("1", "2"), "timestamps": value in ("1", "3")}


CONGESTION_CONTROLS = {"newreno": "reno"}
"""What FreeBSD calls otherwise than Linux and the endpoint do."""
_MILLISECOND, _SECOND = 1000, 1_000_000
SYSCTLS: dict[str, Callable[[str], Change]] = {
    "net.ipv4.tcp_timestamps": _flag("timestamps"),
    "net.ipv4.tcp_window_scaling": _flag("window_scaling"),
    "net.ipv4.tcp_sack": _flag("sack"),
    "net.ipv4.tcp_dsack": _flag("dsack"),
    "net.ipv4.tcp_recovery": lambda value: {"rack": int(value, 0) & 1 == 1},
    "net.ipv4.tcp_early_retrans": lambda value: {"loss_probes": "tail" if int(value, 0) in (3, 4) else "never"},
    "net.ipv4.tcp_ecn": _ecn,
    "net.ipv4.tcp_congestion_control": lambda value: {"congestion_control": value},
    "net.ipv4.tcp_rmem": _receive_buffers,
    "net.ipv4.tcp_wmem": _send_buffers,
    "net.ipv4.tcp_syn_retries": _count("syn_retries"),
    "net.ipv4.tcp_synack_retries": _count("synack_retries"),
    "net.ipv4.tcp_retries2": _count("data_retries"),
    "net.ipv4.tcp_keepalive_time": _scaled("keepalive_idle_us", _SECOND),
    "net.ipv4.tcp_keepalive_intvl": _scaled("keepalive_interval_us", _SECOND),
    "net.ipv4.tcp_keepalive_probes": _count("keepalive_probes"),
    "net.ipv4.tcp_fin_timeout": _scaled("fin_wait_2_us", _SECOND),
    "net.ipv4.tcp_syncookies": _flag("syn_cookies"),
    "net.ipv4.tcp_slow_start_after_idle": _flag("slow_start_after_idle"),
    "net.ipv4.tcp_reordering": _count("duplicate_ack_threshold"),
    "net.inet.tcp.rfc1323": _rfc1323,
    "net.inet.tcp.sack.enable": _flag("sack"),
    "net.inet.tcp.ecn.enable": _ecn,
    "net.inet.tcp.cc.algorithm": lambda value: {"congestion_control": CONGESTION_CONTROLS.get(value, value)},
    "net.inet.tcp.recvspace": _count("receive_buffer_bytes"),
    "net.inet.tcp.sendspace": _count("send_buffer_bytes"),
    "kern.ipc.maxsockbuf": _count("receive_buffer_limit_bytes"),
    "net.inet.tcp.initcwnd_segments": _count("initial_window_segments"),
    "net.inet.tcp.keepinit": _scaled("connect_timeout_us", _MILLISECOND),
    "net.inet.tcp.rexmit_initial": _scaled("initial_rto_us", _MILLISECOND),
    "net.inet.tcp.rexmit_min": _scaled("minimum_rto_us", _MILLISECOND),
    "net.inet.tcp.delayed_ack": _flag("delayed_ack"),
    "net.inet.tcp.delacktime": _scaled("delayed_ack_us", _MILLISECOND),
    "net.inet.tcp.keepidle": _scaled("keepalive_idle_us", _MILLISECOND),
    "net.inet.tcp.keepintvl": _scaled("keepalive_interval_us", _MILLISECOND),
    "net.inet.tcp.keepcnt": _count("keepalive_probes"),
    "net.inet.tcp.finwait2_timeout": _scaled("fin_wait_2_recycled_us", _MILLISECOND),
    "net.inet.tcp.fast_finwait2_recycle": _flag("recycles_fin_wait_2"),
    "net.inet.tcp.rexmit_slop": _scaled("rto_slop_us", _MILLISECOND),
    "net.inet.tcp.syncache.rexmtlimit": _count("synack_retries"),
    "net.ipv4.tcp_frto": _flag("forward_recovery"),
    "net.ipv4.tcp_rto_min_us": _count("minimum_rto_us"),
    "net.inet.tcp.msl": _scaled("maximum_segment_lifetime_us", _MILLISECOND),
    "net.inet.tcp.syncookies": _flag("syn_cookies"),
    "net.inet.tcp.mssdflt": _count("default_mss_bytes"),
}
"""What a sysctl of Linux or FreeBSD is in `StackSettings`."""

_HARMLESS = {
    "net.ipv4.tcp_": "fack tso_win_divisor tso_rtt_log pacing_ss_ratio pacing_ca_ratio min_tso_segs mem "
    "limit_output_bytes autocorking no_metrics_save no_ssthresh_metrics_save moderate_rcvbuf fastopen_key "
    "fastopen_blackhole_timeout_sec max_syn_backlog invalid_ratelimit comp_sack_nr rmem_max orphan_retries "
    "comp_sack_delay_ns comp_sack_slack_ns challenge_ack_limit",
    "net.core.": "somaxconn rmem_max wmem_max optmem_max",
    "net.mptcp.": "enabled",
    "net.inet.tcp.": "hostcache.purgenow hostcache.purge hostcache.enable hostcache.expire tso lro recvbuf_auto recvbuf_max "
    "sendbuf_auto sendbuf_max functions_inherit_listen_socket_stack ts_offset_per_conn log_in_vain log_debug "
    "always_keepalive fastopen.client_enable fastopen.server_enable nolocaltimewait reass.maxqueuelen udp_tunneling_port "
    "ack_war_cnt ack_war_timewindow hpts.skip_thresh bb.pcb_ids_cur log.auto_all",
    "net.inet.icmp.": "icmplim",
    "net.inet6.icmp6.": "errppslimit",
    "kern.": "timecounter.alloweddeviation ipc.somaxconn hz",
}
HARMLESS_SYSCTLS = frozenset(prefix + name for prefix, names in _HARMLESS.items() for name in names.split())
"""Sysctls that are skipped: of functions that the stack does not have, or of the machine that scripts are meant for."""

ONLY_VALUES = {
    "net.ipv4.tcp_mtu_probing": "0",
    "net.ipv4.tcp_rfc1337": "0",
    "net.ipv4.tcp_abort_on_overflow": "0",
    "net.ipv4.ip_no_pmtu_disc": "0",
    "net.inet.tcp.blackhole": "0",
    "net.inet.tcp.drop_synfin": "0",
    "net.inet.tcp.syncookies_only": "0",
    "net.inet.tcp.rexmit_drop_options": "0",
    "net.inet.tcp.insecure_rst": "0",
    "net.inet.tcp.insecure_syn": "0",
    "net.inet.tcp.insecure_ack": "0",
    "net.inet.tcp.tolerate_missing_ts": "0",
    "net.inet.tcp.path_mtu_discovery": "1",
    "net.inet.tcp.functions_default": "freebsd",
    "net.inet.tcp.persmin": "5000",
    "net.inet.tcp.persmax": "60000",
    "net.inet.tcp.minmss": "216",
    "net.ipv4.tcp_notsent_lowat": "4294967295",
    "net.inet.tcp.icmp_may_rst": "1",
    "net.inet.tcp.abc_l_var": "2",
    "net.inet.tcp.rfc3042": "1",
    "net.inet.tcp.rfc3390": "1",
    "net.inet.tcp.rfc3465": "1",
    "net.inet.tcp.pcap_out": "0",
}
"""Sysctls whose one value is what the stack does."""

HARMLESS_COMMANDS = (
    r"tc qdisc (add|del|delete|replace|change) dev \S+ root( handle \S+)?( (pfifo|fq|fq_codel|pfifo_fast|mq|noqueue))?",
    r"tc qdisc (add|replace|change) dev \S+ root( handle \S+)? fq( (flow_limit|limit|quantum|maxrate|buckets) [1-9]\S*)+",
    r"tc qdisc (show|list).*",
    r"nstat( -[a-z]+)*",
    r"ip route flush cache",
    r"ip tcp_metrics flush.*",
    r"ethtool (-K|--offload) .*",
    r"(kldload|kldstat|modprobe|sync|echo|ulimit|true|:)\b.*",
    r"(\S*/)?sysctl_restore\S*",
)
"""Commands that are skipped: about queues and offloads of devices, modules, and what was changed before."""
_LINUX_DEFAULTS = StackSettings(
    receive_buffer_bytes=540000,
    receive_buffer_limit_bytes=15 * 1024 * 1024,
    send_buffer_bytes=256 * 1024,
    timestamps=True,
    syn_retries=5,
    synack_retries=5,
    sack=True,
    dsack=True,
    duplicate_ack_threshold=3,
    congestion_control="cubic",
    slow_start_after_idle=False,
    ecn=0,
    syn_cookies=True,
)
"""What ``defaults.sh``, which scripts for Linux begin with, sets."""
_OPEN_WITHOUT_OPTION = 0x400  # all listeners accept data in a SYN
_SEPARATORS = re.compile(r"\n|;|&&|\|\|")
_CONTINUATION = re.compile(r"\\\n")
_REDIRECTION = re.compile(r"\d?>>?\s*(&\d|\S+)")
_ARITHMETIC = re.compile(r"\$\(\(([\d\s*+()-]+)\)\)")
_PROC = "/proc/sys/"


@dataclass
class Effect:
    """What a command comes to: new settings, time that passes, and what was skipped."""

    stack: StackSettings
    sleep_us: int = 0
    skipped: list[str] = field(default_factory=list)
    questions: list[Question] = field(default_factory=list)
    """What it asks for; each must find something."""


def interpret(text: str, stack: StackSettings) -> Effect:
    """Return the effect of a shell command on the settings of the stack.

    Raises:
        UnsupportedError: It is neither known nor harmless.
    """
    effect = Effect(stack)
    text = _ARITHMETIC.sub(lambda match: str(_product(match[1])), _CONTINUATION.sub(" ", text))
    for part in _SEPARATORS.split(text):
        part = _REDIRECTION.sub("", part).strip()
        if not part or part.startswith("#"):
            continue
        question = question_of(part)
        if question is not None:
            effect.questions.append(question)
            continue
        if "|" in part:
            raise UnsupportedError(f"command {part}")
        try:
            words = shlex.split(part, comments=True)
        except ValueError:
            raise UnsupportedError(f"command {part}") from None
        if words:
            _run(words, effect)
    return effect


def _product(text: str) -> int:
    result = 1
    for factor in text.split("*"):
        if not factor.strip().isdigit():
            raise UnsupportedError(f"arithmetic of the shell {text.strip()}")
        result *= int(factor)
    return result


def _run(words: list[str], effect: Effect) -> None:
    name = PurePosixPath(words[0]).name
    if name == "sysctl":
        for assignment in _assignments(words[1:]):
            _set(assignment, effect)
    elif name == "set_sysctls.py":
        for word in words[1:]:
            _set(word, effect)
    elif words[0] in ("source", ".", "sh", "bash") and len(words) == 2 and PurePosixPath(words[1]).name == "defaults.sh":
        _run(words[1:], effect)
    elif words[:2] == ["ip", "route"] and words[2:3] and words[2] in ("add", "replace", "change", "append"):
        _route(words[3:], effect)
    elif name == "defaults.sh":
        changes = {name: value for name, value in vars(_LINUX_DEFAULTS).items() if value is not None}
        effect.stack = replace(effect.stack, **changes)
    elif name == "sleep":
        effect.sleep_us += round(float(words[1]) * _SECOND)
    elif any(re.fullmatch(pattern, " ".join(words)) for pattern in HARMLESS_COMMANDS):
        effect.skipped.append(" ".join(words))
    else:
        raise UnsupportedError(f"command {' '.join(words)}")


def _route(words: list[str], effect: Effect) -> None:
    """Apply what a route says of the connections that use it (ip-route(8))."""
    changes: Change = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "initcwnd" and rest:
            changes["initial_window_segments"] = int(rest.pop(0), 0)
        elif word == "rto_min" and rest:
            changes["minimum_rto_us"] = _duration_us(rest.pop(0))
        elif word in ("dev", "via", "src", "proto", "scope", "table", "initrwnd", "metric") and rest:
            rest.pop(0)
        elif not re.fullmatch(r"default|[\da-fA-F.:]+(/\d+)?", word):
            raise UnsupportedError(f"command ip route with {word}")
    effect.stack = replace(effect.stack, **changes)  # type: ignore[arg-type]


def _duration_us(text: str) -> int:
    match = re.fullmatch(r"(\d+(?:\.\d+)?)(us|ms|s)?", text)
    if match is None:
        raise UnsupportedError(f"time {text} in a command")
    return round(float(match[1]) * {"us": 1, "ms": _MILLISECOND, "s": _SECOND, None: _MILLISECOND}[match[2]])


def _assignments(words: list[str]) -> list[str]:
    assignments = [word for word in words if not word.startswith("-")]
    for word in assignments:
        if "=" not in word:
            raise UnsupportedError(f"command sysctl {word}, which only reads")
    return assignments


def _set(assignment: str, effect: Effect) -> None:
    name, _, value = assignment.partition("=")
    name = name.removeprefix(_PROC).replace("/", ".")
    if name in SYSCTLS:
        try:
            change = SYSCTLS[name](value)
        except (ValueError, IndexError):
            raise UnsupportedError(f"sysctl {name}={value}") from None
        effect.stack = replace(effect.stack, **change)  # type: ignore[arg-type]
    elif (
        name == "net.ipv4.tcp_fastopen" and re.fullmatch(r"0x[\da-fA-F]+|\d+", value) and not int(value, 0) & _OPEN_WITHOUT_OPTION
    ):
        effect.skipped.append(f"sysctl {assignment}")  # without the option or flag of a call it changes nothing
    elif name in HARMLESS_SYSCTLS or ONLY_VALUES.get(name) == value:
        effect.skipped.append(f"sysctl {assignment}")
    else:
        raise UnsupportedError(f"sysctl {assignment}")
