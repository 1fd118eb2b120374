"""Scripts against a host whose answers are known: times, relative numbers, diffs, calls that block, and what is unsupported."""

from netstack.script.interpreter import Outcome, Verdict, run_script
from netstack.script.parser import parse
from tests.helpers.fake_endpoint import fake_backend

LISTEN = """
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 setsockopt(3, SOL_SOCKET, SO_REUSEADDR, [1], 4) = 0
+0 bind(3, ..., ...) = 0
+0 listen(3, 1) = 0
"""
ESTABLISHED = f"""{LISTEN}
+.1 < S 0:0(0) win 32792 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1000>
+.1 < . 1:1(0) ack 1 win 257
+0 accept(3, ..., ...) = 4
"""
CONNECTED = """
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
+0 > S 0:0(0) <mss 1000>
"""


def run(text: str, **arguments: bool) -> Outcome:
    backend, _ = fake_backend()
    return run_script(parse(text, "s.pkt"), backend, **arguments)  # type: ignore[arg-type]


def line_of(text: str, beginning: str) -> int:
    return next(number for number, line in enumerate(text.split("\n"), 1) if line.startswith(beginning))


def assert_passes(text: str) -> None:
    outcome = run(text)
    assert (outcome.verdict, outcome.message) == (Verdict.PASS, "")


def assert_fails(text: str, message: str, at: str) -> None:
    outcome = run(text)
    assert (outcome.verdict, outcome.message, outcome.line) == (Verdict.FAIL, message, line_of(text, at))


def assert_unsupported(text: str, message: str) -> None:
    outcome = run(text)
    assert (outcome.verdict, outcome.message) == (Verdict.UNSUPPORTED, message)


def test_a_conversation_with_a_server() -> None:
    assert_passes(
        f"""{ESTABLISHED}
+.1 < P. 1:11(10) ack 1 win 257
+0 > . 1:1(0) ack 11
+0 read(4, ..., 100) = 10
+0 write(4, ..., 500) = 500
+0 > P. 1:501(500) ack 11
+.1 < F. 11:11(0) ack 501 win 257
+0 > . 501:501(0) ack 12
+0 read(4, ..., 100) = 0
+0 close(4) = 0
+0 > F. 501:501(0) ack 12
"""
    )


def test_a_conversation_over_ipv6() -> None:
    assert_passes(f"--ip_version=ipv6\n{ESTABLISHED}")


def test_a_conversation_with_a_client() -> None:
    assert_passes(
        f"""{CONNECTED}
+.1 < S. 123:123(0) ack 1 win 5840 <mss 1000>
+0 > . 1:1(0) ack 1
+0 getsockopt(3, SOL_SOCKET, SO_ERROR, [0], [4]) = 0
+0 connect(3, ..., ...) = 0
+0 connect(3, ..., ...) = -1 EISCONN (already connected)
+0 write(3, ..., 10) = 10
+0 > P. 1:11(10) ack 1
"""
    )


def test_a_refused_connection() -> None:
    assert_passes(
        f"""{CONNECTED}
+.1 < R. 0:0(0) ack 1 win 0
+0 getsockopt(3, SOL_SOCKET, SO_ERROR, [ECONNREFUSED], [4]) = 0
+0 getsockopt(3, SOL_SOCKET, SO_ERROR, [0], [4]) = 0
"""
    )


def test_the_line_of_a_differing_segment_and_how_it_differs() -> None:
    text = f"{ESTABLISHED}+.1 write(4, ..., 10) = 10\n+0 > . 1:12(11) ack 1 win 1000 <nop,nop,sack 1:2>"
    assert_fails(
        text,
        """sent packet differs
  script: 0.300000 > . 1:12(11) ack 1 win 1000 <nop,nop,sack 1:2>
  actual: 0.300000 > P. 1:11(10) ack 1 win 65535
  flags is P., expected .
  length is 10, expected 11
  win is 65535, expected 1000
  option sack 1:2 is missing""",
        "+0 > . 1:12",
    )


def test_a_packet_that_does_not_come() -> None:
    text = f"{ESTABLISHED}+.1 > . 1:1(0) ack 1"
    assert_fails(text, "no packet was sent until 0.312500\n  script: 0.300000 > . 1:1(0) ack 1", "+.1 > .")


def test_what_is_resent_by_timers_between_events() -> None:
    assert_passes(f"{CONNECTED}+1 > S 0:0(0) <mss 1000>\n+2~+2.5 > S 0:0(0) <mss 1000>\n")
    assert_passes(f"{CONNECTED}* > S 0:0(0) <mss 1000>\n+2 > S 0:0(0) <mss 1000>\n")


def test_a_segment_within_the_tolerance() -> None:
    assert_passes(f"{CONNECTED}+.9 > S 0:0(0) <mss 1000>")  # 12.5 % of the time since the event before
    assert_passes(f"--tolerance_percent=0\n--tolerance_usecs=5000\n{CONNECTED}1.004 > S 0:0(0) <mss 1000>")


