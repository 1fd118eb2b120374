"""The errors a user can cause or must see. Knows nothing of the parts that raise them."""


class ConfigError(ValueError):
    """A configuration value that cannot be simulated.

    Attributes:
        key: Dotted configuration key, for example ``machine.l2.ways``.
        value: The refused value.
        allowed: One sentence: what is allowed, or what to change.
    """

    def __init__(self, key: str, value: object, allowed: str) -> None:
        super().__init__(key, value, allowed)
        self.key = key
        self.value = value
        self.allowed = allowed

    def __str__(self) -> str:
        return f"{self.key}={self.value}: {self.allowed}"


class ConservationError(RuntimeError):
    """A law that every simulation must obey was broken: the result would be worthless."""
