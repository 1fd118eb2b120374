"""What a stack operation costs, as data: instruction cycles and a footprint of cache lines.

Operations and structures come from ``conf/costs/*.yaml``. Knows how a footprint is written, not what it costs. The caches decide
that.
"""

import re
from dataclasses import dataclass, field

from netstack.errors import ConfigError
from netstack.sim.machine.numbers import Access, Category, Instance, LockClass, LockScope, Operation

RECKONED = (Category.LOCK_ATOMIC, Category.CACHE_STALL, Category.IDLE)
CHARGEABLE = tuple(category.key for category in Category if category not in RECKONED)
"""Categories that the instructions of an operation may count as. The simulation itself charges the others."""


@dataclass
class StructureCost:
    """A data structure: how many cache lines an instance takes, and what it exists once for.

    One that is not `modelled` is left out of all footprints.
    """

    lines: int = 1
    per: str = "kernel"
    modelled: bool = True


REQUIRED = {
    "inpcb": StructureCost(1, "flow"),
    "timers": StructureCost(2, "flow"),  # a line per timer that is set with segments
    "transmit_ring": StructureCost(1, "tx_slot"),
    "receive_ring": StructureCost(1, "rx_slot"),
    "receive_buffer": StructureCost(1, "rx_slot"),
}
"""Structures that the simulation touches beside the footprints of operations: the fewest lines, and what they are per."""


@dataclass
class OperationCost:
    """An operation: instruction cycles without data stalls, the category they count as, and the lines touched.

    A touch reads ``<structure> <first>[-<last>] r|w|s|l``, for example ``tcpcb 0-3 w``: lines 0 to 3 are read and written. Other
    lines are only read (r), stored without being read (s), or changed by locked instructions (l). `mutexes` are acquired and
    released inside, with two locked instructions each. `atomics` are other locked instructions, such as one of a reference
    count or the two of a spin mutex, which is not profiled. A kernel that locks nothing has neither.
    """

    cycles: int = 0
    mutexes: int = 0
    atomics: int = 0
    category: str = "protocol"
    touches: list[str] = field(default_factory=list)
    source: str = ""


@dataclass
class LockCost:
    """A spin lock of the kernel, as data.

    Attributes:
        scope: What it exists once for: `kernel`, memory `node`, `core`, hash `bucket`, `listener`, or `none`: there is none.
        ticket: Whether waiters queue by tickets, so that each reads the lock's line again at every release, and a hand-over takes
            the longer the more wait. Source: Boyd-Wickizer and others, Non-scalable locks are dangerous, OLS 2012.
        operations: Those that run under it from their beginning to their end. Of a class that the simulation itself locks
            around operations (`SCOPED`), only the scope is given.
    """

    scope: str = "kernel"
    ticket: bool = False
    operations: list[str] = field(default_factory=list)


SCOPED = ("run_queue", "mbuf_zone", "route", "callout", "page_queue")
"""Classes of locks that are the kernel's only one unless a costs file gives another scope."""