def test_a_segment_outside_of_the_tolerance() -> None:
    text = f"--tolerance_percent=0\n{CONNECTED}1.005 > S 0:0(0) <mss 1000>"
    assert_fails(
        text,
        """sent packet differs
  script: 1.005000 > S 0:0(0) <mss 1000>
  actual: 1.000000 > S 0:0(0) win 65535 <mss 1000>
  time is 1.000000, expected 1.005000 with a tolerance of 0.004000""",
        "1.005",
    )
    late = run(f"--tolerance_percent=0\n{CONNECTED}.5~.9 > S 0:0(0) <mss 1000>")
    assert late.message.startswith("no packet was sent until 0.904000")


def test_a_call_that_blocks_until_there_is_data() -> None:
    text = f"""{ESTABLISHED}
+0...0.2 read(4, ..., 100) = 10
+.2 < P. 1:11(10) ack 1 win 257
+0 > . 1:1(0) ack 11
"""
    assert_passes(text)
    early, late = text.replace("+0...0.2", "+0...0.3"), text.replace("+0...0.2", "+0...0.1")
    assert_fails(early, "call read: it returned at 0.400000, expected at 0.500000", "+0...0.3")
    assert_fails(late, "call read: it returned at 0.400000, expected at 0.300000", "+0...0.1")


def test_a_call_that_never_returns() -> None:
    text = f"{ESTABLISHED}+0...0.1 read(4, ..., 100) = 10"
    assert_fails(text, "call read has not returned at 0.312500, expected at 0.300000", "+0...0.1")


def test_a_call_that_must_not_block() -> None:
    assert_fails(f"{ESTABLISHED}+0 read(4, ..., 100) = 10", "call read blocks, and must return at once", "+0 read")


def test_a_blocking_connect_and_a_blocking_accept() -> None:
    assert_passes(
        """0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0...0.1 connect(3, ..., ...) = 0
+0 > S 0:0(0) <mss 1000>
+.1 < S. 0:0(0) ack 1 win 1000 <mss 1000>
+0 > . 1:1(0) ack 1
"""
    )
    assert_passes(
        f"""{LISTEN}
+0...0.2 accept(3, ..., ...) = 4
+.1 < S 0:0(0) win 1000 <mss 1000>
+0 > S. 0:0(0) ack 1 <mss 1000>
+.1 < . 1:1(0) ack 1 win 1000
+0 write(4, ..., 1) = 1
+0 > P. 1:2(1) ack 1
"""
    )


def test_a_connection_that_times_out() -> None:
    assert_passes(
        """0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0...7 connect(3, ..., ...) = -1 ETIMEDOUT (Connection timed out)
+0 > S 0:0(0) <mss 1000>
+1 > S 0:0(0) <mss 1000>
+2 > S 0:0(0) <mss 1000>
"""
    )


def test_a_wrong_result() -> None:
    text = f"{ESTABLISHED}+0 write(4, ..., 10) = 11"
    assert_fails(text, "call write: it returned 10, expected 11", "+0 write")
    text = f"{LISTEN}+0 fcntl(3, F_SETFL, O_NONBLOCK) = 0\n+0 accept(3, ..., ...) = 4"
    assert_fails(text, "call accept: it returned -1 EAGAIN, expected 4", "+0 accept")


def test_a_long_segment_may_come_in_several() -> None:
    pieces = f"{ESTABLISHED}+0 write(4, ..., 2500) = 2500\n+0 > P. 1:2501(2500) ack 1\n"
    assert_passes(pieces)
    assert run(f"--strict_segments\n{pieces}").verdict is Verdict.FAIL
    two = f"{ESTABLISHED}+0 write(4, ..., 2500) = 2500\n+0 > . 1:2001(2000) ack 1\n+0 > P. 2001:2501(500) ack 1\n"
    assert_passes(two)


def test_pieces_that_do_not_add_up() -> None:
    outcome = run(f"{ESTABLISHED}+0 write(4, ..., 2500) = 2500\n+0 > . 1:1501(1500) ack 1\n")
    assert "length is 1000, expected 1500" in outcome.message


def test_timestamps_are_those_of_the_script() -> None:
    start = f"{LISTEN}+.1 < S 0:0(0) win 1000 <mss 1000,TS val 200 ecr 0>\n+0 > S. 0:0(0) ack 1 <mss 1000,TS val 100 ecr 200>\n"
    assert_passes(f"{start}+.1 < . 1:1(0) ack 1 win 1000 <nop,nop,TS val 201 ecr 100>\n+0 accept(3, ..., ...) = 4\n")
    assert_unsupported(
        f"{start}+.1 < . 1:1(0) ack 1 win 1000 <nop,nop,TS val 201 ecr 55>\n",
        "TS ecr 55 echoes no timestamp that the script expected before",
    )


