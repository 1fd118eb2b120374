"""An organization of the network stack: a few orthogonal choices, and which of them contradict each other."""

from dataclasses import dataclass

from netstack.errors import ConfigError

CHOICES: dict[str, tuple[str, ...]] = {
    "dispatch": ("nic_thread", "software_hash"),
    "handoff": ("inline", "queue"),
    "serialize": ("none", "connection_lock", "group_lock", "group_thread"),
    "contention": ("wait", "backlog"),
    "lookup": ("global_lock", "group", "rcu", "bucket_lock"),
    "transmit": ("caller", "owner"),
    "listener": ("shared", "replicated", "partitioned"),
    "placement": ("pinned", "free"),
}
LOOKUP_FIRST = ("rcu", "bucket_lock")
"""Look-ups that are done with before the connection's lock is awaited, and hold nothing then."""
MAX_GROUPS = 4096


@dataclass
class OrganizationConfig:
    """Who processes a message, and what keeps the cores from colliding.

    `cores` limits the organization to the machine's first cores; null uses all of them.
    """

    name: str = "connp_l"
    dispatch: str = "nic_thread"
    handoff: str = "inline"
    serialize: str = "group_lock"
    contention: str = "wait"
    groups: int = 128
    lookup: str = "group"
    transmit: str = "caller"
    listener: str = "partitioned"
    batch: int = 1
    placement: str = "pinned"
    cores: int | None = None

    def validate(self, machine_cores: int) -> None:
        """Raise ConfigError for the first choice that is unknown or contradicts another."""
        for choice, allowed in CHOICES.items():
            value = getattr(self, choice)
            if value not in allowed:
                raise ConfigError(f"org.{choice}", value, f"allowed are {', '.join(allowed)}")
        if not 1 <= self.groups <= MAX_GROUPS:
            raise ConfigError("org.groups", self.groups, f"must be a whole number from 1 to {MAX_GROUPS}")
        if not 1 <= self.batch <= 1024:
            raise ConfigError("org.batch", self.batch, "must be a whole number from 1 to 1024")
        if self.cores is not None and not 1 <= self.cores <= machine_cores:
            raise ConfigError("org.cores", self.cores, f"must be from 1 to the machine's {machine_cores} cores, or null")
        cores = self.cores or machine_cores
        if self.serialize == "none" and cores > 1:
            raise ConfigError("org.serialize", "none", f"needs one core, not {cores}: set org.cores=1 or choose a lock")
        by_thread = self.serialize == "group_thread"
        if by_thread != (self.handoff == "queue"):
            raise ConfigError(
                "org.handoff", self.handoff, "queue goes with serialize=group_thread, inline with every other serialize"
            )
        if by_thread != (self.transmit == "owner"):
            raise ConfigError(
                "org.transmit", self.transmit, "owner goes with serialize=group_thread, caller with every other serialize"
            )
        if by_thread and self.lookup != "group":
            raise ConfigError("org.lookup", self.lookup, "must be group when a thread owns the group's table")
        if self.serialize == "connection_lock" and self.lookup == "group":
            raise ConfigError(
                "org.lookup", "group", "a group's table needs the group's lock or thread: use global_lock with connection_lock"
            )
        if self.contention == "backlog" and (self.serialize != "connection_lock" or self.lookup not in LOOKUP_FIRST):
            raise ConfigError(
                "org.contention", "backlog", f"needs serialize=connection_lock and lookup={' or '.join(LOOKUP_FIRST)}"
            )
        if self.dispatch == "software_hash" and self.handoff == "queue":
            raise ConfigError(
                "org.dispatch", self.dispatch, "hands packets to the owner already: use handoff=inline, or nic_thread"
            )
