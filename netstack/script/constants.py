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
    "SOMAXCONN": 4096,
    "IPTOS_LOWDELAY": 0x10,
    "IPTOS_THROUGHPUT": 0x08,
    "IPTOS_RELIABILITY": 0x04,
}


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
