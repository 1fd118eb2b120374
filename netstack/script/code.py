"""The Python sections of scripts: assertions on TCP_INFO, evaluated without giving a script the interpreter that runs it.

Knows no endpoint.
"""

import ast
from collections import ChainMap

from netstack.script.constants import CONSTANTS
from netstack.script.settings import UnsupportedError

_TCP_INFO_CONSTANTS = {name: value for name, value in CONSTANTS.items() if name.startswith(("TCP_", "TCPI_", "TCPS_"))}
_FUNCTIONS = {"abs": abs, "min": min, "max": max, "int": int, "float": float, "round": round, "len": len, "str": str, "hex": hex}
_ALLOWED = (
    ast.Module,
    ast.Assert,
    ast.Expr,
    ast.Assign,
    ast.AugAssign,
    ast.If,
    ast.Subscript,
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


def run_code(text: str, info: dict[str, object], variables: dict[str, object]) -> list[str]:
    """Run a section and return what it prints.

    Args:
        text: The Python.
        info: What is known of the connection at the moment, for example ``tcpi_state``.
        variables: Those of the sections before, which are one program; assignments go here.

    Raises:
        AssertionFailedError: An assertion does not hold.
        UnsupportedError: It uses a name that is not there, or more of Python than assertions, assignments and ``print``.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError) as error:
        raise UnsupportedError(f"code that is no Python: {error}") from None
    printed: list[str] = []
    names: ChainMap[str, object] = ChainMap(variables, info)
    for name in info:
        variables.pop(name, None)  # packetdrill sets these anew before each section
    for statement in tree.body:
        if isinstance(statement, ast.Import | ast.ImportFrom):
            raise UnsupportedError(f"code {ast.unparse(statement)}")
        for node in ast.walk(statement):
            if not isinstance(node, _ALLOWED) or (isinstance(node, ast.Call) and not isinstance(node.func, ast.Name)):
                raise UnsupportedError(f"code {ast.unparse(statement).splitlines()[0]}")
        _run_statement(statement, names, printed)
    return printed


def _run_statement(statement: ast.stmt, names: ChainMap[str, object], printed: list[str]) -> None:
    if isinstance(statement, ast.Assert):
        if not _evaluate(statement.test, names):
            message = f": {_evaluate(statement.msg, names)}" if statement.msg is not None else ""
            raise AssertionFailedError(f"{ast.unparse(statement.test)} does not hold{message}{_values(statement.test, names)}")
    elif isinstance(statement, ast.Assign) and all(isinstance(target, ast.Name) for target in statement.targets):
        value = _evaluate(statement.value, names)
        names.update({target.id: value for target in statement.targets if isinstance(target, ast.Name)})
    elif isinstance(statement, ast.AugAssign) and isinstance(statement.target, ast.Name):
        names[statement.target.id] = _evaluate(
            ast.BinOp(ast.Name(statement.target.id, ast.Load()), statement.op, statement.value), names
        )
    elif isinstance(statement, ast.If):
        for inner in statement.body if _evaluate(statement.test, names) else statement.orelse:
            _run_statement(inner, names, printed)
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) and _is_print(statement.value):
        printed.append(" ".join(str(_evaluate(argument, names)) for argument in statement.value.args))
    elif not isinstance(statement, ast.Pass):
        raise UnsupportedError(f"code {ast.unparse(statement).splitlines()[0]}")


def _is_print(call: ast.Call) -> bool:
    return isinstance(call.func, ast.Name) and call.func.id == "print"


def _evaluate(node: ast.expr, names: ChainMap[str, object]) -> object:
    scope = {**_TCP_INFO_CONSTANTS, **names}
    for name in (inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name)):
        if name not in scope and name not in _FUNCTIONS:
            raise UnsupportedError(f"code with {name}")
    for power in (inner for inner in ast.walk(node) if isinstance(inner, ast.Pow | ast.LShift)):
        raise UnsupportedError(f"code with {type(power).__name__}")  # which can make numbers without bound
    expression = compile(ast.fix_missing_locations(ast.Expression(node)), "<code>", "eval")
    try:
        return eval(expression, {"__builtins__": {}, **_FUNCTIONS}, scope)
    except Exception as error:
        raise UnsupportedError(f"code {ast.unparse(node)}: {error}") from None


def _values(node: ast.expr, names: ChainMap[str, object]) -> str:
    used = dict.fromkeys(inner.id for inner in ast.walk(node) if isinstance(inner, ast.Name) and inner.id in names)
    return f" ({', '.join(f'{name} is {names[name]}' for name in used)})" if used else ""
