"""What the user of the wire must see in one line."""


class WireError(Exception):
    """Something outside of the stack is missing or was refused: a device, an address, a file, a peer."""
