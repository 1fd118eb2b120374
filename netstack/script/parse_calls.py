"""The grammar of system calls and of the expressions in them. Knows no call by name, and no constant."""

from netstack.script.lexer import HEXADECIMAL, INTEGER, STRING, WORD, Scanner
from netstack.script.syntax import (
    Anything,
    Array,
    Binary,
    Call,
    Expression,
    Field,
    Number,
    Struct,
    SystemCall,
    Text,
    Unsupported,
    Word,
)

_PRECEDENCE = {"|": 1, "^": 2, "&": 3, "<<": 4, ">>": 4, "+": 5, "-": 5, "*": 6}
_IN_RESULTS = {"|": 1}
"""Only this one: behind a result the time of the next event may begin with ``+`` or ``*``."""
_FOREIGN_STRUCTURES = ("(label", "flags [", "flags 0x")
"""How the structures of MPLS and GRE begin, which have a grammar of their own."""


class _ForeignStructureError(Exception):
    """A structure with a grammar of its own."""


def parse_call(scanner: Scanner, end_us: int | None) -> SystemCall | Unsupported:
    """Take ``name(arguments) = result ERRNO (note)``.

    Raises:
        ScriptError: It is not in the language.
    """
    name = scanner.expect(WORD, "the name of a system call")
    scanner.expect("(", f"( behind {name}")
    try:
        arguments = _parse_list(scanner, ")", f"the arguments of {name}")
    except _ForeignStructureError:
        return Unsupported("structure of a tunnel")
    scanner.expect("=", f"= and the result of {name}")
    result = _parse_expression(scanner, _IN_RESULTS)
    errno = scanner.accept(WORD)
    while scanner.accept("("):
        closing = scanner.text.find(")", scanner.position)
        if closing < 0:
            raise scanner.error("expected ) at the end of the note")
        scanner.position = closing + 1
    return SystemCall(name, arguments, result, errno, end_us)


def _parse_list(scanner: Scanner, closing: str, what: str) -> tuple[Expression, ...]:
    items: list[Expression] = []
    while not scanner.accept(closing):
        if items:
            scanner.expect(",", f", or {closing} in {what}")
        items.append(_parse_expression(scanner))
    return tuple(items)


def _parse_expression(scanner: Scanner, operators: dict[str, int] = _PRECEDENCE, minimum: int = 1) -> Expression:
    left = _parse_operand(scanner)
    while True:
        operator = next((name for name in operators if scanner.peek(name)), None)
        if operator is None or operators[operator] < minimum:
            return left
        scanner.accept(operator)
        left = Binary(operator, left, _parse_expression(scanner, operators, operators[operator] + 1))


def _parse_operand(scanner: Scanner) -> Expression:
    if scanner.accept("..."):
        return Anything()
    if scanner.peek(STRING):
        value = scanner.string()
        while scanner.peek(STRING):
            value += scanner.string()
        return Text(value, scanner.accept("...") is not None)
    if scanner.accept("["):
        return Array(_parse_list(scanner, "]", "the array"))
    if scanner.accept("{"):
        return _parse_struct(scanner)
    if scanner.accept("("):
        inner = _parse_expression(scanner)
        scanner.expect(")", ")")
        return inner
    if scanner.accept("~"):
        return Binary("^", Number(-1, "-1"), _parse_operand(scanner))
    if text := scanner.accept(HEXADECIMAL):
        return Number(int(text, 16), text)
    if text := scanner.accept(INTEGER):
        suffix = scanner.text[scanner.position : scanner.position + 1]
        if suffix.isalnum():
            return Word(text + scanner.expect(WORD, "a name"))
        return Number(int(text), text)
    name = scanner.expect(WORD, "a number, a name, a string, [, {, or ...")
    if scanner.accept("("):
        return Call(name, _parse_list(scanner, ")", f"the arguments of {name}"))
    return Word(name)


def _parse_struct(scanner: Scanner) -> Struct:
    if any(scanner.peek(beginning) for beginning in _FOREIGN_STRUCTURES):
        raise _ForeignStructureError
    fields: list[Field] = []
    while not scanner.accept("}"):
        if fields:
            scanner.expect(",", ", or } in the structure")
        fields.append(_parse_field(scanner))
    return Struct(tuple(fields))


def _parse_field(scanner: Scanner) -> Field:
    start = scanner.position
    name = scanner.accept(WORD)
    if name is not None:
        length = None
        if scanner.accept("("):
            length = _parse_expression(scanner)
            if not scanner.accept(")"):
                name = None
        if name is not None and scanner.accept("="):
            return Field(name, _parse_expression(scanner), length)
        scanner.position = start
    return Field(None, _parse_expression(scanner))