def test_order_and_padding_of_options_count_only_if_strict() -> None:
    text = (
        f"{LISTEN}+.1 < S 0:0(0) win 1000 <mss 1000,TS val 7 ecr 0>\n+0 > S. 0:0(0) ack 1 <nop,nop,TS val 100 ecr 7,mss 1000>\n"
    )
    assert run(text).verdict is Verdict.PASS
    assert "options are mss,TS,eol,eol, expected nop,nop,TS,mss" in run(text, strict=True).message


def test_icmp_messages_quote_the_segment_on_the_wire() -> None:
    backend, made = fake_backend()
    text = f"{CONNECTED}+0 < icmp unreachable port_unreachable [0:0(0)]"
    assert run_script(parse(text), backend).verdict is Verdict.PASS
    (message,) = made[0].icmp
    assert (message.type, message.code, message.quoted[24:28]) == (3, 3, (4_000_000_000).to_bytes(4, "big"))


def test_polling() -> None:
    assert_passes(f"{ESTABLISHED}+0 poll([{{fd=4, events=POLLIN|POLLOUT, revents=POLLOUT}}], 1, 0) = 1")
    assert_passes(f"{ESTABLISHED}+0...0.1 poll([{{fd=4, events=POLLIN, revents=0}}], 1, 100) = 0")
    assert_fails(
        f"{ESTABLISHED}+0 poll([{{fd=4, events=POLLOUT, revents=POLLIN}}], 1, 0) = 1",
        "call poll: revents of 4 is 0x4, expected 0x1",
        "+0 poll",
    )


def test_assertions_in_code() -> None:
    assert_passes(f"{ESTABLISHED}+0 %{{ assert tcpi_snd_mss == 1000 and tcpi_state == TCP_ESTABLISHED }}%")
    text = f"{ESTABLISHED}+0 %{{ assert tcpi_snd_mss > 2000, tcpi_snd_mss }}%"
    assert_fails(text, "assertion: tcpi_snd_mss > 2000 does not hold: 1000 (tcpi_snd_mss is 1000)", "+0 %{")
    assert_unsupported(f"{ESTABLISHED}+0 %{{ assert tcpi_unknown == 1 }}%", "code with tcpi_unknown")


def test_code_cannot_reach_the_interpreter() -> None:
    for code in ("import os", "open('/etc/passwd')", "().__class__", "x = 2 ** 9999999999", "[1 for _ in (1,)]"):
        assert run(f"{ESTABLISHED}+0 %{{ {code} }}%").verdict is Verdict.UNSUPPORTED, code


def test_what_is_unsupported_is_named_with_its_line() -> None:
    outcome = run(f"{ESTABLISHED}+0 vmsplice(4, 5, 1, 0) = 100")
    assert str(outcome) == "s.pkt:11: unsupported: system call vmsplice"
    assert_unsupported(f"{LISTEN}+0 setsockopt(3, SOL_TCP, TCP_MD5SIG, [1], 4) = 0", "socket option TCP_MD5SIG")
    assert_unsupported("0 socket(..., SOCK_DGRAM, IPPROTO_UDP) = 3", "socket of another kind than TCP")
    assert_unsupported(f"{LISTEN}+0 `nft add table x`", "command nft add table x")
    assert_unsupported(f"{LISTEN}+0 < udp (10)", "protocol udp: < udp (10)")
    assert_unsupported(f"--tcp_md5_secret=x\n{LISTEN}", "option --tcp_md5_secret")
    assert_unsupported(f"{LISTEN}+0 read(3) = 0", "read with 1 arguments")


def test_a_packet_to_no_socket_and_one_left_over() -> None:
    assert_passes("0 < S 0:0(0) win 100\n")
    outcome = run(f"{CONNECTED}+1.5 close(3) = 0")
    assert outcome.verdict is Verdict.PASS
    assert outcome.notes == ["not expected any more: 1.000000 > S 0:0(0) win 65535 <mss 1000>"]


def test_non_fatal_problems_are_notes() -> None:
    outcome = run(f"--non_fatal=packet,syscall\n{CONNECTED}+1 > S 0:0(0) win 5 <mss 1000>\n+0 close(3) = 7")
    assert outcome.verdict is Verdict.PASS
    assert len(outcome.notes) == 2


def test_lingering_for_no_time_resets() -> None:
    assert_passes(
        f"""{ESTABLISHED}
+0 setsockopt(4, SOL_SOCKET, SO_LINGER, {{onoff=1, linger=0}}, 8) = 0
+0 close(4) = 0
+0 > R. 1:1(0) ack 1
"""
    )


def test_time_that_a_command_takes() -> None:
    assert_passes(f"{CONNECTED}+0 `sleep 0.5`\n+.5 > S 0:0(0) <mss 1000>")
