"""What the project's endpoint makes of the settings and options of scripts that are written for a system."""

from netstack.script.backend import endpoint_backend
from netstack.script.interpreter import Verdict, run_script
from netstack.script.parser import parse


def test_freebsd_rounds_the_receive_buffer_to_whole_segments_once_established() -> None:
    script = parse(
        """`sysctl net.inet.tcp.recvspace=65536`
0 socket(..., SOCK_STREAM, IPPROTO_TCP) = 3
+0 fcntl(3, F_SETFL, O_RDWR|O_NONBLOCK) = 0
+0 getsockopt(3, SOL_SOCKET, SO_RCVBUF, [65536], [4]) = 0
+0 connect(3, ..., ...) = -1 EINPROGRESS (Operation now in progress)
+0 > S 0:0(0) <mss 1460,nop,wscale 6,sackOK,TS val 100 ecr 0>
+0 getsockopt(3, SOL_SOCKET, SO_RCVBUF, [65536], [4]) = 0
+.1 < S. 0:0(0) ack 1 win 1000 <mss 1460>
+0 > . 1:1(0) ack 1 win 65535
+0 getsockopt(3, SOL_SOCKET, SO_RCVBUF, [65700], [4]) = 0
"""
    )
    outcome = run_script(script, endpoint_backend())
    assert (outcome.verdict, outcome.message) == (Verdict.PASS, "")  # 45 segments of 1460 bytes
