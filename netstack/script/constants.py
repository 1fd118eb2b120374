"""The symbolic constants of scripts, and the value of an expression of them.

Values are those of Linux, and are compared only with each other. Knows no call.
"""

from netstack.script.settings import UnsupportedError
from netstack.script.syntax import Array, Binary, Expression, Number, Word

CONSTANTS = {
    "AF_UNSPEC": 0,
    "AF_INET": 2,
    "AF_INET6": 10,
    "PF_INET": 2,
    "PF_INET6": 10,
    "SOCK_STREAM": 1,
    "SOCK_DGRAM": 2,
    "SOCK_RAW": 3,
    "SOCK_NONBLOCK": 0x800,
    "SOCK_CLOEXEC": 0x80000,
    "IPPROTO_IP": 0,
    "IPPROTO_ICMP": 1,
    "IPPROTO_TCP": 6,
    "IPPROTO_UDP": 17,
    "IPPROTO_IPV6": 41,
    "IPPROTO_SCTP": 132,
    "IPPROTO_UDPLITE": 136,
    "IPPROTO_MPTCP": 262,
    "O_RDONLY": 0,
    "O_WRONLY": 1,
    "O_RDWR": 2,
    "O_NONBLOCK": 0x800,
    "O_CLOEXEC": 0x80000,
    "F_GETFD": 1,
    "F_SETFD": 2,
    "F_GETFL": 3,
    "F_SETFL": 4,
    "FD_CLOEXEC": 1,
    "SHUT_RD": 0,
    "SHUT_WR": 1,
    "SHUT_RDWR": 2,
    "MSG_OOB": 1,
    "MSG_PEEK": 2,
    "MSG_TRUNC": 0x20,
    "MSG_DONTWAIT": 0x40,
    "MSG_EOR": 0x80,
    "MSG_WAITALL": 0x100,
    "MSG_NOSIGNAL": 0x4000,
    "MSG_MORE": 0x8000,
    "MSG_ZEROCOPY": 0x4000000,
    "MSG_FASTOPEN": 0x20000000,
    "MSG_ERRQUEUE": 0x2000,
    "MSG_CTRUNC": 0x8,
    "POLLIN": 1,
    "POLLPRI": 2,
    "POLLOUT": 4,
    "POLLERR": 8,
    "POLLHUP": 16,
    "POLLNVAL": 32,
    "POLLRDNORM": 64,
    "POLLWRNORM": 256,
    "POLLRDHUP": 0x2000,
    "POLLRDBAND": 128,
    "POLLWRBAND": 512,
    "SOMAXCONN": 4096,
    "EPOLLIN": 1,
    "EPOLLPRI": 2,
    "EPOLLOUT": 4,
    "EPOLLERR": 8,
    "EPOLLHUP": 16,
    "EPOLLRDNORM": 64,
    "EPOLLWRNORM": 256,
    "EPOLLRDHUP": 0x2000,
    "EPOLLEXCLUSIVE": 1 << 28,
    "EPOLLWAKEUP": 1 << 29,
    "EPOLLONESHOT": 1 << 30,
    "EPOLLET": 1 << 31,
    "EPOLL_CTL_ADD": 1,
    "EPOLL_CTL_DEL": 2,
    "EPOLL_CTL_MOD": 3,
    "EPOLL_CLOEXEC": 0x80000,
    "SOL_SOCKET": 1,
    "SOL_IP": 0,
    "SOL_IPV6": 41,
    "SOL_TCP": 6,
    "IP_RECVERR": 11,
    "IPV6_RECVERR": 25,
    "TCP_CM_INQ": 36,
    "TCP_INQ": 36,
    "SCM_TIMESTAMPING": 37,
    "SO_TIMESTAMPING": 37,
    "SCM_TSTAMP_SND": 0,
    "SCM_TSTAMP_SCHED": 1,
    "SCM_TSTAMP_ACK": 2,
    "SO_EE_ORIGIN_NONE": 0,
    "SO_EE_ORIGIN_LOCAL": 1,
    "SO_EE_ORIGIN_ICMP": 2,
    "SO_EE_ORIGIN_ICMP6": 3,
    "SO_EE_ORIGIN_TXSTATUS": 4,
    "SO_EE_ORIGIN_TIMESTAMPING": 4,
    "SO_EE_ORIGIN_ZEROCOPY": 5,
    "SO_EE_CODE_ZEROCOPY_COPIED": 1,
    "SOF_TIMESTAMPING_TX_HARDWARE": 1,
    "SOF_TIMESTAMPING_TX_SOFTWARE": 2,
    "SOF_TIMESTAMPING_RX_HARDWARE": 4,
    "SOF_TIMESTAMPING_RX_SOFTWARE": 8,
    "SOF_TIMESTAMPING_SOFTWARE": 16,
    "SOF_TIMESTAMPING_SYS_HARDWARE": 32,
    "SOF_TIMESTAMPING_RAW_HARDWARE": 64,
    "SOF_TIMESTAMPING_OPT_ID": 128,
    "SOF_TIMESTAMPING_TX_SCHED": 256,
    "SOF_TIMESTAMPING_TX_ACK": 512,
    "SOF_TIMESTAMPING_OPT_CMSG": 1024,
    "SOF_TIMESTAMPING_OPT_TSONLY": 2048,
    "ENOMSG": 42,
    "IP_PMTUDISC_DONT": 0,
    "IP_PMTUDISC_WANT": 1,
    "IP_PMTUDISC_DO": 2,
    "IP_PMTUDISC_PROBE": 3,
    "IPV6_PMTUDISC_DONT": 0,
    "IPV6_PMTUDISC_WANT": 1,
    "IPV6_PMTUDISC_DO": 2,
    "IPV6_PMTUDISC_PROBE": 3,
    "IPTOS_LOWDELAY": 0x10,
    "IPTOS_THROUGHPUT": 0x08,
    "IPTOS_RELIABILITY": 0x04,
    "TCPI_OPT_TIMESTAMPS": 1,
    "TCPI_OPT_SACK": 2,
    "TCPI_OPT_WSCALE": 4,
    "TCPI_OPT_ECN": 8,
    "TCPI_OPT_ECN_SEEN": 16,
    "TCPI_OPT_SYN_DATA": 32,
    "TCP_CA_Open": 0,
    "TCP_CA_Disorder": 1,
    "TCP_CA_CWR": 2,
    "TCP_CA_Recovery": 3,
    "TCP_CA_Loss": 4,
    "TCP_ESTABLISHED": 1,
    "TCP_SYN_SENT": 2,
    "TCP_SYN_RECV": 3,
    "TCP_FIN_WAIT1": 4,
    "TCP_FIN_WAIT2": 5,
    "TCP_TIME_WAIT": 6,
    "TCP_CLOSE": 7,
    "TCP_CLOSE_WAIT": 8,
    "TCP_LAST_ACK": 9,
    "TCP_LISTEN": 10,
    "TCP_CLOSING": 11,
}
_FREEBSD_STATES = (
    *("CLOSED", "LISTEN", "SYN_SENT", "SYN_RECEIVED", "ESTABLISHED", "CLOSE_WAIT"),
    *("FIN_WAIT_1", "CLOSING", "LAST_ACK", "FIN_WAIT_2", "TIME_WAIT"),
)
CONSTANTS |= {f"{prefix}_{name}": number for number, name in enumerate(_FREEBSD_STATES) for prefix in ("TCPI", "TCPS")}
"""States ``TCP_*`` as Linux numbers them (linux/tcp.h), ``TCPI_*`` and ``TCPS_*`` as FreeBSD does (netinet/tcp_fsm.h)."""


def evaluate(expression: Expression) -> int:
    """Return the number that an expression stands for; an array of one is its item.

    Raises:
        UnsupportedError: It has a name that is not known, or is no number.
    """
    if isinstance(expression, Number):
        return expression.value
    if isinstance(expression, Word):
        if expression.name in CONSTANTS:
            return CONSTANTS[expression.name]
        raise UnsupportedError(f"constant {expression.name}")
    if isinstance(expression, Array) and len(expression.items) == 1:
        return evaluate(expression.items[0])
    if isinstance(expression, Binary):
        left, right = evaluate(expression.left), evaluate(expression.right)
        match expression.operator:
            case "|":
                return left | right
            case "&":
                return left & right
            case "^":
                return left ^ right
            case "+":
                return left + right
            case "-":
                return left - right
            case "*":
                return left * right
            case "<<" if 0 <= right < 64:
                return left << right
            case ">>" if 0 <= right < 64:
                return left >> right
    raise UnsupportedError(f"value {expression}")
