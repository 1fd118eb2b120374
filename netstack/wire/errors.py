"""What the user of the wire must see in one line."""


class WireError(Exception):
    """Something outside of the stack is missing or was refused: a device, an address, a file, a peer."""


def one_line(text: str, limit: int = 200) -> str:
    """Return the beginning of a text as a single line of printable characters."""
    return "".join(character if character.isprintable() else " " for character in text[:limit])
