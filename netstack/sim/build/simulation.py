"""The owner of a simulation's state: two records that compiled code takes, and the tables that they point to."""

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from netstack.jit.records import allocate
from netstack.jit.tables import JOURNAL_FIELD
from netstack.sim.config import SimulationConfig


@dataclass
class Simulation:
    """A simulation's state.

    Attributes:
        config: What it was built from.
        machine_table: One record: the machine.
        stack_table: One record: the stack.
        tables: All tables by name. They own the memory that the two records point to.
        structures: The names of the structures, in the order of their numbers.
    """

    config: SimulationConfig
    machine_table: np.ndarray
    stack_table: np.ndarray
    tables: dict[str, np.ndarray] = field(default_factory=dict)
    structures: list[str] = field(default_factory=list)

    @property
    def machine(self) -> Any:
        """The machine's record."""
        return self.machine_table.view(np.recarray)[0]

    @property
    def stack(self) -> Any:
        """The stack's record."""
        return self.stack_table.view(np.recarray)[0]

    @property
    def has_journal(self) -> bool:
        """Whether the state has room for the address of a journal."""
        return JOURNAL_FIELD in (self.stack_table.dtype.names or ())

    def add(self, record: Any, name: str, dtype: np.dtype, length: int, *, sparse: bool = False) -> np.ndarray:
        """Allocate and return a table of zeroed records; `record` points to it by its field ``<name>_table``.

        Few records of a `sparse` table are ever written, see `allocate`.
        """
        table = allocate(dtype, length, sparse=sparse)
        self.tables[name] = table
        record[f"{name}_table"] = table.ctypes.data
        return table


def assign(target: Any, **values: Any) -> None:
    """Set fields of a record, or of all records of a table."""
    for name, value in values.items():
        target[name] = value