@dataclass
class CostsConfig:
    """All costs of one operating system's stack: of every operation, and at least the structures that are `REQUIRED`.

    Instruction cycles of all operations are multiplied by `cycles_scale`.

    `instructions_in_l2_bytes` of hot kernel and application text stay in every core's unified L2, because they are used so often.
    They leave that much less of it for data, in whole ways. At least one way remains.

    `locks` are spin locks that this kernel has around operations, by name, or other scopes of those classes that the simulation
    takes to be the kernel's only ones.

    With `lock_profiling` each mutex reads the timecounter when it is acquired and before it is released, and updates a
    kernel-wide profile, while it is held. Spin mutexes are not profiled. Source: kern_mutex.c of FreeBSD 7, MUTEX_PROFILING.
    """

    name: str = "none"
    source: str = ""
    hash_buckets: int = 512
    cycles_scale: float = 1.0
    instructions_in_l2_bytes: int = 0
    lock_profiling: bool = False
    locks: dict[str, LockCost] = field(default_factory=dict)
    structures: dict[str, StructureCost] = field(default_factory=dict)
    operations: dict[str, OperationCost] = field(default_factory=dict)

    def validate(self) -> None:
        """Raise ConfigError for the first cost that cannot be charged."""
        if not 1 <= self.hash_buckets <= 1 << 24 or self.hash_buckets & (self.hash_buckets - 1):
            raise ConfigError("costs.hash_buckets", self.hash_buckets, "must be a power of two up to 16777216")
        if not 0.01 <= self.cycles_scale <= 100:
            raise ConfigError("costs.cycles_scale", self.cycles_scale, "must be from 0.01 to 100")
        if not 0 <= self.instructions_in_l2_bytes <= 1 << 30:
            raise ConfigError(
                "costs.instructions_in_l2_bytes", self.instructions_in_l2_bytes, "must be a whole number from 0 to 1073741824"
            )
        self._check_complete()
        self._check_locks()
        for name, structure in self.structures.items():
            if structure.per not in Instance.all_keys():
                raise ConfigError(f"costs.structures.{name}.per", structure.per, f"allowed are {', '.join(Instance.all_keys())}")
            if not 1 <= structure.lines <= 1024:
                raise ConfigError(f"costs.structures.{name}.lines", structure.lines, "must be from 1 to 1024")
        for name, operation in self.operations.items():
            key = f"costs.operations.{name}"
            if name not in Operation.all_keys():
                raise ConfigError(key, "given", f"unknown operation; known are {', '.join(Operation.all_keys())}")
            if operation.category not in CHARGEABLE:
                raise ConfigError(f"{key}.category", operation.category, f"allowed are {', '.join(CHARGEABLE)}")
            for field_name in ("cycles", "mutexes", "atomics"):
                if not 0 <= getattr(operation, field_name) <= 1_000_000:
                    raise ConfigError(f"{key}.{field_name}", getattr(operation, field_name), "must be from 0 to 1000000")
            for touch in operation.touches:
                parse_touch(touch, f"{key}.touches", self.structures)

    def declared_locks(self) -> list[str]:
        """Return the names of the locks that this kernel has around operations, in their order."""
        return [name for name in self.locks if name not in SCOPED]

    def _check_locks(self) -> None:
        taken: dict[str, str] = {}
        for name, lock in self.locks.items():
            key = f"costs.locks.{name}"
            if lock.scope not in LockScope.all_keys():
                raise ConfigError(f"{key}.scope", lock.scope, f"allowed are {', '.join(LockScope.all_keys())}")
            if name in SCOPED:
                if lock.operations or lock.ticket:
                    raise ConfigError(key, name, "has its operations already: give only a scope")
                if lock.scope not in ("kernel", "node", "core", "none"):
                    raise ConfigError(f"{key}.scope", lock.scope, "must be kernel, node, core or none")
                continue
            if name in LockClass.all_keys():
                raise ConfigError(key, name, f"is a class of the simulation; only {', '.join(SCOPED)} have a scope")
            if not lock.operations:
                raise ConfigError(f"{key}.operations", "[]", "must name the operations that run under the lock")
            for operation in lock.operations:
                if operation not in Operation.all_keys():
                    raise ConfigError(f"{key}.operations", operation, "is no operation")
                if operation in taken:
                    raise ConfigError(f"{key}.operations", operation, f"runs under {taken[operation]} already")
                taken[operation] = name

    def _check_complete(self) -> None:
        """Raise ConfigError for a cost that the simulation looks for by its name and would not find, or not all of it."""
        structures = [name for name in REQUIRED if name not in self.structures]
        operations = [name for name in Operation.all_keys() if name not in self.operations]
        if structures or operations:
            missing = " and ".join(
                f"{kind} {', '.join(names)}" for kind, names in (("structures", structures), ("operations", operations)) if names
            )
            raise ConfigError(
                "costs", self.name, f"has no {missing}; a structure without a cost is modelled: false, an operation cycles: 0"
            )
        for name, least in REQUIRED.items():
            structure = self.structures[name]
            if structure.per != least.per:
                raise ConfigError(f"costs.structures.{name}.per", structure.per, f"must be {least.per}")
            if structure.lines < least.lines:
                raise ConfigError(f"costs.structures.{name}.lines", structure.lines, f"must be from {least.lines} to 1024")


@dataclass(frozen=True)
class Touch:
    """One row of a footprint: `count` lines of `structure` from `first_line` on."""

    structure: str
    first_line: int
    count: int
    access: Access


_ACCESSES = {"r": Access.READ, "w": Access.WRITE, "s": Access.STORE, "l": Access.LOCKED}
_TOUCH = re.compile(r"(\w+) (\d+)(?:-(\d+))? ([rwsl])")


def parse_touch(text: str, key: str, structures: dict[str, StructureCost]) -> Touch:
    """Read one touch. Raises ConfigError if it is malformed or names lines that the structure does not have."""
    match = _TOUCH.fullmatch(text)
    if match is None:
        raise ConfigError(key, repr(text), "a touch reads '<structure> <first>[-<last>] r|w|s|l'")
    structure, first, last, mode = match[1], int(match[2]), int(match[3] or match[2]), match[4]
    if structure not in structures:
        raise ConfigError(key, repr(text), f"unknown structure; known are {', '.join(structures)}")
    if not first <= last < structures[structure].lines:
        raise ConfigError(key, repr(text), f"{structure} has lines 0 to {structures[structure].lines - 1}")
    return Touch(structure, first, last - first + 1, _ACCESSES[mode])
