"""What shell commands, options and platforms say to the stack."""

import pytest

from netstack.script.commands import interpret
from netstack.script.parser import parse
from netstack.script.settings import FREEBSD, LINUX, Settings, StackSettings, UnsupportedError, settings_of
from netstack.script.syntax import ScriptError


def stack_after(text: str) -> StackSettings:
    return interpret(text, StackSettings()).stack


@pytest.mark.parametrize(
    ("text", "stack"),
    [
        ("sysctl -q net.ipv4.tcp_timestamps=0", StackSettings(timestamps=False)),
        ("sysctl -q net.ipv4.tcp_sack=0 net.ipv4.tcp_ecn=1", StackSettings(sack=False, ecn=1)),
        ("sysctl -w net.ipv4.tcp_congestion_control='reno'", StackSettings(congestion_control="reno")),
        (
            'sysctl -q net.ipv4.tcp_rmem="4096 540000 $((15*1024*1024))"',
            StackSettings(receive_buffer_bytes=540000, receive_buffer_limit_bytes=15728640),
        ),
        ("./set_sysctls.py /proc/sys/net/ipv4/tcp_syn_retries=3", StackSettings(syn_retries=3)),
        ("sysctl -w net.inet.tcp.rfc1323=0", StackSettings(timestamps=False, window_scaling=False)),
        ("sysctl net.inet.tcp.sack.enable=1; sysctl net.inet.tcp.ecn.enable=2", StackSettings(sack=True, ecn=2)),
        ("sysctl net.inet.tcp.initcwnd_segments=10 > /dev/null 2>&1", StackSettings(initial_window_segments=10)),
        ("sysctl net.inet.tcp.delacktime=40", StackSettings(delayed_ack_us=40_000)),
        ("sysctl net.inet.tcp.cc.algorithm=newreno", StackSettings(congestion_control="reno")),
        ("sysctl -q net.ipv4.tcp_ecn=2    # the server agrees\n# and a line", StackSettings(ecn=2)),
        ("sysctl net.ipv4.tcp_keepalive_time=7 && true", StackSettings(keepalive_idle_us=7_000_000)),
    ],
)
def test_sysctls(text: str, stack: StackSettings) -> None:
    assert stack_after(text) == stack


def test_the_defaults_of_scripts_for_linux() -> None:
    stack = stack_after("../../common/defaults.sh\n../../common/set_sysctls.py /proc/sys/net/ipv4/tcp_timestamps=0")
    assert (stack.timestamps, stack.sack, stack.ecn, stack.congestion_control) == (False, True, 0, "cubic")
    assert stack.receive_buffer_limit_bytes == 15 * 1024 * 1024


def test_harmless_commands_are_skipped_and_said() -> None:
    effect = interpret(
        "tc qdisc add dev tun0 root pfifo\nsysctl -q net.ipv4.tcp_fack=0\n/tmp/sysctl_restore_${PPID}.sh", StackSettings()
    )
    assert effect.stack == StackSettings()
    assert len(effect.skipped) == 3


@pytest.mark.parametrize(
    "text",
    [
        "nft add table x",
        "tc qdisc add dev tun0 root pfifo limit 0",
        "ip route change 192.0.2.1 dev tun0 mtu lock 1200",
        "sysctl -q net.ipv4.tcp_ecn=3",
        "sysctl -q net.ipv4.tcp_unheard_of=1",
        "sysctl net.inet.tcp.blackhole=2",
        "sysctl net.ipv4.tcp_timestamps",
        "sysctl net.ipv4.tcp_timestamps=yes",
        "sockstat -4 | awk 1",
        "echo 'unbalanced",
        "sysctl net.ipv4.tcp_sack=$((1+1))",
    ],
)
def test_unknown_commands_are_unsupported(text: str) -> None:
    with pytest.raises(UnsupportedError):
        interpret(text, StackSettings())


def test_waiting() -> None:
    assert interpret("sleep 0.5", StackSettings()).sleep_us == 500_000


def settings(text: str, ip_version: str | None = None) -> Settings:
    return settings_of(parse(f"{text}\n0 close(3) = 0", "s.pkt"), ip_version)


def test_whose_stack_a_script_is_for() -> None:
    assert settings("`./defaults.sh`").stack == LINUX
    assert settings("`sysctl -w net.inet.tcp.sack.enable=1`").stack == FREEBSD
    assert settings("").stack == StackSettings()


def test_addresses_and_sizes() -> None:
    assert settings("--ip_version=ipv6").remote_address == "2001:db8::1"
    assert settings("", "ipv6").ip_version == 6
    assert settings("--ip_version=ipv4", "ipv6").ip_version == 4
    assert settings("--ip_version=ipv4-mapped-ipv6").mapped
    assert settings("--local_ip=10.0.0.1\n--remote_ip=192.0.2.5/24").remote_address == "192.0.2.5"
    assert settings("--mtu=9000").mtu_bytes == 9000
    assert settings("--mss=1000").mtu_bytes == 1500  # it is about what the device splits
    assert settings("--ip_version=ipv6\n`./defaults.sh`").mtu_bytes == 1520  # as Linux runs them, for an MSS of 1460
    assert settings("+0 < icmp packet_too_big mtu 1280 [1:1(0)]").ip_version == 6


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--ip_version=ipv5", "s.pkt:1: --ip_version=ipv5: must be ipv4, ipv6 or ipv4-mapped-ipv6"),
        ("--tolerance_usecs=much", "s.pkt:1: --tolerance_usecs=much: must be a whole number"),
        ("--local_ip=here", "s.pkt:1: --local_ip=here: must be an IP address"),
        ("--local_ip=::1", "s.pkt:1: --local_ip=::1: must be an IPv4 address"),
    ],
)
def test_bad_values_of_options(text: str, message: str) -> None:
    with pytest.raises(ScriptError) as raised:
        settings(text)
    assert str(raised.value) == message


def test_an_unknown_option_is_unsupported() -> None:
    with pytest.raises(UnsupportedError, match="option --warp"):
        settings("--warp=9")


def test_a_route_sets_the_initial_window_and_the_least_timeout() -> None:
    stack = interpret("ip route replace 192.0.2.0/24 dev tun0 initcwnd 3 rto_min 50ms", LINUX).stack
    assert (stack.initial_window_segments, stack.minimum_rto_us) == (3, 50_000)


def test_fast_open_for_those_who_ask_for_it_changes_nothing_and_without_asking_is_unsupported() -> None:
    assert interpret("sysctl -q net.ipv4.tcp_fastopen=3", LINUX).stack == LINUX
    with pytest.raises(UnsupportedError):
        interpret("sysctl -q net.ipv4.tcp_fastopen=0x403", LINUX)
    with pytest.raises(UnsupportedError):
        interpret("sysctl -q net.ipv4.tcp_fastopen=1027", LINUX)
