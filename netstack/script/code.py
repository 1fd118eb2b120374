"""The Python sections of scripts: assertions on TCP_INFO, evaluated without giving a script the interpreter that runs it.

Knows no endpoint.
"""

import ast

from netstack.script.settings import UnsupportedError

_TCP_INFO_CONSTANTS = {
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
    "TCPI_ESTABLISHED": 4,
    "TCPI_CLOSED": 0,
    "TCPI_LISTEN": 1,
    "TCPI_SYN_SENT": 2,
    "TCPI_SYN_RECEIVED": 3,
    "TCPI_CLOSE_WAIT": 5,
    "TCPI_FIN_WAIT_1": 6,
    "TCPI_CLOSING": 7,
    "TCPI_LAST_ACK": 8,
    "TCPI_FIN_WAIT_2": 9,
    "TCPI_TIME_WAIT": 10,
}
"""Names of TCP_INFO; states ``TCP_*`` as Linux numbers them (linux/tcp.h), ``TCPI_*`` as FreeBSD does (netinet/tcp_fsm.h)."""
_FUNCTIONS = {"abs": abs, "min": min, "max": max, "int": int, "float": float, "round": round, "len": len, "str": str, "hex": hex}
_ALLOWED = (
    ast.Module,
    ast.Assert,
    ast.Expr,
    ast.Assign,
    ast.Name,
    ast.Load,
    ast.Store,
    ast.Constant,
    ast.Compare,
    ast.BoolOp,
    ast.BinOp,
    ast.UnaryOp,
    ast.IfExp,
    ast.Call,
    ast.Tuple,
    ast.List,
    ast.JoinedStr,
    ast.FormattedValue,
    ast.boolop,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
    ast.Pass,
)


class AssertionFailedError(Exception):
    """An assertion of a script that does not hold; the message is the assertion, and what it says."""


def run_code(text: str, names: dict[str, object]) -> list[str]:
    """Run a section and return what it prints.

    Args:
        text: The Python.
        names: Variables, for example ``tcpi_state``; assignments go here.

    Raises:
        AssertionFailedError: An assertion does not hold.
        UnsupportedError: It uses a name that is not there, or more of Python than assertions, assignments and ``print``.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise UnsupportedError(f"code that is no Python: {error}") from None
    printed: list[str] = []
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            raise UnsupportedError(f"code {ast.unparse(statement)}")
        for node in ast.walk(statement):
            if not isinstance(node, _ALLOWED) or (isinstance(node, ast.Call) and not isinstance(node.func, ast.Name)):
                raise UnsupportedError(f"code {ast.unparse(statement).splitlines()[0]}")
        _run_statement(statement, names, printed)
    return printed


def _run_statement(statement: ast.stmt, names: dict[str, object], printed: list[str]) -> None:
    if isinstance(statement, ast.Assert):
        if not _evaluate(statement.test, names):
            message = f": {_evaluate(statement.msg, names)}" if statement.msg is not None else ""
            raise AssertionFailedError(f"{ast.unparse(statement.test)} does not hold{message}{_values(statement.test, names)}")
    elif isinstance(statement, ast.Assign) and len(statement.targets) == 1 and isinstance(statement.targets[0], ast.Name):
        names[statement.targets[0].id] = _evaluate(statement.value, names)
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) and _is_print(statement.value):
        printed.append(" ".join(str(_evaluate(argument, names)) for argument in statement.value.args))
    elif not isinstance(statement, ast.Pass):
        raise UnsupportedError(f"code {ast.unparse(statement).splitlines()[0]}")


def _is_print(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "print"


def _evaluate(node: ast.expr, names: dict[str, object]) -> object:
    scope = {**_TCP_INFO_CONSTANTS, **names}
    for name in (inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)):
        if name not in scope and name not in _FUNCTIONS:
            raise UnsupportedError(f"code with {name}")
    for power in (inner for inner in ast.walk(node) if isinstance(inner, ast.Pow | ast.LShift)):
        raise UnsupportedError(f"code with {type(power).__name__}")  # which can make numbers without bound
    expression = compile(ast.Expression(node), "<code>", "eval")
    try:
        return eval(expression, {"__builtins__": {}, **_FUNCTIONS}, scope)
    except Exception as error:
        raise UnsupportedError(f"code {ast.unparse(node)}: {error}") from None


def _values(node: ast.expr, names: dict[str, object]) -> str:
    used = dict.fromkeys(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and inner.id in names)
    return f" ({', '.join(f'{name} is {names[name]}' for name in used)})" if used else ""
